//! TaintToleration: a node's NoSchedule and NoExecute taints keep away pods that do not tolerate
//! them; PreferNoSchedule only makes the node less attractive.

use k8s_openapi::api::core::v1::Taint;

use crate::{
    api::toleration,
    scheduler::{cluster::NodeInfo, pod::PodInfo},
};

pub(super) fn filter(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    let refused = taints(node)
        .iter()
        .filter(|taint| taint.effect == "NoSchedule" || taint.effect == "NoExecute")
        .any(|taint| !tolerated(pod, taint));
    if refused { vec!["node(s) had untolerated taint(s)".into()] } else { Vec::new() }
}

/// How many PreferNoSchedule taints of the node the pod does not tolerate.
pub fn untolerated_preferences(pod: &PodInfo, node: &NodeInfo) -> usize {
    taints(node).iter().filter(|taint| taint.effect == "PreferNoSchedule" && !tolerated(pod, taint)).count()
}

fn taints(node: &NodeInfo) -> &[Taint] {
    let spec = node.node.as_ref().and_then(|node| node.spec.as_ref());
    spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

fn tolerated(pod: &PodInfo, taint: &Taint) -> bool {
    toleration::any_matches(pod.tolerations(), &taint.key, taint.value.as_deref().unwrap_or_default(), &taint.effect)
}
