//! Reaching nodes: the tunnels that agents open, dialling through them, joining, and the requests
//! that the API passes on to kubelets and pods (logs, exec, attach, port-forward, proxy).

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use kube::Client;
use rustls::{ClientConfig, pki_types::ServerName};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::{
    api::{Status, kind::GroupResource, status::Reason},
    apiserver::{handlers::Handlers, reader::Reader},
    base::{log, task::Supervisor},
    http::{
        body::{self, Body},
        client::{self, BoxStream},
        forward,
        tunnel::{Error as TunnelError, Target, Tunnels},
    },
    pki::{
        self,
        join::{AUTHORITY_PATH, ClusterSettings, JOIN_PATH},
    },
};

pub mod endpoints;
pub mod join;
pub mod pods;
pub mod proxy;
pub mod tunnel;

/// The kubelet's port, where a node does not name another.
const KUBELET_PORT: u16 = 10_250;
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest error text of a kubelet that is passed on, bytes.
const ERROR_LIMIT_BYTES: usize = 2048;

/// Why a node was not reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such node, or it has no address.
    #[error("node {0} has no tunnel and no address")]
    Unknown(String),
    /// Its tunnel does not let us through.
    #[error("pass through the tunnel of node {node}")]
    Tunnel {
        /// The node.
        node: String,
        /// Why.
        #[source]
        source: TunnelError,
    },
    /// Its port does not answer.
    #[error("dial kubelet of node {node}")]
    Kubelet {
        /// The node.
        node: String,
        /// Why.
        #[source]
        source: client::Error,
    },
    /// A pod's port does not answer.
    #[error("dial tcp {address}: {source}")]
    Pod {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Self::new(Reason::InternalError, format!("error dialing backend: {}", log::chain(&error)))
    }
}

/// Opens connections to nodes: through their tunnel, or straight if there is none.
pub struct Dialer {
    reader: Arc<dyn Reader>,
    tunnels: Arc<Tunnels>,
    kubelet_tls: Arc<ClientConfig>,
}

impl Dialer {
    /// `kubelet_tls` is for nodes without a tunnel: [`crate::pki::Server::kubelet_client_tls`].
    pub fn new(reader: Arc<dyn Reader>, tunnels: Arc<Tunnels>, kubelet_tls: Arc<ClientConfig>) -> Self {
        Self { reader, tunnels, kubelet_tls }
    }

    /// A byte stream to `target` on `node`.
    pub async fn dial(&self, node: &str, target: Target) -> Result<BoxStream, Error> {
        if let Some(stream) = self.tunnels.dial(node, target).await {
            return stream.map_err(|source| Error::Tunnel { node: node.to_owned(), source });
        }
        match target {
            Target::Kubelet => self.dial_kubelet(node).await,
            Target::Pod(address) => dial_pod(address).await,
        }
    }

    async fn dial_kubelet(&self, node: &str) -> Result<BoxStream, Error> {
        let address = self.kubelet_address(node).ok_or_else(|| Error::Unknown(node.to_owned()))?;
        let name = ServerName::try_from(node.to_owned()).map_err(|_| Error::Unknown(node.to_owned()))?;
        let stream = client::connect(self.kubelet_tls.clone(), address, name).await;
        Ok(Box::new(stream.map_err(|source| Error::Kubelet { node: node.to_owned(), source })?))
    }

    fn kubelet_address(&self, node: &str) -> Option<SocketAddr> {
        let node = self.reader.get(GroupResource { group: "", resource: "nodes" }, "", node)?;
        let node: Value = serde_json::from_slice(&node).ok()?;
        let addresses = node["status"]["addresses"].as_array()?;
        let internal = addresses.iter().find(|address| address["type"] == "InternalIP")?;
        let address: IpAddr = internal["address"].as_str()?.parse().ok()?;
        let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
        Some((address, port.and_then(|port| u16::try_from(port).ok()).unwrap_or(KUBELET_PORT)).into())
    }
}

/// What the handlers of this module are made of.
pub struct Parts {
    /// Keys and join token.
    pub pki: Arc<pki::Server>,
    /// Pods, services and nodes.
    pub reader: Arc<dyn Reader>,
    /// Acts as a member of `system:masters`; set as soon as the API can be asked.
    pub client: Arc<OnceLock<Client>>,
    /// What joining machines are told.
    pub settings: ClusterSettings,
    /// Runs tunnels and streams.
    pub supervisor: Supervisor,
}

/// Puts everything that reaches nodes, or that nodes ask for, into `handlers`. Blocks on files.
pub fn register(handlers: &mut Handlers, parts: Parts) -> Result<Arc<Dialer>, pki::Error> {
    let Parts { pki, reader, client, settings, supervisor } = parts;
    let tunnels = Tunnels::new(supervisor.clone());
    let dialer = Arc::new(Dialer::new(reader.clone(), tunnels.clone(), pki.kubelet_client_tls()?));
    let streams = Arc::new(pods::PodStreams::new(reader.clone(), dialer.clone(), supervisor.clone()));
    for subresource in ["log", "exec", "attach", "portforward"] {
        handlers.resource("", "pods", subresource, streams.clone());
    }
    let proxy = Arc::new(proxy::Proxy::new(reader.clone(), dialer.clone(), supervisor));
    for resource in ["pods", "services", "nodes"] {
        handlers.resource("", resource, "proxy", proxy.clone());
    }
    handlers.path(crate::http::tunnel::PATH, Arc::new(tunnel::TunnelHandler::new(tunnels)));
    handlers.path(AUTHORITY_PATH, Arc::new(join::AuthorityHandler::new(pki.clone())));
    handlers.path(JOIN_PATH, Arc::new(join::JoinHandler::new(pki, reader, client, settings)));
    Ok(dialer)
}

async fn dial_pod(address: SocketAddr) -> Result<BoxStream, Error> {
    let dialled = tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await;
    let stream = dialled.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    Ok(Box::new(stream.map_err(|source| Error::Pod { address, source })?))
}

async fn pass_on(request: Request<Body>, stream: BoxStream, supervisor: &Supervisor) -> Result<Response<Body>, Status> {
    forward::forward(request, stream, supervisor).await.map_err(|error| {
        Status::new(Reason::ServiceUnavailable, format!("error trying to reach service: {}", log::chain(&error)))
    })
}

/// Turns an error that a kubelet answered in plain text into a status, as upstream does for logs.
async fn check(response: Response<Body>) -> Result<Response<Body>, Status> {
    let code = response.status();
    if code.is_success() || code.is_informational() {
        return Ok(response);
    }
    let text = body::read(response.into_body(), ERROR_LIMIT_BYTES).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    Err(match code {
        StatusCode::BAD_REQUEST => Status::bad_request(text),
        StatusCode::NOT_FOUND => Status::new(Reason::NotFound, text),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Status::new(Reason::Forbidden, text),
        StatusCode::SERVICE_UNAVAILABLE => Status::new(Reason::ServiceUnavailable, text),
        _ => Status::internal(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kubelets_words_reach_the_user() {
        let mut response = Response::new(body::full("container \"a\" in pod \"b\" is waiting to start\n"));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        let status = check(response).await.unwrap_err();
        assert_eq!((status.code(), status.message.as_str()), (400, "container \"a\" in pod \"b\" is waiting to start"));
    }
}
