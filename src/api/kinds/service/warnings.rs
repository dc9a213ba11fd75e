//! What clients are warned of in a service that is valid (`GetWarningsForService` upstream).

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::{HEADLESS, facts};
use crate::api::{field::Path, validation::network};

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";

/// All warnings, in upstream's order.
pub fn of(service: &Service) -> Vec<String> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let path = Path::new("spec");
    let mut warnings = Vec::new();
    if service.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(HINTS)) {
        let instead = "service.kubernetes.io/topology-mode";
        warnings.push(format!("annotation {HINTS} is deprecated, please use {instead} instead"));
    }
    let listed = |list: &Option<Vec<String>>, path: Path| {
        let all = list.iter().flatten().enumerate();
        all.filter_map(|(index, ip)| network::ip_warning(ip, &path.index(index))).collect::<Vec<String>>()
    };
    warnings.extend(listed(&spec.cluster_ips, path.child("clusterIPs")));
    warnings.extend(ignored_when_headless(spec));
    warnings.extend(listed(&spec.external_ips, path.child("externalIPs")));
    let has_external = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    if has_external && !is_headless(spec) && !facts::is_type(spec, "ExternalName") {
        warnings.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".to_owned());
    }
    let balanced = spec.load_balancer_ip.as_deref();
    warnings.extend(balanced.and_then(|ip| network::ip_warning(ip, &path.child("loadBalancerIP"))));
    for (index, range) in spec.load_balancer_source_ranges.iter().flatten().enumerate() {
        warnings.extend(network::cidr_warning(range, &path.child("loadBalancerSourceRanges").index(index)));
    }
    warnings.extend(by_type(spec, has_external));
    if spec.traffic_distribution.as_deref() == Some("PreferClose") {
        warnings.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".to_owned());
    }
    warnings
}

fn by_type(spec: &ServiceSpec, has_external: bool) -> Option<String> {
    let is_external = facts::is_type(spec, "ExternalName");
    let has_name = spec.external_name.as_ref().is_some_and(|name| !name.is_empty());
    match (is_external, has_external, has_name) {
        (true, true, _) => Some("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned()),
        (false, _, true) => Some("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned()),
        _ => None,
    }
}

fn ignored_when_headless(spec: &ServiceSpec) -> Vec<String> {
    let ignored = [
        ("loadBalancerIP", spec.load_balancer_ip.as_ref().is_some_and(|ip| !ip.is_empty())),
        ("externalIPs", spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty())),
        ("SessionAffinity", spec.session_affinity.as_deref() != Some("None")),
    ];
    let given = ignored.iter().filter(|(_, is_given)| *is_given && is_headless(spec));
    given.map(|(name, _)| format!("spec.{name} is ignored for headless services")).collect()
}

fn is_headless(spec: &ServiceSpec) -> bool {
    facts::is_type(spec, "ClusterIP") && spec.cluster_ip.as_deref() == Some(HEADLESS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_is_warned_of_what_it_does_not_use() {
        let warned = |spec: serde_json::Value| of(&serde_json::from_value(json!({"spec": spec})).unwrap());
        let headless = json!({"type": "ClusterIP", "clusterIP": "None", "sessionAffinity": "ClientIP"});
        assert_eq!(warned(headless), ["spec.SessionAffinity is ignored for headless services"]);
        let named = json!({"type": "ClusterIP", "sessionAffinity": "None", "externalName": "a"});
        assert_eq!(warned(named), ["spec.externalName is ignored when spec.type is not \"ExternalName\""]);
    }
}
