//! Environment variables that lead to Services (Kubernetes documentation, "Discovering services").

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::Service;

/// Name and namespace of the API's own Service, which every container is told of.
const API_SERVICE: (&str, &str) = ("default", "kubernetes");

/// Variables for the Services of `namespace`, if links are wanted, and for the API's.
pub fn variables(services: &[Arc<Service>], namespace: &str, links: bool) -> Vec<(String, String)> {
    let mut chosen: Vec<&Service> = Vec::new();
    for service in services {
        let at = (service.metadata.namespace.as_deref(), service.metadata.name.as_deref());
        let is_api = at == (Some(API_SERVICE.0), Some(API_SERVICE.1));
        // A Service of the pod's own namespace that is called `kubernetes` takes the place of the API's.
        let shadowed = is_api
            && links
            && namespace != API_SERVICE.0
            && services.iter().any(|other| {
                other.metadata.namespace.as_deref() == Some(namespace)
                    && other.metadata.name.as_deref() == Some(API_SERVICE.1)
            });
        if (is_api && !shadowed) || (links && at.0 == Some(namespace)) {
            chosen.push(service);
        }
    }
    chosen.sort_by_key(|service| service.metadata.name.as_deref());
    chosen.into_iter().flat_map(of_service).collect()
}

fn of_service(service: &Service) -> Vec<(String, String)> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let address = spec.cluster_ip.as_deref().and_then(|address| address.parse::<IpAddr>().ok());
    let (Some(address), Some(ports)) = (address, spec.ports.as_ref().filter(|ports| !ports.is_empty())) else {
        return Vec::new();
    };
    let prefix = variable_name(service.metadata.name.as_deref().unwrap_or_default());
    let mut variables = vec![
        (format!("{prefix}_SERVICE_HOST"), address.to_string()),
        (format!("{prefix}_SERVICE_PORT"), ports[0].port.to_string()),
    ];
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            variables.push((format!("{prefix}_SERVICE_PORT_{}", variable_name(name)), port.port.to_string()));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_ascii_lowercase();
        let host = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let url = format!("{lower}://{host}:{}", port.port);
        if index == 0 {
            variables.push((format!("{prefix}_PORT"), url.clone()));
        }
        let port_prefix = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_ascii_uppercase());
        variables.push((port_prefix.clone(), url));
        variables.push((format!("{port_prefix}_PROTO"), lower));
        variables.push((format!("{port_prefix}_PORT"), port.port.to_string()));
        variables.push((format!("{port_prefix}_ADDR"), address.to_string()));
    }
    variables
}

fn variable_name(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(namespace: &str, name: &str, address: &str) -> Arc<Service> {
        let ports = json!([{"name": "https", "port": 443, "protocol": "TCP"}]);
        let value = json!({"metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": address, "ports": ports}});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn names_host_ports_and_links() {
        let services = [service("default", "kubernetes", "10.43.0.1"), service("n", "my-db", "10.43.0.7")];
        let variables = variables(&services, "n", true);
        let get = |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(get("KUBERNETES_SERVICE_HOST"), Some("10.43.0.1"));
        assert_eq!(get("KUBERNETES_SERVICE_PORT_HTTPS"), Some("443"));
        assert_eq!(get("MY_DB_PORT"), Some("tcp://10.43.0.7:443"));
        assert_eq!(get("MY_DB_PORT_443_TCP_ADDR"), Some("10.43.0.7"));
    }

    #[test]
    fn without_links_only_the_api_is_named() {
        let services = [service("default", "kubernetes", "10.43.0.1"), service("n", "db", "10.43.0.7")];
        assert!(variables(&services, "n", false).iter().all(|(key, _)| key.starts_with("KUBERNETES_")));
        assert!(!variables(&services, "n", false).is_empty());
    }

    #[test]
    fn headless_services_have_no_variables() {
        assert!(variables(&[service("n", "db", "None")], "n", true).is_empty());
    }
}
