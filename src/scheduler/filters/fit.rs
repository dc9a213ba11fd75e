//! NodeResourcesFit: what the pod requests must be left on the node.

use crate::scheduler::{cluster::NodeInfo, pod::PodInfo};

pub(super) fn filter(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    let mut reasons = Vec::new();
    let count = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
    if count + 1 > node.pod_limit {
        reasons.push("Too many pods".into());
    }
    let lacks = |wanted: i64, allocatable: i64, requested: i64| wanted > 0 && wanted > allocatable - requested;
    if lacks(pod.requests.milli_cpu, node.allocatable.milli_cpu, node.requested.milli_cpu) {
        reasons.push("Insufficient cpu".into());
    }
    if lacks(pod.requests.memory_bytes, node.allocatable.memory_bytes, node.requested.memory_bytes) {
        reasons.push("Insufficient memory".into());
    }
    for (name, wanted) in &pod.requests.others {
        let allocatable = node.allocatable.others.get(name).copied().unwrap_or(0);
        let requested = node.requested.others.get(name).copied().unwrap_or(0);
        if lacks(*wanted, allocatable, requested) {
            reasons.push(format!("Insufficient {name}"));
        }
    }
    reasons
}
