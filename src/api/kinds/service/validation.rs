//! Rules of a service's spec.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::{HEADLESS, addresses, facts, ports};
use crate::api::{
    field::{self, Path},
    kinds::endpoints::non_special_ip,
    status::Cause,
    validation::{metadata, name, network},
};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const AFFINITIES: &[&str] = &["ClientIP", "None"];
const POLICIES: &[&str] = &["Cluster", "Local"];
const DISTRIBUTIONS: &[&str] = &["PreferClose", "PreferSameZone", "PreferSameNode"];
/// Longest affinity: a day.
const MOST_AFFINITY_SECONDS: i32 = 86_400;

/// Problems of a service.
pub fn service(service: &Service) -> Vec<Cause> {
    let path = Path::new("spec");
    let Some(spec) = &service.spec else { return vec![field::required(&path.child("ports"), "")] };
    let all = spec.ports.as_deref().unwrap_or_default();
    let mut causes = by_type(spec, &path);
    causes.extend(ports::validate(all, &path.child("ports")));
    let pairs = spec.selector.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    causes.extend(metadata::labels(pairs, &path.child("selector")));
    causes.extend(affinity(spec, &path));
    causes.extend(addresses::validate(spec));
    for (index, ip) in spec.external_ips.iter().flatten().enumerate() {
        let problems = network::ip(ip);
        let problems = if problems.is_empty() { non_special_ip(ip) } else { problems };
        causes.extend(field::invalid_each(&path.child("externalIPs").index(index), ip, &problems));
    }
    causes.extend(chosen(spec.type_.as_deref(), TYPES, &path.child("type")));
    if facts::is_type(spec, "ClusterIP") {
        causes.extend(ports::no_node_ports(all, &path.child("ports")));
    }
    causes.extend(ports::distinct(all, &path.child("ports")));
    causes.extend(load_balancer(spec, &path));
    causes.extend(traffic(spec, &path));
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
            let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
            let unused = [
                ("clusterIPs", some(&spec.cluster_ips)),
                ("ipFamilies", some(&spec.ip_families)),
                ("ipFamilyPolicy", spec.ip_family_policy.is_some()),
            ];
            let set = unused.iter().filter(|(_, is_set)| *is_set);
            let detail = "may not be set for ExternalName services";
            causes.extend(set.map(|(name, _)| field::forbidden(&path.child(name), detail)));
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
    causes.extend(health_check(spec, &path.child("healthCheckNodePort")));
    let internal = path.child("internalTrafficPolicy");
    causes.extend(match spec.internal_traffic_policy.as_deref() {
        None => facts::has_cluster_address(spec).then(|| field::required(&internal, "")),
        Some(policy) => field::one_of(&internal, policy, POLICIES),
    });
    let distribution = spec.traffic_distribution.as_deref();
    causes.extend(
        distribution
            .and_then(|distribution| field::one_of(&path.child("trafficDistribution"), distribution, DISTRIBUTIONS)),
    );
    causes
}

fn health_check(spec: &ServiceSpec, path: &Path) -> Vec<Cause> {
    match (spec.health_check_node_port.unwrap_or_default(), facts::needs_health_check_node_port(spec)) {
        (0, true) => vec![field::required(path, "")],
        (0, false) => Vec::new(),
        (port, true) => field::invalid_each(path, port, &network::port(port.into())),
        (port, false) => {
            let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            vec![field::invalid(path, port, detail)]
        }
    }
}

fn load_balancer(spec: &ServiceSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let is_balanced = facts::is_type(spec, "LoadBalancer");
    let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    // Upstream spells it like this.
    let own = path.child("LoadBalancerSourceRanges");
    let only_there = [
        (&own, !ranges.is_empty()),
        (&path.child("allocateLoadBalancerNodePorts"), spec.allocate_load_balancer_node_ports.is_some()),
        (&path.child("loadBalancerClass"), spec.load_balancer_class.is_some()),
    ];
    let elsewhere = only_there.iter().filter(|(_, given)| *given && !is_balanced);
    causes.extend(elsewhere.map(|(path, _)| field::forbidden(path, "may only be used when `type` is 'LoadBalancer'")));
    for (index, range) in ranges.iter().map(|range| range.trim()).enumerate() {
        causes.extend(field::invalid_each(&own.index(index), range, &network::cidr(range)));
    }
    if let Some(class) = spec.load_balancer_class.as_deref().filter(|_| is_balanced) {
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
        let causes = strategy.validate(&strategy.prepare_for_create(service).unwrap());
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
                "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,\
                 \"TargetPort\":0,\"NodePort\":0}"
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
