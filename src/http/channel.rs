//! The channels of a remote command (exec, attach), independent of what carries them: WebSocket
//! messages or SPDY streams.

use std::future::Future;

use bytes::Bytes;

/// Most bytes of one message of output.
pub const CHUNK_BYTES: usize = 32 * 1024;

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// Standard input.
    Stdin(Bytes),
    /// The end of standard input; the client still listens.
    StdinClosed,
    /// The client's terminal has a new size.
    Resize(TerminalSize),
}

/// Where output belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output, or all of it with a terminal.
    Stdout,
    /// Standard error.
    Stderr,
    /// The `v1.Status` that ends the command.
    Error,
}

/// The size of a terminal in characters, as clients send it: `{"Width":80,"Height":24}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// The connection to the client broke.
#[derive(Debug, thiserror::Error)]
#[error("the client's connection failed")]
pub struct Broken(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The receiving half of a client.
pub trait Receive: Send {
    /// The next thing that the client sends; `None` once it has gone. May be dropped and called again.
    fn receive(&mut self) -> impl Future<Output = Option<Incoming>> + Send;
}

/// The sending half of a client.
pub trait Transmit: Send {
    /// Sends bytes on a channel. Waits while the client is slow.
    fn send(&mut self, output: Output, data: Bytes) -> impl Future<Output = Result<(), Broken>> + Send;

    /// Says that nothing more comes on any channel, and closes the connection.
    fn close(&mut self) -> impl Future<Output = Result<(), Broken>> + Send;
}
