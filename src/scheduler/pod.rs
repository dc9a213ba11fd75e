//! A pod as the scheduler sees it: everything that filters and scores ask for, worked out once.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::Toleration;

use crate::{
    client::{ObjectKey, pod::Pod},
    scheduler::resources::{self, Amounts},
};

/// A port on the host that a pod takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// Address it listens on; `0.0.0.0` for all.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Port number.
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be on one node.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        const ALL: &str = "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || self.ip == ALL || other.ip == ALL)
    }
}

/// A pod, taken apart for scheduling.
#[derive(Debug, Clone)]
pub struct PodInfo {
    /// Namespace and name.
    pub key: ObjectKey,
    /// The pod itself.
    pub pod: Arc<Pod>,
    /// What must fit.
    pub requests: Amounts,
    /// What is compared between nodes.
    pub assumed: Amounts,
    /// Host ports it takes.
    pub host_ports: BTreeSet<HostPort>,
    /// `spec.priority`.
    pub priority: i32,
}

impl PodInfo {
    /// Takes `pod` apart.
    pub fn new(pod: Arc<Pod>) -> Self {
        Self {
            key: ObjectKey::of(&*pod),
            requests: resources::requests(&pod),
            assumed: resources::assumed_requests(&pod),
            host_ports: host_ports(&pod),
            priority: pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0),
            pod,
        }
    }

    /// The UID, empty if there is none.
    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The taints that it bears.
    pub fn tolerations(&self) -> &[Toleration] {
        self.pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default()
    }

    /// The node the pod is bound to.
    pub fn node(&self) -> Option<&str> {
        self.pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
    }
}

/// Whether the pod will never run again, so that it holds no resources.
pub fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn host_ports(pod: &Pod) -> BTreeSet<HostPort> {
    let Some(spec) = &pod.spec else { return BTreeSet::new() };
    let sidecars =
        spec.init_containers.iter().flatten().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let ip = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".into());
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
            Some(HostPort { ip, protocol, port: number })
        })
        .collect()
}
