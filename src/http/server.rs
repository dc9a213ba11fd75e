//! A TLS listener: accepts, proves who connects, and serves HTTP/1.1 and HTTP/2 with upgrades, all of
//! it within limits, so that no peer can hold more than its share of memory or sockets.

use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::{ServerConfig, pki_types::UnixTime};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::{
    base::task::{OnFailure, Supervisor},
    http::{body::Body, greeting::Greeting, peers::Peers},
    pki::{authority, identity::Identity, tls::ClientVerifier},
};

/// Pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listener allows its peers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Connections at once of one peer; further ones are closed.
    pub connections_per_peer: usize,
    /// Time for the TLS handshake.
    pub handshake_timeout: Duration,
    /// Time for the header of an HTTP/1.1 request, from the end of the last answer, and for the peer to
    /// say anything at all.
    pub header_timeout: Duration,
    /// Bytes of a request's header.
    pub header_bytes: u32,
    /// HTTP/2 streams at once per connection.
    pub streams: u32,
    /// HTTP/2 streams that a peer may have cancelled before they were looked at: more of them are an
    /// attack ("rapid reset"), and end the connection.
    pub cancelled_streams: usize,
    /// HTTP/2 streams of one connection that this side ended for the peer's mistakes, likewise.
    pub refused_streams: usize,
    /// Time between HTTP/2 pings on an otherwise quiet connection.
    pub ping_interval: Duration,
    /// Time that running requests get when the process shuts down.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_peer: 4_096,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(90),
            header_bytes: 64 * 1024,
            streams: 250,
            cancelled_streams: 20,
            refused_streams: 1_024,
            ping_interval: Duration::from_secs(60),
            drain: Duration::from_secs(5),
        }
    }
}

/// In a request's extensions: where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteAddress(pub SocketAddr);

/// In a request's extensions when the peer showed a certificate in its handshake.
#[derive(Debug, Clone)]
pub enum PeerCertificate {
    /// Signed by an authority that the listener believes.
    Verified(Arc<Identity>),
    /// Signed by the authority of proxies, which speak for others ([`crate::http::remote_user`]).
    Proxy(Arc<Identity>),
    /// Not to be believed: the request must be refused, not treated as anonymous.
    Rejected,
}

impl PeerCertificate {
    /// The identity, as long as its certificate has not ended since the connection was made.
    pub fn current(&self) -> Option<&Identity> {
        match self {
            Self::Verified(identity) if identity.not_after > authority::seconds_now() => Some(identity),
            _ => None,
        }
    }

    /// The identity of a proxy, likewise.
    pub fn proxy(&self) -> Option<&Identity> {
        match self {
            Self::Proxy(identity) if identity.not_after > authority::seconds_now() => Some(identity),
            _ => None,
        }
    }
}

/// Whose certificates are believed.
pub struct Verifiers {
    /// Clients, who speak for themselves.
    pub clients: ClientVerifier,
    /// Proxies, if there can be any.
    pub proxies: Option<ClientVerifier>,
}

impl From<ClientVerifier> for Verifiers {
    fn from(clients: ClientVerifier) -> Self {
        Self { clients, proxies: None }
    }
}

/// Serves `listener` until shutdown, then drains. Every request's extensions carry a
/// [`RemoteAddress`] and, if the client showed a certificate, a [`PeerCertificate`] as `verifiers`
/// judge it. The configuration comes from [`crate::pki::tls::server`].
pub fn serve<S, F>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    verifiers: impl Into<Verifiers>,
    service: S,
    supervisor: &Supervisor,
    limits: Limits,
) where
    S: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(limits.connections));
    let peers = Peers::new(limits.connections_per_peer);
    let shared = Arc::new(Shared { acceptor: TlsAcceptor::from(tls), verifiers: verifiers.into(), service, limits });
    let token = supervisor.token();
    let connections = supervisor.clone();
    supervisor.spawn("listener", async move {
        loop {
            let permit = permits.clone().acquire_owned().await.expect("the listener never closes its semaphore");
            let Some((stream, remote)) = accept(&listener).await else { continue };
            let Some(counted) = peers.admit(remote.ip()) else {
                tracing::debug!(%remote, "a peer has too many connections");
                continue;
            };
            let connection = shared.clone().serve_connection(stream, remote, permit, token.clone());
            connections.spawn_draining("connection", OnFailure::Log, async move {
                connection.await;
                drop(counted);
                Ok::<_, Infallible>(())
            });
        }
    });
}

async fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

struct Shared<S> {
    acceptor: TlsAcceptor,
    verifiers: Verifiers,
    service: S,
    limits: Limits,
}

impl<S, F> Shared<S>
where
    S: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    async fn serve_connection(
        self: Arc<Self>,
        stream: TcpStream,
        remote: SocketAddr,
        _permit: OwnedSemaphorePermit,
        shutdown: CancellationToken,
    ) {
        // Without this, small answers would wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(self.limits.handshake_timeout, self.acceptor.accept(stream));
        let stream = tokio::select! {
            () = shutdown.cancelled() => return,
            result = handshake => match result {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(%remote, %error, "TLS handshake failed"),
                Err(_) => return tracing::debug!(%remote, "TLS handshake took too long"),
            },
        };
        let peer = judge(&stream, &self.verifiers);
        self.serve_http(stream, remote, peer, shutdown).await;
    }

    async fn serve_http(
        &self,
        stream: TlsStream<TcpStream>,
        remote: SocketAddr,
        peer: Option<PeerCertificate>,
        shutdown: CancellationToken,
    ) {
        let service = self.service.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let answer = service(prepare(request, remote, peer.clone()));
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let builder = protocol(&self.limits);
        let stream = Greeting::new(stream, self.limits.header_timeout);
        let mut connection = std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(self.limits.drain, connection.as_mut()).await {
                    Ok(result) => result,
                    Err(_) => Ok(()),
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%remote, error, "connection ended");
        }
    }
}

fn prepare(request: Request<Incoming>, remote: SocketAddr, peer: Option<PeerCertificate>) -> Request<Body> {
    let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
    request.extensions_mut().insert(RemoteAddress(remote));
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    request
}

/// Judged once per connection: a chain costs two signature checks, requests are many.
fn judge(stream: &TlsStream<TcpStream>, verifiers: &Verifiers) -> Option<PeerCertificate> {
    let (leaf, intermediates) = stream.get_ref().1.peer_certificates()?.split_first()?;
    let is_believed =
        |verifier: &ClientVerifier| verifier.verify_client_cert(leaf, intermediates, UnixTime::now()).is_ok();
    let Ok(identity) = Identity::from_der(leaf).map(Arc::new) else { return Some(PeerCertificate::Rejected) };
    Some(if is_believed(&verifiers.clients) {
        PeerCertificate::Verified(identity)
    } else if verifiers.proxies.as_ref().is_some_and(is_believed) {
        PeerCertificate::Proxy(identity)
    } else {
        PeerCertificate::Rejected
    })
}

fn protocol(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits.header_bytes)
        .max_concurrent_streams(limits.streams)
        .max_pending_accept_reset_streams(limits.cancelled_streams)
        .max_local_error_reset_streams(limits.refused_streams)
        .keep_alive_interval(limits.ping_interval);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        http::{body, client},
        pki::{self, tls},
    };

    struct Fixture {
        _directory: tempfile::TempDir,
        pki: pki::Server,
        address: SocketAddr,
        supervisor: Supervisor,
    }

    async fn fixture() -> Fixture {
        limited(Limits::default()).await
    }

    async fn limited(limits: Limits) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let pki = pki::Server::open(directory.path(), &pki::server::Options::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let supervisor = Supervisor::new();
        let (tls, verifiers) = (
            pki.api_tls().unwrap(),
            Verifiers { clients: pki.client_verifier().unwrap(), proxies: Some(pki.proxy_verifier().unwrap()) },
        );
        serve(listener, tls, verifiers, whoami, &supervisor, limits);
        Fixture { _directory: directory, pki, address, supervisor }
    }

    async fn whoami(request: Request<Body>) -> Response<Body> {
        let text = match request.extensions().get::<PeerCertificate>() {
            None => "nobody".to_owned(),
            Some(PeerCertificate::Rejected) => "rejected".to_owned(),
            Some(PeerCertificate::Verified(identity)) => identity.common_name.clone(),
            Some(PeerCertificate::Proxy(identity)) => format!("proxy {}", identity.common_name),
        };
        Response::new(body::full(text))
    }

    async fn ask(fixture: &Fixture, identity: Option<&authority::Issued>) -> String {
        let tls = tls::client(fixture.pki.server_authority(), identity, tls::HTTP1_PROTOCOLS).unwrap();
        let url = format!("https://{}/", fixture.address);
        let request = Request::get(&url).body(body::empty()).unwrap();
        let answer = client::request(tls, request, &fixture.supervisor).await.unwrap();
        String::from_utf8(client::collect(answer, 1000).await.unwrap().into_body().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn knows_who_connects() {
        let fixture = fixture().await;
        assert_eq!(ask(&fixture, None).await, "nobody");
        assert_eq!(ask(&fixture, Some(&fixture.pki.admin().unwrap())).await, "system:admin");
        assert_eq!(ask(&fixture, Some(&fixture.pki.proxy_identity())).await, "proxy system:auth-proxy");
    }

    #[tokio::test]
    async fn a_certificate_of_another_cluster_is_rejected_but_answered() {
        let fixture = fixture().await;
        let other = tempfile::tempdir().unwrap();
        let other = pki::Server::open(other.path(), &pki::server::Options::default()).unwrap();
        assert_eq!(ask(&fixture, Some(&other.admin().unwrap())).await, "rejected");
    }

    #[tokio::test]
    async fn a_client_that_does_not_know_the_authority_refuses() {
        let fixture = fixture().await;
        let other = tempfile::tempdir().unwrap();
        let other = pki::Server::open(other.path(), &pki::server::Options::default()).unwrap();
        let tls = tls::client(other.server_authority(), None, tls::HTTP1_PROTOCOLS).unwrap();
        let request = Request::get(format!("https://{}/", fixture.address)).body(body::empty()).unwrap();
        let error = client::request(tls, request, &fixture.supervisor).await.unwrap_err();
        assert!(matches!(error, client::Error::Tls { .. }), "{error:?}");
    }

    async fn is_closed(stream: &mut TcpStream) -> bool {
        use tokio::io::AsyncReadExt;
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut [0; 16])).await;
        !matches!(read, Ok(Ok(1..)) | Err(_))
    }

    #[tokio::test]
    async fn one_peer_has_so_many_connections() {
        let fixture = limited(Limits { connections_per_peer: 2, ..Limits::default() }).await;
        let held =
            [TcpStream::connect(fixture.address).await.unwrap(), TcpStream::connect(fixture.address).await.unwrap()];
        let mut third = TcpStream::connect(fixture.address).await.unwrap();
        assert!(is_closed(&mut third).await);
        drop(held);
        // That they are gone is seen when their handshakes fail.
        tokio::time::timeout(Duration::from_secs(10), async {
            let tls = || tls::client(fixture.pki.server_authority(), None, tls::HTTP1_PROTOCOLS).unwrap();
            let request = || Request::get(format!("https://{}/", fixture.address)).body(body::empty()).unwrap();
            while client::request(tls(), request(), &fixture.supervisor).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_is_not_waited_for() {
        let short = Duration::from_millis(200);
        let fixture = limited(Limits { handshake_timeout: short, header_timeout: short, ..Limits::default() }).await;
        let mut silent = TcpStream::connect(fixture.address).await.unwrap();
        assert!(is_closed(&mut silent).await, "before the handshake");
        let config = tls::client(fixture.pki.server_authority(), None, tls::HTTP1_PROTOCOLS).unwrap();
        let connect = async || {
            let stream = TcpStream::connect(fixture.address).await.unwrap();
            let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
            tokio_rustls::TlsConnector::from(config.clone()).connect(name, stream).await.unwrap()
        };
        for said in ["", "GET / HTTP/1.1\r\nhost:"] {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut silent = connect().await;
            silent.write_all(said.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let ended = tokio::time::timeout(Duration::from_secs(10), silent.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "{said}: still open");
        }
    }

    /// An HTTP/2 frame.
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// The error with which a connection is ended (GOAWAY), if it says so.
    async fn last_word(mut stream: impl tokio::io::AsyncRead + Unpin) -> Option<u32> {
        use tokio::io::AsyncReadExt;
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.ok()?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).await.ok()?;
            if head[3] == 7 {
                return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
        }
    }

    #[tokio::test]
    async fn who_cancels_streams_without_end_is_cut_off_and_disturbs_nobody() {
        use tokio::io::AsyncWriteExt;
        let fixture = fixture().await;
        let config = tls::client(fixture.pki.server_authority(), None, tls::API_PROTOCOLS).unwrap();
        let stream = TcpStream::connect(fixture.address).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await.unwrap();
        let mut flood = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat();
        for stream in (0..20_000).map(|number| 2 * number + 1) {
            // GET https://a/, whole, and cancelled.
            flood.extend(frame(1, 0x05, stream, &[0x82, 0x87, 0x84, 0x41, 1, b'a']));
            flood.extend(frame(3, 0, stream, &8u32.to_be_bytes()));
        }
        let (read, mut write) = tokio::io::split(stream);
        // It fails when the connection is cut.
        let flooding = async move { write.write_all(&flood).await.ok() };
        let others = async {
            for _ in 0..10 {
                assert_eq!(ask(&fixture, None).await, "nobody");
            }
        };
        let all = async { tokio::join!(flooding, last_word(read), others) };
        let (_, error, ()) = tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
        // ENHANCE_YOUR_CALM, if the connection is not gone before that is read.
        assert!(matches!(error, None | Some(11)), "{error:?}");
    }

    #[tokio::test]
    async fn plain_rubbish_does_not_disturb_others() {
        use tokio::io::AsyncWriteExt;
        let fixture = fixture().await;
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(ask(&fixture, None).await, "nobody");
    }
}
