//! A client's connection, and what it is for: one request, and then perhaps the events or the
//! command that it asked for.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use crate::oci::protocol::{Inbox, Outbox, Reason, Reply, Request};

/// A client that leaves more messages than these unread is cut off.
const MOST_WAITING: usize = 4096;

/// A connection and its use.
pub(super) struct Connection {
    pub id: u64,
    pub socket: UnixStream,
    pub role: Role,
    outbox: Outbox,
    inbox: Inbox,
}

/// What a connection is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// Requests and their answers.
    Plain,
    /// It is told every change.
    Watching,
    /// It has run a command: told its end; the command ends with the connection.
    Executing { pid: i32 },
    /// It has the streams of this container.
    Attached { container: String },
}

impl Connection {
    pub fn new(id: u64, socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { id, socket, role: Role::Plain, outbox: Outbox::default(), inbox: Inbox::default() })
    }

    /// Reads what has come. Returns the requests; fails when the client is gone or talks nonsense.
    pub fn receive(&mut self) -> io::Result<Vec<Request>> {
        loop {
            match self.inbox.fill(&self.socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut requests = Vec::new();
        while let Some(request) = self.inbox.take()? {
            requests.push(request);
        }
        Ok(requests)
    }

    pub fn send(&mut self, reply: &Reply) {
        self.outbox.push(reply, Vec::new());
    }

    pub fn send_with(&mut self, reply: &Reply, descriptors: Vec<OwnedFd>) {
        self.outbox.push(reply, descriptors);
    }

    pub fn fail(&mut self, reason: Reason, message: impl Into<String>) {
        self.send(&Reply::Failed { reason, message: message.into() });
    }

    /// Hands waiting messages over; false when the client is gone or does not read.
    pub fn flush(&mut self) -> bool {
        self.outbox.flush(&self.socket).is_ok() && self.outbox.len() <= MOST_WAITING
    }

    pub fn has_waiting(&self) -> bool {
        !self.outbox.is_empty()
    }
}
