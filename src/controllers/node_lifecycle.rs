//! The node lifecycle controller: notices nodes that have gone silent, and turns a node's state into
//! the taints that keep pods away ([`super::taint_eviction`] then removes those that are there).

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, NodeCondition, Taint},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    client::{
        ObjectKey,
        events::{Recorder, Type},
        informer::Informer,
        pod::Pod,
        queue::{Outcome, WorkQueue},
    },
    controllers::{Context, ignore_not_found, pods},
};

const NAME: &str = "node-controller";
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// A node that has been silent for this long is unreachable
/// (kube-controller-manager's `--node-monitor-grace-period`).
const GRACE: Duration = Duration::from_secs(50);
/// Conditions that nobody reports any more when the kubelet is silent.
const REPORTED: &[&str] = &["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that mean a taint when they are true.
const PRESSURES: &[(&str, &str)] = &[
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

pub(super) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let (nodes, leases) = (context.informers.of::<Node>(), context.informers.of::<Lease>());
    nodes.synced().await;
    leases.synced().await;
    let nudged = queue.clone();
    nodes.on_change(move |delta| nudged.add(delta.latest().metadata.name.clone().unwrap_or_default()));
    let nudged = queue.clone();
    leases.on_change(move |delta| {
        if delta.latest().metadata.namespace.as_deref() == Some(LEASE_NAMESPACE) {
            nudged.add(delta.latest().metadata.name.clone().unwrap_or_default());
        }
    });
    let controller = Controller {
        client: context.client(NAME),
        recorder: context.recorder(NAME),
        nodes,
        leases,
        pods: context.informers.of::<Pod>(),
        beats: Mutex::default(),
    };
    queue.run(NAME, 8, |name| controller.reconcile(name)).await;
}

/// The last sign of life of a node: what it said, and when that was first seen here. The node's own
/// clock is not believed.
#[derive(Debug, Clone, PartialEq)]
struct Beat {
    renewed: Option<MicroTime>,
    reported: Option<Time>,
    seen: Instant,
}

struct Controller {
    client: Client,
    recorder: Recorder,
    nodes: Informer<Node>,
    leases: Informer<Lease>,
    pods: Informer<Pod>,
    beats: Mutex<HashMap<String, Beat>>,
}

impl Controller {
    async fn reconcile(&self, name: String) -> kube::Result<Outcome> {
        let Some(node) = self.nodes.get(&ObjectKey::new("", &*name)) else {
            self.beats.lock().remove(&name);
            return Ok(Outcome::Done);
        };
        let silent = self.silence(&name, &node);
        if silent >= GRACE && condition(&node, "Ready").is_none_or(|ready| ready.status != "Unknown") {
            self.mark_unknown(&name, &node).await?;
            // The changed node comes back through its informer.
            return Ok(Outcome::Done);
        }
        self.write_taints(&name, &node).await?;
        if condition(&node, "Ready").is_some_and(|ready| ready.status != "True") {
            self.mark_pods_not_ready(&name).await?;
        }
        Ok(if silent >= GRACE { Outcome::Done } else { Outcome::After(GRACE - silent) })
    }

    /// How long ago the node last gave a sign of life.
    fn silence(&self, name: &str, node: &Node) -> Duration {
        let lease = self.leases.get(&ObjectKey::new(LEASE_NAMESPACE, name));
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.clone());
        let reported = condition(node, "Ready").and_then(|ready| ready.last_heartbeat_time.clone());
        let mut beats = self.beats.lock();
        let now = Instant::now();
        let beat = beats.entry(name.to_owned()).or_insert(Beat { renewed: None, reported: None, seen: now });
        let unknown = condition(node, "Ready").is_some_and(|ready| ready.status == "Unknown");
        // What this controller itself wrote about a silent node is no sign of life.
        if beat.renewed != renewed || beat.reported != reported && !unknown {
            *beat = Beat { renewed, reported, seen: now };
        }
        now.duration_since(beat.seen)
    }

    async fn mark_unknown(&self, name: &str, node: &Node) -> kube::Result<()> {
        let now = Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default());
        let conditions: Vec<_> = REPORTED
            .iter()
            .map(|kind| match condition(node, kind) {
                Some(_) => json!({"type": kind, "status": "Unknown", "reason": "NodeStatusUnknown",
                    "message": "Kubelet stopped posting node status.", "lastTransitionTime": now}),
                None => json!({"type": kind, "status": "Unknown", "reason": "NodeStatusNeverUpdated",
                    "message": "Kubelet never posted node status.", "lastTransitionTime": now, "lastHeartbeatTime": now}),
            })
            .collect();
        let patch = Patch::Strategic(json!({"status": {"conditions": conditions}}));
        let api: Api<Node> = Api::all(self.client.clone());
        ignore_not_found(api.patch_status(name, &PatchParams::default(), &patch).await)?;
        let note = format!("Node {name} status is now: NodeNotReady");
        self.recorder.record(&node.object_ref(&()), Type::Normal, "NodeNotReady", note);
        Ok(())
    }

    async fn write_taints(&self, name: &str, node: &Node) -> kube::Result<()> {
        let present = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        let wanted = taints(node, &present, Timestamp::now());
        if wanted == present {
            return Ok(());
        }
        // The whole list is replaced, so it must be the one that was read.
        let patch =
            json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": wanted}});
        let api: Api<Node> = Api::all(self.client.clone());
        ignore_not_found(api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await).map(|_| ())
    }

    /// Pods on a silent or failed node no longer take traffic.
    async fn mark_pods_not_ready(&self, node: &str) -> kube::Result<()> {
        let on_node = self.pods.list().into_iter().filter(|pod| pods::node_name(pod) == node && pods::is_ready(pod));
        for pod in on_node {
            let key = ObjectKey::of(&*pod);
            let now = Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default());
            let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": now}]}});
            let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
            ignore_not_found(api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await)?;
            self.recorder.record(&pod.object_ref(&()), Type::Warning, "NodeNotReady", "Node is not ready");
        }
        Ok(())
    }
}

fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_deref()?.iter().find(|condition| condition.type_ == kind)
}

/// The taints the node should have: those that follow from its state, and all that are others'.
fn taints(node: &Node, present: &[Taint], now: Timestamp) -> Vec<Taint> {
    let mut due: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    let ready = condition(node, "Ready").map(|ready| ready.status.as_str());
    for effect in ["NoSchedule", "NoExecute"] {
        due.insert((NOT_READY, effect), ready == Some("False"));
        due.insert((UNREACHABLE, effect), ready == Some("Unknown"));
    }
    // A node that never reported keeps the taint it registered with.
    if ready.is_none() {
        due.retain(|(key, _), _| *key != NOT_READY);
    }
    for (kind, key) in PRESSURES {
        due.insert((key, "NoSchedule"), condition(node, kind).is_some_and(|condition| condition.status == "True"));
    }
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    due.insert((UNSCHEDULABLE, "NoSchedule"), cordoned);
    let mut taints: Vec<Taint> = present
        .iter()
        .filter(|taint| due.get(&(taint.key.as_str(), taint.effect.as_str())) != Some(&false))
        .cloned()
        .collect();
    for ((key, effect), _) in due.into_iter().filter(|(_, due)| *due) {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            let time_added = Timestamp::from_second(now.as_second()).ok().map(Time);
            taints.push(Taint { key: key.into(), effect: effect.into(), time_added, value: None });
        }
    }
    taints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ready: &str, taints: serde_json::Value) -> (Node, Vec<Taint>) {
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
        .unwrap();
        let taints = node.spec.as_ref().unwrap().taints.clone().unwrap_or_default();
        (node, taints)
    }

    fn keys(taints: &[Taint]) -> Vec<String> {
        taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect()
    }

    #[test]
    fn a_silent_node_is_tainted_and_a_healthy_one_freed() {
        let (silent, present) = node("Unknown", json!([{"key": "mine", "effect": "NoSchedule"}]));
        let tainted = taints(&silent, &present, Timestamp::now());
        let expected = [
            "mine:NoSchedule",
            "node.kubernetes.io/unreachable:NoExecute",
            "node.kubernetes.io/unreachable:NoSchedule",
        ];
        assert_eq!(keys(&tainted), expected);
        let (healthy, _) = node("True", json!([]));
        assert_eq!(keys(&taints(&healthy, &tainted, Timestamp::now())), ["mine:NoSchedule"]);
    }
}
