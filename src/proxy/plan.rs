//! What the node's packet program must do for one Service: pure, from the Service and its
//! EndpointSlices. Rules of choice are those of the Service API (v1.36) and KEP-1669 (terminating
//! endpoints serve when nothing else does).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{
    core::v1::{Service, ServicePort as ApiPort, ServiceSpec},
    discovery::v1::{Endpoint, EndpointSlice},
};
use kube::ResourceExt;

use crate::net::services::{Protocol, ServicePort};

/// Services with this label are another proxy's.
const OTHER_PROXY_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// The default of `sessionAffinityConfig.clientIP.timeoutSeconds`, seconds.
const AFFINITY_TIMEOUT_S: i32 = 10_800;

/// The ports of a service by name (`namespace/service/port`); empty for headless ones, aliases, and
/// those that live at an address in `own`, which the node answers itself.
pub(super) fn plan(
    service: &Service,
    slices: &[Arc<EndpointSlice>],
    node: &str,
    own: &[IpAddr],
) -> BTreeMap<String, ServicePort> {
    let Some(spec) = &service.spec else { return BTreeMap::new() };
    let cluster_ips = cluster_ips(spec);
    let served_here = cluster_ips.iter().any(|address| own.contains(address));
    if cluster_ips.is_empty() || served_here || service.labels().contains_key(OTHER_PROXY_LABEL) {
        return BTreeMap::new();
    }
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        let planned = plan_port(service, spec, port, &cluster_ips, slices, node)?;
        Some((port_name(service, port), planned))
    });
    ports.collect()
}

fn port_name(service: &Service, port: &ApiPort) -> String {
    let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
    match port.name.as_deref().filter(|port| !port.is_empty()) {
        Some(port) => format!("{namespace}/{name}/{port}"),
        None => format!("{namespace}/{name}/{}", port.port),
    }
}

fn plan_port(
    service: &Service,
    spec: &ServiceSpec,
    port: &ApiPort,
    cluster_ips: &[IpAddr],
    slices: &[Arc<EndpointSlice>],
    node: &str,
) -> Option<ServicePort> {
    let protocol = protocol(port.protocol.as_deref())?;
    let candidates = candidates(slices, port, node);
    let is_local = |policy: &Option<String>| policy.as_deref() == Some("Local");
    Some(ServicePort {
        node_port: port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0),
        cluster_ips: cluster_ips.to_vec(),
        external_ips: parse(spec.external_ips.iter().flatten()),
        load_balancer_ips: load_balancer_ips(service),
        source_ranges: spec
            .load_balancer_source_ranges
            .iter()
            .flatten()
            .filter_map(|range| range.trim().parse().ok())
            .collect(),
        endpoints: usable(candidates.iter()),
        local_endpoints: usable(candidates.iter().filter(|candidate| candidate.local)),
        affinity: affinity(spec),
        external_local: is_local(&spec.external_traffic_policy),
        internal_local: is_local(&spec.internal_traffic_policy),
        ..ServicePort::new(protocol, u16::try_from(port.port).ok()?)
    })
}

struct Candidate {
    address: SocketAddr,
    ready: bool,
    serving: bool,
    local: bool,
}

fn candidates(slices: &[Arc<EndpointSlice>], port: &ApiPort, node: &str) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let wanted = (port.name.as_deref().unwrap_or_default(), protocol(port.protocol.as_deref()));
    for slice in slices {
        let offered = slice.ports.iter().flatten();
        let matching = offered
            .filter(|offer| (offer.name.as_deref().unwrap_or_default(), protocol(offer.protocol.as_deref())) == wanted);
        for number in matching.filter_map(|offer| u16::try_from(offer.port?).ok()) {
            candidates
                .extend(slice.endpoints.iter().flatten().filter_map(|endpoint| candidate(endpoint, number, node)));
        }
    }
    candidates
}

fn candidate(endpoint: &Endpoint, port: u16, node: &str) -> Option<Candidate> {
    // The API defines that all addresses of an endpoint are the same one; consumers use the first.
    let address = SocketAddr::new(endpoint.addresses.first()?.parse().ok()?, port);
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let serving = conditions.serving.unwrap_or(ready);
    Some(Candidate { address, ready, serving, local: endpoint.node_name.as_deref() == Some(node) })
}

/// Ready endpoints, or those that still serve while they terminate if none is ready; sorted, so
/// that the same endpoints are always the same list.
fn usable<'a>(candidates: impl Iterator<Item = &'a Candidate> + Clone) -> Vec<SocketAddr> {
    let ready: BTreeSet<SocketAddr> = candidates.clone().filter(|c| c.ready).map(|c| c.address).collect();
    if !ready.is_empty() {
        return ready.into_iter().collect();
    }
    let serving: BTreeSet<SocketAddr> = candidates.filter(|c| c.serving).map(|c| c.address).collect();
    serving.into_iter().collect()
}

fn cluster_ips(spec: &ServiceSpec) -> Vec<IpAddr> {
    if spec.type_.as_deref() == Some("ExternalName") {
        return Vec::new();
    }
    let listed = parse(spec.cluster_ips.iter().flatten());
    if listed.is_empty() { parse(spec.cluster_ip.iter()) } else { listed }
}

fn load_balancer_ips(service: &Service) -> Vec<IpAddr> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.into_iter().flat_map(|balancer| balancer.ingress.iter().flatten());
    // In mode Proxy the balancer must see its own traffic (KEP-1860).
    parse(
        ingress.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy")).filter_map(|ingress| ingress.ip.as_ref()),
    )
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let configured =
        spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    u64::try_from(configured.unwrap_or(AFFINITY_TIMEOUT_S)).ok().map(Duration::from_secs)
}

fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name {
        None | Some("TCP" | "") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some("SCTP") => Some(Protocol::Sctp),
        Some(_) => None,
    }
}

/// Addresses that parse; "None" of headless services does not.
fn parse<'a>(addresses: impl Iterator<Item = &'a String>) -> Vec<IpAddr> {
    addresses.filter_map(|address| address.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"namespace": "default", "name": "web"}, "spec": spec})).unwrap()
    }

    fn slice(endpoints: Value) -> Arc<EndpointSlice> {
        let value = json!({"addressType": "IPv4", "metadata": {"namespace": "default", "name": "web-1"},
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn web() -> Service {
        service(json!({"clusterIP": "10.43.0.5", "clusterIPs": ["10.43.0.5"],
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080}]}))
    }

    fn planned(service: &Service, slices: &[Arc<EndpointSlice>]) -> ServicePort {
        plan(service, slices, "node-a", &[]).remove("default/web/http").unwrap()
    }

    fn addresses(list: &[SocketAddr]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn takes_ready_endpoints_and_knows_those_of_this_node() {
        let endpoints = json!([
            {"addresses": ["10.42.0.9"], "conditions": {"ready": true}, "nodeName": "node-b"},
            {"addresses": ["10.42.0.2"], "nodeName": "node-a"},
            {"addresses": ["10.42.0.3"], "conditions": {"ready": false}, "nodeName": "node-a"},
        ]);
        let port = planned(&web(), &[slice(endpoints)]);
        assert_eq!(addresses(&port.endpoints), ["10.42.0.2:8080", "10.42.0.9:8080"]);
        assert_eq!(addresses(&port.local_endpoints), ["10.42.0.2:8080"]);
        assert_eq!((port.port, port.node_port), (80, Some(30080)));
    }

    #[test]
    fn terminating_endpoints_serve_when_none_is_ready() {
        let endpoints = json!([
            {"addresses": ["10.42.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["10.42.0.3"], "conditions": {"ready": false, "serving": false, "terminating": true}},
        ]);
        assert_eq!(addresses(&planned(&web(), &[slice(endpoints)]).endpoints), ["10.42.0.2:8080"]);
    }

    #[test]
    fn headless_services_aliases_and_addresses_of_the_node_are_left_alone() {
        for spec in [
            json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"port": 80}]}),
            json!({"type": "ExternalName", "externalName": "example.org"}),
        ] {
            assert!(plan(&service(spec), &[], "node-a", &[]).is_empty());
        }
        assert!(plan(&web(), &[], "node-a", &["10.43.0.5".parse().unwrap()]).is_empty());
    }

    #[test]
    fn affinity_has_the_timeout_of_the_api() {
        let mut sticky = web();
        sticky.spec.as_mut().unwrap().session_affinity = Some("ClientIP".into());
        assert_eq!(planned(&sticky, &[]).affinity, Some(Duration::from_secs(10_800)));
    }
}
