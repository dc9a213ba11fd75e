//! Endpoints of services: which address on which node a request for a service is sent to. The node
//! matters: the server may have no other way to the pods of a node than that node's tunnel.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::{
    api::{kind::GroupResource, meta},
    apiserver::reader::Reader,
};

/// The resource of endpoint slices.
pub const SLICES: GroupResource<'static> = GroupResource { group: "discovery.k8s.io", resource: "endpointslices" };
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The node; empty for addresses outside of the cluster.
    pub node: String,
    /// Address and port.
    pub address: SocketAddr,
}

/// One of the ready endpoints that `service` has for its port called `port_name`, by chance, but of
/// the service's first IP family if there is one.
pub fn choose(reader: &dyn Reader, service: &Value, port_name: &str) -> Option<Backend> {
    let slices = slices(reader, meta::namespace(service), meta::name(service));
    let mut backends: Vec<Backend> = slices.iter().flat_map(|slice| ready(slice, port_name)).collect();
    let wants_ipv6 = service.pointer("/spec/ipFamilies/0").is_some_and(|family| family == "IPv6");
    let is_preferred = |backend: &Backend| backend.address.is_ipv6() == wants_ipv6;
    if backends.iter().any(is_preferred) {
        backends.retain(is_preferred);
    }
    let chosen = rand::random_range(0..backends.len().max(1));
    backends.into_iter().nth(chosen)
}

/// The endpoint slices of a service.
pub fn slices(reader: &dyn Reader, namespace: &str, service: &str) -> Vec<Value> {
    let slices = reader.list(SLICES, Some(namespace));
    let parsed = slices.iter().filter_map(|slice| serde_json::from_slice::<Value>(slice).ok());
    parsed.filter(|slice| meta::label(slice, SERVICE_NAME_LABEL) == Some(service)).collect()
}

/// A port number in JSON.
pub fn number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|port| u16::try_from(port).ok())
}

fn ready(slice: &Value, port_name: &str) -> Vec<Backend> {
    let ports = slice["ports"].as_array();
    let port = ports
        .into_iter()
        .flatten()
        .find(|port| port["name"].as_str().unwrap_or_default() == port_name)
        .and_then(|port| number(&port["port"]));
    let Some(port) = port else { return Vec::new() };
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"].as_bool() != Some(false));
    ready
        .filter_map(|endpoint| {
            let address: IpAddr = endpoint["addresses"][0].as_str()?.parse().ok()?;
            let node = endpoint["nodeName"].as_str().unwrap_or_default().to_owned();
            Some(Backend { node, address: (address, port).into() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::reader::fake::FakeReader;

    #[test]
    fn only_ready_endpoints_with_the_port_are_asked() {
        let slice = json!({
            "ports": [{"name": "a", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.42.0.5"], "nodeName": "edge1", "conditions": {"ready": true}},
                {"addresses": ["10.42.0.6"], "conditions": {"ready": false}},
            ],
        });
        let backends = ready(&slice, "a");
        assert_eq!(backends.len(), 1);
        assert_eq!((backends[0].node.as_str(), backends[0].address), ("edge1", ([10, 42, 0, 5], 8080).into()));
        assert!(ready(&slice, "b").is_empty());
    }

    #[test]
    fn the_first_family_of_the_service_is_preferred() {
        let reader = FakeReader::default();
        for (name, address) in [("w-4", "10.42.0.5"), ("w-6", "fd00::5")] {
            let slice = json!({
                "metadata": {"name": name, "namespace": "n", "labels": {"kubernetes.io/service-name": "w"}},
                "ports": [{"name": "", "port": 1}], "endpoints": [{"addresses": [address]}],
            });
            reader.put("discovery.k8s.io", "endpointslices", slice);
        }
        let service = json!({"metadata": {"name": "w", "namespace": "n"}, "spec": {"ipFamilies": ["IPv6", "IPv4"]}});
        for _ in 0..8 {
            assert!(choose(&reader, &service, "").unwrap().address.is_ipv6());
        }
        assert_eq!(choose(&reader, &json!({"metadata": {"name": "x", "namespace": "n"}}), ""), None);
    }
}
