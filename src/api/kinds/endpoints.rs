//! Endpoints: the addresses behind a Service in their older form. Kept for clients that have not
//! moved to endpoint slices.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints};
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::{name, network},
};

/// Most items that a table's cell lists.
const SHOWN: usize = 3;
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpoint-controller";
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// `v1.Endpoints`
pub struct EndpointsKind;

impl Kind for EndpointsKind {
    type Object = Endpoints;
    const NAMES: Names =
        Names { short_names: &["ep"], ..names::namespaced(names::CORE, "Endpoints", "endpoints", "endpoints") };
    const DEPRECATION: Option<&'static str> =
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_WHOLE;
    const COLUMNS: &'static [Column] =
        &[cells::NAME, cells::column("Endpoints", "string", "Addresses with their ports."), cells::AGE];

    fn default(endpoints: &mut Endpoints) {
        let ports = endpoints.subsets.iter_mut().flatten().flat_map(|subset| subset.ports.iter_mut().flatten());
        for port in ports {
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    fn validate(endpoints: &Endpoints) -> Vec<Cause> {
        let path = Path::new("subsets");
        let subsets = endpoints.subsets.iter().flatten().enumerate();
        subsets.flat_map(|(index, one)| subset(one, &path.index(index))).collect()
    }

    /// What older versions have let in may stay.
    fn validate_again(new: &Endpoints, old: &Endpoints) -> Vec<Cause> {
        if new.subsets == old.subsets { Vec::new() } else { Self::validate(new) }
    }

    /// The controller is known to write addresses well.
    fn warnings(new: &Endpoints, _old: Option<&Endpoints>) -> Vec<String> {
        let manager = new.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
        if manager.is_some_and(|manager| manager == CONTROLLER) {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        for (index, subset) in new.subsets.iter().flatten().enumerate() {
            let path = Path::new("subsets").index(index);
            for (name, list) in [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)] {
                let all = list.iter().flatten().enumerate();
                warnings.extend(all.filter_map(|(index, address)| {
                    network::ip_warning(&address.ip, &path.child(name).index(index).child("ip"))
                }));
            }
        }
        warnings
    }

    fn cells(endpoints: &Endpoints, now: Timestamp) -> Vec<Value> {
        let meta = &endpoints.metadata;
        vec![cells::name(meta), json!(shown(endpoints.subsets.as_deref().unwrap_or_default())), cells::age(meta, now)]
    }
}

/// Problems of an address that traffic is sent to: it must be one of the network's, not of the host's own.
pub fn non_special_ip(address: &str) -> Vec<String> {
    let Ok(ip) = address.parse::<IpAddr>() else { return vec!["must be a valid IP address".to_owned()] };
    let mut problems = Vec::new();
    if ip.is_unspecified() {
        problems.push(format!("may not be unspecified ({address})"));
    }
    if ip.is_loopback() {
        problems.push("may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned());
    }
    match ip {
        IpAddr::V4(ip) if ip.is_link_local() => {
            problems.push("may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned());
        }
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            problems.push("may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned());
        }
        IpAddr::V4(ip) if ip.octets()[..3] == [224, 0, 0] => {
            problems.push("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned());
        }
        _ => {}
    }
    problems
}

/// Items joined by commas, cut after three with a count of the rest.
pub fn first_few(all: &[String], empty: &str) -> String {
    match all.len() {
        0 => empty.to_owned(),
        count if count > SHOWN => format!("{} + {} more...", all[..SHOWN].join(","), count - SHOWN),
        _ => all.join(","),
    }
}

fn shown(subsets: &[EndpointSubset]) -> String {
    let mut all = Vec::new();
    for subset in subsets {
        let addresses = subset.addresses.as_deref().unwrap_or_default();
        let ports = subset.ports.as_deref().unwrap_or_default();
        if ports.is_empty() {
            all.extend(addresses.iter().map(|address| address.ip.clone()));
        }
        for port in ports {
            all.extend(addresses.iter().map(|address| join(&address.ip, port.port)));
        }
    }
    first_few(&all, cells::NONE)
}

/// `10.0.0.1:80`, or `[fd00::1]:80`.
fn join(ip: &str, port: i32) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

fn subset(subset: &EndpointSubset, path: &Path) -> Vec<Cause> {
    let ready = subset.addresses.as_deref().unwrap_or_default();
    let waiting = subset.not_ready_addresses.as_deref().unwrap_or_default();
    let ports = subset.ports.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    if ready.is_empty() && waiting.is_empty() {
        causes.push(field::required(path, "must specify `addresses` or `notReadyAddresses`"));
    }
    for (name, list) in [("addresses", ready), ("notReadyAddresses", waiting)] {
        let path = path.child(name);
        causes.extend(list.iter().enumerate().flat_map(|(index, one)| address(one, &path.index(index))));
    }
    let path = path.child("ports");
    let named = ports.len() > 1;
    causes.extend(ports.iter().enumerate().flat_map(|(index, one)| port(one, named, &path.index(index))));
    causes
}

fn address(address: &EndpointAddress, path: &Path) -> Vec<Cause> {
    let mut causes = field::invalid_each(&path.child("ip"), &address.ip, &network::ip(&address.ip));
    if let Some(hostname) = address.hostname.as_deref().filter(|hostname| !hostname.is_empty()) {
        causes.extend(field::invalid_each(&path.child("hostname"), hostname, &name::dns1123_label(hostname)));
    }
    if let Some(node) = &address.node_name {
        causes.extend(field::invalid_each(&path.child("nodeName"), node, &name::dns1123_subdomain(node)));
    }
    causes.extend(field::invalid_each(&path.child("ip"), &address.ip, &non_special_ip(&address.ip)));
    causes
}

fn port(port: &EndpointPort, must_have_name: bool, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    match port.name.as_deref().unwrap_or_default() {
        "" if must_have_name => causes.push(field::required(&path.child("name"), "")),
        "" => {}
        text => causes.extend(field::invalid_each(&path.child("name"), text, &name::dns1123_label(text))),
    }
    causes.extend(field::invalid_each(&path.child("port"), port.port, &network::port(port.port.into())));
    let protocol = port.protocol.as_deref().unwrap_or_default();
    if protocol.is_empty() {
        causes.push(field::required(&path.child("protocol"), ""));
    } else if !PROTOCOLS.contains(&protocol) {
        causes.push(field::unsupported(&path.child("protocol"), protocol, PROTOCOLS));
    }
    if let Some(text) = &port.app_protocol {
        causes.extend(field::invalid_each(&path.child("appProtocol"), text, &name::qualified_name(text)));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn three_endpoints_are_shown_and_the_rest_counted() {
        let strategy = descriptor::<EndpointsKind>().strategy;
        let addresses: Vec<Value> = (1..=5).map(|last| json!({"ip": format!("10.0.0.{last}")})).collect();
        let endpoints =
            json!({"metadata": {"name": "a"}, "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]});
        let row = strategy.cells(&endpoints.into(), Timestamp::UNIX_EPOCH);
        assert_eq!(row[1], "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...");
        assert_eq!(strategy.cells(&json!({}).into(), Timestamp::UNIX_EPOCH)[1], "<none>");
    }

    #[test]
    fn the_hosts_own_addresses_are_refused() {
        assert_eq!(non_special_ip("127.0.0.1"), ["may not be in the loopback range (127.0.0.0/8, ::1/128)"]);
        assert_eq!(non_special_ip("0.0.0.0"), ["may not be unspecified (0.0.0.0)"]);
        assert!(non_special_ip("10.0.0.1").is_empty());
    }
}
