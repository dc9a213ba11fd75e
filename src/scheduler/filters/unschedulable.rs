//! NodeUnschedulable: a cordoned node takes no pod that does not tolerate it.

use crate::{
    api::toleration,
    scheduler::{cluster::NodeInfo, pod::PodInfo},
};

const TAINT: &str = "node.kubernetes.io/unschedulable";

pub(super) fn filter(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    let spec = node.node.as_ref().and_then(|node| node.spec.as_ref());
    let cordoned = spec.and_then(|spec| spec.unschedulable).unwrap_or(false);
    if !cordoned || toleration::any_matches(pod.tolerations(), TAINT, "", "NoSchedule") {
        return Vec::new();
    }
    vec!["node(s) were unschedulable".into()]
}
