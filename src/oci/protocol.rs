//! What an agent and a shim say to each other: over the shim's unix socket, one request per
//! connection, each message a length (four bytes, little-endian) and JSON. Descriptors of streams
//! travel beside the message that announces them, so bytes flow past the shim.

use std::{collections::VecDeque, io, os::fd::OwnedFd};

use serde::{Deserialize, Serialize};

use super::{ContainerConfig, ContainerStatus, ExecConfig};
use crate::sys::fd;

/// Largest message; a container's environment and arguments may take 2 MiB (ARG_MAX).
const MESSAGE_LIMIT: usize = 8 << 20;
const HEADER: usize = 4;
const READ_SIZE: usize = 16 << 10;

/// What an agent asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Takes a container in; nothing runs yet.
    Create(Box<ContainerConfig>),
    /// Starts its process.
    Start { id: String },
    /// Sends a signal to its process.
    Signal { id: String, signal: i32 },
    /// Asks for the state of all containers.
    Statuses,
    /// Asks for the state of all containers now, and of one whenever it changes.
    Watch,
    /// Runs a command in a container.
    Exec { id: String, config: ExecConfig },
    /// Connects to a container's streams.
    Attach { id: String },
    /// Opens the log file again, after somebody else has renamed it.
    ReopenLog { id: String },
    /// Forgets a container that does not run.
    Remove { id: String },
    /// Ends all containers and the shim itself.
    Stop,
}

/// What a shim answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// It is done.
    Done,
    /// It could not be done.
    Failed { reason: Reason, message: String },
    /// The state of all containers.
    Statuses(Vec<ContainerStatus>),
    /// A container's state has changed.
    Changed(ContainerStatus),
    /// Descriptors come with this message, in this order.
    Streams { kinds: Vec<StreamKind>, pid: i32 },
    /// The command has ended; 128 plus the signal's number when it was killed.
    Exited { code: i32 },
}

/// Why something could not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reason {
    /// There is no such container.
    NotFound,
    /// The container is not in the state for it.
    WrongState,
    /// The process could not be started.
    Start,
    /// Something else went wrong.
    Internal,
}

/// What a descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StreamKind {
    /// To write to.
    Stdin,
    /// To read from.
    Stdout,
    /// To read from.
    Stderr,
    /// To resize.
    Terminal,
}

/// Puts bytes together to messages. What was received stays here, so giving up between two reads
/// loses nothing.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Inbox {
    /// Reads once from a socket; says how many bytes came, 0 at the end.
    pub fn fill(&mut self, socket: &impl std::os::fd::AsFd) -> io::Result<usize> {
        let mut buffer = [0; READ_SIZE];
        let count = fd::receive(socket, &mut buffer, &mut self.descriptors)?;
        self.bytes.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    /// The next whole message. Fails for one that is too long or not of this protocol.
    pub fn take<T: for<'a> Deserialize<'a>>(&mut self) -> io::Result<Option<T>> {
        let Some(header) = self.bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes(*header) as usize;
        if length > MESSAGE_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
        }
        let Some(body) = self.bytes.get(HEADER..HEADER + length) else { return Ok(None) };
        let message = serde_json::from_slice(body)?;
        self.bytes.drain(..HEADER + length);
        Ok(Some(message))
    }

    /// Descriptors that came with the messages so far.
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }
}

/// Messages that wait until a socket takes them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
}

impl Outbox {
    /// Adds a message, with descriptors.
    pub fn push<T: Serialize>(&mut self, message: &T, descriptors: Vec<OwnedFd>) {
        let mut bytes = vec![0; HEADER];
        serde_json::to_writer(&mut bytes, message).expect("messages are plain structures with text keys");
        let length = u32::try_from(bytes.len() - HEADER).expect("messages are far below 4 GiB");
        bytes[..HEADER].copy_from_slice(&length.to_le_bytes());
        self.waiting.push_back((bytes, descriptors));
    }

    /// Whether everything was taken.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Writes as much as the socket takes; what it does not take stays.
    pub fn flush(&mut self, socket: &impl std::os::fd::AsFd) -> io::Result<()> {
        while let Some((bytes, descriptors)) = self.waiting.front_mut() {
            match fd::send(socket, bytes, descriptors) {
                Ok(count) => {
                    bytes.drain(..count);
                    descriptors.clear();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if bytes.is_empty() {
                self.waiting.pop_front();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn messages_and_descriptors_survive_the_socket() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
        outbox.push(&Request::Start { id: "a".into() }, Vec::new());
        outbox.push(&Reply::Done, vec![fd::pipe().unwrap().0]);
        outbox.flush(&here).unwrap();
        assert!(outbox.is_empty());
        while !matches!(inbox.bytes.len(), 24..) {
            inbox.fill(&there).unwrap();
        }
        assert!(matches!(inbox.take::<Request>().unwrap(), Some(Request::Start { id }) if id == "a"));
        while inbox.bytes.len() < HEADER + 6 {
            inbox.fill(&there).unwrap();
        }
        assert!(matches!(inbox.take::<Reply>().unwrap(), Some(Reply::Done)));
        assert_eq!(inbox.take_descriptors().len(), 1);
        assert!(inbox.take::<Reply>().unwrap().is_none());
    }

    #[test]
    fn refuses_what_is_too_long_or_not_of_the_protocol() {
        let too_long = Inbox { bytes: u32::MAX.to_le_bytes().to_vec(), descriptors: Vec::new() };
        let nonsense = Inbox { bytes: vec![2, 0, 0, 0, b'{', b'{'], descriptors: Vec::new() };
        for mut inbox in [too_long, nonsense] {
            assert!(inbox.take::<Request>().is_err());
        }
    }
}
