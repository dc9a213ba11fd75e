//! The Deployment controller: rolls a new pod template out over ReplicaSets. What to do is decided
//! in [`plan`] and [`status`]; this file watches and does it.

mod plan;
mod revision;
mod rolling;
mod status;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
};
use serde_json::json;

use crate::{
    client::{
        ObjectKey,
        events::{Recorder, Type},
        informer::{Delta, Informer},
        pod::Pod,
        queue::{Outcome, WorkQueue},
    },
    controllers::{
        Context,
        deployment::plan::{Action, Sets},
        ignore_not_found, is_conflict,
        owner::{self, Claim},
        pods,
    },
};

const NAME: &str = "deployment-controller";
/// Keys worked on at once.
const WIDTH: usize = 8;

pub(super) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let deployments = context.informers.of::<Deployment>();
    let (sets, pods) = (context.informers.of::<ReplicaSet>(), context.informers.of::<Pod>());
    deployments.synced().await;
    sets.synced().await;
    pods.synced().await;
    let nudged = queue.clone();
    deployments.on_change(move |delta| nudged.add(ObjectKey::of(&**delta.latest())));
    let (nudged, known) = (queue.clone(), deployments.clone());
    sets.on_change(move |delta| nudge_owners(&nudged, &known, delta));
    let (nudged, known) = (queue.clone(), sets.clone());
    pods.on_change(move |delta| nudge_recreate(&nudged, &known, delta));
    let controller = Controller {
        client: context.client(NAME),
        recorder: context.recorder("deployment-controller"),
        deployments,
        sets,
        pods,
    };
    queue.run(NAME, WIDTH, |key| controller.reconcile(key)).await;
}

fn nudge_owners(queue: &WorkQueue<ObjectKey>, deployments: &Informer<Deployment>, delta: &Delta<'_, ReplicaSet>) {
    let namespace = delta.latest().metadata.namespace.clone().unwrap_or_default();
    for set in delta.old.into_iter().chain(delta.new) {
        if let Some(owner) = owner::controller_of(&**set).filter(|owner| owner.kind == "Deployment") {
            queue.add(ObjectKey::new(&*namespace, &*owner.name));
        }
    }
    let Some(orphan) = delta.new.filter(|set| owner::controller_of(&***set).is_none()) else { return };
    for deployment in deployments.list_in(&namespace) {
        if deployment.spec.as_ref().is_some_and(|spec| owner::selects(&spec.selector, &**orphan)) {
            queue.add(ObjectKey::of(&*deployment));
        }
    }
}

/// A pod that is gone may be what a Recreate rollout waits for.
fn nudge_recreate(queue: &WorkQueue<ObjectKey>, sets: &Informer<ReplicaSet>, delta: &Delta<'_, Pod>) {
    if delta.new.is_some_and(|pod| !pods::is_finished(pod)) {
        return;
    }
    let pod = delta.latest();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let set = owner::controller_of(&**pod).and_then(|owner| sets.get(&ObjectKey::new(&*namespace, &*owner.name)));
    if let Some(owner) = set.as_ref().and_then(|set| owner::controller_of(&**set)) {
        queue.add(ObjectKey::new(namespace, &*owner.name));
    }
}

struct Controller {
    client: Client,
    recorder: Recorder,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> kube::Result<Outcome> {
        let Some(deployment) = self.deployments.get(&key) else { return Ok(Outcome::Done) };
        if self.selects_everything(&deployment) {
            return Ok(Outcome::Done);
        }
        let own = self.claim(&deployment, &key.namespace).await?;
        let sets = Sets::new(&deployment, &own);
        if deployment.metadata.deletion_timestamp.is_none() {
            for action in plan::plan(&deployment, &sets, self.old_pods_run(&sets)) {
                self.act(&key, &deployment, action).await?;
            }
        }
        // What was just done is part of the status.
        let own = self.owned(&deployment, &key.namespace);
        let sets = Sets::new(&deployment, &own);
        let (status, look_again) = status::status(&deployment, &sets, Timestamp::now());
        if deployment.status.as_ref() != Some(&status) {
            let patch = json!({"metadata": {"uid": deployment.metadata.uid}, "status": nulls_for_absent(&status)});
            let api: Api<Deployment> = Api::namespaced(self.client.clone(), &key.namespace);
            ignore_not_found(api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
        }
        Ok(look_again.map_or(Outcome::Done, Outcome::After))
    }

    fn selects_everything(&self, deployment: &Deployment) -> bool {
        let Some(spec) = &deployment.spec else { return true };
        let labels = spec.selector.match_labels.as_ref().is_none_or(|labels| labels.is_empty());
        let expressions = spec.selector.match_expressions.as_ref().is_none_or(|expressions| expressions.is_empty());
        if labels && expressions {
            let note = "This deployment is selecting all pods. A non-empty selector is required.";
            self.note(deployment, Type::Warning, "SelectingAll", note.into());
        }
        labels && expressions
    }

    fn owned(&self, deployment: &Deployment, namespace: &str) -> Vec<Arc<ReplicaSet>> {
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        self.sets.list_in(namespace).into_iter().filter(|set| owner::is_controlled_by(&**set, uid)).collect()
    }

    /// Adopts and releases, and returns what is then the Deployment's own.
    async fn claim(&self, deployment: &Deployment, namespace: &str) -> kube::Result<Vec<Arc<ReplicaSet>>> {
        let Some(spec) = &deployment.spec else { return Ok(Vec::new()) };
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), namespace);
        let owner_uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        let mut own = Vec::new();
        for set in self.sets.list_in(namespace) {
            let uid = set.metadata.uid.as_deref().unwrap_or_default();
            let patch = match owner::claim(deployment, &spec.selector, &*set) {
                Claim::Owned => {
                    own.push(set);
                    continue;
                }
                Claim::Adopt => owner::adoption(deployment, uid),
                Claim::Release => owner::release(owner_uid, uid),
                Claim::Foreign => continue,
            };
            let name = set.metadata.name.as_deref().unwrap_or_default();
            let patched = api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
            own.extend(ignore_not_found(patched)?.filter(|set| owner::is_controlled_by(set, owner_uid)).map(Arc::new));
        }
        Ok(own)
    }

    fn old_pods_run(&self, sets: &Sets) -> bool {
        sets.old.iter().any(|set| {
            let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
            let uid = set.metadata.uid.as_deref().unwrap_or_default();
            let pods = self.pods.list_in(namespace);
            pods.iter().any(|pod| owner::is_controlled_by(&**pod, uid) && !pods::is_finished(pod))
        })
    }

    async fn act(&self, key: &ObjectKey, deployment: &Deployment, action: Action) -> kube::Result<()> {
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &key.namespace);
        match action {
            Action::Create(set) => self.create(&api, deployment, &set).await,
            Action::Scale { set, replicas, annotations } => {
                let patch = json!({"metadata": {"annotations": annotations}, "spec": {"replicas": replicas}});
                self.patch(&api, &set, patch).await?;
                self.note_scaling(deployment, &set, plan::size(&set), replicas);
                Ok(())
            }
            Action::Refresh { set, annotations } => {
                let seconds = deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
                let patch = json!({"metadata": {"annotations": annotations}, "spec": {"minReadySeconds": seconds}});
                self.patch(&api, &set, patch).await
            }
            Action::Delete(set) => self.delete(&api, &set).await,
            Action::SetRevision(revision) => {
                let api: Api<Deployment> = Api::namespaced(self.client.clone(), &key.namespace);
                let annotations = json!({revision::REVISION: revision.to_string()});
                let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
                ignore_not_found(api.patch(&key.name, &PatchParams::default(), &patch).await).map(|_| ())
            }
        }
    }

    async fn create(&self, api: &Api<ReplicaSet>, deployment: &Deployment, set: &ReplicaSet) -> kube::Result<()> {
        match api.create(&PostParams::default(), set).await {
            Ok(created) => {
                self.note_scaling(deployment, &created, 0, plan::size(&created));
                self.sets.settle(&ObjectKey::of(&created), |seen| seen.is_some()).await;
                Ok(())
            }
            Err(error) if is_conflict(&error) => self.resolve_collision(api, deployment, set, error).await,
            Err(error) => {
                let note = format!("Failed to create new replica set {:?}: {error}", set.metadata.name.as_deref());
                self.note(deployment, Type::Warning, "ReplicaSetCreateError", note);
                Err(error)
            }
        }
    }

    /// Somebody else's ReplicaSet has the name: the collision count gives the next try another one.
    async fn resolve_collision(
        &self,
        api: &Api<ReplicaSet>,
        deployment: &Deployment,
        set: &ReplicaSet,
        error: kube::Error,
    ) -> kube::Result<()> {
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        let taken = api.get(set.metadata.name.as_deref().unwrap_or_default()).await?;
        if owner::is_controlled_by(&taken, uid) {
            // Ours already: the watch has not shown it yet.
            self.sets.settle(&ObjectKey::of(&taken), |seen| seen.is_some()).await;
            return Err(error);
        }
        let count = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0) + 1;
        let deployments: Api<Deployment> =
            Api::namespaced(self.client.clone(), deployment.metadata.namespace.as_deref().unwrap_or_default());
        let patch = Patch::Merge(json!({"status": {"collisionCount": count}}));
        let name = deployment.metadata.name.as_deref().unwrap_or_default();
        deployments.patch_status(name, &PatchParams::default(), &patch).await?;
        Err(error)
    }

    async fn patch(&self, api: &Api<ReplicaSet>, set: &ReplicaSet, mut patch: serde_json::Value) -> kube::Result<()> {
        patch["metadata"]["uid"] = json!(set.metadata.uid);
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let Some(written) = ignore_not_found(api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await)?
        else {
            return Ok(());
        };
        let generation = written.metadata.generation;
        self.sets
            .settle(&ObjectKey::of(&written), |seen| seen.is_none_or(|seen| seen.metadata.generation >= generation))
            .await;
        Ok(())
    }

    async fn delete(&self, api: &Api<ReplicaSet>, set: &ReplicaSet) -> kube::Result<()> {
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: set.metadata.uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        ignore_not_found(api.delete(set.metadata.name.as_deref().unwrap_or_default(), &params).await).map(|_| ())
    }

    fn note_scaling(&self, deployment: &Deployment, set: &ReplicaSet, from: i32, to: i32) {
        if from == to {
            return;
        }
        let direction = if to > from { "up" } else { "down" };
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let note = format!("Scaled {direction} replica set {name} from {from} to {to}");
        self.note(deployment, Type::Normal, "ScalingReplicaSet", note);
    }

    fn note(&self, deployment: &Deployment, kind: Type, reason: &str, note: String) {
        self.recorder.record(&deployment.object_ref(&()), kind, reason, note);
    }
}

/// A merge patch leaves alone what it does not name: counts that are now absent must be named.
fn nulls_for_absent(status: &k8s_openapi::api::apps::v1::DeploymentStatus) -> serde_json::Value {
    let mut patch = json!({
        "replicas": null, "updatedReplicas": null, "readyReplicas": null,
        "availableReplicas": null, "unavailableReplicas": null,
    });
    if let (Some(patch), serde_json::Value::Object(status)) = (patch.as_object_mut(), json!(status)) {
        patch.extend(status);
    }
    patch
}
