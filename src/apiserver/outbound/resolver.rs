//! From a service's name to where it answers. The server need not be a node of its cluster, so that
//! cluster addresses may lead nowhere from here: as with upstream's aggregator routing, a ready endpoint
//! is called itself, through its node's tunnel if it has one.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::{Status, kind::GroupResource, status::Reason},
    apiserver::{
        nodes::endpoints::{self, Backend},
        reader::Reader,
    },
};

const SERVICES: GroupResource<'static> = GroupResource { group: "", resource: "services" };

/// Where a service answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// At one of its endpoints.
    Endpoint(Backend),
    /// At a name outside of the cluster.
    External {
        /// The name.
        host: String,
        /// The port that was asked for.
        port: u16,
    },
}

/// Finds services and their endpoints.
#[derive(Clone)]
pub struct ServiceResolver {
    reader: Arc<dyn Reader>,
}

impl ServiceResolver {
    /// Looks in `reader`.
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }

    /// Where `port` of a service answers: each time another one of its ready endpoints. 404 if there
    /// is no such service, 503 if it cannot answer.
    pub fn resolve(&self, namespace: &str, name: &str, port: u16) -> Result<Location, Status> {
        let service = self.reader.get(SERVICES, namespace, name);
        let service = service.ok_or_else(|| Status::not_found("", "service", name))?;
        let service: Value = serde_json::from_slice(&service).map_err(Status::internal)?;
        let spec = &service["spec"];
        if spec["type"] == "ExternalName" {
            let host = spec["externalName"].as_str().unwrap_or_default().to_owned();
            return Ok(Location::External { host, port });
        }
        let unavailable = |why: String| Status::new(Reason::ServiceUnavailable, why);
        let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        let wanted = ports.iter().find(|one| endpoints::number(&one["port"]) == Some(port));
        let wanted = wanted.ok_or_else(|| unavailable(format!("no service port {port} found for service {name:?}")))?;
        let port_name = wanted["name"].as_str().unwrap_or_default();
        let backend = endpoints::choose(&*self.reader, &service, port_name);
        backend
            .map(Location::Endpoint)
            .ok_or_else(|| unavailable(format!("no endpoints available for service {name:?}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::reader::fake::FakeReader;

    fn message(resolver: &ServiceResolver, name: &str, port: u16) -> String {
        resolver.resolve("n", name, port).unwrap_err().message
    }

    #[test]
    fn services_are_found_or_it_is_said_why_not() {
        let reader = FakeReader::default();
        let meta = |name: &str| json!({"name": name, "namespace": "n"});
        reader.put("", "services", json!({"metadata": meta("w"), "spec": {"ports": [{"name": "https", "port": 443}]}}));
        let external = json!({"metadata": meta("e"), "spec": {"type": "ExternalName", "externalName": "example.com"}});
        reader.put("", "services", external);
        let reader = Arc::new(reader);
        let resolver = ServiceResolver::new(reader.clone());
        assert_eq!(message(&resolver, "x", 443), "service \"x\" not found");
        assert_eq!(message(&resolver, "w", 80), "no service port 80 found for service \"w\"");
        assert_eq!(message(&resolver, "w", 443), "no endpoints available for service \"w\"");
        let slice = json!({
            "metadata": {"name": "w-1", "namespace": "n", "labels": {"kubernetes.io/service-name": "w"}},
            "ports": [{"name": "https", "port": 8443}], "endpoints": [{"addresses": ["10.42.0.5"], "nodeName": "a"}],
        });
        reader.put("discovery.k8s.io", "endpointslices", slice);
        let backend = Backend { node: "a".into(), address: ([10, 42, 0, 5], 8443).into() };
        assert_eq!(resolver.resolve("n", "w", 443).unwrap(), Location::Endpoint(backend));
        let external = Location::External { host: "example.com".into(), port: 8443 };
        assert_eq!(resolver.resolve("n", "e", 8443).unwrap(), external);
    }
}
