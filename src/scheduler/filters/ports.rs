//! NodePorts: a host port can be taken once.

use crate::scheduler::{cluster::NodeInfo, pod::PodInfo};

pub(super) fn filter(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    let taken = !pod.host_ports.is_empty()
        && node.pods.values().any(|other| {
            other.host_ports.iter().any(|port| pod.host_ports.iter().any(|wanted| wanted.conflicts_with(port)))
        });
    if taken { vec!["node(s) didn't have free ports for the requested pod ports".into()] } else { Vec::new() }
}
