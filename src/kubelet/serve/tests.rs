//! The service over in-memory connections, with processes of this machine in the place of containers.

use std::{
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use http::Request;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::watch,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::{backend::*, *};
use crate::{
    base::lane::Lane,
    http::spdy::{frame::Frame, headers::Encoder},
    oci::{ExecConfig, Streams},
};

struct Fake {
    log: PathBuf,
    ended: watch::Receiver<bool>,
    terminal: parking_lot::Mutex<Option<OwnedFd>>,
}

impl Backend for Fake {
    fn log(&self, pod: &PodName, _container: &str, previous: bool) -> Result<ContainerLog, Error> {
        match (pod.name.as_str(), previous) {
            ("web", false) => Ok(ContainerLog { path: self.log.clone(), ended: self.ended.clone() }),
            ("web", true) => Err(Error::NotReady { message: "previous terminated container \"c\" not found".into() }),
            _ => Err(Error::PodNotFound),
        }
    }

    fn container(&self, _pod: &PodName, container: &str) -> Result<ContainerRef, Error> {
        match container {
            "c" => Ok(ContainerRef { sandbox: "s".into(), id: "1".into(), tty: false, stdin: true }),
            _ => Err(Error::ContainerNotFound { container: container.to_owned() }),
        }
    }

    async fn exec(&self, _container: &ContainerRef, config: ExecConfig) -> Result<Session, Error> {
        if config.tty {
            return self.terminal_session();
        }
        let mut command = Command::new(&config.args[0]);
        command.args(&config.args[1..]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if config.stdin { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn().map_err(|error| Error::Runtime { message: error.to_string() })?;
        let streams = Streams {
            stdin: child.stdin.take().map(Into::into),
            stdout: child.stdout.take().map(Into::into),
            stderr: child.stderr.take().map(Into::into),
            terminal: None,
        };
        let wait = move || child.wait().unwrap().code().unwrap_or(-1);
        Ok(Session { streams, exit: Box::pin(async { Ok(Lane::new(1).run(wait).await) }) })
    }

    async fn attach(&self, container: &ContainerRef, stdin: bool) -> Result<Session, Error> {
        self.exec(container, ExecConfig { args: vec!["cat".into()], tty: false, stdin }).await
    }

    fn netns(&self, _pod: &PodName) -> Result<Option<PathBuf>, Error> {
        Ok(None)
    }

    fn pods(&self) -> Bytes {
        Bytes::from_static(b"{\"kind\":\"PodList\"}")
    }

    async fn stats_summary(&self) -> Bytes {
        Bytes::from_static(b"{}")
    }

    async fn metrics(&self, which: Metrics) -> Option<String> {
        (which == Metrics::Kubelet).then(|| "up 1\n".to_owned())
    }
}

impl Fake {
    /// A terminal without a process: the test keeps its other side.
    fn terminal_session(&self) -> Result<Session, Error> {
        let pty = nix::pty::openpty(None, None).unwrap();
        let copy = || Some(pty.master.try_clone().unwrap());
        let streams = Streams { stdin: copy(), stdout: copy(), stderr: None, terminal: copy() };
        *self.terminal.lock() = Some(pty.slave);
        Ok(Session { streams, exit: Box::pin(std::future::pending()) })
    }
}

struct Fixture {
    backend: Arc<Fake>,
    service: Service<Fake>,
    supervisor: Supervisor,
    ended: watch::Sender<bool>,
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (ended, receiver) = watch::channel(false);
        let log = directory.path().join("0.log");
        let backend = Arc::new(Fake { log, ended: receiver, terminal: Default::default() });
        let supervisor = Supervisor::new();
        let service = Service::new(backend.clone(), supervisor.clone());
        Self { backend, service, supervisor, ended, directory }
    }

    fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let service = self.service.clone();
        self.supervisor.spawn("server", async move {
            let handle = service_fn(move |request| {
                let service = service.clone();
                async move { Ok::<_, std::convert::Infallible>(service.handle(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), handle);
            let _ = connection.with_upgrades().await;
        });
        client
    }

    async fn websocket(&self, path: &str, protocol: &str) -> WebSocketStream<DuplexStream> {
        let mut request = format!("ws://node{path}").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
        tokio_tungstenite::client_async(request, self.connect()).await.unwrap().0
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let response = self.service.handle(Request::get(path).body(()).unwrap()).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

/// Everything on one channel until the connection is closed.
async fn collect(socket: &mut WebSocketStream<DuplexStream>) -> [Vec<u8>; 4] {
    let mut channels = [vec![], vec![], vec![], vec![]];
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Binary(bytes) = message {
            channels[usize::from(bytes[0])].extend_from_slice(&bytes[1..]);
        }
    }
    channels
}

#[tokio::test]
async fn an_exit_code_comes_as_a_cause_of_the_status() {
    let fixture = Fixture::new();
    let path = "/exec/ns/web/c?command=sh&command=-c&command=echo%20out;echo%20err%20%3E%262;exit%203&output=1&error=1";
    for protocol in ["v5.channel.k8s.io", "v4.channel.k8s.io"] {
        let [_, stdout, stderr, error] = collect(&mut fixture.websocket(path, protocol).await).await;
        assert_eq!((stdout.as_slice(), stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        let status: serde_json::Value = serde_json::from_slice(&error).unwrap();
        assert_eq!(status["reason"], "NonZeroExitCode");
        assert_eq!(status["details"]["causes"][0], serde_json::json!({"reason": "ExitCode", "message": "3"}));
    }
    let [.., error] =
        collect(&mut fixture.websocket("/exec/ns/web/c?command=true&stdout=true", "v5.channel.k8s.io").await).await;
    assert_eq!(error, br#"{"metadata":{},"status":"Success"}"#);
    let [.., error] =
        collect(&mut fixture.websocket("/exec/ns/web/c?command=/nowhere&stdout=true", "v5.channel.k8s.io").await).await;
    assert!(String::from_utf8(error).unwrap().contains("No such file"));
}

#[tokio::test]
async fn standard_input_is_8_bit_clean_and_closes_alone() {
    let fixture = Fixture::new();
    let sent: Vec<u8> = (0..3_000_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for path in ["/exec/ns/web/c?command=cat&stdin=true&stdout=true", "/attach/ns/web/c?input=1&output=1"] {
        let socket = fixture.websocket(path, "v5.channel.k8s.io").await;
        let (mut sink, stream) = socket.split();
        let send = async {
            for chunk in sent.chunks(32 * 1024) {
                sink.send(Message::Binary([&[0], chunk].concat().into())).await.unwrap();
            }
            sink.send(Message::Binary(Bytes::from_static(&[255, 0]))).await.unwrap();
        };
        let receive = stream.fold(Vec::new(), async |mut all, message| {
            match message {
                Ok(Message::Binary(bytes)) if bytes[0] == 1 => all.extend_from_slice(&bytes[1..]),
                _ => {}
            }
            all
        });
        let ((), received) = tokio::join!(send, receive);
        assert!(received == sent, "{} of {} bytes came back", received.len(), sent.len());
    }
}

#[tokio::test]
async fn a_terminal_is_resized_and_echoes() {
    let fixture = Fixture::new();
    let mut socket = fixture.websocket("/exec/ns/web/c?command=sh&stdin=1&stdout=1&tty=1", "v5.channel.k8s.io").await;
    socket.send(Message::Binary(Bytes::from_static(b"\x04{\"Width\":101,\"Height\":33}"))).await.unwrap();
    socket.send(Message::Binary(Bytes::from_static(b"\0hi\n"))).await.unwrap();
    let mut echoed = Vec::new();
    while echoed.len() < 4 {
        if let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() {
            echoed.extend_from_slice(&bytes[1..]);
        }
    }
    assert_eq!(echoed, b"hi\r\n");
    let size = rustix::termios::tcgetwinsize(fixture.backend.terminal.lock().as_ref().unwrap()).unwrap();
    assert_eq!((size.ws_col, size.ws_row), (101, 33));
}

#[tokio::test]
async fn a_followed_log_ends_with_its_container() {
    let fixture = Fixture::new();
    let line = |text: &str| format!("2026-01-01T00:00:01.000000000Z stdout F {text}\n");
    let path = fixture.directory.path().join("0.log");
    std::fs::write(&path, line("one")).unwrap();
    assert_eq!(fixture.get("/containerLogs/ns/web/c?timestamps=false").await, (200, "one\n".to_owned()));
    let response = fixture.service.handle(Request::get("/containerLogs/ns/web/c?follow=true").body(()).unwrap()).await;
    let mut body = response.into_body();
    let mut next = async || String::from_utf8(body.frame().await?.unwrap().into_data().unwrap().to_vec()).ok();
    assert_eq!(next().await.unwrap(), "one\n");
    std::fs::write(&path, line("one") + &line("two")).unwrap();
    // Truncating and writing anew shows as a change; only what is behind the position is read.
    assert_eq!(next().await.unwrap(), "two\n");
    std::fs::write(&path, line("one") + &line("two") + &line("three")).unwrap();
    fixture.ended.send(true).unwrap();
    assert_eq!(next().await.unwrap(), "three\n");
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn a_port_is_forwarded_inside_a_websocket() {
    let fixture = Fixture::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    fixture.supervisor.spawn("echo", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        received.reverse();
        stream.write_all(&received).await.unwrap();
    });
    let mut encoder = Encoder::new().unwrap();
    let mut bytes = BytesMut::new();
    for (id, kind, port) in [(1, "error", port), (3, "data", port), (5, "error", 1), (7, "data", 1)] {
        let header = |name: &str, value: String| (name.to_owned(), value);
        let request = if id < 5 { "0" } else { "1" };
        let headers =
            [header("streamType", kind.into()), header("port", port.to_string()), header("requestID", request.into())];
        Frame::SynStream { id, fin: false, block: encoder.encode(&headers).unwrap() }.encode(&mut bytes);
    }
    Frame::Data { id: 3, fin: true, data: Bytes::from_static(b"olleh") }.encode(&mut bytes);
    let mut socket = fixture.websocket("/portForward/ns/web", "SPDY/3.1+portforward.k8s.io").await;
    socket.send(Message::Binary(bytes.freeze())).await.unwrap();
    let (mut answered, mut refused) = (false, false);
    let mut buffer = BytesMut::new();
    while !(answered && refused) {
        if let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() {
            buffer.extend_from_slice(&bytes);
        }
        while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
            match frame {
                Frame::Data { id: 3, data, .. } if data == "hello" => answered = true,
                Frame::Data { id: 5, data, .. } if !data.is_empty() => {
                    let text = String::from_utf8(data.to_vec()).unwrap();
                    assert!(text.contains("failed to connect to localhost:1 inside namespace"), "{text}");
                    refused = true;
                }
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_command_over_plain_spdy() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let head = "POST /exec/ns/web/c?command=cat&input=1&output=1 HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\n\
        Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\nX-Stream-Protocol-Version: channel.k8s.io\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut buffer = BytesMut::new();
    while !buffer.ends_with(b"\r\n\r\n") {
        client.read_buf(&mut buffer).await.unwrap();
    }
    assert!(buffer.starts_with(b"HTTP/1.1 101"), "{buffer:?}");
    let (mut encoder, mut bytes) = (Encoder::new().unwrap(), BytesMut::new());
    for (id, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
        let block = encoder.encode(&[("streamtype".to_owned(), kind.to_owned())]).unwrap();
        Frame::SynStream { id, fin: false, block }.encode(&mut bytes);
    }
    Frame::Data { id: 3, fin: true, data: Bytes::from_static(b"input") }.encode(&mut bytes);
    client.write_all(&bytes).await.unwrap();
    let (mut output, mut status) = (Vec::new(), Vec::new());
    buffer.clear();
    while status.is_empty() {
        client.read_buf(&mut buffer).await.unwrap();
        while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
            match frame {
                Frame::Data { id: 5, data, .. } => output.extend_from_slice(&data),
                Frame::Data { id: 1, data, .. } => status.extend_from_slice(&data),
                _ => {}
            }
        }
    }
    assert_eq!((output.as_slice(), status.as_slice()), (&b"input"[..], &br#"{"metadata":{},"status":"Success"}"#[..]));
}

#[tokio::test]
async fn what_is_not_there_is_refused_with_its_reason() {
    let fixture = Fixture::new();
    for (path, status, text) in [
        ("/healthz", 200, "ok"),
        ("/pods/", 200, "{\"kind\":\"PodList\"}"),
        ("/metrics", 200, "up 1\n"),
        ("/metrics/probes", 404, "404 page not found\n"),
        ("/exec/ns/web", 404, "404 page not found\n"),
        ("/exec/ns/web/c?stdout=1", 400, "you must specify the command to run\n"),
        ("/exec/ns/web/c?command=a", 400, "you must specify at least 1 of stdin, stdout, stderr\n"),
        ("/exec/ns/web/d?command=a&stdout=1", 404, "container not found (\"d\")\n"),
        ("/containerLogs/ns/db/c", 404, "pod does not exist\n"),
        ("/containerLogs/ns/web/c?previous=true", 400, "previous terminated container \"c\" not found\n"),
        (
            "/containerLogs/ns/web/c?tailLines=x",
            422,
            "tailLines: Invalid value: \"x\": must be greater than or equal to 0\n",
        ),
        ("/portForward/ns/web", 400, "unable to upgrade: missing upgrade headers in request\n"),
    ] {
        assert_eq!(fixture.get(path).await, (status, text.to_owned()), "{path}");
    }
}
