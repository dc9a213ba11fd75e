//! Connects a client's channels with the streams of a process, until the process has ended or the
//! client has gone.

use std::{os::fd::OwnedFd, time::Duration};

use bytes::{Bytes, BytesMut};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    backend::{Error, Session},
    query::StreamOptions,
};
use crate::{
    http::channel::{Broken, CHUNK_BYTES, Incoming, Output, Receive, TerminalSize, Transmit},
    sys::descriptor::Descriptor,
};

/// How long output is waited for after the process has ended: something it started may keep its
/// standard output open for ever.
const DRAIN_SILENCE: Duration = Duration::from_secs(2);

/// Carries bytes both ways, and reports the end on the error channel.
pub async fn run(session: Session, wanted: StreamOptions, mut receiver: impl Receive, mut transmitter: impl Transmit) {
    // Clients wait for a first message to know that the connection stands.
    let first = if wanted.stdout { Output::Stdout } else { Output::Error };
    if transmitter.send(first, Bytes::new()).await.is_err() {
        return;
    }
    let Session { streams, exit } = session;
    let input = feed(streams.stdin.filter(|_| wanted.stdin), streams.terminal, &mut receiver);
    let output = async {
        let stdout = Source::new(streams.stdout.filter(|_| wanted.stdout));
        let stderr = Source::new(streams.stderr.filter(|_| wanted.stderr));
        let result = drain(stdout, stderr, exit, &mut transmitter).await?;
        finish(&status(result), &mut transmitter).await
    };
    tokio::select! {
        () = input => tracing::debug!("the client of a command has gone"),
        result = output => {
            if let Err(error) = result {
                tracing::debug!(error = %crate::base::log::chain(&error), "the client of a command has gone");
            }
        }
    }
}

/// Reports an error in the place of a session that could not be started.
pub async fn fail(error: Error, mut transmitter: impl Transmit) {
    // A client that has gone meanwhile misses nothing.
    let _ = finish(&status(Err(error)), &mut transmitter).await;
}

async fn finish(status: &Value, transmitter: &mut impl Transmit) -> Result<(), Broken> {
    transmitter.send(Output::Error, status.to_string().into()).await?;
    transmitter.close().await
}

/// Writes what the client sends to the process. Ends when the client has gone.
async fn feed(stdin: Option<OwnedFd>, terminal: Option<OwnedFd>, receiver: &mut impl Receive) {
    let mut stdin = stdin.and_then(|fd| Descriptor::new(fd).ok());
    while let Some(incoming) = receiver.receive().await {
        match incoming {
            Incoming::Stdin(bytes) => {
                if let Some(open) = &mut stdin
                    && open.write_all(&bytes).await.is_err()
                {
                    // The process has closed its end; it may still write.
                    stdin = None;
                }
            }
            Incoming::StdinClosed => stdin = None,
            Incoming::Resize(size) => resize(terminal.as_ref(), size),
        }
    }
}

fn resize(terminal: Option<&OwnedFd>, size: TerminalSize) {
    let Some(terminal) = terminal else { return };
    let size = Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
    if let Err(error) = tcsetwinsize(terminal, size) {
        tracing::debug!(%error, "a terminal cannot be resized");
    }
}

/// Sends all output, then gives the exit code.
async fn drain(
    mut stdout: Source,
    mut stderr: Source,
    mut exit: impl Future<Output = Result<i32, Error>> + Unpin,
    transmitter: &mut impl Transmit,
) -> Result<Result<i32, Error>, Broken> {
    let mut ended = None;
    loop {
        if let (Some(result), true) = (&ended, stdout.is_at_end() && stderr.is_at_end()) {
            return Ok(Clone::clone(result));
        }
        tokio::select! {
            data = stdout.read(), if !stdout.is_at_end() => send(Output::Stdout, data, transmitter).await?,
            data = stderr.read(), if !stderr.is_at_end() => send(Output::Stderr, data, transmitter).await?,
            result = &mut exit, if ended.is_none() => ended = Some(result),
            () = tokio::time::sleep(DRAIN_SILENCE), if ended.is_some() => {
                return Ok(ended.take().expect("just found to be there"));
            }
        }
    }
}

async fn send(output: Output, data: Option<Bytes>, transmitter: &mut impl Transmit) -> Result<(), Broken> {
    match data {
        Some(data) => transmitter.send(output, data).await,
        None => Ok(()),
    }
}

/// A stream of output; one that was never connected is at its end.
struct Source {
    descriptor: Option<Descriptor>,
    buffer: BytesMut,
}

impl Source {
    fn new(fd: Option<OwnedFd>) -> Self {
        let descriptor = fd.and_then(|fd| Descriptor::new(fd).ok());
        Self { descriptor, buffer: BytesMut::new() }
    }

    fn is_at_end(&self) -> bool {
        self.descriptor.is_none()
    }

    /// The next bytes; `None` at the end. Nothing is lost when it is dropped while it waits.
    async fn read(&mut self) -> Option<Bytes> {
        self.buffer.reserve(CHUNK_BYTES);
        let count = self.descriptor.as_mut()?.read_buf(&mut self.buffer).await.unwrap_or(0);
        if count == 0 {
            self.descriptor = None;
            return None;
        }
        Some(self.buffer.split().freeze())
    }
}

/// The `v1.Status` that ends a command; its exit code is a cause (`remotecommand` protocol, version 4).
fn status(result: Result<i32, Error>) -> Value {
    match result {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(error) => json!({
            "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
            "message": format!("Internal error occurred: {error}"),
            "details": {"causes": [{"message": error.to_string()}]},
        }),
    }
}
