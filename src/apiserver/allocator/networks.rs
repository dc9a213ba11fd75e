//! The networks that services get addresses from: those that the server was started with, and those of
//! ServiceCIDR objects that are ready (KEP-1880).

use std::collections::BTreeMap;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::ServiceCIDR;

use super::addresses::Addresses;
use crate::{api::kind::GroupResource, apiserver::reader::Reader};

/// The resource whose objects name networks.
const SERVICE_CIDRS: GroupResource<'static> = GroupResource { group: "networking.k8s.io", resource: "servicecidrs" };

/// Networks of the cluster's services.
#[derive(Debug)]
pub struct Networks {
    configured: Vec<IpNet>,
    usable: Vec<Addresses>,
    /// The generation of the objects that were read last.
    read: Option<u64>,
}

impl Networks {
    /// The networks that the server was started with: one, or one of each family.
    pub fn new(configured: &[IpNet]) -> Self {
        let configured: Vec<IpNet> = configured.iter().map(IpNet::trunc).collect();
        let usable = configured.iter().copied().map(Addresses::new).collect();
        Self { configured, usable, read: None }
    }

    /// Those that the server was started with, the default first.
    pub fn configured(&self) -> &[IpNet] {
        &self.configured
    }

    /// Those that addresses may be taken from, the configured ones first.
    pub fn usable(&self) -> &[Addresses] {
        &self.usable
    }

    /// Takes in the objects as they are now.
    pub fn read(&mut self, reader: &dyn Reader) {
        let generation = reader.generation(SERVICE_CIDRS);
        if self.read == Some(generation) {
            return;
        }
        self.read = Some(generation);
        let objects = reader.list(SERVICE_CIDRS, None);
        let objects = objects.iter().filter_map(|object| serde_json::from_slice::<ServiceCIDR>(object).ok());
        self.usable = usable(&self.configured, objects);
    }
}

/// A network is usable if one of its objects is ready; a configured one, also if it has none yet.
fn usable(configured: &[IpNet], objects: impl Iterator<Item = ServiceCIDR>) -> Vec<Addresses> {
    let mut named: BTreeMap<IpNet, bool> = BTreeMap::new();
    for object in objects {
        let is_ready = is_ready(&object);
        let cidrs = object.spec.and_then(|spec| spec.cidrs).unwrap_or_default();
        for network in cidrs.iter().filter_map(|cidr| cidr.parse::<IpNet>().ok()) {
            *named.entry(network.trunc()).or_default() |= is_ready;
        }
    }
    let own = configured.iter().filter(|network| named.get(network).copied().unwrap_or(true));
    let others = named.iter().filter(|(network, is_ready)| **is_ready && !configured.contains(network));
    own.chain(others.map(|(network, _)| network)).copied().map(Addresses::new).collect()
}

/// Nothing is given from what is being deleted. Where nobody has said anything, the object counts as ready.
fn is_ready(object: &ServiceCIDR) -> bool {
    let conditions = object.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    object.metadata.deletion_timestamp.is_none() && ready.is_none_or(|ready| ready.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(objects: &[Value]) -> Vec<String> {
        let configured = ["10.43.0.0/16".parse().unwrap()];
        let objects = objects.iter().map(|object| serde_json::from_value(object.clone()).unwrap());
        usable(&configured, objects).iter().map(|addresses| addresses.network().to_string()).collect()
    }

    fn object(cidr: &str, ready: &str) -> Value {
        let condition = json!({"type": "Ready", "status": ready, "reason": "", "message": "",
                               "lastTransitionTime": "2026-01-01T00:00:00Z"});
        json!({"metadata": {"name": cidr}, "spec": {"cidrs": [cidr]}, "status": {"conditions": [condition]}})
    }

    #[test]
    fn networks_of_ready_objects_are_used_after_the_configured_ones() {
        assert_eq!(found(&[]), ["10.43.0.0/16"]);
        let unknown = json!({"metadata": {"name": "a"}, "spec": {"cidrs": ["10.8.0.0/24"]}});
        assert_eq!(found(&[object("10.9.0.0/24", "True"), unknown]), ["10.43.0.0/16", "10.8.0.0/24", "10.9.0.0/24"]);
        assert_eq!(found(&[object("10.9.0.0/24", "False"), object("10.9.0.0/24", "True")]).len(), 2);
    }

    #[test]
    fn nothing_is_given_from_what_goes() {
        assert_eq!(found(&[object("10.9.0.0/24", "False")]), ["10.43.0.0/16"]);
        let mut deleted = object("10.43.0.0/16", "True");
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(found(&[deleted]).is_empty());
    }
}
