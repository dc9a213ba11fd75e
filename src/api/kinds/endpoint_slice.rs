//! Endpoint slices: the addresses behind a Service, a hundred or so at a time (KEP-752).

use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use serde_json::{Value, json};

use super::{
    cells,
    endpoints::{first_few, non_special_ip},
    names,
};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::{name, network},
};

const ADDRESS_TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLERS: [&str; 2] = ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];
const MOST_ENDPOINTS: usize = 1000;
const MOST_ADDRESSES: usize = 100;
const MOST_PORTS: usize = 20_000;
/// Most zones, or nodes, of one endpoint's hints.
const MOST_HINTS: usize = 8;

/// `discovery.k8s.io/v1.EndpointSlice`
pub struct EndpointSliceKind;

impl Kind for EndpointSliceKind {
    type Object = EndpointSlice;
    const NAMES: Names = names::namespaced(
        names::GroupVersion::v1("discovery.k8s.io"),
        "EndpointSlice",
        "endpointslices",
        "endpointslice",
    );
    const GENERATION: Generation = Generation::SpecAndLabels;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::WHOLE;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("AddressType", "string", "IPv4, IPv6 or FQDN."),
        cells::column("Ports", "string", "Ports of every endpoint."),
        cells::column("Endpoints", "string", "Addresses."),
        cells::AGE,
    ];

    fn default(slice: &mut EndpointSlice) {
        for port in slice.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    /// The topology of an earlier version is not written by this one.
    fn prepare_for_create(slice: &mut EndpointSlice) {
        slice.endpoints.iter_mut().flatten().for_each(|endpoint| endpoint.deprecated_topology = None);
    }

    fn prepare_for_update(new: &mut EndpointSlice, old: &EndpointSlice) {
        if new.endpoints != old.endpoints {
            Self::prepare_for_create(new);
        }
    }

    fn validate(slice: &EndpointSlice) -> Vec<Cause> {
        let mut causes = Vec::new();
        match slice.address_type.as_str() {
            "" => causes.push(field::required(&Path::new("addressType"), "")),
            kind if !ADDRESS_TYPES.contains(&kind) => {
                causes.push(field::unsupported(&Path::new("addressType"), kind, ADDRESS_TYPES));
            }
            _ => {}
        }
        causes.extend(ports(slice.ports.as_deref().unwrap_or_default(), &Path::new("ports")));
        causes.extend(endpoints(slice, &Path::new("endpoints")));
        causes
    }

    /// Endpoints that older versions have let in may stay.
    fn validate_again(new: &EndpointSlice, old: &EndpointSlice) -> Vec<Cause> {
        if new.endpoints == old.endpoints {
            return Self::validate(&EndpointSlice { endpoints: None, ..new.clone() });
        }
        Self::validate(new)
    }

    fn validate_update(new: &EndpointSlice, old: &EndpointSlice) -> Vec<Cause> {
        field::immutable(&Path::new("addressType"), &new.address_type, &old.address_type)
    }

    /// Controllers are known to write addresses well.
    fn warnings(new: &EndpointSlice, old: Option<&EndpointSlice>) -> Vec<String> {
        let mut warnings = Vec::new();
        if old.is_none() && new.address_type == "FQDN" {
            warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
        }
        let manager = new.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
        if manager.is_some_and(|manager| CONTROLLERS.contains(&manager.as_str())) {
            return warnings;
        }
        for (index, endpoint) in new.endpoints.iter().flatten().enumerate() {
            let path = Path::new("endpoints").index(index).child("addresses");
            let all = endpoint.addresses.iter().enumerate();
            warnings.extend(all.filter_map(|(index, ip)| network::ip_warning(ip, &path.index(index))));
        }
        warnings
    }

    fn cells(slice: &EndpointSlice, now: Timestamp) -> Vec<Value> {
        let addresses: Vec<String> =
            slice.endpoints.iter().flatten().flat_map(|endpoint| endpoint.addresses.iter().cloned()).collect();
        let ports: Vec<String> = slice.ports.iter().flatten().map(shown).collect();
        vec![
            cells::name(&slice.metadata),
            json!(slice.address_type),
            json!(first_few(&ports, cells::UNSET)),
            json!(first_few(&addresses, cells::UNSET)),
            cells::age(&slice.metadata, now),
        ]
    }
}

fn shown(port: &EndpointPort) -> String {
    match (port.port, &port.name) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) if !name.is_empty() => name.clone(),
        _ => "*".to_owned(),
    }
}

fn endpoints(slice: &EndpointSlice, path: &Path) -> Vec<Cause> {
    let all = slice.endpoints.as_deref().unwrap_or_default();
    if all.len() > MOST_ENDPOINTS {
        return vec![field::too_many(path, all.len(), MOST_ENDPOINTS)];
    }
    all.iter().enumerate().flat_map(|(index, one)| endpoint(one, &slice.address_type, &path.index(index))).collect()
}

fn endpoint(endpoint: &Endpoint, kind: &str, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let addresses = path.child("addresses");
    if endpoint.addresses.is_empty() {
        causes.push(field::required(&addresses, "must contain at least 1 address"));
    } else if endpoint.addresses.len() > MOST_ADDRESSES {
        causes.push(field::too_many(&addresses, endpoint.addresses.len(), MOST_ADDRESSES));
    }
    for (index, text) in endpoint.addresses.iter().enumerate() {
        causes.extend(address(text, kind, &addresses, index));
    }
    if let Some(node) = &endpoint.node_name {
        causes.extend(field::invalid_each(&path.child("nodeName"), node, &name::dns1123_subdomain(node)));
    }
    if let Some(hostname) = &endpoint.hostname {
        causes.extend(field::invalid_each(&path.child("hostname"), hostname, &name::dns1123_label(hostname)));
    }
    if let Some(given) = &endpoint.hints {
        let names = given.for_zones.iter().flatten().map(|zone| zone.name.as_str()).collect::<Vec<_>>();
        causes.extend(hints(&names, &path.child("hints").child("forZones"), name::label_value));
        let names = given.for_nodes.iter().flatten().map(|node| node.name.as_str()).collect::<Vec<_>>();
        causes.extend(hints(&names, &path.child("hints").child("forNodes"), name::dns1123_subdomain));
    }
    causes
}

/// An address of another family is a problem of the whole list.
fn address(text: &str, kind: &str, addresses: &Path, index: usize) -> Vec<Cause> {
    let path = addresses.index(index);
    let (version, is_of_kind) = match kind {
        "IPv4" => ("an IPv4", text.parse::<Ipv4Addr>().is_ok()),
        "IPv6" => ("an IPv6", text.parse::<Ipv6Addr>().is_ok()),
        "FQDN" => return domain(text, &path),
        _ => return Vec::new(),
    };
    let problems = network::ip(text);
    if !problems.is_empty() {
        return field::invalid_each(&path, text, &problems);
    }
    let mut causes = Vec::new();
    if !is_of_kind {
        causes.push(field::invalid(addresses, text, &format!("must be {version} address")));
    }
    causes.extend(field::invalid_each(&path, text, &non_special_ip(text)));
    causes
}

/// A name of at least two parts (`IsFullyQualifiedDomainName` of apimachinery).
fn domain(text: &str, path: &Path) -> Vec<Cause> {
    if text.is_empty() {
        return vec![field::required(path, "")];
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let problems = name::dns1123_subdomain(text);
    if !problems.is_empty() {
        return vec![field::invalid(path, text, &problems.join(","))];
    }
    if !text.contains('.') {
        return vec![field::invalid(path, text, "should be a domain with at least two segments separated by dots")];
    }
    let labels = text.split('.').map(|label| (label, name::dns1123_label(label)));
    let bad = labels.filter(|(_, problems)| !problems.is_empty());
    bad.map(|(label, problems)| field::invalid(path, label, &problems.join(","))).collect()
}

/// Zones or nodes whose clients an endpoint is meant for.
fn hints(names: &[&str], path: &Path, check: fn(&str) -> Vec<String>) -> Vec<Cause> {
    if names.len() > MOST_HINTS {
        return vec![field::too_many(path, names.len(), MOST_HINTS)];
    }
    let mut causes = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let path = path.index(index).child("name");
        if names[..index].contains(name) {
            causes.push(field::duplicate(&path, name));
        }
        causes.extend(field::invalid_each(&path, name, &check(name)));
    }
    causes
}

/// Names and protocols of ports; a number may be any.
fn ports(ports: &[EndpointPort], path: &Path) -> Vec<Cause> {
    if ports.len() > MOST_PORTS {
        return vec![field::too_many(path, ports.len(), MOST_PORTS)];
    }
    let mut causes = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let text = port.name.as_deref().unwrap_or_default();
        if !text.is_empty() {
            causes.extend(field::invalid_each(&path.child("name"), text, &name::dns1123_label(text)));
        }
        if ports[..index].iter().any(|other| other.name == port.name) {
            causes.push(field::duplicate(&path.child("name"), text));
        }
        let protocol = port.protocol.as_deref().unwrap_or_default();
        if !PROTOCOLS.contains(&protocol) {
            causes.push(field::unsupported(&path.child("protocol"), protocol, PROTOCOLS));
        }
        if let Some(text) = &port.app_protocol {
            causes.extend(field::invalid_each(&path.child("appProtocol"), text, &name::qualified_name(text)));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn addresses_are_of_the_slices_type() {
        let strategy = descriptor::<EndpointSliceKind>().strategy;
        let slice = |kind: &str| {
            json!({"metadata": {"name": "a", "namespace": "b"}, "addressType": kind,
                "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": []})
            .into()
        };
        assert_eq!(strategy.validate(&slice("IPv4")), []);
        assert_eq!(strategy.validate(&slice("IPv6"))[0].field, "endpoints[0].addresses");
        assert_eq!(
            strategy.validate(&slice("x"))[0].message,
            "Unsupported value: \"x\": supported values: \"FQDN\", \"IPv4\", \"IPv6\""
        );
        let causes = strategy.validate_update(&slice("IPv6"), &slice("IPv4"));
        assert_eq!(causes[0].message, "Invalid value: \"IPv6\": field is immutable");
    }
}
