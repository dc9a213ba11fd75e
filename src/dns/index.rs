//! What the cluster's zone is answered from: one small entry per Service, and addresses led back to
//! services for reverse look-ups. Entries are computed from API objects by [`entry`], kept on disk as
//! they are, and hold nothing that no answer needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{Service, ServiceSpec},
    discovery::v1::EndpointSlice,
};
use serde::{Deserialize, Serialize};

/// Most endpoints of one headless service that are answered.
const ENDPOINTS_LIMIT: usize = 10_000;

/// One Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Entry {
    /// It has addresses of its own.
    Cluster {
        /// `clusterIPs`
        addresses: Vec<IpAddr>,
        /// Named ports.
        ports: Vec<Port>,
    },
    /// It is the list of its endpoints.
    Headless {
        /// Those that are ready, or all if it publishes all.
        endpoints: Vec<EndpointRecord>,
    },
    /// It is another name.
    Alias {
        /// `externalName`
        target: String,
    },
}

/// A named port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Port {
    pub(super) name: String,
    /// Lower case: `tcp`.
    pub(super) protocol: String,
    pub(super) number: u16,
}

/// One endpoint of a headless service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct EndpointRecord {
    pub(super) address: IpAddr,
    /// The pod's `hostname`, or else a label made of the address.
    pub(super) label: String,
    pub(super) ports: Vec<Port>,
}

/// Namespace and name of a service, lower case.
pub(super) type ServiceName = (String, String);

/// All entries. Look-ups cost the logarithm of their number.
#[derive(Debug, Default)]
pub(super) struct Index {
    services: BTreeMap<ServiceName, Entry>,
    by_address: BTreeMap<IpAddr, BTreeSet<ServiceName>>,
}

impl Index {
    /// Adds, changes or removes an entry; says whether that made a difference.
    pub(super) fn set(&mut self, name: ServiceName, entry: Option<Entry>) -> bool {
        if self.services.get(&name) == entry.as_ref() {
            return false;
        }
        if let Some(old) = self.services.remove(&name) {
            for address in addresses(&old) {
                if let Some(owners) = self.by_address.get_mut(&address) {
                    owners.remove(&name);
                    if owners.is_empty() {
                        self.by_address.remove(&address);
                    }
                }
            }
        }
        if let Some(entry) = entry {
            for address in addresses(&entry) {
                self.by_address.entry(address).or_default().insert(name.clone());
            }
            self.services.insert(name, entry);
        }
        true
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Entry> {
        self.services.get(&(namespace.to_owned(), name.to_owned()))
    }

    pub(super) fn has_namespace(&self, namespace: &str) -> bool {
        let from = (namespace.to_owned(), String::new());
        self.services.range(from..).next().is_some_and(|((found, _), _)| found == namespace)
    }

    /// The services that have this address, or an endpoint with it.
    pub(super) fn owners(&self, address: IpAddr) -> impl Iterator<Item = (&ServiceName, &Entry)> {
        let owners = self.by_address.get(&address).into_iter().flatten();
        owners.filter_map(|name| self.services.get_key_value(name))
    }

    pub(super) fn names(&self) -> Vec<ServiceName> {
        self.services.keys().cloned().collect()
    }

    /// Everything, for keeping on disk.
    pub(super) fn entries(&self) -> Vec<(ServiceName, Entry)> {
        self.services.iter().map(|(name, entry)| (name.clone(), entry.clone())).collect()
    }
}

/// The entry of a service; `None` if it has no records.
pub(super) fn entry(service: &Service, slices: &[Arc<EndpointSlice>]) -> Option<Entry> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return spec.external_name.clone().map(|target| Entry::Alias { target });
    }
    let listed: Vec<&String> = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).collect();
    if listed.iter().any(|address| *address == "None") {
        return Some(Entry::Headless { endpoints: endpoints(spec, slices) });
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in listed.into_iter().filter_map(|address| address.parse().ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    (!addresses.is_empty()).then(|| Entry::Cluster { addresses, ports: service_ports(spec) })
}

fn service_ports(spec: &ServiceSpec) -> Vec<Port> {
    let named = spec.ports.iter().flatten().filter_map(|port| {
        let name = port.name.clone().filter(|name| !name.is_empty())?;
        Some(Port { name, protocol: protocol(port.protocol.as_deref()), number: u16::try_from(port.port).ok()? })
    });
    named.collect()
}

fn endpoints(spec: &ServiceSpec, slices: &[Arc<EndpointSlice>]) -> Vec<EndpointRecord> {
    let publish_all = spec.publish_not_ready_addresses.unwrap_or(false);
    let mut records = BTreeSet::new();
    for slice in slices {
        let ports = slice_ports(slice);
        for endpoint in slice.endpoints.iter().flatten() {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
            let address = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok());
            let Some(address) = address.filter(|_| ready || publish_all) else { continue };
            let label = endpoint.hostname.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| dashed(address));
            records.insert(EndpointRecord { address, label: label.to_lowercase(), ports: ports.clone() });
        }
    }
    records.into_iter().take(ENDPOINTS_LIMIT).collect()
}

fn slice_ports(slice: &EndpointSlice) -> Vec<Port> {
    let named = slice.ports.iter().flatten().filter_map(|port| {
        let name = port.name.clone().filter(|name| !name.is_empty())?;
        Some(Port { name, protocol: protocol(port.protocol.as_deref()), number: u16::try_from(port.port?).ok()? })
    });
    named.collect()
}

fn protocol(name: Option<&str>) -> String {
    name.filter(|name| !name.is_empty()).unwrap_or("TCP").to_lowercase()
}

/// An address as a label: `10-42-0-5`, and with a zero where IPv6 would begin or end in a dash.
pub(super) fn dashed(address: IpAddr) -> String {
    let text = address.to_string().replace(['.', ':'], "-");
    let front = if text.starts_with('-') { "0" } else { "" };
    let back = if text.ends_with('-') { "0" } else { "" };
    format!("{front}{text}{back}")
}

fn addresses(entry: &Entry) -> Vec<IpAddr> {
    match entry {
        Entry::Cluster { addresses, .. } => addresses.clone(),
        Entry::Headless { endpoints } => endpoints.iter().map(|endpoint| endpoint.address).collect(),
        Entry::Alias { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"namespace": "d", "name": "s"}, "spec": spec})).unwrap()
    }

    fn slice() -> Arc<EndpointSlice> {
        let value = json!({"addressType": "IPv4", "metadata": {}, "ports": [{"name": "http", "port": 80}], "endpoints": [
            {"addresses": ["10.42.0.2"], "hostname": "web-0"},
            {"addresses": ["10.42.0.3"], "conditions": {"ready": false}}]});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn labels(entry: Option<Entry>) -> Vec<String> {
        match entry {
            Some(Entry::Headless { endpoints }) => endpoints.into_iter().map(|endpoint| endpoint.label).collect(),
            other => panic!("not headless: {other:?}"),
        }
    }

    #[test]
    fn a_headless_service_has_its_ready_endpoints_or_all_if_it_says_so() {
        let mut headless = service(json!({"clusterIP": "None", "clusterIPs": ["None"]}));
        assert_eq!(labels(entry(&headless, &[slice()])), ["web-0"]);
        headless.spec.as_mut().unwrap().publish_not_ready_addresses = Some(true);
        assert_eq!(labels(entry(&headless, &[slice()])), ["web-0", "10-42-0-3"]);
    }

    #[test]
    fn addresses_lead_back_to_services_until_these_change() {
        let mut index = Index::default();
        let name = ("d".to_owned(), "s".to_owned());
        let cluster = entry(&service(json!({"clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"]})), &[]);
        assert!(index.set(name.clone(), cluster.clone()));
        assert!(!index.set(name.clone(), cluster));
        let address = "10.43.0.9".parse().unwrap();
        assert_eq!(index.owners(address).count(), 1);
        assert!(index.has_namespace("d") && !index.has_namespace("e"));
        index.set(name, None);
        assert_eq!(index.owners(address).count(), 0);
    }
}
