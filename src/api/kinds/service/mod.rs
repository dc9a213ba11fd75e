//! Services: a stable address and name for a set of pods. Cluster addresses and node ports are
//! given out by the server's allocator; [`facts`] says what a service needs of it.

pub mod addresses;
pub mod facts;
pub mod ports;
pub mod status;
pub mod transition;
pub mod validation;
mod warnings;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ClientIPConfig, LoadBalancerStatus, Service, ServiceSpec, ServiceStatus, SessionAffinityConfig},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    kind::{Column, Kind, NameRule, Names, Subresource},
    status::Cause,
    update_check::{self, UpdateCheck},
};

/// Seconds for which a client sticks to a pod under session affinity, when the service does not say.
pub const AFFINITY_TIMEOUT_SECONDS: i32 = 10_800;
/// The cluster address of a headless service.
pub const HEADLESS: &str = "None";

/// `v1.Service`
pub struct ServiceKind;

impl Kind for ServiceKind {
    type Object = Service;
    const NAMES: Names = Names {
        short_names: &["svc"],
        categories: &["all"],
        subresources: &[Subresource::Status, Subresource::Custom("proxy")],
        ..names::namespaced(names::CORE, "Service", "services", "service")
    };
    const NAME_RULE: NameRule = NameRule::Label;
    const FIELDS: &'static [&'static str] = &["spec.clusterIP", "spec.type"];
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Type", "string", "ClusterIP, NodePort, LoadBalancer or ExternalName."),
        cells::column("Cluster-IP", "string", "Address within the cluster."),
        cells::column("External-IP", "string", "Addresses for clients outside."),
        cells::column("Port(s)", "string", "Ports, with their node ports."),
        cells::AGE,
        cells::wide("Selector", "string", "Labels of the pods behind the service."),
    ];

    fn default(service: &mut Service) {
        let spec = service.spec.get_or_insert_default();
        default_spec(spec);
        let load_balancer = service.status.get_or_insert_default().load_balancer.get_or_insert_default();
        for ingress in load_balancer.ingress.iter_mut().flatten().filter(|ingress| ingress.ip.is_some()) {
            ingress.ip_mode.get_or_insert_with(|| "VIP".to_owned());
        }
    }

    fn prepare_for_create(service: &mut Service) {
        service.status = Some(ServiceStatus { load_balancer: Some(LoadBalancerStatus::default()), conditions: None });
        let spec = service.spec.get_or_insert_default();
        // Clients that know the list say both.
        let one = spec.cluster_ip.clone().filter(|ip| !ip.is_empty());
        if spec.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
            spec.cluster_ips = one.map(|ip| vec![ip]);
        }
    }

    fn prepare_for_update(new: &mut Service, old: &Service) {
        if let (Some(new), Some(old)) = (&mut new.spec, &old.spec) {
            transition::carry_over(new, old);
        }
    }

    fn validate(service: &Service) -> Vec<Cause> {
        validation::service(service)
    }

    fn validate_update(new: &Service, old: &Service) -> Vec<Cause> {
        transition::validate(new, old)
    }

    fn validate_status_update(new: &Service, _old: &Service) -> Vec<Cause> {
        status::validate(new)
    }

    fn warnings(new: &Service, _old: Option<&Service>) -> Vec<String> {
        warnings::of(new)
    }

    fn field_values(service: &Service) -> Vec<String> {
        let spec = service.spec.as_ref();
        vec![
            spec.and_then(|spec| spec.cluster_ip.clone()).unwrap_or_default(),
            spec.and_then(|spec| spec.type_.clone()).unwrap_or_default(),
        ]
    }

    fn cells(service: &Service, now: Timestamp) -> Vec<Value> {
        let spec = service.spec.clone().unwrap_or_default();
        let address = spec.cluster_ips.iter().flatten().next().or(spec.cluster_ip.as_ref());
        vec![
            cells::name(&service.metadata),
            json!(spec.type_),
            json!(cells::or_none(address.map(String::as_str))),
            json!(external_ip(&spec, service.status.as_ref())),
            json!(ports::shown(spec.ports.as_deref().unwrap_or_default())),
            cells::age(&service.metadata, now),
            json!(cells::labels(spec.selector.as_ref())),
        ]
    }
}

fn default_spec(spec: &mut ServiceSpec) {
    spec.type_.get_or_insert_with(|| "ClusterIP".to_owned());
    let affinity = spec.session_affinity.get_or_insert_with(|| "None".to_owned()).clone();
    match affinity.as_str() {
        "None" => spec.session_affinity_config = None,
        "ClientIP" => {
            let config = spec.session_affinity_config.get_or_insert_with(SessionAffinityConfig::default);
            let client = config.client_ip.get_or_insert_with(ClientIPConfig::default);
            client.timeout_seconds.get_or_insert(AFFINITY_TIMEOUT_SECONDS);
        }
        _ => {}
    }
    for port in spec.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(|| "TCP".to_owned());
        if port.target_port.as_ref().is_none_or(is_unset) {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
    if facts::is_externally_accessible(spec) {
        spec.external_traffic_policy.get_or_insert_with(|| "Cluster".to_owned());
    }
    if facts::has_cluster_address(spec) {
        spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".to_owned());
    }
    if facts::is_type(spec, "LoadBalancer") {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
}

fn is_unset(port: &IntOrString) -> bool {
    match port {
        IntOrString::Int(number) => *number == 0,
        IntOrString::String(name) => name.is_empty(),
    }
}

/// Where clients outside reach the service.
fn external_ip(spec: &ServiceSpec, status: Option<&ServiceStatus>) -> String {
    let own = spec.external_ips.clone().unwrap_or_default();
    match spec.type_.as_deref() {
        Some("ClusterIP" | "NodePort") => cells::list(own.iter().map(String::as_str)),
        Some("LoadBalancer") => {
            let ingress =
                status.and_then(|status| status.load_balancer.as_ref()).and_then(|status| status.ingress.as_ref());
            let address =
                |one: &k8s_openapi::api::core::v1::LoadBalancerIngress| one.ip.clone().or(one.hostname.clone());
            let mut all: Vec<String> = ingress.into_iter().flatten().filter_map(address).collect();
            all.sort_unstable();
            all.dedup();
            all.extend(own);
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        Some("ExternalName") => spec.external_name.clone().unwrap_or_default(),
        _ => cells::UNKNOWN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{decoded::Decoded, kind::descriptor};

    fn decoded(spec: Value) -> Decoded {
        let service = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec});
        descriptor::<ServiceKind>().strategy.prepare_for_create(service).unwrap()
    }

    #[test]
    fn a_service_is_a_cluster_ip_unless_it_says_otherwise() {
        let spec = decoded(json!({"ports": [{"port": 80}]}))["spec"].clone();
        assert_eq!(spec["type"], "ClusterIP");
        assert_eq!(spec["sessionAffinity"], "None");
        assert_eq!(spec["internalTrafficPolicy"], "Cluster");
        assert_eq!(spec["ports"][0], json!({"port": 80, "targetPort": 80, "protocol": "TCP"}));
        assert!(spec.get("externalTrafficPolicy").is_none());
        let spec = decoded(json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP", "clusterIP": "10.43.0.7"}));
        assert_eq!(spec["spec"]["allocateLoadBalancerNodePorts"], true);
        assert_eq!(spec["spec"]["externalTrafficPolicy"], "Cluster");
        assert_eq!(spec["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10_800);
        assert_eq!(spec["spec"]["clusterIPs"], json!(["10.43.0.7"]));
    }

    #[test]
    fn a_row_shows_addresses_and_ports() {
        let strategy = descriptor::<ServiceKind>().strategy;
        let row = |spec: Value| strategy.cells(&decoded(spec), Timestamp::UNIX_EPOCH);
        let cells = row(json!({"type": "NodePort", "clusterIP": "10.43.0.7", "selector": {"a": "b"},
            "ports": [{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]}));
        assert_eq!(cells[1..5], [json!("NodePort"), json!("10.43.0.7"), json!("<none>"), json!("80:30080/TCP,53/UDP")]);
        assert_eq!(cells[6], "a=b");
        assert_eq!(row(json!({"type": "LoadBalancer"}))[3], "<pending>");
        assert_eq!(row(json!({"type": "ExternalName", "externalName": "example.com"}))[3], "example.com");
    }
}
