//! A connection whose peer must say something soon. Until it is known which protocol it speaks, no
//! other limit of time applies, and a peer that says nothing would be heard for ever.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// First byte and length of the line with which HTTP/2 begins (RFC 9113 section 3.4). What begins
/// otherwise is HTTP/1.1, which has a limit of time of its own.
const HTTP2_FIRST: u8 = b'P';
const HTTP2_PREFACE: usize = 24;

/// Fails reading when the peer has not begun in time.
pub struct Greeting<S> {
    stream: S,
    heard: usize,
    /// `None` once it has begun.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Greeting<S> {
    /// Gives the peer of `stream` so much time.
    pub fn new(stream: S, time: Duration) -> Self {
        Self { stream, heard: 0, deadline: Some(Box::pin(tokio::time::sleep(time))) }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let other = self.heard == 0 && bytes.first().is_some_and(|first| *first != HTTP2_FIRST);
        self.heard += bytes.len();
        if other || bytes.is_empty() || self.heard >= HTTP2_PREFACE {
            self.deadline = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(deadline) = &mut self.deadline else { return read };
        if read.is_pending() {
            ready!(deadline.as_mut().poll(context));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer said nothing")));
        }
        self.hear(&buffer.filled()[before..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeting<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const TIME: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_is_given_up() {
        for said in ["", "PRI * HTTP/2"] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(said.as_bytes()).await.unwrap();
            let error = Greeting::new(ours, TIME).read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_begun_may_take_its_time() {
        for said in ["GET", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            let mut ours = Greeting::new(ours, TIME);
            theirs.write_all(said.as_bytes()).await.unwrap();
            let late = async {
                tokio::time::sleep(TIME * 10).await;
                theirs.write_all(b"!").await.unwrap();
                drop(theirs);
            };
            let mut heard = String::new();
            let (read, ()) = tokio::join!(ours.read_to_string(&mut heard), late);
            assert_eq!((read.unwrap(), heard), (said.len() + 1, format!("{said}!")));
        }
    }
}
