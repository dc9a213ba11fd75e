//! SPDY/3.1 upgrades: remote commands of older clients. Streams say what they are for in their
//! `streamtype` header (`remotecommand` protocol).

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

use super::{answer, query::StreamOptions};
use crate::http::{
    body::{self, Body},
    channel::{Broken, Incoming, Output, Receive, TerminalSize, Transmit},
    spdy::{self, Connection, Stream, Writer},
};

/// Remote command protocols that differ in nothing the server does.
pub const REMOTE_COMMAND: [&str; 1] = ["v4.channel.k8s.io"];
/// Port forwarding.
pub const PORT_FORWARD: [&str; 1] = ["portforward.k8s.io"];
/// Names the agreed protocol in both directions.
const PROTOCOL_HEADER: &str = "X-Stream-Protocol-Version";
/// Time for the client to open its streams.
const CREATION_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the client to close the connection after the last word.
const FAREWELL: Duration = Duration::from_secs(5);

/// Accepts a request to switch to SPDY, or gives the refusal.
pub fn accept<R>(
    request: &mut Request<R>,
    protocols: &[&'static str],
) -> Result<(Response<Body>, OnUpgrade), Box<Response<Body>>> {
    let upgrade = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    if !upgrade.is_some_and(|value| value.eq_ignore_ascii_case("SPDY/3.1")) {
        return Err(Box::new(answer::bad_request("unable to upgrade: missing upgrade headers in request")));
    }
    let offered: Vec<&str> =
        request.headers().get_all(PROTOCOL_HEADER).iter().filter_map(|v| v.to_str().ok()).collect();
    let offered: Vec<&str> = offered.iter().flat_map(|value| value.split(',')).map(str::trim).collect();
    let Some(protocol) = protocols.iter().find(|protocol| offered.contains(protocol)) else {
        let text = format!(
            "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {protocols:?}\n"
        );
        return Err(Box::new(answer::text(StatusCode::FORBIDDEN, text)));
    };
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "SPDY/3.1")
        .header(PROTOCOL_HEADER, *protocol)
        .body(body::empty())
        .expect("all header values are valid");
    Ok((response, hyper::upgrade::on(request)))
}

/// Serves a remote command: collects its streams and hands them to `run`.
pub async fn remote_command<F, Fut>(upgraded: Upgraded, wanted: StreamOptions, run: F)
where
    F: FnOnce(Receiver, Transmitter) -> Fut + Send,
    Fut: Future<Output = ()> + Send,
{
    let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
    let (mut connection, driver) = spdy::serve(reader, writer);
    let session = async move {
        match tokio::time::timeout(CREATION_TIMEOUT, Streams::collect(&mut connection, wanted)).await {
            Ok(Some(streams)) => {
                let (receiver, transmitter) = streams.halves(connection);
                run(receiver, transmitter).await;
            }
            Ok(None) | Err(_) => tracing::debug!("a client did not open its streams"),
        }
    };
    let mut driver = std::pin::pin!(driver);
    tokio::select! {
        result = &mut driver => if let Err(error) = result { tracing::debug!(%error, "spdy connection ended") },
        () = session => {
            // What was said last still has to leave, and the client then closes the connection.
            let _ = tokio::time::timeout(FAREWELL, driver).await;
        }
    }
}

#[derive(Default)]
struct Streams {
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    error: Option<Stream>,
    resize: Option<Stream>,
}

impl Streams {
    /// Waits for as many streams as the query announces; `None` if the client goes before.
    async fn collect(connection: &mut Connection, wanted: StreamOptions) -> Option<Self> {
        let mut streams = Self::default();
        while !streams.is_complete(wanted) {
            let stream = connection.accept().await?;
            let place = match stream.header("streamtype") {
                Some("stdin") => &mut streams.stdin,
                Some("stdout") => &mut streams.stdout,
                Some("stderr") => &mut streams.stderr,
                Some("error") => &mut streams.error,
                Some("resize") => &mut streams.resize,
                _ => continue,
            };
            *place = Some(stream);
        }
        Some(streams)
    }

    fn is_complete(&self, wanted: StreamOptions) -> bool {
        self.error.is_some()
            && (self.stdin.is_some() || !wanted.stdin)
            && (self.stdout.is_some() || !wanted.stdout)
            && (self.stderr.is_some() || !wanted.stderr)
            && (self.resize.is_some() || !wanted.tty)
    }

    fn halves(self, connection: Connection) -> (Receiver, Transmitter) {
        let writer = |stream: &Option<Stream>| stream.as_ref().map(Stream::writer);
        let transmitter =
            Transmitter { stdout: writer(&self.stdout), stderr: writer(&self.stderr), error: writer(&self.error) };
        (Receiver { connection, stdin: self.stdin, resize: self.resize }, transmitter)
    }
}

/// The client's half.
pub struct Receiver {
    connection: Connection,
    stdin: Option<Stream>,
    resize: Option<Stream>,
}

impl Receive for Receiver {
    async fn receive(&mut self) -> Option<Incoming> {
        loop {
            tokio::select! {
                data = next(&mut self.stdin) => match data {
                    Some(data) => return Some(Incoming::Stdin(data)),
                    None => {
                        self.stdin = None;
                        return Some(Incoming::StdinClosed);
                    }
                },
                data = next(&mut self.resize) => match data {
                    // Each change is one JSON document; the last one is what counts.
                    Some(data) => if let Some(size) = last_size(&data) { return Some(Incoming::Resize(size)) },
                    None => self.resize = None,
                },
                // No further stream is expected: its coming to an end says that the client has gone.
                stream = self.connection.accept() => drop(stream?),
            }
        }
    }
}

/// The server's half.
pub struct Transmitter {
    stdout: Option<Writer>,
    stderr: Option<Writer>,
    error: Option<Writer>,
}

impl Transmit for Transmitter {
    async fn send(&mut self, output: Output, data: Bytes) -> Result<(), Broken> {
        let writer = match output {
            Output::Stdout => &self.stdout,
            Output::Stderr => &self.stderr,
            Output::Error => &self.error,
        };
        match writer {
            Some(writer) if !data.is_empty() => writer.send(data).await,
            _ => Ok(()),
        }
    }

    async fn close(&mut self) -> Result<(), Broken> {
        for writer in [self.stdout.take(), self.stderr.take(), self.error.take()].into_iter().flatten() {
            writer.finish().await?;
        }
        Ok(())
    }
}

/// The next bytes of a stream; never, if it was not opened or has ended.
async fn next(stream: &mut Option<Stream>) -> Option<Bytes> {
    match stream {
        Some(stream) => stream.receive().await,
        None => std::future::pending().await,
    }
}

fn last_size(data: &[u8]) -> Option<TerminalSize> {
    serde_json::Deserializer::from_slice(data).into_iter::<TerminalSize>().map_while(Result::ok).last()
}
