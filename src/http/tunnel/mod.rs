//! Tunnels: how a server reaches machines that nothing can connect to. The agent connects and
//! upgrades; then the roles turn round, and the server is the HTTP/2 client on that connection. Each
//! CONNECT on it is one connection to the agent's kubelet or to one of its pods. This is the server's
//! end; [`agent`] is the other.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::RwLock;

use crate::{
    base::task::Supervisor,
    http::{
        body::{self, Body},
        client::BoxStream,
    },
};

pub mod agent;

/// Path of the endpoint that agents ask for a tunnel.
pub const PATH: &str = "/v1-nauplius/tunnel";
/// The protocol of the `Upgrade` header.
pub const PROTOCOL: &str = "nauplius-tunnel";
/// The authority of streams to the kubelet; pods go by their address.
const KUBELET_AUTHORITY: &str = "kubelet";
/// With [`PING_TIMEOUT`], half a minute until a dead peer is noticed, for two small packets.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What to reach on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The kubelet's HTTP service.
    Kubelet,
    /// A pod's address and port.
    Pod(SocketAddr),
}

/// Why a tunnel does not let a connection through.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The agent answered, but not with what was asked for.
    #[error("the agent refused the connection: {0}")]
    Refused(StatusCode),
    /// The tunnel broke.
    #[error("the tunnel broke")]
    Broken(#[from] hyper::Error),
}

/// All open tunnels, by node.
pub struct Tunnels {
    open: RwLock<HashMap<String, Tunnel>>,
    numbers: AtomicU64,
    supervisor: Supervisor,
}

#[derive(Clone)]
struct Tunnel {
    /// Tells a tunnel from the one that replaced it.
    number: u64,
    sender: http2::SendRequest<Body>,
}

impl Tunnels {
    /// No tunnels yet. Their connections run under `supervisor`.
    pub fn new(supervisor: Supervisor) -> Arc<Self> {
        Arc::new(Self { open: RwLock::default(), numbers: AtomicU64::new(0), supervisor })
    }

    /// Whether `node` has a tunnel.
    pub fn has(&self, node: &str) -> bool {
        self.open.read().contains_key(node)
    }

    /// A connection through the tunnel of `node`, or `None` if there is no tunnel.
    pub async fn dial(&self, node: &str, target: Target) -> Option<Result<BoxStream, Error>> {
        let tunnel = self.open.read().get(node).cloned()?;
        Some(connect(tunnel, target).await)
    }

    /// The answer to an agent's request for a tunnel; the tunnel is there shortly after. That the
    /// request comes from the kubelet of `node` is for the caller to make sure of.
    pub fn accept(self: &Arc<Self>, node: &str, mut request: Request<Body>) -> Response<Body> {
        let (tunnels, node) = (self.clone(), node.to_owned());
        let upgrade = hyper::upgrade::on(&mut request);
        self.supervisor.spawn("tunnel", async move {
            match tunnels.serve(node.clone(), upgrade).await {
                Ok(()) => tracing::info!(node, "tunnel was closed"),
                Err(error) => tracing::warn!(node, %error, "tunnel broke"),
            }
        });
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
        response
    }

    async fn serve(self: Arc<Self>, node: String, upgrade: hyper::upgrade::OnUpgrade) -> Result<(), hyper::Error> {
        let stream = upgrade.await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .handshake(stream)
            .await?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.open.write().insert(node.clone(), Tunnel { number, sender });
        tracing::info!(node, "tunnel is open");
        let result = connection.await;
        let mut open = self.open.write();
        if open.get(&node).is_some_and(|tunnel| tunnel.number == number) {
            open.remove(&node);
        }
        result
    }
}

/// Whether a request asks to become a tunnel.
pub fn is_asked_for<B>(request: &Request<B>) -> bool {
    request.headers().get(header::UPGRADE).is_some_and(|protocol| protocol == PROTOCOL)
}

async fn connect(mut tunnel: Tunnel, target: Target) -> Result<BoxStream, Error> {
    let authority = match target {
        Target::Kubelet => KUBELET_AUTHORITY.to_owned(),
        Target::Pod(address) => address.to_string(),
    };
    let mut request = Request::new(body::empty());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = authority.parse().expect("a name or a socket address is an authority");
    let mut response = tunnel.sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(Error::Refused(response.status()));
    }
    Ok(Box::new(TokioIo::new(hyper::upgrade::on(&mut response).await?)))
}
