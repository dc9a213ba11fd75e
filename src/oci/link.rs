//! The agent's end of a connection to a shim.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{io::Interest, net::UnixStream};

use super::{
    Error,
    layout::SOCKET,
    protocol::{Inbox, Outbox, Reason, Reply, Request},
};

/// A shim answers within this time, or it counts as stuck. Starting a container and ending a pod
/// take longest; both may wait for slow disks.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// A connection to one shim.
pub(super) struct Link {
    socket: UnixStream,
    inbox: Inbox,
    directory: PathBuf,
}

impl Link {
    /// Connects to the shim whose directory this is. `NotRunning` if there is none.
    pub async fn open(directory: &Path) -> Result<Self, Error> {
        let not_running = |source| Error::NotRunning { directory: directory.to_owned(), source };
        // Through the directory's descriptor, because the length of a socket's path is limited.
        let opened = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(directory);
        let opened = opened.map_err(not_running)?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd());
        let socket = UnixStream::connect(path).await.map_err(not_running)?;
        Ok(Self { socket, inbox: Inbox::default(), directory: directory.to_owned() })
    }

    /// Asks, and waits for the answer. A refusal becomes an error.
    pub async fn ask(&mut self, request: &Request) -> Result<Reply, Error> {
        let mut outbox = Outbox::default();
        outbox.push(request, Vec::new());
        let exchange = async {
            while !outbox.is_empty() {
                self.socket.writable().await?;
                match self.socket.try_io(Interest::WRITABLE, || flush(&mut outbox, &self.socket)) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
            }
            self.receive().await
        };
        let answer = tokio::time::timeout(ANSWER_TIME, exchange).await;
        match answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|source| self.broken(source))? {
            Some(Reply::Failed { reason, message }) => Err(refusal(reason, message)),
            Some(reply) => Ok(reply),
            None => Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// The next message, or `None` at the end. Giving up in between loses nothing.
    pub async fn receive(&mut self) -> io::Result<Option<Reply>> {
        loop {
            if let Some(reply) = self.inbox.take()? {
                return Ok(Some(reply));
            }
            self.socket.readable().await?;
            let inbox = &mut self.inbox;
            match self.socket.try_io(Interest::READABLE, || inbox.fill(&self.socket)) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Descriptors that came with the last message.
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        self.inbox.take_descriptors()
    }

    /// The answer was not what the question asks for.
    pub fn unexpected(&self) -> Error {
        self.broken(io::Error::new(io::ErrorKind::InvalidData, "unexpected answer"))
    }

    fn broken(&self, source: io::Error) -> Error {
        Error::Broken { directory: self.directory.clone(), source }
    }
}

/// Waiting for room is the caller's business, so "took a part" is told as "would block".
fn flush(outbox: &mut Outbox, socket: &UnixStream) -> io::Result<()> {
    outbox.flush(socket)?;
    if outbox.is_empty() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

fn refusal(reason: Reason, message: String) -> Error {
    match reason {
        Reason::NotFound => Error::NotFound(message),
        Reason::WrongState => Error::WrongState(message),
        Reason::Start => Error::Start(message),
        Reason::Internal => Error::Shim(message),
    }
}
