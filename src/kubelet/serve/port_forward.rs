//! Port forwarding: connections into a pod's network namespace, carried by pairs of SPDY streams
//! (`portforward.k8s.io`), over a plain upgrade or inside a WebSocket (KEP-4006).

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use bytes::BytesMut;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{
    Service, answer,
    backend::{Backend, PodName},
    spdy as upgrade,
};
use crate::{
    base::{lane::Lane, task::OnFailure},
    http::{
        body::Body,
        spdy::{self, Connection, Stream},
        websocket,
    },
    sys::namespace,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CHUNK_BYTES: usize = 32 * 1024;
/// Half-open pairs of streams; further ones are refused.
const PENDING_LIMIT: usize = 256;

impl<B: Backend> Service<B> {
    /// `/portForward/{namespace}/{pod}`
    pub(super) fn port_forward<R>(&self, request: &mut Request<R>, pod: &PodName) -> Response<Body> {
        let netns = match self.backend.netns(pod) {
            Ok(netns) => netns,
            Err(error) => return answer::error(&error),
        };
        let pod = Pod { name: format!("{}_{}", pod.name, pod.namespace), netns, lane: self.connect_lane.clone() };
        if websocket::is_upgrade(request.headers()) {
            self.forward_in_websocket(request, pod)
        } else {
            self.forward_in_spdy(request, pod)
        }
    }

    fn forward_in_websocket<R>(&self, request: &mut Request<R>, pod: Pod) -> Response<Body> {
        let (response, accepted) = match websocket::accept(request, &[websocket::PORT_FORWARD_TUNNEL]) {
            Ok(accepted) => accepted,
            Err(error) => return answer::bad_request(&error.to_string()),
        };
        self.supervisor.spawn_fallible("port forward", OnFailure::Log, async move {
            let (reader, writer) = websocket::tunnel(accepted.open().await?);
            serve(reader, writer, pod).await;
            Ok::<_, websocket::Error>(())
        });
        response
    }

    fn forward_in_spdy<R>(&self, request: &mut Request<R>, pod: Pod) -> Response<Body> {
        let (response, upgraded) = match upgrade::accept(request, &upgrade::PORT_FORWARD) {
            Ok(accepted) => accepted,
            Err(refusal) => return *refusal,
        };
        self.supervisor.spawn_fallible("port forward", OnFailure::Log, async move {
            let (reader, writer) = tokio::io::split(TokioIo::new(upgraded.await?));
            serve(reader, writer, pod).await;
            Ok::<_, hyper::Error>(())
        });
        response
    }
}

/// Where connections go.
#[derive(Clone)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) netns: Option<PathBuf>,
    pub(super) lane: Lane,
}

/// Forwards until the client has gone.
pub(super) async fn serve(reader: impl AsyncRead + Unpin + Send, writer: impl AsyncWrite + Unpin + Send, pod: Pod) {
    let (connection, driver) = spdy::serve(reader, writer);
    let (result, ()) = tokio::join!(driver, forward_all(connection, &pod));
    if let Err(error) = result {
        tracing::debug!(error = %crate::base::log::chain(&error), "a port forwarding ended");
    }
}

/// Pairs streams by their request and forwards each pair.
async fn forward_all(mut connection: Connection, pod: &Pod) {
    let mut pending: HashMap<String, Stream> = HashMap::new();
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            stream = connection.accept() => {
                let Some(stream) = stream else { break };
                pending.retain(|_, waiting| !waiting.reset().is_cancelled());
                let request = stream.header("requestid").unwrap_or_default().to_owned();
                match pending.remove(&request) {
                    Some(other) => running.push(forward_pair(other, stream, pod)),
                    None if pending.len() < PENDING_LIMIT => drop(pending.insert(request, stream)),
                    None => drop(stream.writer().reset().await),
                }
            }
            Some(()) = running.next(), if !running.is_empty() => {}
        }
    }
}

async fn forward_pair(one: Stream, other: Stream, pod: &Pod) {
    let (error, data) = if one.header("streamtype") == Some("error") { (one, other) } else { (other, one) };
    let reset = data.reset();
    // Only a client that has gone makes sending fail, and it needs no answer.
    tokio::select! {
        () = reset.cancelled() => {}
        _ = forward(&error, data, pod) => {}
    }
}

async fn forward(error: &Stream, mut data: Stream, pod: &Pod) -> Result<(), crate::http::channel::Broken> {
    let writer = data.writer();
    let connected = match data.header("port").and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0) {
        Some(port) => pod.connect(port).await,
        None => Err("unable to parse port".to_owned()),
    };
    match connected {
        Ok(stream) => copy(stream, &mut data).await,
        Err(problem) => error.writer().send(problem.into()).await?,
    }
    writer.finish().await?;
    error.writer().finish().await
}

/// Copies both ways until both have ended.
async fn copy(stream: TcpStream, data: &mut Stream) {
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.into_split();
    let client = data.writer();
    let to_pod = async {
        while let Some(mut bytes) = data.receive().await {
            if writer.write_all_buf(&mut bytes).await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    };
    let to_client = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK_BYTES);
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    if client.send(buffer.split().freeze()).await.is_err() {
                        return;
                    }
                }
            }
        }
        // The client closes its half only once it knows that nothing more comes.
        let _ = client.finish().await;
    };
    tokio::join!(to_pod, to_client);
}

impl Pod {
    /// Connects to a port on the pod's loopback; the error is what the client shows.
    pub(super) async fn connect(&self, port: u16) -> Result<TcpStream, String> {
        let (v4, v6) = self.sockets().await.map_err(|error| self.failed(port, &error.to_string()))?;
        let first = match within(v4.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let second = match v6 {
            Some(v6) => match within(v6.connect(SocketAddr::from((Ipv6Addr::LOCALHOST, port)))).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error.to_string(),
            },
            None => "IPv6 is not available".to_owned(),
        };
        Err(self
            .failed(port, &format!("IPv4: dial tcp4 127.0.0.1:{port}: {first} IPv6: dial tcp6 [::1]:{port}: {second}")))
    }

    fn failed(&self, port: u16, why: &str) -> String {
        let namespace = self.netns.as_ref().map_or("host".to_owned(), |path| path.display().to_string());
        format!(
            "error forwarding port {port} to pod {}: \
             failed to connect to localhost:{port} inside namespace \"{namespace}\", {why}",
            self.name
        )
    }

    /// Sockets belong for ever to the namespace they were made in; connecting needs no thread there.
    async fn sockets(&self) -> io::Result<(TcpSocket, Option<TcpSocket>)> {
        let make = || Ok((TcpSocket::new_v4()?, TcpSocket::new_v6().ok()));
        let netns = self.netns.clone();
        self.lane
            .run(move || match netns {
                Some(path) => namespace::within_network(&path, make).map_err(io::Error::other)?,
                None => make(),
            })
            .await
    }
}

async fn within(connect: impl Future<Output = io::Result<TcpStream>>) -> io::Result<TcpStream> {
    tokio::time::timeout(CONNECT_TIMEOUT, connect).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
