//! The Node object, put together from settings and facts; pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus,
        NodeSwapStatus, NodeSystemInfo,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, Time},
    },
};

use crate::{
    image::Image,
    kubelet::{
        Config,
        node::facts::{DISK_RESERVE_PERCENT, Facts, MEMORY_RESERVE_BYTES, Pressure},
    },
};

/// The version of Kubernetes that this is, with ours.
pub const VERSION: &str = "v1.36.0+nauplius1";
/// Most images that status lists (upstream's `nodeStatusMaxImages`).
const IMAGE_LIMIT: usize = 50;
/// Most names per image.
const IMAGE_NAME_LIMIT: usize = 5;

/// The Node as it registers.
pub fn registration(config: &Config, facts: &Facts) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(config.node_name.clone()),
            labels: Some(labels(config, facts)),
            annotations: Some(BTreeMap::from([(
                "volumes.kubernetes.io/controller-managed-attach-detach".to_owned(),
                "true".to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints: (!config.taints.is_empty()).then(|| config.taints.clone()),
            ..NodeSpec::default()
        }),
        status: None,
    }
}

/// Labels that this node keeps on itself.
pub fn labels(config: &Config, facts: &Facts) -> BTreeMap<String, String> {
    let own = [
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", facts.architecture),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", facts.architecture),
        ("node.kubernetes.io/instance-type", "nauplius"),
    ];
    let own = own.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    own.chain(config.labels.clone()).collect()
}

/// What the node has in all.
pub fn capacity(config: &Config, facts: &Facts) -> BTreeMap<String, Quantity> {
    resources(config, facts.cpus, facts.memory_bytes, facts.disk_bytes)
}

/// What the node has for pods: all but what must stay free (upstream's default eviction limits).
pub fn allocatable(config: &Config, facts: &Facts) -> BTreeMap<String, Quantity> {
    let disk = facts.disk_bytes / 100 * (100 - DISK_RESERVE_PERCENT);
    let mut resources = resources(config, facts.cpus, facts.memory_bytes.saturating_sub(MEMORY_RESERVE_BYTES), disk);
    // Plain bytes: a share of the disk is rarely a whole number of KiB.
    resources.insert("ephemeral-storage".to_owned(), Quantity(disk.to_string()));
    resources
}

/// What may change from one status to the next.
pub struct Observed<'a> {
    /// What is scarce.
    pub pressure: Pressure,
    /// Whether pods can be attached to a network, or why not.
    pub network: Result<(), String>,
    /// Images that are here.
    pub images: &'a [Image],
    /// The time.
    pub now: Time,
}

/// The node's status; transition times are taken over from `before`.
pub fn status(config: &Config, facts: &Facts, observed: &Observed<'_>, before: &NodeStatus) -> NodeStatus {
    NodeStatus {
        addresses: Some(addresses(config)),
        capacity: Some(capacity(config, facts)),
        allocatable: Some(allocatable(config, facts)),
        conditions: Some(conditions(observed, before.conditions.as_deref().unwrap_or_default())),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(config.port) }),
        }),
        images: Some(images(observed.images)),
        node_info: Some(system_info(facts)),
        ..NodeStatus::default()
    }
}

fn resources(config: &Config, cpus: usize, memory_bytes: u64, disk_bytes: u64) -> BTreeMap<String, Quantity> {
    BTreeMap::from([
        ("cpu".to_owned(), Quantity(cpus.to_string())),
        ("memory".to_owned(), Quantity(format!("{}Ki", memory_bytes / 1024))),
        ("ephemeral-storage".to_owned(), Quantity(format!("{}Ki", disk_bytes / 1024))),
        ("pods".to_owned(), Quantity(config.max_pods.to_string())),
    ])
}

fn addresses(config: &Config) -> Vec<NodeAddress> {
    let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
    let internal = config.node_ips.iter().map(|ip| address("InternalIP", ip.to_string()));
    internal.chain([address("Hostname", config.node_name.clone())]).collect()
}

fn conditions(observed: &Observed<'_>, before: &[NodeCondition]) -> Vec<NodeCondition> {
    let Pressure { memory, disk, pids } = observed.pressure;
    let pressure = |kind, is: bool, yes: (&str, &str), no: (&str, &str)| {
        let (reason, message) = if is { yes } else { no };
        condition(kind, is, reason, message.to_owned(), observed, before)
    };
    let (ready, reason, message) = match &observed.network {
        Ok(()) => (true, "KubeletReady", "kubelet is posting ready status".to_owned()),
        Err(why) => {
            let message = format!(
                "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:{why}"
            );
            (false, "KubeletNotReady", message)
        }
    };
    vec![
        pressure(
            "MemoryPressure",
            memory,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        pressure(
            "DiskPressure",
            disk,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        pressure(
            "PIDPressure",
            pids,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        condition("Ready", ready, reason, message, observed, before),
    ]
}

fn condition(
    kind: &str,
    is: bool,
    reason: &str,
    message: String,
    observed: &Observed<'_>,
    before: &[NodeCondition],
) -> NodeCondition {
    let status = if is { "True" } else { "False" };
    let same = before.iter().find(|condition| condition.type_ == kind && condition.status == status);
    NodeCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_heartbeat_time: Some(observed.now.clone()),
        last_transition_time: same
            .and_then(|condition| condition.last_transition_time.clone())
            .or_else(|| Some(observed.now.clone())),
    }
}

/// The largest images first, as upstream lists them.
fn images(images: &[Image]) -> Vec<ContainerImage> {
    let mut sorted: Vec<&Image> = images.iter().collect();
    sorted.sort_by(|left, right| right.size_bytes.cmp(&left.size_bytes).then_with(|| left.id.cmp(&right.id)));
    let listed = sorted.into_iter().take(IMAGE_LIMIT).map(|image| ContainerImage {
        names: Some(image.digests.iter().chain(&image.tags).take(IMAGE_NAME_LIMIT).cloned().collect()),
        size_bytes: i64::try_from(image.size_bytes).ok(),
    });
    listed.collect()
}

fn system_info(facts: &Facts) -> NodeSystemInfo {
    NodeSystemInfo {
        architecture: facts.architecture.to_owned(),
        boot_id: facts.boot_id.clone(),
        container_runtime_version: format!("nauplius://{}", env!("CARGO_PKG_VERSION")),
        kernel_version: facts.kernel.clone(),
        kube_proxy_version: String::new(),
        kubelet_version: VERSION.to_owned(),
        machine_id: facts.machine_id.clone(),
        operating_system: "linux".to_owned(),
        os_image: facts.os_image.clone(),
        swap: (facts.swap_bytes > 0).then(|| NodeSwapStatus { capacity: i64::try_from(facts.swap_bytes).ok() }),
        system_uuid: facts.system_uuid.clone(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn observed(network: Result<(), String>, second: i64) -> Observed<'static> {
        let now = Time(Timestamp::from_second(second).unwrap());
        Observed { pressure: Pressure::default(), network, images: &[], now }
    }

    #[test]
    fn a_node_is_ready_once_pods_have_a_network() {
        let config = Config::new("edge", vec!["192.0.2.1".parse().unwrap()]);
        let facts = Facts { cpus: 4, memory_bytes: 1 << 30, disk_bytes: 1 << 30, ..Facts::default() };
        let first = status(&config, &facts, &observed(Err("no addresses".into()), 1), &NodeStatus::default());
        let ready = |status: &NodeStatus| status.conditions.as_ref().unwrap().last().unwrap().clone();
        assert_eq!(
            (ready(&first).status.as_str(), ready(&first).reason.as_deref()),
            ("False", Some("KubeletNotReady"))
        );
        let second = status(&config, &facts, &observed(Ok(()), 2), &first);
        assert_eq!(ready(&second).status, "True");
        let third = status(&config, &facts, &observed(Ok(()), 3), &second);
        assert_eq!(ready(&third).last_transition_time, ready(&second).last_transition_time);
        assert_ne!(ready(&third).last_heartbeat_time, ready(&second).last_heartbeat_time);
        assert_eq!(third.allocatable.unwrap()["memory"].0, format!("{}Ki", ((1 << 30) - (100 << 20)) / 1024));
    }

    #[test]
    fn labels_of_the_user_are_added() {
        let mut config = Config::new("edge", vec![]);
        config.labels.insert("zone".into(), "attic".into());
        let labels = labels(&config, &Facts::default());
        assert_eq!(labels["kubernetes.io/hostname"], "edge");
        assert_eq!(labels["zone"], "attic");
    }
}
