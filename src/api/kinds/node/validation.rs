//! What is wrong with a node (`ValidateNode` and `ValidateNodeUpdate` of core's validation). Upstream shows objects of
//! its internal types, whose fields begin with capitals, and looks for taints among metadata.

use std::{collections::BTreeMap, net::IpAddr};

use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::{name, network, resource, value},
};
use k8s_openapi::{
    api::core::v1::{ConfigMapNodeConfigSource, Node, NodeConfigSource, NodeSpec, NodeStatus, Taint},
    apimachinery::pkg::api::resource::Quantity,
};

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Problems of a node, beside those of metadata.
pub fn validate(node: &Node) -> Vec<Cause> {
    let (spec, status) = parts(node);
    let mut causes = taints(spec.taints.as_deref().unwrap_or_default());
    causes.extend(amounts(&status));
    let swap = status.node_info.as_ref().and_then(|info| info.swap.as_ref()?.capacity);
    let path = Path::new("metadata.nodeSwapStatus.capacity");
    causes.extend(swap.map(|bytes| field::invalid_each(&path, bytes, &value::positive(bytes))).unwrap_or_default());
    causes.extend(pod_cidrs(spec.pod_cidrs.as_deref().unwrap_or_default(), &Path::new("spec.podCIDRs")));
    causes
}

/// Problems of a change of a node or of its status.
pub fn validate_update(new: &Node, old: &Node) -> Vec<Cause> {
    let ((spec, status), (old, _)) = (parts(new), parts(old));
    let mut causes = amounts(&status);
    causes.extend(addresses(&status));
    causes.extend(networks_of_old(&spec, &old));
    if old.provider_id.as_ref().is_some_and(|id| !id.is_empty()) && spec.provider_id != old.provider_id {
        let detail = "node updates may not change providerID except from \"\" to valid";
        causes.push(field::forbidden(&Path::new("spec.providerID"), detail));
    }
    if let Some(source) = &spec.config_source {
        causes.extend(config_source(source, false, &Path::new("spec.configSource")));
    }
    if let Some(config) = &status.config {
        for (name, source) in
            [("assigned", &config.assigned), ("active", &config.active), ("lastKnownGood", &config.last_known_good)]
        {
            let path = Path::new("status.config").child(name);
            causes.extend(source.iter().flat_map(|source| config_source(source, true, &path)));
        }
    }
    causes.extend(taints(spec.taints.as_deref().unwrap_or_default()));
    if spec.external_id.as_deref().unwrap_or_default() != old.external_id.as_deref().unwrap_or_default() {
        causes.push(field::forbidden(&Path::new("spec.externalID"), "may not be updated"));
    }
    causes
}

/// What clients are warned of in a node that is valid.
pub fn warnings(node: &Node) -> Vec<String> {
    let (spec, _) = parts(node);
    let mut warnings = Vec::new();
    if spec.config_source.is_some() {
        warnings.push("spec.configSource: the feature is removed".to_owned());
    }
    if spec.external_id.is_some_and(|id| !id.is_empty()) {
        warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
    }
    let networks = spec.pod_cidrs.iter().flatten().enumerate();
    let path = Path::new("spec.podCIDRs");
    warnings.extend(networks.filter_map(|(index, cidr)| network::cidr_warning(cidr, &path.index(index))));
    warnings
}

fn parts(node: &Node) -> (NodeSpec, NodeStatus) {
    (node.spec.clone().unwrap_or_default(), node.status.clone().unwrap_or_default())
}

fn taints(taints: &[Taint]) -> Vec<Cause> {
    let path = Path::new("metadata.taints");
    let mut causes = Vec::new();
    for (index, taint) in taints.iter().enumerate() {
        let path = path.index(index);
        causes.extend(field::invalid_each(&path.child("key"), &taint.key, &name::qualified_name(&taint.key)));
        let value = taint.value.as_deref().unwrap_or_default();
        let problems = name::label_value(value);
        if !problems.is_empty() {
            causes.push(field::invalid(&path.child("value"), value, &problems.join(";")));
        }
        if taint.effect.is_empty() {
            causes.push(field::required(&path.child("effect"), ""));
        } else {
            causes.extend(field::one_of(&path.child("effect"), &taint.effect, EFFECTS));
        }
        if taints[..index].iter().any(|other| (&other.key, &other.effect) == (&taint.key, &taint.effect)) {
            let cause = field::duplicate_internal(&path, "core.v1.Taint", taint);
            let message = format!("{}: taints must be unique by key and effect pair", cause.message);
            causes.push(Cause { message, ..cause });
        }
    }
    causes
}

fn amounts(status: &NodeStatus) -> Vec<Cause> {
    let path = Path::new("status");
    let of = |list: &Option<BTreeMap<String, Quantity>>, path: Path| {
        let all = list.iter().flatten();
        all.flat_map(|(name, amount)| resource::amount(name, amount, &path.child(name))).collect::<Vec<Cause>>()
    };
    [of(&status.capacity, path.child("capacity")), of(&status.allocatable, path.child("allocatable"))].concat()
}

fn addresses(status: &NodeStatus) -> Vec<Cause> {
    let (path, all) = (Path::new("status.addresses"), status.addresses.as_deref().unwrap_or_default());
    let again = all.iter().enumerate().filter(|(index, address)| all[..*index].contains(address));
    again
        .map(|(index, address)| field::duplicate_internal(&path.index(index), "core.v1.NodeAddress", address))
        .collect()
}

/// One network, or one of each family.
fn pod_cidrs(cidrs: &[String], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, cidr) in cidrs.iter().enumerate() {
        causes.extend(field::invalid_each(&path.index(index), cidr, &network::cidr(cidr)));
    }
    if cidrs.len() < 2 {
        return causes;
    }
    let families: Vec<Option<bool>> = cidrs.iter().map(|cidr| is_ipv4(cidr)).collect();
    if let Some(at) = families.iter().position(Option::is_none) {
        let why = format!("invalid CIDR[{at}]: <nil> (invalid CIDR address: {})", cidrs[at]);
        let why = format!("invalid PodCIDRs. failed to check with dual stack with error:{why}");
        causes.push(field::internal(path, why));
    }
    if !matches!(families.as_slice(), [Some(true), Some(false)] | [Some(false), Some(true)]) {
        causes.push(field::invalid(path, cidrs, "may specify no more than one CIDR for each IP family"));
    }
    causes
}

fn is_ipv4(cidr: &str) -> Option<bool> {
    let address = cidr.parse::<ipnet::IpNet>().ok()?.addr();
    Some(matches!(address, IpAddr::V4(_)))
}

fn networks_of_old(new: &NodeSpec, old: &NodeSpec) -> Vec<Cause> {
    let (new, old) = (new.pod_cidrs.as_deref().unwrap_or_default(), old.pod_cidrs.as_deref().unwrap_or_default());
    let changed = match old.len() {
        0 => 0,
        count if count != new.len() => 1,
        _ => new.iter().zip(old).filter(|(new, old)| new != old).count(),
    };
    let detail = "node updates may not change podCIDR except from \"\" to valid";
    vec![field::forbidden(&Path::new("spec.podCIDRs"), detail); changed]
}

/// Where a kubelet is configured from; only a status says which state of it.
fn config_source(source: &NodeConfigSource, in_status: bool, path: &Path) -> Vec<Cause> {
    let Some(map) = &source.config_map else {
        return vec![field::invalid(path, source, "exactly one reference subfield must be non-nil")];
    };
    config_map(map, in_status, &path.child("configMap"))
}

fn config_map(source: &ConfigMapNodeConfigSource, in_status: bool, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (name, text) in [("uid", &source.uid), ("resourceVersion", &source.resource_version)] {
        let is_given = text.as_ref().is_some_and(|text| !text.is_empty());
        match (in_status, is_given) {
            (true, false) => causes.push(field::required(&path.child(name), "")),
            (false, true) => {
                causes.push(field::forbidden(&path.child(name), &format!("{name} must not be set in spec")))
            }
            _ => {}
        }
    }
    let names = [
        ("namespace", &source.namespace, name::dns1123_label as fn(&str) -> Vec<String>),
        ("name", &source.name, name::dns1123_subdomain),
        ("kubeletConfigKey", &source.kubelet_config_key, name::config_map_key),
    ];
    for (name, text, check) in names {
        if text.is_empty() {
            causes.push(field::required(&path.child(name), ""));
        } else {
            causes.extend(field::invalid_each(&path.child(name), text, &check(text)));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(spec: serde_json::Value, status: serde_json::Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": spec, "status": status})).unwrap()
    }

    #[test]
    fn taints_are_said_to_be_in_metadata() {
        let taint = json!({"key": "a", "effect": "NoSchedule"});
        let causes = validate(&node(json!({"taints": [taint, taint]}), json!({})));
        assert_eq!(causes.len(), 1);
        assert_eq!(causes[0].field, "metadata.taints[1]");
        let object = r#"{"Key":"a","Value":"","Effect":"NoSchedule","TimeAdded":null}"#;
        assert_eq!(
            causes[0].message,
            format!("Duplicate value: {object}: taints must be unique by key and effect pair")
        );
    }

    #[test]
    fn two_networks_are_one_of_each_family() {
        let problems = |cidrs: serde_json::Value| validate(&node(json!({"podCIDRs": cidrs}), json!({}))).len();
        assert_eq!(problems(json!(["10.0.0.0/24", "fd00::/64"])), 0);
        assert_eq!(problems(json!(["10.0.0.0/24", "10.0.1.0/24"])), 1);
        assert_eq!(problems(json!(["10.0.0.0/24", ""])), 3);
    }

    #[test]
    fn an_address_is_there_once() {
        let address = json!({"type": "InternalIP", "address": "10.0.0.7"});
        let twice = node(json!({}), json!({"addresses": [address, address]}));
        let causes = validate_update(&twice, &twice);
        assert_eq!(causes[0].message, r#"Duplicate value: {"Type":"InternalIP","Address":"10.0.0.7"}"#);
    }
}
