//! Single HTTPS requests over connections of their own: joining, tunnels, calls to kubelets. What
//! speaks to the API all the time uses `client` instead.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    base::task::Supervisor,
    http::body::{Body, BoxError},
};

/// Time to connect and shake hands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const HTTPS_PORT: u16 = 443;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL names no host.
    #[error("{0} is not an https URL")]
    Url(Uri),
    /// No connection.
    #[error("connect to {target}")]
    Connect {
        /// Host and port.
        target: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Connected, but the server did not prove who it is.
    #[error("establish TLS with {target}")]
    Tls {
        /// Host and port.
        target: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Too slow.
    #[error("connect to {0}: no answer in time")]
    Timeout(String),
    /// The exchange broke off.
    #[error("exchange HTTP messages")]
    Http(#[from] hyper::Error),
    /// The answer's body broke off or is longer than allowed.
    #[error("read the answer")]
    Body(#[source] BoxError),
}

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A byte stream whose type does not matter.
pub type BoxStream = Box<dyn Stream>;

/// Sends one request to the host of its URL over a connection of its own and returns the answer's
/// head; the body streams. An upgrade can be taken with [`hyper::upgrade::on`].
pub async fn request(
    tls: Arc<ClientConfig>,
    request: Request<Body>,
    supervisor: &Supervisor,
) -> Result<Response<Incoming>, Error> {
    let stream = connect_url(tls, request.uri()).await?;
    request_over(stream, request, supervisor).await
}

/// Sends one HTTP/1.1 request over a stream that is already there.
pub async fn request_over(
    stream: impl Stream + 'static,
    mut request: Request<Body>,
    supervisor: &Supervisor,
) -> Result<Response<Incoming>, Error> {
    address(&mut request);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    supervisor.spawn("http client connection", async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "client connection ended");
        }
    });
    Ok(sender.send_request(request).await?)
}

/// Reads a body of at most `limit_bytes`.
pub async fn collect(response: Response<Incoming>, limit_bytes: usize) -> Result<Response<Bytes>, Error> {
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, limit_bytes).collect().await.map_err(Error::Body)?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}

/// Connects to an address and shakes hands with a server that proves to be `name`.
pub async fn connect(
    tls: Arc<ClientConfig>,
    address: SocketAddr,
    name: ServerName<'static>,
) -> Result<TlsStream<TcpStream>, Error> {
    let target = address.to_string();
    within(&target, async { shake(tls, dial(&target).await?, name, &target).await }).await
}

async fn connect_url(tls: Arc<ClientConfig>, url: &Uri) -> Result<TlsStream<TcpStream>, Error> {
    let host = url.host().filter(|_| url.scheme_str() == Some("https")).ok_or_else(|| Error::Url(url.clone()))?;
    // RFC 3986 puts IPv6 addresses in brackets, certificates and the resolver do not.
    let host = host.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|_| Error::Url(url.clone()))?;
    let target = format!("{}:{}", url.host().unwrap_or_default(), url.port_u16().unwrap_or(HTTPS_PORT));
    within(&target, async { shake(tls, dial(&target).await?, name, &target).await }).await
}

async fn within<T>(target: &str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(CONNECT_TIMEOUT, work).await.unwrap_or_else(|_| Err(Error::Timeout(target.to_owned())))
}

async fn dial(target: &str) -> Result<TcpStream, Error> {
    let failed = |source| Error::Connect { target: target.to_owned(), source };
    let stream = TcpStream::connect(target).await.map_err(failed)?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn shake(
    tls: Arc<ClientConfig>,
    stream: TcpStream,
    name: ServerName<'static>,
    target: &str,
) -> Result<TlsStream<TcpStream>, Error> {
    let failed = |source| Error::Tls { target: target.to_owned(), source };
    TlsConnector::from(tls).connect(name, stream).await.map_err(failed)
}

/// HTTP/1.1 wants the host in a header and only the path in the request line (RFC 9112, 3.2).
fn address(request: &mut Request<Body>) {
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if let Ok(path) = Uri::try_from(path) {
        *request.uri_mut() = path;
    }
}
