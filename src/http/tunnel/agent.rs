//! The agent's end of the tunnel: it connects to the server, upgrades, and then serves HTTP/2 on the
//! connection it opened itself, so that the server reaches kubelet and pods without the machine
//! having to be reachable. Each CONNECT stream is one connection, to `kubelet` or to a pod's address.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::net::TcpStream;

use crate::{
    base::{backoff::Backoff, log, task::Supervisor},
    http::{
        body::{self, Body},
        client::{self, BoxStream},
        forward,
        tunnel::{KUBELET_AUTHORITY, PATH, PING_INTERVAL, PING_TIMEOUT, PROTOCOL},
    },
};

/// Connections through one tunnel at once.
const STREAMS_LIMIT: u32 = 1024;
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(15);
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// What the tunnel needs to know. Cheap to clone.
#[derive(Clone)]
pub struct Config {
    /// `https://host:port` of the server.
    pub server: Uri,
    /// TLS with the node's client certificate, offering HTTP/1.1 alone
    /// ([`crate::pki::tls::HTTP1_PROTOCOLS`]). Asked at every attempt, because it is renewed.
    pub tls: Arc<dyn Fn() -> Arc<ClientConfig> + Send + Sync>,
    /// Whether an address belongs to a pod of this node. Nothing else is dialled.
    pub is_pod_address: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("reach the server")]
    Client(#[from] client::Error),
    #[error("make the tunnel's URL")]
    Url(#[from] http::Error),
    #[error("the server answered {0} instead of switching protocols")]
    Refused(StatusCode),
    #[error("serve the tunnel")]
    Http(#[from] hyper::Error),
}

/// Keeps a tunnel open for ever, reconnecting with back-off. `serve` gets every stream that is for
/// the kubelet, with HTTP/1.1 to be spoken on it; it must not block.
pub async fn run(config: Config, serve: impl Fn(BoxStream) + Send + Sync + 'static, supervisor: Supervisor) {
    let end = Arc::new(End { config, serve: Box::new(serve), supervisor });
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
    loop {
        match connect(&end).await {
            Ok(connection) => {
                tracing::info!(server = %end.config.server, "tunnel is open");
                backoff.reset();
                if let Err(error) = serve_streams(&end, connection).await {
                    let error = log::chain(&error);
                    tracing::warn!(error, "tunnel broke");
                }
            }
            Err(error) => {
                let error = log::chain(&error);
                tracing::debug!(error, "tunnel could not be opened");
            }
        }
        tokio::time::sleep(backoff.next_delay_jittered()).await;
    }
}

struct End {
    config: Config,
    serve: Box<dyn Fn(BoxStream) + Send + Sync>,
    supervisor: Supervisor,
}

async fn connect(end: &End) -> Result<hyper::upgrade::Upgraded, Error> {
    let mut url = end.config.server.clone().into_parts();
    url.path_and_query = Some(http::uri::PathAndQuery::from_static(PATH));
    let url = Uri::from_parts(url).map_err(http::Error::from)?;
    let request =
        Request::get(url).header(header::CONNECTION, "Upgrade").header(header::UPGRADE, PROTOCOL).body(body::empty())?;
    let mut response = client::request((end.config.tls)(), request, &end.supervisor).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::Refused(response.status()));
    }
    Ok(hyper::upgrade::on(&mut response).await?)
}

async fn serve_streams(end: &Arc<End>, connection: hyper::upgrade::Upgraded) -> Result<(), Error> {
    let service = hyper::service::service_fn(|request| {
        let end = end.clone();
        async move { Ok::<_, Infallible>(end.open(request).await) }
    });
    // What the upgrade returns is already the raw stream, wrapped for hyper.
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_LIMIT)
        .serve_connection(connection, service)
        .await?;
    Ok(())
}

impl End {
    /// Answers one CONNECT, and joins its stream to what it asked for.
    async fn open(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        if request.method() != Method::CONNECT {
            return answer(StatusCode::METHOD_NOT_ALLOWED);
        }
        if authority == KUBELET_AUTHORITY {
            self.join_kubelet(request);
            return answer(StatusCode::OK);
        }
        match authority.parse::<SocketAddr>() {
            Ok(address) if (self.config.is_pod_address)(address.ip()) => self.join_pod(request, address).await,
            _ => answer(StatusCode::FORBIDDEN),
        }
    }

    /// hyper gives the stream away once the answer is sent, which is after this returns.
    fn join_kubelet(self: Arc<Self>, request: Request<Incoming>) {
        let upgrade = hyper::upgrade::on(request);
        self.supervisor.clone().spawn("tunnel to the kubelet", async move {
            if let Ok(stream) = upgrade.await {
                (self.serve)(Box::new(TokioIo::new(stream)));
            }
        });
    }

    async fn join_pod(&self, request: Request<Incoming>, address: SocketAddr) -> Response<Body> {
        let dialled = tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await;
        let Ok(Ok(pod)) = dialled else { return answer(StatusCode::BAD_GATEWAY) };
        let _ = pod.set_nodelay(true);
        let upgrade = hyper::upgrade::on(request);
        self.supervisor.spawn("tunnel to a pod", async move {
            if let Ok(stream) = upgrade.await {
                forward::exchange(TokioIo::new(stream), pod).await;
            }
        });
        answer(StatusCode::OK)
    }
}

fn answer(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        http::{
            server::{self, PeerCertificate},
            tunnel::{self, Target, Tunnels},
        },
        pki::{self, agent, join::ClusterSettings, tls},
    };

    struct Fixture {
        _directory: tempfile::TempDir,
        tunnels: Arc<Tunnels>,
        supervisor: Supervisor,
    }

    /// A server with a tunnel endpoint, and an agent `edge1` whose kubelet answers as `kubelet` does.
    async fn fixture(kubelet: impl Fn(BoxStream, &Supervisor) + Send + Sync + 'static) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let pki = pki::Server::open(directory.path(), &pki::server::Options::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let supervisor = Supervisor::new();
        let tunnels = Tunnels::new(supervisor.clone());
        let accepting = tunnels.clone();
        let service = move |request| std::future::ready(accept(&accepting, request));
        let (server_tls, verifier) = (pki.api_tls().unwrap(), pki.client_verifier().unwrap());
        server::serve(listener, server_tls, verifier, service, &supervisor, server::Limits::default());
        let store = agent::Store::open(&directory.path().join("agent"), "edge1").unwrap();
        let response = pki.sign_node(&store.request(vec![]).unwrap(), ClusterSettings::default()).unwrap();
        let membership = store.accept(response).unwrap();
        let presenting = Arc::new(pki::serving::Presenting::new(&membership.client()).unwrap());
        let client_tls = membership.client_tls(tls::HTTP1_PROTOCOLS, presenting).unwrap();
        let config = Config {
            server: format!("https://{address}").parse().unwrap(),
            tls: Arc::new(move || client_tls.clone()),
            is_pod_address: Arc::new(|address| address.is_loopback()),
        };
        let tasks = supervisor.clone();
        let serve = move |stream| kubelet(stream, &tasks);
        supervisor.spawn("agent", run(config, serve, supervisor.clone()));
        while !tunnels.has("edge1") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Fixture { _directory: directory, tunnels, supervisor }
    }

    fn accept(tunnels: &Arc<Tunnels>, request: Request<Body>) -> Response<Body> {
        let Some(PeerCertificate::Verified(identity)) = request.extensions().get().cloned() else {
            return answer(StatusCode::UNAUTHORIZED);
        };
        assert!(tunnel::is_asked_for(&request));
        let node = identity.common_name.strip_prefix("system:node:").unwrap();
        tunnels.accept(node, request)
    }

    fn echo(mut stream: BoxStream, supervisor: &Supervisor) {
        supervisor.spawn("echo", async move {
            let mut received = Vec::new();
            stream.read_to_end(&mut received).await.unwrap();
            received.reverse();
            stream.write_all(&received).await.unwrap();
            stream.shutdown().await.unwrap();
        });
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn carries_bytes_and_half_closes_to_the_kubelet() {
        let fixture = fixture(echo).await;
        let payload: Vec<u8> = (0..1_000_000u32).map(|index| (index % 251) as u8).collect();
        let mut stream = fixture.tunnels.dial("edge1", Target::Kubelet).await.unwrap().unwrap();
        stream.write_all(&payload).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        received.reverse();
        assert!(received == payload);
        assert!(fixture.tunnels.dial("edge2", Target::Kubelet).await.is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn reaches_pods_of_the_node_and_nothing_else() {
        let fixture = fixture(echo).await;
        let pod = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = pod.local_addr().unwrap();
        fixture.supervisor.spawn("pod", async move {
            let (mut stream, _) = pod.accept().await.unwrap();
            stream.write_all(b"hello").await.unwrap();
        });
        let mut stream = fixture.tunnels.dial("edge1", Target::Pod(address)).await.unwrap().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
        let elsewhere = Target::Pod(([192, 0, 2, 1], 80).into());
        assert!(fixture.tunnels.dial("edge1", elsewhere).await.unwrap().is_err());
    }

    /// A kubelet that switches to a protocol of its own and then says back what it hears.
    fn upgrading_kubelet(stream: BoxStream, supervisor: &Supervisor) {
        let tasks = supervisor.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            let upgrade = hyper::upgrade::on(&mut request);
            tasks.spawn("upgraded", async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                let mut word = [0; 5];
                stream.read_exact(&mut word).await.unwrap();
                stream.write_all(&word).await.unwrap();
            });
            let mut response = answer(StatusCode::SWITCHING_PROTOCOLS);
            response.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("Upgrade"));
            response.headers_mut().insert(header::UPGRADE, http::HeaderValue::from_static("SPDY/3.1"));
            std::future::ready(Ok::<_, Infallible>(response))
        });
        supervisor.spawn("kubelet", async move {
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connection.with_upgrades().await.unwrap();
        });
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn upgrades_pass_from_the_user_through_the_server_to_the_kubelet() {
        let fixture = fixture(upgrading_kubelet).await;
        let (user, server) = tokio::io::duplex(1024);
        let (tunnels, supervisor) = (fixture.tunnels.clone(), fixture.supervisor.clone());
        fixture.supervisor.spawn("api", async move {
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (tunnels, supervisor) = (tunnels.clone(), supervisor.clone());
                async move {
                    use http_body_util::BodyExt;
                    let stream = tunnels.dial("edge1", Target::Kubelet).await.unwrap().unwrap();
                    let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
                    *request.uri_mut() = "http://kubelet/exec/a/b/c?command=sh".parse().unwrap();
                    Ok::<_, Infallible>(forward::forward(request, stream, &supervisor).await.unwrap())
                }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
            connection.with_upgrades().await.unwrap();
        });
        let request = Request::get("http://api/exec")
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "SPDY/3.1")
            .body(body::empty())
            .unwrap();
        let mut response = client::request_over(user, request, &fixture.supervisor).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
        stream.write_all(b"hello").await.unwrap();
        let mut word = [0; 5];
        stream.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"hello");
    }
}
