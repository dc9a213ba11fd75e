//! What a service's spec implies: pure questions that validation, the address allocator and the
//! proxy ask alike.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

use super::HEADLESS;

/// Whether the service is of this type.
pub fn is_type(spec: &ServiceSpec, kind: &str) -> bool {
    spec.type_.as_deref() == Some(kind)
}

/// Whether the type comes with a cluster address: all but ExternalName.
pub fn has_cluster_address(spec: &ServiceSpec) -> bool {
    matches!(spec.type_.as_deref(), Some("ClusterIP" | "NodePort" | "LoadBalancer"))
}

/// Whether the service asked for no address at all.
pub fn is_headless(spec: &ServiceSpec) -> bool {
    let first = spec.cluster_ips.iter().flatten().next().or(spec.cluster_ip.as_ref());
    has_cluster_address(spec) && first.is_some_and(|ip| ip == HEADLESS)
}

/// Whether clients outside the cluster can reach it: the traffic policy for them then matters.
pub fn is_externally_accessible(spec: &ServiceSpec) -> bool {
    let own = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    is_type(spec, "LoadBalancer") || is_type(spec, "NodePort") || (is_type(spec, "ClusterIP") && own)
}

/// Whether each port gets a node port.
pub fn needs_node_ports(spec: &ServiceSpec) -> bool {
    is_type(spec, "NodePort")
        || (is_type(spec, "LoadBalancer") && spec.allocate_load_balancer_node_ports.unwrap_or(true))
}

/// Whether a port for health checks by the load balancer is needed.
pub fn needs_health_check_node_port(spec: &ServiceSpec) -> bool {
    is_type(spec, "LoadBalancer") && spec.external_traffic_policy.as_deref() == Some("Local")
}

/// Cluster addresses that the spec names, headless marks left out.
pub fn cluster_ips(spec: &ServiceSpec) -> Vec<IpAddr> {
    let many = spec.cluster_ips.as_deref().unwrap_or_default();
    let one = spec.cluster_ip.as_slice();
    let named = if many.is_empty() { one } else { many };
    named.iter().filter_map(|ip| ip.parse().ok()).collect()
}

/// Node ports that the spec names: number with protocol, and the health check's.
pub fn node_ports(spec: &ServiceSpec) -> Vec<(u16, String)> {
    let of_port = |port: &ServicePort| {
        let number = u16::try_from(port.node_port?).ok().filter(|number| *number != 0)?;
        Some((number, port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())))
    };
    let mut all: Vec<(u16, String)> = spec.ports.iter().flatten().filter_map(of_port).collect();
    let health = spec.health_check_node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    all.extend(health.map(|port| (port, "TCP".to_owned())));
    all
}

/// `IPv4` or `IPv6`.
pub fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}
