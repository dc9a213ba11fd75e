//! The pod garbage collector: pods on nodes that are gone, pods that are being deleted but were
//! never bound, and finished pods beyond a limit.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    client::{
        ObjectKey,
        informer::Informer,
        pod::Pod,
        queue::{Outcome, WorkQueue},
    },
    controllers::{Context, ignore_not_found, pods},
};

const NAME: &str = "pod-garbage-collector";
/// A missing node is believed to be gone after this long.
const QUARANTINE: Duration = Duration::from_secs(40);
/// Finished pods that are kept (kube-controller-manager's `--terminated-pod-gc-threshold`).
const FINISHED_LIMIT: usize = 12_500;

pub(super) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let (nodes, all) = (context.informers.of::<Node>(), context.informers.of::<Pod>());
    nodes.synced().await;
    all.synced().await;
    let nudged = queue.clone();
    all.on_change(move |delta| {
        if delta.new.is_some() {
            nudged.add(ObjectKey::of(&**delta.latest()));
        }
    });
    let (nudged, known) = (queue.clone(), all.clone());
    nodes.on_change(move |delta| {
        if delta.new.is_none() {
            let gone = delta.latest().metadata.name.clone().unwrap_or_default();
            known
                .list()
                .iter()
                .filter(|pod| pods::node_name(pod) == gone)
                .for_each(|pod| nudged.add(ObjectKey::of(&**pod)));
        }
    });
    let collector = Collector { client: context.client(NAME), nodes, pods: all, missing: Mutex::default() };
    queue.run(NAME, 8, |key| collector.reconcile(key)).await;
}

struct Collector {
    client: Client,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    /// Since when each missing node has been missing.
    missing: Mutex<HashMap<String, Instant>>,
}

impl Collector {
    async fn reconcile(&self, key: ObjectKey) -> kube::Result<Outcome> {
        let Some(pod) = self.pods.get(&key) else { return Ok(Outcome::Done) };
        let node = pods::node_name(&pod);
        if node.is_empty() {
            if pod.metadata.deletion_timestamp.is_some() {
                self.delete(&key, &pod, "").await?;
            }
        } else if let Some(left) = self.quarantine(node) {
            if !left.is_zero() {
                return Ok(Outcome::After(left));
            }
            let message = "PodGC: node no longer exists";
            self.delete(&key, &pod, message).await?;
        }
        if pods::is_finished(&pod) {
            self.trim().await?;
        }
        Ok(Outcome::Done)
    }

    /// How long `node` must still be missing before it counts as gone; `None` if it is there.
    fn quarantine(&self, node: &str) -> Option<Duration> {
        let mut missing = self.missing.lock();
        if self.nodes.get(&ObjectKey::new("", node)).is_some() {
            missing.remove(node);
            return None;
        }
        let since = *missing.entry(node.to_owned()).or_insert_with(Instant::now);
        Some(QUARANTINE.saturating_sub(since.elapsed()))
    }

    /// Deletes the oldest finished pods beyond the limit.
    async fn trim(&self) -> kube::Result<()> {
        let mut finished: Vec<Arc<Pod>> = self
            .pods
            .list()
            .into_iter()
            .filter(|pod| pods::is_finished(pod) && pod.metadata.deletion_timestamp.is_none())
            .collect();
        let surplus = finished.len().saturating_sub(FINISHED_LIMIT);
        finished.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
        for pod in finished.into_iter().take(surplus) {
            self.delete(&ObjectKey::of(&*pod), &pod, "").await?;
        }
        Ok(())
    }

    /// Deletes at once: there is no kubelet to wait for. A pod that may have been running is first
    /// marked failed, with `message`.
    async fn delete(&self, key: &ObjectKey, pod: &Pod, message: &str) -> kube::Result<()> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        if !message.is_empty() && !pods::is_finished(pod) {
            let patch = serde_json::json!({"metadata": {"uid": pod.metadata.uid}, "status": {"phase": "Failed",
                "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": message,
                    "lastTransitionTime": k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::now())}]}});
            ignore_not_found(api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await)?;
        }
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        ignore_not_found(api.delete(&key.name, &params).await).map(|_| ())
    }
}
