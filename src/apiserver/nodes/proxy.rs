//! The `proxy` subresources of pods, services and nodes: the rest of the path, whatever the method,
//! goes to the pod's port, to an endpoint of the service, or to the node's kubelet.

use std::{net::IpAddr, sync::Arc};

use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio_rustls::TlsConnector;

use crate::{
    api::{Status, kind::GroupResource, status::Reason},
    apiserver::{
        attributes::Attributes,
        handler::Handler,
        nodes::{
            Dialer,
            endpoints::{self, Backend, number},
            pass_on,
        },
        reader::Reader,
    },
    base::task::Supervisor,
    http::{
        any_server,
        body::{self, Body},
        client::BoxStream,
        tunnel::Target,
    },
};

/// Serves `pods/proxy`, `services/proxy` and `nodes/proxy`.
pub struct Proxy {
    reader: Arc<dyn Reader>,
    dialer: Arc<Dialer>,
    supervisor: Supervisor,
}

/// `[scheme:]name[:port]`, as names of proxied objects are written.
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    is_https: bool,
    name: &'a str,
    port: &'a str,
}

impl Proxy {
    /// Finds pods and endpoints in `reader` and reaches them through `dialer`.
    pub fn new(reader: Arc<dyn Reader>, dialer: Arc<Dialer>, supervisor: Supervisor) -> Self {
        Self { reader, dialer, supervisor }
    }

    async fn serve(&self, attributes: &Attributes, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        let Some(rest) = rest_of_path(request.uri().path()) else {
            return redirect_to_directory(&request);
        };
        let name = parse_name(&attributes.name).ok_or_else(|| {
            Status::bad_request(format!("invalid {} request {:?}", attributes.resource, attributes.name))
        })?;
        let (stream, host) = match attributes.resource.as_str() {
            "nodes" => (self.dialer.dial(name.name, Target::Kubelet).await?, "kubelet".to_owned()),
            resource => {
                let backend = match resource {
                    "pods" => self.pod(attributes, &name)?,
                    _ => self.endpoint(attributes, &name)?,
                };
                let stream = self.dialer.dial(&backend.node, Target::Pod(backend.address)).await?;
                (self.secure(stream, &name).await?, backend.address.to_string())
            }
        };
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let url = format!("http://{host}{rest}{query}").parse::<Uri>();
        *request.uri_mut() = url.map_err(|_| Status::bad_request("invalid request path"))?;
        pass_on(request, stream, &self.supervisor).await
    }

    /// The certificates of pods are their own affair, as they are to upstream's proxy.
    async fn secure(&self, stream: BoxStream, name: &Name<'_>) -> Result<BoxStream, Status> {
        if !name.is_https {
            return Ok(stream);
        }
        let tls = any_server::client().map_err(Status::internal)?;
        let server = ServerName::try_from(name.name.to_owned()).map_err(Status::internal)?;
        let stream = TlsConnector::from(tls).connect(server, stream).await;
        Ok(Box::new(stream.map_err(|error| {
            Status::new(Reason::ServiceUnavailable, format!("error trying to reach service: {error}"))
        })?))
    }

    fn pod(&self, attributes: &Attributes, name: &Name<'_>) -> Result<Backend, Status> {
        let resource = GroupResource { group: "", resource: "pods" };
        let pod = self.reader.get(resource, &attributes.namespace, name.name);
        let pod = pod.ok_or_else(|| Status::not_found("", "pods", name.name))?;
        let pod: Value = serde_json::from_slice(&pod).map_err(Status::internal)?;
        let address = pod["status"]["podIP"].as_str().and_then(|address| address.parse::<IpAddr>().ok());
        let address = address.ok_or_else(|| Status::bad_request("address not allowed"))?;
        let port = pod_port(&pod, name.port)
            .ok_or_else(|| Status::bad_request(format!("pod {:?} has no port {:?}", name.name, name.port)))?;
        Ok(Backend {
            node: pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned(),
            address: (address, port).into(),
        })
    }

    fn endpoint(&self, attributes: &Attributes, name: &Name<'_>) -> Result<Backend, Status> {
        let resource = GroupResource { group: "", resource: "services" };
        let service = self.reader.get(resource, &attributes.namespace, name.name);
        let service = service.ok_or_else(|| Status::not_found("", "services", name.name))?;
        let service: Value = serde_json::from_slice(&service).map_err(Status::internal)?;
        let unavailable = |why: String| Status::new(Reason::ServiceUnavailable, why);
        let port_name = service_port(&service, name.port)
            .ok_or_else(|| unavailable(format!("no service port {:?} found for service {:?}", name.port, name.name)))?;
        endpoints::choose(&*self.reader, &service, &port_name)
            .ok_or_else(|| unavailable(format!("no endpoints available for service {:?}", attributes.name)))
    }
}

impl Handler for Proxy {
    fn handle<'a>(
        &'a self,
        attributes: &'a Attributes,
        request: Request<Body>,
    ) -> BoxFuture<'a, Result<Response<Body>, Status>> {
        Box::pin(self.serve(attributes, request))
    }
}

/// What follows `…/proxy`, from its slash; `None` if there is not even that.
pub fn rest_of_path(path: &str) -> Option<&str> {
    // The name stands right before: the first such segment after a resource is the subresource.
    let segments: Vec<&str> = path.split('/').collect();
    let start = segments.iter().position(|segment| matches!(*segment, "pods" | "services" | "nodes"))?;
    let length: usize = segments.iter().take(start + 3).map(|segment| segment.len() + 1).sum();
    path.get(length - 1..).filter(|rest| rest.starts_with('/'))
}

/// Links in a page are relative to its directory, so a proxied root must end in a slash.
fn redirect_to_directory(request: &Request<Body>) -> Result<Response<Body>, Status> {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = HeaderValue::from_str(&format!("{}/{query}", request.uri().path())).map_err(Status::internal)?;
    let mut response = Response::new(body::empty());
    *response.status_mut() = match *request.method() {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

fn parse_name(text: &str) -> Option<Name<'_>> {
    let parts: Vec<&str> = text.split(':').collect();
    let (scheme, name, port) = match parts[..] {
        [name] => ("", name, ""),
        [name, port] => ("", name, port),
        [scheme, name, port] => (scheme, name, port),
        _ => return None,
    };
    (matches!(scheme, "" | "http" | "https") && !name.is_empty()).then_some(Name {
        is_https: scheme == "https",
        name,
        port,
    })
}

/// A number, the name of a container's port, or the first port there is; 80 where there is none.
fn pod_port(pod: &Value, wanted: &str) -> Option<u16> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let mut ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    if wanted.is_empty() {
        return ports.next().map_or(Some(80), |port| number(&port["containerPort"]));
    }
    wanted
        .parse()
        .ok()
        .or_else(|| ports.find(|port| port["name"] == wanted).and_then(|port| number(&port["containerPort"])))
}

/// The name of the service port that is meant by name, number, or by being the only one.
fn service_port(service: &Value, wanted: &str) -> Option<String> {
    let ports = service["spec"]["ports"].as_array()?;
    let found = match wanted {
        "" => ports.first().filter(|_| ports.len() == 1),
        wanted => ports.iter().find(|port| {
            port["name"] == wanted || port["port"].as_u64().is_some_and(|number| number.to_string() == wanted)
        }),
    };
    found.map(|port| port["name"].as_str().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_carry_scheme_and_port() {
        assert_eq!(parse_name("web"), Some(Name { is_https: false, name: "web", port: "" }));
        assert_eq!(parse_name("web:http"), Some(Name { is_https: false, name: "web", port: "http" }));
        assert_eq!(parse_name("https:web:443"), Some(Name { is_https: true, name: "web", port: "443" }));
        assert_eq!(parse_name("https:web:"), Some(Name { is_https: true, name: "web", port: "" }));
        assert_eq!(parse_name("ftp:web:1"), None);
        assert_eq!(parse_name("a:b:c:d"), None);
    }

    #[test]
    fn the_rest_of_the_path_goes_on() {
        let rest = rest_of_path;
        assert_eq!(rest("/api/v1/namespaces/a/pods/web:80/proxy/x/y"), Some("/x/y"));
        assert_eq!(rest("/api/v1/namespaces/a/services/pods/proxy/"), Some("/"));
        assert_eq!(rest("/api/v1/nodes/edge1/proxy/metrics"), Some("/metrics"));
        assert_eq!(rest("/api/v1/namespaces/a/pods/web/proxy"), None);
    }

    #[test]
    fn ports_are_found_by_name_number_or_being_alone() {
        let pod = json!({"spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}});
        assert_eq!(pod_port(&pod, ""), Some(8080));
        assert_eq!(pod_port(&pod, "http"), Some(8080));
        assert_eq!(pod_port(&pod, "9"), Some(9));
        assert_eq!(pod_port(&pod, "x"), None);
        assert_eq!(pod_port(&json!({}), ""), Some(80));
        let service = json!({"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}});
        assert_eq!(service_port(&service, "81"), Some("b".into()));
        assert_eq!(service_port(&service, ""), None);
    }
}
