//! What an update of a service keeps: addresses and ports that were allocated stay when the new
//! object does not name them, and go when the new type has no use for them.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use super::facts;
use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::name,
};

/// Fills what was allocated into an update that leaves it out, and drops what the type no longer has.
pub fn carry_over(new: &mut ServiceSpec, old: &ServiceSpec) {
    carry_cluster_ips(new, old);
    drop_what_the_type_lacks(new, old);
    if facts::needs_node_ports(new) && facts::needs_node_ports(old) {
        carry_node_ports(new, old);
    }
    if facts::needs_health_check_node_port(new) && facts::needs_health_check_node_port(old) {
        let unset = new.health_check_node_port.unwrap_or_default() == 0;
        new.health_check_node_port = if unset { old.health_check_node_port } else { new.health_check_node_port };
    }
}

/// Problems of a change.
pub fn validate(new: &Service, old: &Service) -> Vec<Cause> {
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return Vec::new() };
    let path = Path::new("spec");
    let mut causes = Vec::new();
    if facts::has_cluster_address(new) && facts::has_cluster_address(old) {
        causes.extend(kept_first(&path.child("clusterIPs"), new.cluster_ips.as_ref(), old.cluster_ips.as_ref()));
        causes.extend(kept_first(&path.child("ipFamilies"), new.ip_families.as_ref(), old.ip_families.as_ref()));
    }
    let checked = facts::needs_health_check_node_port(new) && facts::needs_health_check_node_port(old);
    if checked && new.health_check_node_port != old.health_check_node_port {
        causes.push(field::forbidden(&path.child("healthCheckNodePort"), "field is immutable"));
    }
    let balanced = facts::is_type(new, "LoadBalancer") && facts::is_type(old, "LoadBalancer");
    if balanced && new.load_balancer_class != old.load_balancer_class {
        let detail = "may not change once set";
        causes.push(field::invalid(&path.child("loadBalancerClass"), &new.load_balancer_class, detail));
    }
    if let Some(class) = new.load_balancer_class.as_deref().filter(|_| facts::is_type(new, "LoadBalancer")) {
        causes.extend(field::invalid_each(&path.child("loadBalancerClass"), class, &name::qualified_name(class)));
    }
    causes
}

/// The first value stays once it is set: the second may come and go with the family policy.
fn kept_first(path: &Path, new: Option<&Vec<String>>, old: Option<&Vec<String>>) -> Option<Cause> {
    let before = old?.first()?;
    let new = new.map(Vec::as_slice).unwrap_or_default();
    (new.first() != Some(before)).then(|| field::invalid(&path.index(0), new, "may not change once set"))
}

fn carry_cluster_ips(new: &mut ServiceSpec, old: &ServiceSpec) {
    if !facts::has_cluster_address(new) || !facts::has_cluster_address(old) {
        return;
    }
    follow_one_address(new, old);
    if new.cluster_ip.as_ref().is_none_or(String::is_empty) {
        new.cluster_ip.clone_from(&old.cluster_ip);
    }
    if new.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
        new.cluster_ips.clone_from(&old.cluster_ips);
    }
    if new.ip_families.as_ref().is_none_or(Vec::is_empty) {
        new.ip_families.clone_from(&old.ip_families);
    }
    if new.ip_family_policy.is_none() {
        new.ip_family_policy.clone_from(&old.ip_family_policy);
    }
    // Who wants a single stack and leaves the rest keeps the first of each.
    if new.ip_family_policy.as_deref() == Some("SingleStack") {
        for (list, before) in [(&mut new.cluster_ips, &old.cluster_ips), (&mut new.ip_families, &old.ip_families)] {
            if *list == *before {
                list.iter_mut().for_each(|list| list.truncate(1));
            }
        }
    }
}

/// What a client that knows `clusterIP` alone means for the list (`normalizeClusterIPs` upstream).
fn follow_one_address(new: &mut ServiceSpec, old: &ServiceSpec) {
    let text = |ip: &Option<String>| ip.clone().unwrap_or_default();
    let (now, before) = (text(&new.cluster_ip), text(&old.cluster_ip));
    let list = |spec: &ServiceSpec| spec.cluster_ips.clone().unwrap_or_default();
    if now == before {
        if list(new).is_empty() {
            new.cluster_ips.clone_from(&old.cluster_ips);
        }
    } else if list(new) == list(old) {
        new.cluster_ips = (!now.is_empty()).then(|| vec![now]);
    }
}

fn drop_what_the_type_lacks(new: &mut ServiceSpec, old: &ServiceSpec) {
    if facts::has_cluster_address(old) && !facts::has_cluster_address(new) {
        let same = new.cluster_ips == old.cluster_ips && new.cluster_ip == old.cluster_ip;
        if same {
            (new.cluster_ip, new.cluster_ips) = (None, None);
        }
        (new.ip_families, new.ip_family_policy, new.internal_traffic_policy) = (None, None, None);
    }
    let may_have_node_ports = facts::is_type(new, "NodePort") || facts::is_type(new, "LoadBalancer");
    if facts::needs_node_ports(old) && !may_have_node_ports {
        let before: Vec<Option<i32>> = old.ports.iter().flatten().map(|port| port.node_port).collect();
        for port in new.ports.iter_mut().flatten().filter(|port| before.contains(&port.node_port)) {
            port.node_port = None;
        }
    }
    if facts::needs_health_check_node_port(old) && !facts::needs_health_check_node_port(new) {
        new.health_check_node_port =
            new.health_check_node_port.filter(|port| Some(*port) != old.health_check_node_port);
    }
    if facts::is_type(old, "LoadBalancer") && !facts::is_type(new, "LoadBalancer") {
        new.allocate_load_balancer_node_ports = None;
        if new.load_balancer_class == old.load_balancer_class {
            new.load_balancer_class = None;
        }
    }
    if facts::is_externally_accessible(old) && !facts::is_externally_accessible(new) {
        new.external_traffic_policy = None;
    }
}

/// Ports are matched by protocol and number; a node port that another new port names is not given twice.
fn carry_node_ports(new: &mut ServiceSpec, old: &ServiceSpec) {
    let key = |port: &ServicePort| (port.protocol.clone(), port.port);
    let taken: Vec<(Option<String>, i32)> =
        new.ports.iter().flatten().filter_map(|port| Some((port.protocol.clone(), port.node_port?))).collect();
    for port in new.ports.iter_mut().flatten().filter(|port| port.node_port.unwrap_or_default() == 0) {
        let before = old.ports.iter().flatten().find(|other| key(other) == key(port)).and_then(|other| other.node_port);
        port.node_port = before.filter(|node| !taken.contains(&(port.protocol.clone(), *node)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use crate::api::{
        decoded::Decoded,
        kind::{Strategy, descriptor},
        kinds::service::ServiceKind,
    };

    fn strategy() -> Arc<dyn Strategy> {
        descriptor::<ServiceKind>().strategy
    }

    fn service(spec: Value) -> Decoded {
        strategy().prepare_for_create(json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec})).unwrap()
    }

    #[test]
    fn an_update_keeps_what_was_allocated() {
        let old = service(json!({"type": "NodePort", "clusterIP": "10.43.0.9", "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "ports": [{"port": 80, "nodePort": 30080}]}));
        let new = json!({"metadata": {"name": "a", "namespace": "b"},
            "spec": {"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080}]}});
        let new = strategy().prepare_for_update(new, &old).unwrap();
        assert_eq!(new["spec"]["clusterIPs"], json!(["10.43.0.9"]));
        assert_eq!(new["spec"]["ipFamilies"], json!(["IPv4"]));
        assert_eq!(new["spec"]["ports"][0]["nodePort"], 30080);
        assert_eq!(strategy().validate_update(&new, &old), []);
    }

    #[test]
    fn a_cluster_ip_does_not_change() {
        let with = |ip: &str| service(json!({"clusterIP": ip, "ports": [{"port": 80}]}));
        let causes = strategy().validate_update(&with("10.43.0.2"), &with("10.43.0.1"));
        assert_eq!(causes[0].field, "spec.clusterIPs[0]");
        assert_eq!(causes[0].message, "Invalid value: [\"10.43.0.2\"]: may not change once set");
    }

    #[test]
    fn a_new_type_drops_what_it_lacks() {
        let old = service(
            json!({"type": "LoadBalancer", "clusterIP": "10.43.0.9", "ports": [{"port": 80, "nodePort": 30080}]}),
        );
        let mut new = old.clone();
        new["spec"]["type"] = json!("ClusterIP");
        let new = strategy().prepare_for_update(new, &old).unwrap();
        assert!(new["spec"]["ports"][0].get("nodePort").is_none());
        assert!(new["spec"].get("externalTrafficPolicy").is_none());
        assert!(new["spec"].get("allocateLoadBalancerNodePorts").is_none());
        assert_eq!(strategy().validate(&new), []);
        let mut new = old.clone();
        new["spec"]["type"] = json!("ExternalName");
        new["spec"]["externalName"] = json!("example.com");
        let new = strategy().prepare_for_update(new, &old).unwrap();
        assert!(new["spec"].get("clusterIP").is_none());
    }
}
