//! One container as its shim sees it: its process, its streams and who else listens to them.

use std::{
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use super::log::{Log, Stream};
use crate::{
    oci::{ContainerState, ContainerStatus, layout::Record},
    sys::fd,
};

/// Most bytes read from a stream at a time.
const READ_SIZE: usize = 32 << 10;

/// A container and everything the shim holds for it.
pub(super) struct Container {
    pub record: Record,
    /// A helper is about to start it.
    pub starting: bool,
    pub log: Option<Log>,
    pub outputs: Vec<Output>,
    /// Write end of standard input, or the terminal.
    pub stdin: Option<OwnedFd>,
    pub terminal: Option<OwnedFd>,
    pub attached: Vec<Attached>,
}

/// A stream that is copied to the log and to whoever is attached.
pub(super) struct Output {
    pub stream: Stream,
    pub source: std::fs::File,
}

/// A client's copy of the output.
pub(super) struct Attached {
    pub connection: u64,
    pub sinks: Vec<Sink>,
}

/// The write end of a client's pipe, and what it did not take yet.
pub(super) struct Sink {
    stream: Stream,
    pipe: std::fs::File,
    pending: Vec<u8>,
    /// Nothing more comes: it closes when the client has taken everything.
    ended: bool,
}

impl Container {
    pub fn new(record: Record) -> Self {
        Self {
            record,
            starting: false,
            log: None,
            outputs: Vec::new(),
            stdin: None,
            terminal: None,
            attached: Vec::new(),
        }
    }

    pub fn id(&self) -> &str {
        &self.record.config.id
    }

    pub fn status(&self) -> ContainerStatus {
        ContainerStatus {
            id: self.record.config.id.clone(),
            state: self.record.state.clone(),
            annotations: self.record.config.annotations.clone(),
        }
    }

    pub fn pid(&self) -> Option<i32> {
        match self.record.state {
            ContainerState::Running { pid, .. } => Some(pid),
            _ => None,
        }
    }

    /// The process has a terminal: this is its controlling end.
    pub fn use_terminal(&mut self, terminal: OwnedFd) {
        let shared = terminal.try_clone().and_then(|source| {
            fd::set_nonblocking(&source)?;
            Ok((source, terminal.try_clone()?))
        });
        // Without a descriptor left the container runs on, unheard.
        if let Ok((source, stdin)) = shared {
            self.outputs.push(Output { stream: Stream::Stdout, source: source.into() });
            self.stdin = Some(stdin);
            self.terminal = Some(terminal);
        }
    }

    /// Whether `stream` may be read: not while a client is slow to take what was read before, or
    /// memory would grow without bound.
    pub fn may_read(&self, stream: Stream) -> bool {
        let mut sinks = self.attached.iter().flat_map(|attached| &attached.sinks);
        sinks.all(|sink| sink.stream != stream || sink.pending.is_empty())
    }

    /// Copies what `position` has to offer now, at most one buffer full. Says whether more may come.
    pub fn pump(&mut self, position: usize) -> bool {
        let mut buffer = [0; READ_SIZE];
        let Some(output) = self.outputs.get_mut(position) else { return false };
        let stream = output.stream;
        match output.source.read(&mut buffer) {
            Ok(0) => self.end_output(position),
            Ok(count) => {
                self.deliver(stream, &buffer[..count]);
                true
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => false,
            // A terminal whose last program has gone reports an input/output error.
            Err(_) => self.end_output(position),
        }
    }

    /// The process has ended: takes what is left in the streams and closes everything.
    pub fn close_streams(&mut self) {
        while !self.outputs.is_empty() {
            let position = self.outputs.len() - 1;
            if !self.pump(position) && position < self.outputs.len() {
                self.end_output(position);
            }
        }
        self.stdin = None;
        self.terminal = None;
        self.log = None;
    }

    /// Tries again to hand over what clients did not take; forgets clients that are gone.
    pub fn flush_sinks(&mut self) {
        for attached in &mut self.attached {
            attached.sinks.retain_mut(Sink::flush);
        }
    }

    /// Descriptors to wait on until they can be written to.
    pub fn blocked_sinks(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let sinks = self.attached.iter().flat_map(|attached| &attached.sinks);
        sinks.filter(|sink| !sink.pending.is_empty()).map(|sink| sink.pipe.as_fd())
    }

    /// Adds a client; returns the read ends of its pipes.
    pub fn attach(&mut self, connection: u64) -> io::Result<Vec<(Stream, OwnedFd)>> {
        let streams: &[Stream] =
            if self.record.config.tty { &[Stream::Stdout] } else { &[Stream::Stdout, Stream::Stderr] };
        let mut sinks = Vec::new();
        let mut ends = Vec::new();
        for stream in streams {
            let (read_end, write_end) = fd::pipe()?;
            fd::set_nonblocking(&write_end)?;
            sinks.push(Sink { stream: *stream, pipe: write_end.into(), pending: Vec::new(), ended: false });
            ends.push((*stream, read_end));
        }
        self.attached.push(Attached { connection, sinks });
        Ok(ends)
    }

    /// Removes a client, and with it standard input if that was for one client only.
    pub fn detach(&mut self, connection: u64) {
        let before = self.attached.len();
        self.attached.retain(|attached| attached.connection != connection);
        if self.attached.len() < before && self.record.config.stdin_once {
            self.stdin = None;
        }
    }

    fn deliver(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            // A full disk must not stop the container; there is nowhere to report it but the log.
            let _ = log.write(stream, bytes);
        }
        for attached in &mut self.attached {
            attached.sinks.retain_mut(|sink| sink.stream != stream || sink.write(bytes));
        }
    }

    fn end_output(&mut self, position: usize) -> bool {
        let output = self.outputs.remove(position);
        if let Some(log) = &mut self.log {
            let _ = log.finish(output.stream);
        }
        for attached in &mut self.attached {
            for sink in attached.sinks.iter_mut().filter(|sink| sink.stream == output.stream) {
                sink.ended = true;
            }
            attached.sinks.retain_mut(Sink::flush);
        }
        false
    }
}

impl Sink {
    /// Hands bytes over; false when the client is gone.
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.pending.extend_from_slice(bytes);
        self.flush()
    }

    /// False when there is no more use for it.
    fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            match self.pipe.write(&self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        !self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::spec::tests::config;

    fn running(directory: &std::path::Path) -> (Container, std::fs::File) {
        let mut container = Container::new(Record { config: config(), state: ContainerState::Created });
        let (read_end, write_end) = fd::pipe().unwrap();
        fd::set_nonblocking(&read_end).unwrap();
        container.log = Some(Log::open(&directory.join("0.log"), 0, 1).unwrap());
        container.outputs.push(Output { stream: Stream::Stdout, source: read_end.into() });
        (container, write_end.into())
    }

    #[test]
    fn output_reaches_the_log_and_every_client_and_ends_with_the_stream() {
        let directory = tempfile::tempdir().unwrap();
        let (mut container, mut program) = running(directory.path());
        let mut clients: Vec<_> = (0..2).map(|client| container.attach(client).unwrap().remove(0).1).collect();
        program.write_all(b"hello\n").unwrap();
        assert!(container.pump(0));
        container.detach(0);
        drop(program);
        assert!(!container.pump(0));
        assert!(container.outputs.is_empty());
        container.flush_sinks();
        container.detach(1);
        for client in clients.drain(..) {
            let mut text = String::new();
            std::fs::File::from(client).read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello\n");
        }
        let log = std::fs::read_to_string(directory.path().join("0.log")).unwrap();
        assert!(log.ends_with("stdout F hello\n"));
    }

    #[test]
    fn a_slow_client_holds_the_stream_back_and_a_gone_one_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let (mut container, mut program) = running(directory.path());
        let client = container.attach(1).unwrap();
        while container.may_read(Stream::Stdout) {
            program.write_all(&[b'x'; 4096]).unwrap();
            container.pump(0);
        }
        assert_eq!(container.blocked_sinks().count(), 1);
        drop(client);
        container.flush_sinks();
        assert!(container.may_read(Stream::Stdout));
    }
}
