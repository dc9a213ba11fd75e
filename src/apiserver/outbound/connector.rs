//! Connections to peers: found, dialled and secured, as the HTTP client asks for them.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Executor, ReadBufCursor};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{CertificateError, ClientConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    peer::Place,
    resolver::{Location, ServiceResolver},
};
use crate::{
    api::Status,
    apiserver::nodes::{self, Dialer},
    base::{log, task::Supervisor},
    http::{client::BoxStream, tunnel::Target},
    pki,
};

/// Time to find, dial and shake hands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection to a peer, in upstream's words where clients know them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its place has no form that could be called.
    #[error("{0} is not a host that can be called")]
    Place(String),
    /// The authorities or the certificate to show are not what they should be.
    #[error("unable to load root certificates: {}", log::chain(.0))]
    Trust(pki::Error),
    /// The service is not there or has no endpoint.
    #[error(transparent)]
    Service(Status),
    /// Its endpoint was not reached.
    #[error("{}", log::chain(.0))]
    Endpoint(nodes::Error),
    /// Its host was not reached.
    #[error("dial tcp {target}: {source}")]
    Host {
        /// Host and port.
        target: String,
        /// Why.
        source: io::Error,
    },
    /// It is not who it should be.
    #[error("{}", unverified(.0))]
    Tls(io::Error),
    /// It took too long.
    #[error("dial tcp {0}: i/o timeout")]
    Timeout(String),
}

/// Ways to peers.
pub struct Reach {
    pub(super) resolver: ServiceResolver,
    pub(super) dialer: Arc<Dialer>,
}

impl Reach {
    /// A connection to `place` on which the handshake is done.
    pub async fn secure(&self, place: &Place, tls: Arc<ClientConfig>) -> Result<BoxStream, Error> {
        let secured = async {
            let stream = self.dial(place).await?;
            let stream = TlsConnector::from(tls).connect(place.server_name()?, stream).await.map_err(Error::Tls)?;
            Ok(Box::new(stream) as BoxStream)
        };
        let secured = tokio::time::timeout(CONNECT_TIMEOUT, secured).await;
        secured.unwrap_or_else(|_| Err(Error::Timeout(place.authority())))
    }

    async fn dial(&self, place: &Place) -> Result<BoxStream, Error> {
        match place {
            Place::Host { host, port } => dial_host(host, *port).await,
            Place::Service { namespace, name, port } => {
                match self.resolver.resolve(namespace, name, *port).map_err(Error::Service)? {
                    Location::External { host, port } => dial_host(&host, port).await,
                    Location::Endpoint(backend) => {
                        let dialled = self.dialer.dial(&backend.node, Target::Pod(backend.address)).await;
                        dialled.map_err(Error::Endpoint)
                    }
                }
            }
        }
    }
}

async fn dial_host(host: &str, port: u16) -> Result<BoxStream, Error> {
    let host = host.trim_matches(['[', ']']);
    let stream = match host.parse::<IpAddr>() {
        Ok(address) => TcpStream::connect((address, port)).await,
        Err(_) => TcpStream::connect((host, port)).await,
    };
    let stream = stream.map_err(|source| Error::Host { target: format!("{host}:{port}"), source })?;
    // Only latency is at stake.
    _ = stream.set_nodelay(true);
    Ok(Box::new(stream))
}

fn unverified(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "tls: failed to verify certificate: x509: certificate signed by unknown authority".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(why)) => format!("tls: failed to verify certificate: x509: {why}"),
        Some(other) => format!("tls: {other}"),
        None => error.to_string(),
    }
}

/// Makes connections to one peer.
#[derive(Clone)]
pub struct Connector {
    reach: Arc<Reach>,
    place: Place,
    tls: Arc<ClientConfig>,
}

impl Connector {
    pub(super) fn new(reach: Arc<Reach>, place: Place, tls: Arc<ClientConfig>) -> Self {
        Self { reach, place, tls }
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Secured;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Secured, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { reach, place, tls } = self.clone();
        Box::pin(async move { reach.secure(&place, tls).await.map(|stream| Secured(TokioIo::new(stream))) })
    }
}

/// A connection as the HTTP client takes it.
pub struct Secured(TokioIo<BoxStream>);

impl Connection for Secured {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Secured {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Runs connections under the supervisor.
#[derive(Clone)]
pub struct Supervised(pub Supervisor);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Supervised {
    fn execute(&self, connection: F) {
        self.0.spawn("outbound connection", connection);
    }
}
