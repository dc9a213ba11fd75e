//! The ReplicaSet and ReplicationController controllers: as many pods as wanted, from one template.
//! The two kinds differ in how they are written down alone.

use std::{borrow::Cow, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::{Pod as NewPod, PodTemplateSpec, ReplicationController, ReplicationControllerCondition},
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, Time},
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};

use crate::{
    client::{
        ObjectKey,
        events::{Recorder, Type},
        informer::{Delta, Informer, Object},
        pod::Pod,
        queue::{Outcome, WorkQueue},
    },
    controllers::{
        Context, ignore_not_found,
        owner::{self, Claim},
        pods,
    },
};

/// Keys worked on at once.
const WIDTH: usize = 8;
/// Most pods created or deleted in one pass.
const BURST_LIMIT: usize = 500;

/// A kind that keeps a number of pods.
pub(super) trait ReplicaKeeper: Object + Resource<DynamicType = (), Scope = NamespaceResourceScope> {
    /// The controller's name, which is its service account's too.
    const CONTROLLER: &'static str;
    /// Whether the kind's status counts pods that are being deleted.
    const COUNTS_TERMINATING: bool;

    /// What is to be kept.
    fn wanted(&self) -> Option<Wanted<'_>>;

    /// The status as it is.
    fn status(&self) -> Option<Cow<'_, ReplicaSetStatus>>;
}

/// What a keeper is to keep.
pub(super) struct Wanted<'a> {
    /// How many pods.
    replicas: Option<i32>,
    /// Seconds that a pod must be ready to be available.
    min_ready_seconds: Option<i32>,
    /// Which pods.
    selector: Cow<'a, LabelSelector>,
    /// What they are made of.
    template: Option<&'a PodTemplateSpec>,
}

pub(super) async fn run<K: ReplicaKeeper>(context: Context) {
    let queue = WorkQueue::new();
    let (keepers, pods) = (context.informers.of::<K>(), context.informers.of::<Pod>());
    keepers.synced().await;
    pods.synced().await;
    let nudged = queue.clone();
    keepers.on_change(move |delta| nudged.add(ObjectKey::of(&**delta.latest())));
    let (nudged, known) = (queue.clone(), keepers.clone());
    pods.on_change(move |delta| nudge_owners(&nudged, &known, delta));
    let controller =
        Controller { client: context.client(K::CONTROLLER), recorder: context.recorder(K::CONTROLLER), keepers, pods };
    queue.run(K::CONTROLLER, WIDTH, |key| controller.reconcile(key)).await;
}

/// A pod concerns the keeper that manages it, the one that did before, and, while nobody does, all
/// keepers that select it.
fn nudge_owners<K: ReplicaKeeper>(queue: &WorkQueue<ObjectKey>, keepers: &Informer<K>, delta: &Delta<'_, Pod>) {
    let namespace = delta.latest().metadata.namespace.clone().unwrap_or_default();
    for pod in delta.old.into_iter().chain(delta.new) {
        if let Some(owner) = owner::controller_of(&**pod).filter(|owner| owner.kind == K::kind(&())) {
            queue.add(ObjectKey::new(&*namespace, &*owner.name));
        }
    }
    let Some(orphan) = delta.new.filter(|pod| owner::controller_of(&***pod).is_none()) else { return };
    for keeper in keepers.list_in(&namespace) {
        if keeper.wanted().is_some_and(|wanted| owner::selects(&wanted.selector, &**orphan)) {
            queue.add(ObjectKey::of(&*keeper));
        }
    }
}

/// What one pass over a keeper does.
#[derive(Debug, Default)]
struct Plan {
    adopt: Vec<Arc<Pod>>,
    release: Vec<Arc<Pod>>,
    create: usize,
    delete: Vec<Arc<Pod>>,
    status: ReplicaSetStatus,
    /// When a pod that is ready becomes available.
    look_again: Option<Duration>,
}

/// Compares a keeper with the pods of its namespace.
fn plan<K: ReplicaKeeper>(set: &K, candidates: &[Arc<Pod>], now: Timestamp) -> Plan {
    let Some(wanted) = set.wanted() else { return Plan::default() };
    let mut plan = Plan::default();
    let mut own = Vec::new();
    for pod in candidates.iter().filter(|pod| !pods::is_finished(pod)) {
        match owner::claim(set, &wanted.selector, &**pod) {
            Claim::Owned => own.push(pod.clone()),
            Claim::Adopt => plan.adopt.push(pod.clone()),
            Claim::Release => plan.release.push(pod.clone()),
            Claim::Foreign => {}
        }
    }
    own.extend(plan.adopt.iter().cloned());
    let active: Vec<&Arc<Pod>> = own.iter().filter(|pod| pods::is_active(pod)).collect();
    let min_ready = wanted.min_ready_seconds.unwrap_or(0);
    plan.status = status(set, &wanted, &active, own.len() - active.len(), now);
    plan.look_again = active
        .iter()
        .filter(|pod| !pods::is_available(pod, min_ready, now))
        .filter_map(|pod| pods::ready_since(pod))
        .map(|since| Duration::from_secs(u64::try_from(min_ready).unwrap_or(0)).saturating_sub(age(since, now)))
        .min();
    if set.meta().deletion_timestamp.is_none() {
        let count = usize::try_from(wanted.replicas.unwrap_or(1)).unwrap_or(0);
        plan.create = count.saturating_sub(active.len()).min(BURST_LIMIT);
        let surplus = active.len().saturating_sub(count).min(BURST_LIMIT);
        let mut order: Vec<Arc<Pod>> = active.into_iter().cloned().collect();
        pods::sort_for_deletion(&mut order);
        order.truncate(surplus);
        plan.delete = order;
    }
    plan
}

fn age(since: Timestamp, now: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0))
}

fn status<K: ReplicaKeeper>(
    set: &K,
    wanted: &Wanted<'_>,
    active: &[&Arc<Pod>],
    terminating: usize,
    now: Timestamp,
) -> ReplicaSetStatus {
    let min_ready = wanted.min_ready_seconds.unwrap_or(0);
    let metadata = wanted.template.and_then(|template| template.metadata.as_ref());
    let template_labels = metadata.and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    let fully_labeled = |pod: &Pod| {
        let labels = pod.metadata.labels.as_ref();
        template_labels.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    };
    let count = |wanted: &dyn Fn(&Pod) -> bool| {
        i32::try_from(active.iter().filter(|pod| wanted(pod)).count()).unwrap_or(i32::MAX)
    };
    ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: Some(count(&fully_labeled)),
        ready_replicas: Some(count(&pods::is_ready)),
        available_replicas: Some(count(&|pod| pods::is_available(pod, min_ready, now))),
        terminating_replicas: K::COUNTS_TERMINATING.then(|| i32::try_from(terminating).unwrap_or(i32::MAX)),
        observed_generation: set.meta().generation,
        conditions: set.status().and_then(|status| status.conditions.clone()),
    }
}

struct Controller<K: ReplicaKeeper> {
    client: Client,
    recorder: Recorder,
    keepers: Informer<K>,
    pods: Informer<Pod>,
}

impl<K: ReplicaKeeper> Controller<K> {
    async fn reconcile(&self, key: ObjectKey) -> kube::Result<Outcome> {
        let Some(set) = self.keepers.get(&key) else { return Ok(Outcome::Done) };
        let api: Api<NewPod> = Api::namespaced(self.client.clone(), &key.namespace);
        let mut plan = plan(&*set, &self.pods.list_in(&key.namespace), Timestamp::now());
        let uid = set.meta().uid.as_deref().unwrap_or_default();
        for pod in &plan.adopt {
            self.patch(&api, pod, owner::adoption(&*set, pod.metadata.uid.as_deref().unwrap_or_default())).await?;
        }
        for pod in &plan.release {
            self.patch(&api, pod, owner::release(uid, pod.metadata.uid.as_deref().unwrap_or_default())).await?;
        }
        let created = self.create(&api, &set, plan.create).await;
        let deleted = self.delete(&api, &set, &plan.delete).await;
        set_failure(&mut plan.status, created.as_ref().err().or(deleted.as_ref().err()));
        self.write_status(&key, &set, &plan.status).await?;
        created?;
        deleted?;
        Ok(plan.look_again.map_or(Outcome::Done, Outcome::After))
    }

    async fn patch(&self, api: &Api<NewPod>, pod: &Pod, patch: serde_json::Value) -> kube::Result<()> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        ignore_not_found(api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await).map(|_| ())
    }

    /// Creates `count` pods in batches that double, so that a refusal that would meet all of them
    /// (a quota, a webhook) is met by few.
    async fn create(&self, api: &Api<NewPod>, set: &K, count: usize) -> kube::Result<()> {
        let Some(template) = set.wanted().and_then(|wanted| wanted.template) else { return Ok(()) };
        let pod = pod_from(template, set);
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            let now = batch.min(left);
            let params = PostParams::default();
            let created = futures_util::future::join_all((0..now).map(|_| api.create(&params, &pod))).await;
            let mut failure = None;
            for result in created {
                match result {
                    Ok(pod) => {
                        let name = pod.metadata.name.clone().unwrap_or_default();
                        self.note(set, Type::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
                        self.pods.settle(&ObjectKey::of(&pod), |seen| seen.is_some()).await;
                    }
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(error) = failure {
                if !is_namespace_terminating(&error) {
                    self.note(set, Type::Warning, "FailedCreate", format!("Error creating: {}", said(&error)));
                }
                return Err(error);
            }
            left -= now;
            batch *= 2;
        }
        Ok(())
    }

    async fn delete(&self, api: &Api<NewPod>, set: &K, surplus: &[Arc<Pod>]) -> kube::Result<()> {
        let deletions = surplus.iter().map(|pod| async move {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let params = DeleteParams {
                preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
                ..DeleteParams::default()
            };
            if ignore_not_found(api.delete(name, &params).await)?.is_some() {
                self.note(set, Type::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
            }
            let gone = |seen: Option<&Pod>| seen.is_none_or(|seen| seen.metadata.deletion_timestamp.is_some());
            self.pods.settle(&ObjectKey::of(&**pod), gone).await;
            Ok(())
        });
        futures_util::future::join_all(deletions).await.into_iter().collect()
    }

    async fn write_status(&self, key: &ObjectKey, set: &K, status: &ReplicaSetStatus) -> kube::Result<()> {
        if set.status().as_deref() == Some(status) {
            return Ok(());
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        let patch = serde_json::json!({"metadata": {"uid": set.meta().uid}, "status": status});
        ignore_not_found(api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await).map(|_| ())
    }

    fn note(&self, set: &K, kind: Type, reason: &str, note: String) {
        self.recorder.record(&set.object_ref(&()), kind, reason, note);
    }
}

/// The pod that `template` describes, managed by `owner`.
fn pod_from<O: Resource<DynamicType = ()>>(template: &PodTemplateSpec, owner: &O) -> NewPod {
    let mut pod = NewPod { spec: template.spec.clone(), ..NewPod::default() };
    let template = template.metadata.clone().unwrap_or_default();
    pod.metadata.labels = template.labels;
    pod.metadata.annotations = template.annotations;
    pod.metadata.finalizers = template.finalizers;
    pod.metadata.generate_name = owner.meta().name.as_ref().map(|name| format!("{name}-"));
    pod.metadata.owner_references = Some(vec![owner::reference(owner)]);
    pod
}

/// `ReplicaFailure` says why pods could not be created or deleted, and goes when they can.
fn set_failure(status: &mut ReplicaSetStatus, error: Option<&kube::Error>) {
    const KIND: &str = "ReplicaFailure";
    let mut conditions = status.conditions.take().unwrap_or_default();
    match error {
        None => conditions.retain(|condition| condition.type_ != KIND),
        Some(error) if conditions.iter().all(|condition| condition.type_ != KIND) => {
            conditions.push(ReplicaSetCondition {
                type_: KIND.into(),
                status: "True".into(),
                reason: Some("FailedCreate".into()),
                message: Some(said(error)),
                last_transition_time: Timestamp::from_second(Timestamp::now().as_second()).ok().map(Time),
            });
        }
        Some(_) => {}
    }
    status.conditions = Some(conditions).filter(|conditions| !conditions.is_empty());
}

fn is_namespace_terminating(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403 && status.message.contains("being terminated"))
}

/// What the server said, without what the client wrapped around it.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl ReplicaKeeper for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset-controller";
    const COUNTS_TERMINATING: bool = true;

    fn wanted(&self) -> Option<Wanted<'_>> {
        self.spec.as_ref().map(|spec| Wanted {
            replicas: spec.replicas,
            min_ready_seconds: spec.min_ready_seconds,
            selector: Cow::Borrowed(&spec.selector),
            template: spec.template.as_ref(),
        })
    }

    fn status(&self) -> Option<Cow<'_, ReplicaSetStatus>> {
        self.status.as_ref().map(Cow::Borrowed)
    }
}

impl ReplicaKeeper for ReplicationController {
    const CONTROLLER: &'static str = "replication-controller";
    const COUNTS_TERMINATING: bool = false;

    fn wanted(&self) -> Option<Wanted<'_>> {
        self.spec.as_ref().map(|spec| Wanted {
            replicas: spec.replicas,
            min_ready_seconds: spec.min_ready_seconds,
            selector: Cow::Owned(LabelSelector { match_labels: spec.selector.clone(), match_expressions: None }),
            template: spec.template.as_ref(),
        })
    }

    fn status(&self) -> Option<Cow<'_, ReplicaSetStatus>> {
        let status = self.status.as_ref()?;
        let condition = |condition: &ReplicationControllerCondition| ReplicaSetCondition {
            type_: condition.type_.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            last_transition_time: condition.last_transition_time.clone(),
        };
        Some(Cow::Owned(ReplicaSetStatus {
            replicas: status.replicas,
            fully_labeled_replicas: status.fully_labeled_replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            terminating_replicas: None,
            observed_generation: status.observed_generation,
            conditions: status.conditions.as_ref().map(|conditions| conditions.iter().map(condition).collect()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(replicas: i32) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "uid": "u", "generation": 3},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                     "template": {"metadata": {"labels": {"app": "web"}}}},
        }))
        .unwrap()
    }

    fn pod(name: &str, phase: &str, deleting: bool) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": {"name": name, "labels": {"app": "web"}, "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true}]},
            "spec": {"containers": []}, "status": {"phase": phase},
        });
        if deleting {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn replaces_pods_that_finished_or_are_being_deleted() {
        let pods = [pod("a", "Running", false), pod("b", "Failed", false), pod("c", "Running", true)];
        let plan = plan(&set(3), &pods, Timestamp::now());
        assert_eq!((plan.create, plan.delete.len()), (2, 0));
        assert_eq!((plan.status.replicas, plan.status.terminating_replicas), (1, Some(1)));
    }

    #[test]
    fn deletes_what_is_too_many() {
        let pods = [pod("a", "Running", false), pod("b", "Pending", false)];
        let plan = plan(&set(1), &pods, Timestamp::now());
        assert_eq!(plan.delete[0].metadata.name.as_deref(), Some("b"));
    }

    #[test]
    fn a_set_being_deleted_neither_creates_nor_deletes() {
        let mut set = set(5);
        set.metadata.deletion_timestamp = Some(Time(Timestamp::now()));
        let plan = plan(&set, &[], Timestamp::now());
        assert_eq!(plan.create, 0);
    }

    #[test]
    fn a_replication_controller_is_kept_by_the_same_rules() {
        let keeper: ReplicationController = serde_json::from_value(json!({
            "metadata": {"name": "web", "uid": "u"},
            "spec": {"replicas": 2, "selector": {"app": "web"}},
        }))
        .unwrap();
        let plan = plan(&keeper, &[pod("a", "Running", false), pod("b", "Running", true)], Timestamp::now());
        assert_eq!((plan.create, plan.status.replicas, plan.status.terminating_replicas), (1, 1, None));
    }
}
