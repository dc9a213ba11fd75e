//! Nodes: the machines. The kubelet writes their status and renews a Lease beside them; the
//! controllers give them their pod network and taint them when they fall silent.

mod validation;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeStatus, NodeSystemInfo};
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    kind::{Column, Kind, Names, Subresource},
    status::Cause,
};

/// Labels of this prefix name a node's roles.
pub const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
/// Where the server keeps the hashes of node secrets.
pub const SECRET_NAMESPACE: &str = "kube-system";
/// The older label that names a node's role.
pub const ROLE_LABEL: &str = "kubernetes.io/role";

/// The Secret that keeps a node's name for the machine that joined under it first.
pub fn secret_name(node: &str) -> String {
    format!("{node}.node-secret.nauplius")
}

/// `v1.Node`
pub struct NodeKind;

impl Kind for NodeKind {
    type Object = Node;
    const NAMES: Names = Names {
        short_names: &["no"],
        subresources: &[Subresource::Status, Subresource::Custom("proxy")],
        ..names::cluster(names::CORE, "Node", "nodes", "node")
    };
    const FIELDS: &'static [&'static str] = &["spec.unschedulable"];
    /// Machines register themselves with what they are.
    const STATUS_ON_CREATE: bool = true;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Status", "string", "Ready or not, and whether new pods are kept away."),
        cells::column("Roles", "string", "Roles, from the node-role labels."),
        cells::AGE,
        cells::column("Version", "string", "Version of the kubelet."),
        cells::wide("Internal-IP", "string", "First address of type InternalIP."),
        cells::wide("External-IP", "string", "First address of type ExternalIP."),
        cells::wide("OS-Image", "string", "Operating system."),
        cells::wide("Kernel-Version", "string", "Version of the kernel."),
        cells::wide("Container-Runtime", "string", "Name and version of the container runtime."),
    ];

    /// Of the two fields of the pod network, the older one decides where both are given.
    fn default(node: &mut Node) {
        let spec = node.spec.get_or_insert_default();
        spec.pod_cidr = spec.pod_cidr.take().filter(|cidr| !cidr.is_empty());
        let first = spec.pod_cidrs.iter().flatten().next();
        match &spec.pod_cidr {
            None => spec.pod_cidr = first.cloned().filter(|cidr| !cidr.is_empty()),
            Some(cidr) if first != Some(cidr) => spec.pod_cidrs = Some(vec![cidr.clone()]),
            Some(_) => {}
        }
        let status = node.status.get_or_insert_default();
        if status.allocatable.is_none() {
            status.allocatable = status.capacity.clone();
        }
    }

    /// Kubelets are no longer configured through their nodes.
    fn prepare_for_create(node: &mut Node) {
        node.spec.get_or_insert_default().config_source = None;
        node.status.get_or_insert_default().config = None;
    }

    fn prepare_for_update(new: &mut Node, old: &Node) {
        if old.spec.as_ref().is_none_or(|spec| spec.config_source.is_none()) {
            new.spec.get_or_insert_default().config_source = None;
        }
    }

    fn prepare_for_status_update(new: &mut Node, old: &Node) {
        if old.status.as_ref().is_none_or(|status| status.config.is_none()) {
            new.status.get_or_insert_default().config = None;
        }
    }

    fn validate(node: &Node) -> Vec<Cause> {
        validation::validate(node)
    }

    fn validate_update(new: &Node, old: &Node) -> Vec<Cause> {
        validation::validate_update(new, old)
    }

    fn validate_status_update(new: &Node, old: &Node) -> Vec<Cause> {
        validation::validate_update(new, old)
    }

    fn warnings(new: &Node, _old: Option<&Node>) -> Vec<String> {
        validation::warnings(new)
    }

    fn field_values(node: &Node) -> Vec<String> {
        vec![unschedulable(node).to_string()]
    }

    fn cells(node: &Node, now: Timestamp) -> Vec<Value> {
        let status = node.status.clone().unwrap_or_default();
        let info = status.node_info.clone().unwrap_or_default();
        let mut row = vec![
            cells::name(&node.metadata),
            json!(condition(node)),
            json!(roles(node)),
            cells::age(&node.metadata, now),
            json!(info.kubelet_version),
            json!(address(&status, "InternalIP")),
            json!(address(&status, "ExternalIP")),
        ];
        row.extend(system(&info).into_iter().map(|text| json!(text)));
        row
    }
}

fn unschedulable(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)
}

/// `Ready`, `NotReady` or `Unknown`, and `SchedulingDisabled` for a cordoned node.
fn condition(node: &Node) -> String {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    let mut words = vec![match ready.map(|condition| condition.status.as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }];
    if unschedulable(node) {
        words.push("SchedulingDisabled");
    }
    words.join(",")
}

fn roles(node: &Node) -> String {
    let labels = node.metadata.labels.iter().flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) if !role.is_empty() => Some(role),
            _ => (key == ROLE_LABEL && !value.is_empty()).then_some(value.as_str()),
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    cells::list(roles)
}

fn address<'a>(status: &'a NodeStatus, kind: &str) -> &'a str {
    let addresses = status.addresses.as_deref().unwrap_or_default();
    addresses.iter().find(|address| address.type_ == kind).map_or(cells::NONE, |address| address.address.as_str())
}

fn system(info: &NodeSystemInfo) -> [&str; 3] {
    [&info.os_image, &info.kernel_version, &info.container_runtime_version]
        .map(|text| if text.is_empty() { cells::UNKNOWN } else { text.as_str() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    fn row(object: Value) -> Vec<Value> {
        let strategy = descriptor::<NodeKind>().strategy;
        strategy.cells(&strategy.decode(object).unwrap(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_cordoned_node_shows_that_it_takes_no_pods() {
        let cells = row(json!({
            "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "edge"}},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.7"}],
                "nodeInfo": {"kubeletVersion": "v1.36.0"},
            },
        }));
        assert_eq!(cells[1], "Ready,SchedulingDisabled");
        assert_eq!(cells[2], "control-plane,edge");
        assert_eq!(cells[4], "v1.36.0");
        assert_eq!(cells[5], "10.0.0.7");
        assert_eq!(cells[6], "<none>");
    }

    #[test]
    fn a_node_without_conditions_is_unknown() {
        assert_eq!(row(json!({"metadata": {"name": "n"}}))[1], "Unknown");
    }

    #[test]
    fn a_machine_registers_with_its_status_and_without_a_configuration() {
        let strategy = descriptor::<NodeKind>().strategy;
        let node = json!({"metadata": {"name": "n"}, "status": {"phase": "Running", "config": {"error": "x"}}});
        let created = strategy.prepare_for_create(node).unwrap();
        assert_eq!((&created["status"]["phase"], &created["status"]["config"]), (&json!("Running"), &Value::Null));
    }

    #[test]
    fn a_pod_network_is_given_once() {
        let strategy = descriptor::<NodeKind>().strategy;
        let node = |cidr: &str| strategy.decode(json!({"metadata": {"name": "n"}, "spec": {"podCIDR": cidr}})).unwrap();
        assert_eq!(node("10.42.0.0/24")["spec"]["podCIDRs"], json!(["10.42.0.0/24"]));
        let both = json!({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["fd00::/64"]}});
        assert_eq!(strategy.decode(both).unwrap()["spec"]["podCIDRs"], json!(["10.0.0.0/24"]));
        assert!(strategy.validate_update(&node("10.42.0.0/24"), &node("")).is_empty());
        let causes = strategy.validate_update(&node("10.42.1.0/24"), &node("10.42.0.0/24"));
        assert_eq!(causes[0].message, "Forbidden: node updates may not change podCIDR except from \"\" to valid");
    }
}
