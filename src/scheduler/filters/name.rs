//! NodeName: a pod that names its node runs nowhere else.

use crate::scheduler::{cluster::NodeInfo, pod::PodInfo};

pub(super) fn filter(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    match pod.node() {
        Some(name) if name != node.name => vec!["node(s) didn't match the requested node name".into()],
        _ => Vec::new(),
    }
}
