//! Pipes, terminals and sockets that came as bare descriptors, read and written without blocking
//! a thread.
#![expect(unsafe_code, reason = "registering a descriptor with the reactor promises that it stays open")]

use std::{
    io::{self, Read, Write},
    os::fd::{AsRawFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll, ready},
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, unix::AsyncFd};

/// Registers something that owns a descriptor with the reactor of the current runtime.
pub(super) fn register<T: Owner>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: an `Owner` keeps its one descriptor open until it is dropped.
    Ok(unsafe { AsyncFd::register(inner) }?)
}

/// Owns exactly one descriptor, always the same, from its creation until it is dropped.
///
/// # Safety
/// `as_raw_fd` must return that descriptor.
pub(super) unsafe trait Owner: AsRawFd {}

// SAFETY: a file owns its descriptor until it is dropped.
unsafe impl Owner for std::fs::File {}

/// One end of a pipe, a terminal or a socket. The end of a terminal whose other side is gone reads
/// as the end of the stream.
pub struct Descriptor {
    // A file only for its safe reading and writing of any descriptor.
    inner: AsyncFd<std::fs::File>,
}

impl Descriptor {
    /// Takes the descriptor over and makes it non-blocking. Regular files are refused with `EPERM`.
    /// Must be called within a tokio runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_truncate(fcntl(&fd, FcntlArg::F_GETFL)?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self { inner: register(std::fs::File::from(fd))? })
    }
}

impl AsyncRead for Descriptor {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.inner.poll_read_ready(context))?;
            match ready.try_io(|inner| inner.get_ref().read(buffer.initialize_unfilled())) {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Descriptor {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.inner.poll_write_ready(context))?;
            match ready.try_io(|inner| inner.get_ref().write(bytes)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A pipe is shut down by dropping it.
    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn carries_more_than_a_pipe_holds() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let (mut reader, mut writer) = (Descriptor::new(reader).unwrap(), Descriptor::new(writer).unwrap());
        let sent = vec![0xA5; 1 << 20];
        let write = async {
            writer.write_all(&sent).await.unwrap();
            drop(writer);
        };
        let mut received = Vec::new();
        let ((), count) = tokio::join!(write, reader.read_to_end(&mut received));
        assert_eq!(count.unwrap(), sent.len());
        assert_eq!(received, sent);
    }
}
