//! IP addresses: who has an address of the service networks (KEP-1880).

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IPAddress, ParentReference};
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::{self, IMMUTABLE, Path},
    kind::{Column, Kind, NameRule, Names},
    status::Cause,
    validation::{name, network},
};

/// `networking.k8s.io/v1.IPAddress`
pub struct IpAddressKind;

impl Kind for IpAddressKind {
    type Object = IPAddress;
    const NAMES: Names =
        Names { short_names: &["ip"], ..names::cluster(names::NETWORKING, "IPAddress", "ipaddresses", "ipaddress") };
    const NAME_RULE: NameRule = NameRule::PathSegment;
    const COLUMNS: &'static [Column] =
        &[cells::NAME, cells::column("ParentRef", "string", "Who has the address."), cells::AGE];

    fn validate(address: &IPAddress) -> Vec<Cause> {
        let name = address.metadata.name.as_deref().unwrap_or_default();
        let path = Path::new("metadata").child("name");
        let mut causes = match name.parse::<IpAddr>() {
            _ if name.is_empty() => Vec::new(),
            Ok(parsed) if parsed.to_string() == name => Vec::new(),
            Ok(parsed) => vec![field::invalid(&path, name, &format!("must be in canonical form (\"{parsed}\")"))],
            Err(_) => field::invalid_each(&path, name, &network::ip(name)),
        };
        causes.extend(parent(address, &Path::new("spec").child("parentRef")));
        causes
    }

    fn validate_update(new: &IPAddress, old: &IPAddress) -> Vec<Cause> {
        let (path, new, old) = (Path::new("spec").child("parentRef"), &new.spec.parent_ref, &old.spec.parent_ref);
        if new != old && !is_given(new) {
            return vec![field::invalid(&path, (), IMMUTABLE)];
        }
        field::immutable_internal(&path, "networking.v1.ParentReference", new, old)
    }

    fn cells(address: &IPAddress, now: Timestamp) -> Vec<Value> {
        let parent = &address.spec.parent_ref;
        let mut shown = parent.resource.clone();
        for (separator, part) in [('.', &parent.group), ('/', &parent.namespace)] {
            if let Some(part) = part.as_deref().filter(|part| !part.is_empty()) {
                shown.push(separator);
                shown.push_str(part);
            }
        }
        let shown = format!("{shown}/{}", parent.name);
        vec![cells::name(&address.metadata), json!(shown), cells::age(&address.metadata, now)]
    }
}

fn parent(address: &IPAddress, path: &Path) -> Vec<Cause> {
    let parent = &address.spec.parent_ref;
    if !is_given(parent) {
        return vec![field::required(path, "")];
    }
    let mut causes = Vec::new();
    if let Some(group) = parent.group.as_deref().filter(|group| !group.is_empty()) {
        causes.extend(field::invalid_each(&path.child("group"), group, &name::dns1123_subdomain(group)));
    }
    for (field, text) in [("resource", &parent.resource), ("name", &parent.name)] {
        if text.is_empty() {
            causes.push(field::required(&path.child(field), ""));
        }
        causes.extend(field::invalid_each(&path.child(field), text, &name::path_segment(text)));
    }
    if let Some(namespace) = parent.namespace.as_deref() {
        causes.extend(field::invalid_each(&path.child("namespace"), namespace, &name::path_segment(namespace)));
    }
    causes
}

/// Whether there is a reference: one that says nothing is taken for none.
fn is_given(parent: &ParentReference) -> bool {
    *parent != ParentReference::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(name: &str) -> IPAddress {
        let parent = json!({"resource": "services", "namespace": "default", "name": "kubernetes"});
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"parentRef": parent}})).unwrap()
    }

    #[test]
    fn the_name_is_the_address_as_it_is_written_best() {
        assert_eq!(IpAddressKind::validate(&address("2001:db8::1")), []);
        assert_eq!(
            IpAddressKind::validate(&address("2001:db8::01"))[0].message,
            "Invalid value: \"2001:db8::01\": must be in canonical form (\"2001:db8::1\")"
        );
        assert_eq!(IpAddressKind::validate(&address("a")).len(), 1);
        assert_eq!(IpAddressKind::cells(&address("10.0.0.1"), Timestamp::UNIX_EPOCH)[1], "services/default/kubernetes");
    }
}
