//! TLS and HTTP glue between hyper and the rest: bodies, the identity of a peer, server and client
//! connections, limits, WebSocket and SPDY channel streams.

pub mod any_server;
pub mod body;
pub mod channel;
pub mod client;
pub mod forward;
mod greeting;
pub mod identity;
pub mod join;
mod peers;
pub mod remote_user;
pub mod roots;
pub mod server;
pub mod spdy;
pub mod tunnel;
pub mod websocket;
