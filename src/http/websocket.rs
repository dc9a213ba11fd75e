//! WebSockets on the server's side (RFC 6455), and Kubernetes' remote command protocol over them:
//! each binary message begins with the number of its channel (`v4.channel.k8s.io`); version 5 adds
//! a channel on which the client says that another one is closed (KEP-4006).

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{
    SinkExt, Stream, StreamExt,
    stream::{SplitSink, SplitStream},
};
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    body::{self, Body, BoxError},
    channel::{Broken, Incoming, Output, Receive, TerminalSize, Transmit},
};

/// Remote command with channels.
pub const V4: &str = "v4.channel.k8s.io";
/// The same with closing of single channels.
pub const V5: &str = "v5.channel.k8s.io";
/// Remote command protocols, the best first.
pub const REMOTE_COMMAND: [&str; 2] = [V5, V4];
/// SPDY frames of a port forwarding inside WebSocket messages.
pub const PORT_FORWARD_TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// Largest message taken from a client. kubectl sends 32 KiB.
const MESSAGE_LIMIT_BYTES: usize = 1024 * 1024;
/// A read or write buffer; there are two per connection for as long as somebody watches a log.
const BUFFER_BYTES: usize = 32 * 1024;
const VERSION: &str = "13";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// A WebSocket over an upgraded HTTP connection.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Why a request cannot become a WebSocket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not ask for one, or not correctly.
    #[error("not a WebSocket handshake: {0}")]
    Handshake(&'static str),
    /// It offers only protocols that this endpoint does not speak.
    #[error("unable to negotiate a subprotocol: the client offers {offered}, the server speaks {supported}")]
    Protocol {
        /// What the client offers.
        offered: String,
        /// What the endpoint speaks.
        supported: String,
    },
    /// The connection ended before it was switched over.
    #[error("upgrade the connection")]
    Upgrade(#[source] hyper::Error),
}

/// An accepted handshake: send the response, then [`Accepted::open`].
pub struct Accepted {
    /// The protocol that was agreed on; `None` if the client asked for none.
    pub protocol: Option<&'static str>,
    upgrade: OnUpgrade,
}

/// Whether a request asks to become a WebSocket.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, header::CONNECTION, "upgrade") && has_token(headers, header::UPGRADE, "websocket")
}

/// Accepts a handshake with the first of `protocols` that the client offers.
pub fn accept<B>(request: &mut Request<B>, protocols: &[&'static str]) -> Result<(Response<Body>, Accepted), Error> {
    let headers = request.headers();
    if !is_upgrade(headers) {
        return Err(Error::Handshake("the Upgrade header is missing"));
    }
    if !has_token(headers, header::SEC_WEBSOCKET_VERSION, VERSION) {
        return Err(Error::Handshake("the version is not 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(Error::Handshake("the key is missing"))?;
    let accept = derive_accept_key(key.as_bytes());
    let protocol = negotiate(headers, protocols)?;
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        response = response.header(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let response = response.body(body::empty()).expect("all header values are valid");
    Ok((response, Accepted { protocol, upgrade: hyper::upgrade::on(request) }))
}

impl Accepted {
    /// Waits until the response is sent and the connection is a WebSocket.
    pub async fn open(self) -> Result<Socket, Error> {
        let upgraded = self.upgrade.await.map_err(Error::Upgrade)?;
        Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(limits())).await)
    }
}

/// Limits on what a peer may make us hold.
pub fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_LIMIT_BYTES))
        .max_frame_size(Some(MESSAGE_LIMIT_BYTES))
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * MESSAGE_LIMIT_BYTES)
}

/// The two halves of a remote command over a WebSocket.
pub fn remote_command<S>(socket: WebSocketStream<S>, protocol: Option<&str>) -> (Receiver<S>, Transmitter<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (sink, stream) = socket.split();
    (Receiver { stream, can_close: protocol == Some(V5) }, Transmitter { sink })
}

/// Carries raw bytes in binary messages, for a protocol that is tunnelled.
pub fn tunnel<S>(socket: WebSocketStream<S>) -> (impl AsyncRead + Send + Unpin, impl AsyncWrite + Send + Unpin)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sink, stream) = socket.split();
    let bytes = Box::pin(binary_messages(stream));
    let sink = sink
        .sink_map_err(std::io::Error::other)
        .with(|bytes: Bytes| std::future::ready(Ok::<_, std::io::Error>(Message::Binary(bytes))));
    let writer = tokio_util::io::SinkWriter::new(tokio_util::io::CopyToBytes::new(sink));
    (tokio_util::io::StreamReader::new(bytes), writer)
}

/// The client's half.
pub struct Receiver<S> {
    stream: SplitStream<WebSocketStream<S>>,
    can_close: bool,
}

/// The server's half.
pub struct Transmitter<S> {
    sink: SplitSink<WebSocketStream<S>, Message>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Receive for Receiver<S> {
    async fn receive(&mut self) -> Option<Incoming> {
        loop {
            match self.stream.next().await?.ok()? {
                Message::Binary(message) => {
                    if let Some(incoming) = decode(message, self.can_close) {
                        return Some(incoming);
                    }
                }
                Message::Text(message) => {
                    if let Some(incoming) = decode(message.into(), self.can_close) {
                        return Some(incoming);
                    }
                }
                Message::Close(_) => return None,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transmit for Transmitter<S> {
    async fn send(&mut self, output: Output, data: Bytes) -> Result<(), Broken> {
        let channel = match output {
            Output::Stdout => STDOUT,
            Output::Stderr => STDERR,
            Output::Error => ERROR,
        };
        let mut message = BytesMut::with_capacity(data.len() + 1);
        message.put_u8(channel);
        message.put(data);
        self.sink.send(Message::Binary(message.freeze())).await.map_err(broken)
    }

    async fn close(&mut self) -> Result<(), Broken> {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        match self.sink.send(Message::Close(Some(frame))).await {
            Ok(()) | Err(tungstenite::Error::ConnectionClosed) => Ok(()),
            Err(error) => Err(broken(error)),
        }
    }
}

/// What a message means. Messages on channels that only the server writes to are passed over.
fn decode(mut message: Bytes, can_close: bool) -> Option<Incoming> {
    let (&channel, _) = message.split_first()?;
    let data = message.split_off(1);
    match channel {
        STDIN if !data.is_empty() => Some(Incoming::Stdin(data)),
        RESIZE => serde_json::from_slice::<TerminalSize>(&data).ok().map(Incoming::Resize),
        CLOSE if can_close && *data == [STDIN] => Some(Incoming::StdinClosed),
        _ => None,
    }
}

fn binary_messages(
    stream: impl Stream<Item = Result<Message, tungstenite::Error>> + Send,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    let open = stream.take_while(|message| std::future::ready(!matches!(message, Ok(Message::Close(_)))));
    open.filter_map(|message| {
        std::future::ready(match message {
            Ok(Message::Binary(bytes)) if !bytes.is_empty() => Some(Ok(bytes)),
            Ok(_) => None,
            Err(error) => Some(Err(std::io::Error::other(error))),
        })
    })
}

fn broken(error: tungstenite::Error) -> Broken {
    let source: BoxError = error.into();
    Broken(source)
}

fn negotiate(headers: &HeaderMap, protocols: &[&'static str]) -> Result<Option<&'static str>, Error> {
    let offered: Vec<&str> = tokens(headers, header::SEC_WEBSOCKET_PROTOCOL).collect();
    if offered.is_empty() {
        return Ok(None);
    }
    let chosen = protocols.iter().find(|protocol| offered.contains(protocol));
    let unknown = || Error::Protocol { offered: offered.join(", "), supported: protocols.join(", ") };
    chosen.map(|chosen| Some(*chosen)).ok_or_else(unknown)
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

fn tokens(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn pair() -> (WebSocketStream<tokio::io::DuplexStream>, WebSocketStream<tokio::io::DuplexStream>) {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        (client, WebSocketStream::from_raw_socket(server, Role::Server, Some(limits())).await)
    }

    fn request(protocols: &str) -> Request<()> {
        Request::builder()
            .header("Connection", "keep-alive, Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Protocol", protocols)
            .body(())
            .unwrap()
    }

    #[test]
    fn agrees_on_the_best_protocol() {
        let (response, accepted) =
            accept(&mut request("v4.channel.k8s.io, v5.channel.k8s.io"), &REMOTE_COMMAND).unwrap();
        assert_eq!(accepted.protocol, Some(V5));
        // The key and its answer are RFC 6455's example.
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(matches!(accept(&mut request("chat"), &REMOTE_COMMAND), Err(Error::Protocol { .. })));
        assert!(matches!(accept(&mut Request::new(()), &REMOTE_COMMAND), Err(Error::Handshake(_))));
    }

    #[tokio::test]
    async fn only_version_5_closes_standard_input() {
        for (protocol, closes) in [(V5, true), (V4, false)] {
            let (mut client, server) = pair().await;
            let (mut receiver, _transmitter) = remote_command(server, Some(protocol));
            for message in [&[0, b'a'][..], &[255, 0], &[4, b'x'], &[], b"\x04{\"Width\":80,\"Height\":24}"] {
                client.send(Message::Binary(Bytes::copy_from_slice(message))).await.unwrap();
            }
            assert_eq!(receiver.receive().await, Some(Incoming::Stdin(Bytes::from_static(b"a"))));
            if closes {
                assert_eq!(receiver.receive().await, Some(Incoming::StdinClosed));
            }
            let size = TerminalSize { width: 80, height: 24 };
            assert_eq!(receiver.receive().await, Some(Incoming::Resize(size)));
            client.close(None).await.unwrap();
            assert_eq!(receiver.receive().await, None);
        }
    }

    #[tokio::test]
    async fn a_tunnel_carries_bytes_both_ways() {
        let (mut client, server) = pair().await;
        let (mut reader, mut writer) = tunnel(server);
        client.send(Message::Binary(Bytes::from_static(b"to server"))).await.unwrap();
        let mut received = [0; 9];
        reader.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"to server");
        writer.write_all(b"to client").await.unwrap();
        writer.flush().await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(Bytes::from_static(b"to client")));
        client.close(None).await.unwrap();
        assert_eq!(reader.read(&mut received).await.unwrap(), 0);
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(message: Vec<u8>, can_close: bool) {
            let _ = decode(Bytes::from(message), can_close);
        }
    }
}
