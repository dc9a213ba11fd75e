//! SPDY/3.1 on the server's side, as far as Kubernetes' clients use it: port forwarding (inside a
//! WebSocket, KEP-4006) and remote commands of clients from before 2024. Draft 3.1 of the SPDY
//! protocol is the source of frames and compression.
//!
//! Flow-control windows are not waited for: the clients' library neither keeps them nor announces
//! them. What is not taken from a stream stops the whole connection instead, as it does there.

mod connection;
pub mod frame;
pub mod headers;

pub use connection::{Connection, Stream, Writer, serve};
pub use frame::Error;
