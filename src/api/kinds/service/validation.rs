//! Rules of a service's spec.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::{HEADLESS, facts, ports};
use crate::api::{
    field::{self, Path},
    kinds::endpoints::non_special_ip,
    status::Cause,
    validation::{metadata, name, network},
};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const AFFINITIES: &[&str] = &["ClientIP", "None"];
const POLICIES: &[&str] = &["Cluster", "Local"];
const FAMILIES: &[&str] = &["IPv4", "IPv6"];
const FAMILY_POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];
const DISTRIBUTIONS: &[&str] = &["PreferClose", "PreferSameZone", "PreferSameNode"];
/// Longest affinity: a day.
const MOST_AFFINITY_SECONDS: i32 = 86_400;

/// Problems of a service.
pub fn service(service: &Service) -> Vec<Cause> {
    let path = Path::new("spec");
    let Some(spec) = &service.spec else { return vec![field::required(&path.child("ports"), "")] };
    let mut causes = by_type(spec, &path);
    let pairs = spec.selector.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    causes.extend(metadata::labels(pairs, &path.child("selector")));
    causes.extend(affinity(spec, &path));
    causes.extend(cluster_ips(spec, &path));
    causes.extend(families(spec, &path));
    for (index, ip) in spec.external_ips.iter().flatten().enumerate() {
        causes.extend(field::invalid_each(&path.child("externalIPs").index(index), ip, &non_special_ip(ip)));
    }
    causes.extend(chosen(spec.type_.as_deref(), TYPES, &path.child("type")));
    causes.extend(ports::validate(spec.ports.as_deref().unwrap_or_default(), &path.child("ports")));
    causes.extend(node_ports(spec, &path));
    causes.extend(traffic(spec, &path));
    causes.extend(load_balancer(spec, &path));
    causes
}

fn by_type(spec: &ServiceSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let has_ports = spec.ports.as_ref().is_some_and(|ports| !ports.is_empty());
    if !has_ports && !facts::is_headless(spec) && !facts::is_type(spec, "ExternalName") {
        causes.push(field::required(&path.child("ports"), ""));
    }
    let first = path.child("clusterIPs").index(0);
    match spec.type_.as_deref() {
        Some(kind @ ("LoadBalancer" | "NodePort")) if facts::is_headless(spec) => {
            let detail = format!("may not be set to 'None' for {kind} services");
            causes.push(field::invalid(&first, HEADLESS, &detail));
        }
        Some("ExternalName") => {
            if spec.cluster_ips.as_ref().is_some_and(|ips| !ips.is_empty()) {
                let detail = "may not be set for ExternalName services";
                causes.push(field::forbidden(&path.child("clusterIPs"), detail));
            }
            let external = spec.external_name.as_deref().unwrap_or_default();
            let external = external.strip_suffix('.').unwrap_or(external);
            let path = path.child("externalName");
            if external.is_empty() {
                causes.push(field::required(&path, ""));
            } else {
                causes.extend(field::invalid_each(&path, external, &name::dns1123_subdomain(external)));
            }
        }
        _ => {}
    }
    causes
}

fn affinity(spec: &ServiceSpec, path: &Path) -> Vec<Cause> {
    let mut causes = chosen(spec.session_affinity.as_deref(), AFFINITIES, &path.child("sessionAffinity"));
    let path = path.child("sessionAffinityConfig");
    let client = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    match spec.session_affinity.as_deref() {
        Some("None") if spec.session_affinity_config.is_some() => {
            causes.push(field::forbidden(&path, "must not be set when session affinity is None"));
        }
        Some("ClientIP") => {
            let seconds = client.and_then(|client| client.timeout_seconds).unwrap_or_default();
            if !(1..=MOST_AFFINITY_SECONDS).contains(&seconds) {
                let detail = format!("must be greater than 0 and less than {MOST_AFFINITY_SECONDS}");
                causes.push(field::invalid(&path.child("clientIP").child("timeoutSeconds"), seconds, &detail));
            }
        }
        _ => {}
    }
    causes
}

fn cluster_ips(spec: &ServiceSpec, path: &Path) -> Vec<Cause> {
    let list = path.child("clusterIPs");
    let all = spec.cluster_ips.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    if let (Some(one), Some(first)) = (spec.cluster_ip.as_deref(), all.first())
        && one != first
    {
        causes.push(field::invalid(&list, all, "first value must match `clusterIP`"));
    }
    if all.len() > 2 {
        causes.push(field::invalid(&list, all, "may only hold up to 2 values"));
    }
    let headless = all.iter().any(|ip| ip == HEADLESS);
    if headless && all.len() > 1 {
        causes.push(field::invalid(&list, all, "'None' must be the first and only value"));
        return causes;
    }
    for (index, ip) in all.iter().enumerate().filter(|(_, ip)| *ip != HEADLESS) {
        causes.extend(field::invalid_each(&list.index(index), ip, &network::ip(ip)));
        if all[..index].contains(ip) {
            causes.push(field::duplicate(&list.index(index), ip));
        }
    }
    let parsed = facts::cluster_ips(spec);
    if let [first, second] = parsed.as_slice()
        && first.is_ipv4() == second.is_ipv4()
    {
        causes.push(field::invalid(&list, all, "may specify no more than one IP for each IP family"));
    }
    for (index, (ip, family)) in parsed.iter().zip(spec.ip_families.iter().flatten()).enumerate() {
        if facts::family(*ip) != family {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            causes.push(field::invalid(&list.index(index), ip.to_string(), &detail));
        }
    }
    causes
}

fn families(spec: &ServiceSpec, path: &Path) -> Vec<Cause> {
    let list = path.child("ipFamilies");
    let all = spec.ip_families.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    if all.len() > 2 {
        causes.push(field::invalid(&list, all, "may only hold up to 2 values"));
    }
    for (index, family) in all.iter().enumerate() {
        if !FAMILIES.contains(&family.as_str()) {
            causes.push(field::unsupported(&list.index(index), family, FAMILIES));
        }
        if all[..index].contains(family) {
            causes.push(field::duplicate(&list.index(index), family));
        }
    }
    let policy = path.child("ipFamilyPolicy");
    if let Some(chosen) = spec.ip_family_policy.as_deref() {
        if !FAMILY_POLICIES.contains(&chosen) {
            causes.push(field::unsupported(&policy, chosen, FAMILY_POLICIES));
        }
        if chosen == "SingleStack" && all.len() > 1 {
            causes.push(field::invalid(
                &list,
                all,
                "may only hold up to 1 value when `ipFamilyPolicy` is 'SingleStack'",
            ));
        }
    }
    causes
}

fn node_ports(spec: &ServiceSpec, path: &Path) -> Vec<Cause> {
    let allowed = facts::is_type(spec, "NodePort") || facts::is_type(spec, "LoadBalancer");
    let named = |node: Option<i32>| node.is_some_and(|node| node != 0);
    let ports = spec.ports.iter().flatten().enumerate().filter(|(_, port)| !allowed && named(port.node_port));
    let kind = spec.type_.as_deref().unwrap_or_default();
    ports
        .map(|(index, _)| {
            let detail = format!("may not be used when `type` is '{kind}'");
            field::forbidden(&path.child("ports").index(index).child("nodePort"), &detail)
        })
        .collect()
}

fn traffic(spec: &ServiceSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let external = path.child("externalTrafficPolicy");
    match spec.external_traffic_policy.as_deref().filter(|policy| !policy.is_empty()) {
        Some(policy) if !facts::is_externally_accessible(spec) => {
            causes.push(field::invalid(&external, policy, "may only be set for externally-accessible services"));
        }
        Some(policy) => causes.extend(chosen(Some(policy), POLICIES, &external)),
        None if facts::is_externally_accessible(spec) => causes.push(field::required(&external, "")),
        None => {}
    }
    let internal = path.child("internalTrafficPolicy");
    if facts::has_cluster_address(spec) || spec.internal_traffic_policy.is_some() {
        causes.extend(chosen(spec.internal_traffic_policy.as_deref(), POLICIES, &internal));
    }
    let health = path.child("healthCheckNodePort");
    match spec.health_check_node_port.unwrap_or_default() {
        0 => {}
        port if port < 0 => causes.push(field::invalid(&health, port, "must be greater than or equal to 0")),
        port if !facts::needs_health_check_node_port(spec) => {
            let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            causes.push(field::invalid(&health, port, detail));
        }
        _ => {}
    }
    if let Some(distribution) = spec.traffic_distribution.as_deref() {
        causes.extend(chosen(Some(distribution), DISTRIBUTIONS, &path.child("trafficDistribution")));
    }
    causes
}

fn load_balancer(spec: &ServiceSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let is_balanced = facts::is_type(spec, "LoadBalancer");
    let detail = "may only be used when `type` is 'LoadBalancer'";
    for (index, range) in spec.load_balancer_source_ranges.iter().flatten().enumerate() {
        let path = path.child("loadBalancerSourceRanges");
        causes.extend(field::invalid_each(&path.index(index), range, &network::cidr(range.trim())));
    }
    let ranges = spec.load_balancer_source_ranges.as_ref().is_some_and(|ranges| !ranges.is_empty());
    let only_there = [
        ("loadBalancerSourceRanges", ranges),
        ("allocateLoadBalancerNodePorts", spec.allocate_load_balancer_node_ports.is_some()),
        ("loadBalancerClass", spec.load_balancer_class.is_some()),
    ];
    for (name, given) in only_there {
        if given && !is_balanced {
            causes.push(field::forbidden(&path.child(name), detail));
        }
    }
    if let Some(class) = spec.load_balancer_class.as_deref() {
        causes.extend(field::invalid_each(&path.child("loadBalancerClass"), class, &name::qualified_name(class)));
    }
    causes
}

/// A word out of a list, which must be there.
fn chosen(value: Option<&str>, supported: &[&str], path: &Path) -> Vec<Cause> {
    match value.unwrap_or_default() {
        "" => vec![field::required(path, "")],
        value if !supported.contains(&value) => vec![field::unsupported(path, value, supported)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::api::{kind::descriptor, kinds::service::ServiceKind};

    fn problems(spec: Value) -> Vec<String> {
        let strategy = descriptor::<ServiceKind>().strategy;
        let service = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec});
        let causes = strategy.validate(&strategy.decode(service).unwrap());
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn a_service_has_ports_unless_headless_or_external() {
        assert_eq!(problems(json!({})), ["spec.ports: Required value"]);
        assert!(problems(json!({"clusterIP": "None"})).is_empty());
        assert!(problems(json!({"type": "ExternalName", "externalName": "example.com"})).is_empty());
        assert_eq!(problems(json!({"type": "ExternalName"})), ["spec.externalName: Required value"]);
    }

    #[test]
    fn several_ports_are_named_and_distinct() {
        assert_eq!(
            problems(json!({"ports": [{"port": 80, "name": "a"}, {"port": 80}]})),
            [
                "spec.ports[1].name: Required value",
                "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}"
            ]
        );
        assert_eq!(
            problems(json!({"ports": [{"port": 0, "targetPort": 80}]})),
            ["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"]
        );
    }

    #[test]
    fn fields_belong_to_types() {
        assert_eq!(
            problems(json!({"ports": [{"port": 80, "nodePort": 30000}]})),
            ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]
        );
        assert_eq!(
            problems(json!({"ports": [{"port": 80}], "loadBalancerClass": "a/b"})),
            ["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"]
        );
        assert_eq!(
            problems(json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 80}]})),
            ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"]
        );
        assert_eq!(
            problems(json!({"type": "x", "ports": [{"port": 80}]})),
            [
                "spec.type: Unsupported value: \"x\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\""
            ]
        );
    }
}
