//! The shim's event loop: one poll(2) over its socket, its clients, its children's streams and the
//! signal that a child has ended.

use std::{
    collections::BTreeMap,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixListener,
    },
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};

use super::{
    connection::{Connection, Role},
    container::Container,
    launch::Launch,
    reap::Ended,
};
use crate::{
    oci::{
        ContainerState,
        layout::{Layout, Record, ShimConfig},
        protocol::{Reason, Reply, Request},
    },
    sys::cgroup::Cgroup,
};

/// Most clients at once; further ones wait in the socket's queue.
const MOST_CONNECTIONS: usize = 256;

/// Everything a shim has.
pub(super) struct Server {
    pub config: ShimConfig,
    pub layout: Layout,
    /// The pod's cgroup.
    pub cgroup: Cgroup,
    /// Whether this machine has cgroup v2 only.
    pub unified: bool,
    /// First process of the pod's PID namespace, if containers share one.
    pub init: Option<Pid>,
    pub containers: BTreeMap<String, Container>,
    pub connections: BTreeMap<u64, Connection>,
    pub launches: Vec<Launch>,
    /// Children that ended before a helper could say what they are.
    pub unclaimed: Vec<Ended>,
    pub next_number: u64,
    listener: UnixListener,
    signals: SignalFd,
    stopped: bool,
}

/// What a descriptor in the poll set stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Signals,
    Listener,
    Connection(u64),
    Launch(u64),
    Output(String, usize),
    Sinks(String),
}

impl Server {
    pub fn new(
        config: ShimConfig,
        layout: Layout,
        cgroup: Cgroup,
        unified: bool,
        init: Option<Pid>,
        listener: UnixListener,
    ) -> io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.add(Signal::SIGTERM);
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self {
            config,
            layout,
            cgroup,
            unified,
            init,
            containers: BTreeMap::new(),
            connections: BTreeMap::new(),
            launches: Vec::new(),
            unclaimed: Vec::new(),
            next_number: 0,
            listener,
            signals,
            stopped: false,
        })
    }

    /// Serves until it is told to stop.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.stopped {
            self.flush_connections();
            for source in self.wait()? {
                self.handle(&source);
            }
        }
        self.flush_connections();
        Ok(())
    }

    /// The number of a new connection or launch.
    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Answers on a connection, if it is still there.
    pub fn reply(&mut self, connection: u64, reply: &Reply) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.send(reply);
        }
    }

    /// Answers that something failed.
    pub fn refuse(&mut self, connection: u64, reason: Reason, message: impl Into<String>) {
        self.reply(connection, &Reply::Failed { reason, message: message.into() });
    }

    /// Remembers a container's new state and tells it to everybody who watches.
    pub fn changed(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        // Without the record the state is still known as long as this process lives.
        let _ = self.layout.save_record(&container.record);
        let reply = Reply::Changed(container.status());
        for connection in self.connections.values_mut().filter(|connection| connection.role == Role::Watching) {
            connection.send(&reply);
        }
    }

    /// Waits until something can be read or written; returns what.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let set = self.poll_set();
        let mut descriptors: Vec<PollFd<'_>> = set.iter().map(|(_, fd, events)| PollFd::new(*fd, *events)).collect();
        match nix::poll::poll(&mut descriptors, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = descriptors.iter().map(|descriptor| descriptor.any().unwrap_or(true));
        Ok(set.iter().zip(ready).filter(|(_, ready)| *ready).map(|((source, ..), _)| source.clone()).collect())
    }

    /// Streams come last to first within a container, so that handling one does not move the
    /// others; the end of children comes after streams, so that nothing they wrote is missed.
    fn poll_set(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let input = PollFlags::POLLIN;
        let mut set = Vec::new();
        for (id, container) in &self.containers {
            for (position, output) in container.outputs.iter().enumerate().rev() {
                if container.may_read(output.stream) {
                    set.push((Source::Output(id.clone(), position), output.source.as_fd(), input));
                }
            }
            set.extend(container.blocked_sinks().map(|fd| (Source::Sinks(id.clone()), fd, PollFlags::POLLOUT)));
        }
        set.extend(self.launches.iter().map(|launch| (Source::Launch(launch.number), launch.socket.as_fd(), input)));
        set.push((Source::Signals, self.signals.as_fd(), input));
        for (id, connection) in &self.connections {
            let output = if connection.has_waiting() { PollFlags::POLLOUT } else { PollFlags::empty() };
            set.push((Source::Connection(*id), connection.socket.as_fd(), input | output));
        }
        if self.connections.len() < MOST_CONNECTIONS {
            set.push((Source::Listener, self.listener.as_fd(), input));
        }
        set
    }

    fn handle(&mut self, source: &Source) {
        match source {
            Source::Signals => {
                while matches!(self.signals.read_signal(), Ok(Some(_))) {}
                self.reap();
            }
            Source::Listener => self.accept(),
            Source::Connection(id) => self.serve(*id),
            Source::Launch(number) => self.hear(*number),
            Source::Output(id, position) => {
                if let Some(container) = self.containers.get_mut(id) {
                    container.pump(*position);
                }
            }
            Source::Sinks(id) => {
                if let Some(container) = self.containers.get_mut(id) {
                    container.flush_sinks();
                }
            }
        }
    }

    fn accept(&mut self) {
        while self.connections.len() < MOST_CONNECTIONS
            && let Ok((socket, _)) = self.listener.accept()
        {
            let number = self.number();
            if let Ok(connection) = Connection::new(number, socket) {
                self.connections.insert(number, connection);
            }
        }
    }

    fn serve(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.receive() {
            Ok(requests) => requests.into_iter().for_each(|request| self.answer(id, request)),
            Err(_) => self.hang_up(id),
        }
    }

    fn flush_connections(&mut self) {
        let gone: Vec<u64> =
            self.connections.values_mut().filter_map(|found| (!found.flush()).then_some(found.id)).collect();
        gone.into_iter().for_each(|id| self.hang_up(id));
    }

    /// A client has gone: what was only for it ends.
    fn hang_up(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        match connection.role {
            Role::Plain | Role::Watching => {}
            // Not reaped yet, or the role would be gone: the number is still that command's.
            Role::Executing { pid } => drop(nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL)),
            Role::Attached { container } => {
                if let Some(container) = self.containers.get_mut(&container) {
                    container.detach(id);
                }
            }
        }
    }

    fn answer(&mut self, connection: u64, request: Request) {
        match request {
            Request::Create(config) => self.create(connection, *config),
            Request::Start { id } => self.start(connection, &id),
            Request::Signal { id, signal } => self.signal(connection, &id, signal),
            Request::Statuses => {
                let statuses = self.containers.values().map(Container::status).collect();
                self.reply(connection, &Reply::Statuses(statuses));
            }
            Request::Watch => {
                let statuses = self.containers.values().map(Container::status).collect();
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.role = Role::Watching;
                    connection.send(&Reply::Statuses(statuses));
                }
            }
            Request::Exec { id, config } => self.execute(connection, &id, &config),
            Request::Attach { id } => self.attach(connection, &id),
            Request::ReopenLog { id } => self.reopen_log(connection, &id),
            Request::Remove { id } => self.remove(connection, &id),
            Request::Stop => self.stop(connection),
        }
    }

    fn create(&mut self, connection: u64, config: crate::oci::ContainerConfig) {
        if self.containers.contains_key(&config.id) {
            return self.refuse(connection, Reason::WrongState, "a container with this ID is there already");
        }
        let record = Record { config, state: ContainerState::Created };
        if let Err(error) = self.layout.save_record(&record) {
            return self.refuse(connection, Reason::Internal, format!("save the container's record: {error}"));
        }
        let container = Container::new(record);
        self.containers.insert(container.id().to_owned(), container);
        self.reply(connection, &Reply::Done);
    }

    fn signal(&mut self, connection: u64, id: &str, signal: i32) {
        let Some(container) = self.containers.get(id) else { return self.refuse_unknown(connection, id) };
        let Some(pid) = container.pid() else {
            return self.refuse(connection, Reason::WrongState, format!("container {id} is not running"));
        };
        // Not reaped yet, or the state would say so: the number is still this process's.
        let sent = Signal::try_from(signal).and_then(|signal| nix::sys::signal::kill(Pid::from_raw(pid), signal));
        match sent {
            Ok(()) | Err(Errno::ESRCH) => self.reply(connection, &Reply::Done),
            Err(error) => self.refuse(connection, Reason::Internal, format!("send signal {signal}: {error}")),
        }
    }

    fn reopen_log(&mut self, connection: u64, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return self.refuse_unknown(connection, id) };
        match container.log.as_mut().map_or(Ok(()), super::log::Log::reopen) {
            Ok(()) => self.reply(connection, &Reply::Done),
            Err(error) => self.refuse(connection, Reason::Internal, format!("reopen the log: {error}")),
        }
    }

    fn remove(&mut self, connection: u64, id: &str) {
        let Some(container) = self.containers.get(id) else { return self.reply(connection, &Reply::Done) };
        if container.starting || container.pid().is_some() {
            return self.refuse(connection, Reason::WrongState, format!("container {id} is running"));
        }
        match self.clean_container(id) {
            Ok(()) => {
                self.containers.remove(id);
                self.reply(connection, &Reply::Done);
            }
            Err(message) => self.refuse(connection, Reason::Internal, message),
        }
    }

    fn stop(&mut self, connection: u64) {
        let result = self.end_everything();
        match result {
            Ok(()) => self.reply(connection, &Reply::Done),
            Err(message) => self.refuse(connection, Reason::Internal, message),
        }
        self.stopped = true;
    }

    pub fn refuse_unknown(&mut self, connection: u64, id: &str) {
        self.refuse(connection, Reason::NotFound, format!("there is no container {id}"));
    }
}
