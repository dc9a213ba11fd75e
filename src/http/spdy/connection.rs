//! A connection: streams that the client opens, and one future that drives them all.

use std::{collections::HashMap, future::Future, sync::Arc};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{
    frame::{Error, Frame},
    headers::{Decoder, Encoder, Headers},
};
use crate::http::channel::Broken;

/// Streams of one connection at once: two for each forwarded connection.
const STREAM_LIMIT: usize = 1024;
/// Frames of a stream that nobody has taken yet; then the connection waits.
const STREAM_QUEUE: usize = 16;
/// Frames that wait to be sent.
const SEND_QUEUE: usize = 32;
/// Streams that nobody has accepted yet.
const ACCEPT_QUEUE: usize = 64;
const READ_BYTES: usize = 32 * 1024;
/// `CANCEL`: the receiver is no longer interested (SPDY 3.1, section 2.6.3).
const CANCEL: u32 = 5;

/// The streams that the client opens.
pub struct Connection {
    accepted: mpsc::Receiver<Stream>,
}

/// A stream that the client opened; it has been accepted.
pub struct Stream {
    /// Its headers, such as `streamtype`.
    pub headers: Headers,
    received: mpsc::Receiver<Bytes>,
    writer: Writer,
    reset: CancellationToken,
}

/// The sending half of a stream.
#[derive(Clone)]
pub struct Writer {
    id: u32,
    frames: mpsc::Sender<Frame>,
}

/// Serves SPDY over `reader` and `writer`. The returned future does the work, and must be polled
/// along with what uses the streams; it ends when the client has gone or nobody uses the
/// connection any more.
pub fn serve(
    reader: impl AsyncRead + Unpin + Send,
    writer: impl AsyncWrite + Unpin + Send,
) -> (Connection, impl Future<Output = Result<(), Error>> + Send) {
    let (accept, accepted) = mpsc::channel(ACCEPT_QUEUE);
    let (frames, outgoing) = mpsc::channel(SEND_QUEUE);
    let streams = Streams::default();
    let receiving = receive(reader, accept, frames, streams);
    let driver = async move {
        // Sending ends when the last stream and the receiving half have let go of the queue.
        let sending = send(writer, outgoing);
        let ((), sent) = tokio::join!(
            async {
                if let Err(error) = receiving.await {
                    tracing::debug!(%error, "spdy connection ended");
                }
            },
            sending
        );
        sent
    };
    (Connection { accepted }, driver)
}

impl Connection {
    /// The next stream; `None` once the client has gone.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.accepted.recv().await
    }
}

impl Stream {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The next bytes; `None` at the end of what the client sends.
    pub async fn receive(&mut self) -> Option<Bytes> {
        self.received.recv().await
    }

    /// Cancelled when the client has reset the stream or gone.
    pub fn reset(&self) -> CancellationToken {
        self.reset.clone()
    }

    /// A handle that sends on the stream.
    pub fn writer(&self) -> Writer {
        self.writer.clone()
    }
}

impl Writer {
    /// Sends bytes.
    pub async fn send(&self, data: Bytes) -> Result<(), Broken> {
        self.frame(Frame::Data { id: self.id, fin: false, data }).await
    }

    /// Says that nothing more comes.
    pub async fn finish(&self) -> Result<(), Broken> {
        self.frame(Frame::Data { id: self.id, fin: true, data: Bytes::new() }).await
    }

    /// Ends the stream in both directions.
    pub async fn reset(&self) -> Result<(), Broken> {
        self.frame(Frame::Reset { id: self.id, status: CANCEL }).await
    }

    async fn frame(&self, frame: Frame) -> Result<(), Broken> {
        self.frames.send(frame).await.map_err(|_| Broken("the connection is closed".into()))
    }
}

/// Streams that the client still sends on.
type Streams = Arc<Mutex<HashMap<u32, mpsc::Sender<Bytes>>>>;

/// What resets streams: one token per stream below one that stands for the connection.
struct Resets {
    connection: CancellationToken,
    streams: HashMap<u32, CancellationToken>,
}

impl Resets {
    fn add(&mut self, id: u32) -> CancellationToken {
        let token = self.connection.child_token();
        self.streams.insert(id, token.clone());
        token
    }

    fn reset(&mut self, id: u32) {
        if let Some(token) = self.streams.remove(&id) {
            token.cancel();
        }
    }
}

impl Drop for Resets {
    fn drop(&mut self) {
        self.connection.cancel();
    }
}

async fn receive(
    mut reader: impl AsyncRead + Unpin,
    accept: mpsc::Sender<Stream>,
    frames: mpsc::Sender<Frame>,
    streams: Streams,
) -> Result<(), Error> {
    let mut decoder = Decoder::default();
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let mut resets = Resets { connection: CancellationToken::new(), streams: HashMap::new() };
    loop {
        while let Some(frame) = Frame::decode(&mut buffer)? {
            match frame {
                Frame::SynStream { id, fin, block } => {
                    // Every block must be decoded, wanted or not: the next one builds on it.
                    let headers = decoder.decode(&block)?;
                    let writer = Writer { id, frames: frames.clone() };
                    let received = register(id, fin, &streams)?;
                    resets.streams.retain(|_, token| !token.is_cancelled());
                    let stream = Stream { headers, received, writer, reset: resets.add(id) };
                    // The headers of the answer are empty; the sending half compresses them.
                    let _ = frames.send(Frame::SynReply { id, block: Bytes::new() }).await;
                    let _ = accept.send(stream).await;
                }
                Frame::SynReply { block, .. } => drop(decoder.decode(&block)?),
                Frame::Headers { id, fin, block } => {
                    decoder.decode(&block)?;
                    close_if(fin, id, &streams);
                }
                Frame::Data { id, fin, data } => {
                    deliver(id, data, &streams).await;
                    close_if(fin, id, &streams);
                }
                Frame::Reset { id, .. } => {
                    resets.reset(id);
                    close_if(true, id, &streams);
                }
                Frame::Ping(id) => drop(frames.send(Frame::Ping(id)).await),
                Frame::GoAway | Frame::Ignored => {}
            }
        }
        buffer.reserve(READ_BYTES);
        if reader.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

fn register(id: u32, fin: bool, streams: &Streams) -> Result<mpsc::Receiver<Bytes>, Error> {
    let (sender, received) = mpsc::channel(STREAM_QUEUE);
    if !fin {
        let mut streams = streams.lock();
        streams.retain(|_, stream| !stream.is_closed());
        if streams.len() >= STREAM_LIMIT {
            return Err(Error::TooManyStreams(STREAM_LIMIT));
        }
        streams.insert(id, sender);
    }
    Ok(received)
}

async fn deliver(id: u32, data: Bytes, streams: &Streams) {
    let stream = streams.lock().get(&id).cloned();
    if let Some(stream) = stream.filter(|_| !data.is_empty()) {
        // A stream whose receiver is gone takes no more; its bytes are dropped.
        let _ = stream.send(data).await;
    }
}

fn close_if(fin: bool, id: u32, streams: &Streams) {
    if fin {
        streams.lock().remove(&id);
    }
}

async fn send(mut writer: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Frame>) -> Result<(), Error> {
    let mut encoder = Encoder::new()?;
    let mut buffer = BytesMut::new();
    while let Some(frame) = frames.recv().await {
        encode(frame, &mut encoder, &mut buffer)?;
        // What waits already goes out in the same write.
        while buffer.len() < READ_BYTES {
            match frames.try_recv() {
                Ok(frame) => encode(frame, &mut encoder, &mut buffer)?,
                Err(_) => break,
            }
        }
        writer.write_all_buf(&mut buffer).await?;
        writer.flush().await?;
    }
    Frame::GoAway.encode(&mut buffer);
    writer.write_all_buf(&mut buffer).await?;
    Ok(writer.shutdown().await?)
}

fn encode(frame: Frame, encoder: &mut Encoder, buffer: &mut BytesMut) -> Result<(), Error> {
    let frame = match frame {
        Frame::SynReply { id, .. } => Frame::SynReply { id, block: encoder.encode(&[])? },
        other => other,
    };
    frame.encode(buffer);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a client sends: a stream with these headers, then bytes on it.
    fn client_bytes(data: &[u8]) -> BytesMut {
        let mut encoder = Encoder::new().unwrap();
        let block = encoder.encode(&[("Streamtype".to_owned(), "data".to_owned())]).unwrap();
        let mut bytes = BytesMut::new();
        Frame::SynStream { id: 1, fin: false, block }.encode(&mut bytes);
        Frame::Ping(7).encode(&mut bytes);
        Frame::Data { id: 1, fin: true, data: Bytes::copy_from_slice(data) }.encode(&mut bytes);
        bytes
    }

    #[tokio::test]
    async fn a_stream_carries_bytes_both_ways_and_closes_half() {
        let (mut client, server) = tokio::io::duplex(1024);
        let (reader, writer) = tokio::io::split(server);
        let (mut connection, driver) = serve(reader, writer);
        let script = async {
            client.write_all(&client_bytes(b"to server")).await.unwrap();
            let mut stream = connection.accept().await.unwrap();
            assert_eq!(stream.header("streamtype"), Some("data"));
            assert_eq!(stream.receive().await.unwrap(), "to server");
            assert_eq!(stream.receive().await, None);
            stream.writer().send(Bytes::from_static(b"to client")).await.unwrap();
            stream.writer().finish().await.unwrap();
            let mut buffer = BytesMut::new();
            let mut frames = Vec::new();
            while frames.len() < 4 {
                client.read_buf(&mut buffer).await.unwrap();
                while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                    frames.push(frame);
                }
            }
            assert!(matches!(&frames[0], Frame::SynReply { id: 1, .. }));
            assert_eq!(frames[1], Frame::Ping(7));
            assert_eq!(frames[2], Frame::Data { id: 1, fin: false, data: Bytes::from_static(b"to client") });
            assert_eq!(frames[3], Frame::Data { id: 1, fin: true, data: Bytes::new() });
            drop((stream, connection, client));
        };
        let (result, ()) = tokio::join!(driver, script);
        // The client went away first, so the farewell may find nobody.
        let _ = result;
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_hang(noise: Vec<u8>, at: prop::sample::Index, flip in 1u8..) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut damaged = client_bytes(b"data").to_vec();
            let at = at.index(damaged.len());
            damaged[at] ^= flip;
            for bytes in [noise, damaged] {
                runtime.block_on(async {
                    let (mut connection, driver) = serve(&bytes[..], tokio::io::sink());
                    let accept = async { while connection.accept().await.is_some() {} };
                    let _ = tokio::join!(driver, accept);
                });
            }
        }
    }
}
