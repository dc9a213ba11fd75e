//! Taint eviction: a NoExecute taint removes the pods that do not tolerate it, at once or when their
//! tolerations run out.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, Taint},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;

use crate::{
    api::toleration,
    client::{
        ObjectKey,
        events::{Recorder, Type},
        informer::Informer,
        pod::Pod,
        queue::{Outcome, WorkQueue},
    },
    controllers::{Context, ignore_not_found, pods},
};

const NAME: &str = "taint-eviction-controller";

pub(super) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let (nodes, all) = (context.informers.of::<Node>(), context.informers.of::<Pod>());
    nodes.synced().await;
    all.synced().await;
    let (nudged, known) = (queue.clone(), all.clone());
    nodes.on_change(move |delta| {
        let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone());
        if delta.old.and_then(|node| taints(node)) != delta.new.and_then(|node| taints(node)) {
            let name = delta.latest().metadata.name.clone().unwrap_or_default();
            known
                .list()
                .iter()
                .filter(|pod| pods::node_name(pod) == name)
                .for_each(|pod| nudged.add(ObjectKey::of(&**pod)));
        }
    });
    let nudged = queue.clone();
    all.on_change(move |delta| {
        let spec = |pod: &Pod| pod.spec.as_ref().map(|spec| (spec.node_name.clone(), spec.tolerations.clone()));
        if delta.new.is_some() && delta.old.and_then(|pod| spec(pod)) != delta.new.and_then(|pod| spec(pod)) {
            nudged.add(ObjectKey::of(&**delta.latest()));
        }
    });
    let controller = Controller { client: context.client(NAME), recorder: context.recorder(NAME), nodes, pods: all };
    queue.run(NAME, 8, |key| controller.reconcile(key)).await;
}

/// Until when a pod may stay on a node with `taints`: `None` for ever, zero for not at all.
fn may_stay(pod: &Pod, taints: &[Taint], now: Timestamp) -> Option<Duration> {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    taints
        .iter()
        .filter(|taint| taint.effect == "NoExecute")
        .filter_map(|taint| {
            let value = taint.value.as_deref().unwrap_or_default();
            let matching = tolerations
                .iter()
                .filter(|toleration| toleration::matches(toleration, &taint.key, value, &taint.effect));
            let seconds: Vec<Option<i64>> = matching.map(|toleration| toleration.toleration_seconds).collect();
            if seconds.is_empty() {
                return Some(Duration::ZERO);
            }
            let shortest = seconds.into_iter().flatten().min()?.max(0);
            let since = taint.time_added.as_ref().map_or(0, |added| now.duration_since(added.0).as_secs());
            Some(Duration::from_secs(u64::try_from(shortest - since).unwrap_or(0)))
        })
        .min()
}

struct Controller {
    client: Client,
    recorder: Recorder,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> kube::Result<Outcome> {
        let Some(pod) = self.pods.get(&key).filter(|pod| pod.metadata.deletion_timestamp.is_none()) else {
            return Ok(Outcome::Done);
        };
        let node = self.nodes.get(&ObjectKey::new("", pods::node_name(&pod)));
        let taints = node.and_then(|node| node.spec.as_ref()?.taints.clone()).unwrap_or_default();
        match may_stay(&pod, &taints, Timestamp::now()) {
            None => Ok(Outcome::Done),
            Some(left) if left.is_zero() => self.evict(&key, &pod).await.map(|()| Outcome::Done),
            Some(left) => Ok(Outcome::After(left)),
        }
    }

    async fn evict(&self, key: &ObjectKey, pod: &Pod) -> kube::Result<()> {
        let note = format!("Marking for deletion Pod {key}");
        self.recorder.record(&pod.object_ref(&()), Type::Normal, "TaintManagerEviction", note);
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": Time(Timestamp::now())}]}});
        ignore_not_found(api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await)?;
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        ignore_not_found(api.delete(&key.name, &params).await).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_stays_as_long_as_its_shortest_matching_toleration() {
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        let taints: Vec<Taint> = serde_json::from_value(json!([
            {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}]))
        .unwrap();
        let pod = |tolerations: serde_json::Value| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": [], "tolerations": tolerations}})).unwrap()
        };
        let tolerating = |seconds: serde_json::Value| json!([{"operator": "Exists", "tolerationSeconds": seconds}]);
        assert_eq!(may_stay(&pod(json!([])), &taints, now), Some(Duration::ZERO));
        assert_eq!(may_stay(&pod(tolerating(json!(300))), &taints, now), Some(Duration::from_secs(240)));
        assert_eq!(may_stay(&pod(tolerating(json!(30))), &taints, now), Some(Duration::ZERO));
        assert_eq!(may_stay(&pod(tolerating(json!(null))), &taints, now), None);
    }
}
