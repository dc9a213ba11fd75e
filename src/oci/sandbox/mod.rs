//! A pod's sandbox as the agent sees it: every operation is one exchange with its shim. What can
//! be read from the kernel, and what is left when the shim is gone, is read without it.

pub(super) mod cleanup;

use std::{collections::BTreeMap, os::fd::OwnedFd, sync::Arc};

use nix::sys::signal::Signal;

use super::{
    ContainerConfig, ContainerState, ContainerStatus, Error, ExecConfig, Resources, SandboxConfig, Streams,
    layout::{Layout, Record},
    link::Link,
    protocol::{Reply, Request, StreamKind},
    runtime::Inner,
};
use crate::sys::{
    cgroup::{Cgroup, Limits, Usage},
    fd,
};

/// Exit code of a container of which nobody saw the end, as containerd reports it.
const UNKNOWN_EXIT: i32 = 255;

/// One pod's sandbox. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
    layout: Layout,
    config: Arc<SandboxConfig>,
}

impl Sandbox {
    pub(super) fn new(inner: Arc<Inner>, layout: Layout, config: SandboxConfig) -> Self {
        Self { inner, layout, config: Arc::new(config) }
    }

    /// What it was created with.
    pub fn config(&self) -> &SandboxConfig {
        &self.config
    }

    /// Whether its shim serves.
    pub async fn is_alive(&self) -> bool {
        Link::open(&self.layout.run).await.is_ok()
    }

    /// Takes a container in. Nothing of it is created before [`Sandbox::start`].
    pub async fn create(&self, config: ContainerConfig) -> Result<(), Error> {
        self.order(&Request::Create(Box::new(config))).await
    }

    /// Starts a container's process; it runs its program when this returns. A failure ends the
    /// container with exit code 128.
    pub async fn start(&self, id: &str) -> Result<(), Error> {
        self.order(&Request::Start { id: id.to_owned() }).await
    }

    /// Sends a signal to a container's first process.
    pub async fn signal(&self, id: &str, signal: Signal) -> Result<(), Error> {
        self.order(&Request::Signal { id: id.to_owned(), signal: signal as i32 }).await
    }

    /// The state of all containers. When the shim is gone its records tell, and containers that
    /// were running have ended with exit code 255.
    pub async fn statuses(&self) -> Result<Vec<ContainerStatus>, Error> {
        let mut link = match Link::open(&self.layout.run).await {
            Err(Error::NotRunning { .. }) => return Ok(self.recorded().await),
            link => link?,
        };
        match link.ask(&Request::Statuses).await? {
            Reply::Statuses(statuses) => Ok(statuses),
            _ => Err(link.unexpected()),
        }
    }

    /// Follows the state of all containers: first all of them, then each that changes.
    pub async fn watch(&self) -> Result<Watch, Error> {
        let mut link = Link::open(&self.layout.run).await?;
        match link.ask(&Request::Watch).await? {
            Reply::Statuses(statuses) => Ok(Watch { link, waiting: statuses.into() }),
            _ => Err(link.unexpected()),
        }
    }

    /// Runs a command in a running container, as its user and with its environment.
    pub async fn exec(&self, id: &str, config: ExecConfig) -> Result<Exec, Error> {
        let mut link = Link::open(&self.layout.run).await?;
        let reply = link.ask(&Request::Exec { id: id.to_owned(), config }).await?;
        Exec::new(link, reply)
    }

    /// Connects to a running container's streams: its output from now on, and its input if it was
    /// created with `stdin`. Any number of clients may be attached.
    pub async fn attach(&self, id: &str) -> Result<Exec, Error> {
        let mut link = Link::open(&self.layout.run).await?;
        let reply = link.ask(&Request::Attach { id: id.to_owned() }).await?;
        Exec::new(link, reply)
    }

    /// Opens a container's log file again, after it was renamed or removed.
    pub async fn reopen_log(&self, id: &str) -> Result<(), Error> {
        self.order(&Request::ReopenLog { id: id.to_owned() }).await
    }

    /// Forgets a container that does not run, and removes what it left, its log excepted. One that
    /// is not there is no error.
    pub async fn remove(&self, id: &str) -> Result<(), Error> {
        match self.order(&Request::Remove { id: id.to_owned() }).await {
            Err(Error::NotRunning { .. }) => {
                let (layout, id) = (self.layout.clone(), id.to_owned());
                let file = layout.state.clone();
                let removed = self.inner.lane.run(move || layout.remove_record(&id)).await;
                removed.map_err(|source| Error::File { action: "remove a record in", path: file, source })
            }
            result => result,
        }
    }

    /// Kills everything in the sandbox, removes all of it, and ends the shim. Works, and does the
    /// same, when the shim is gone.
    pub async fn stop(&self) -> Result<(), Error> {
        let asked = match Link::open(&self.layout.run).await {
            Ok(mut link) => link.ask(&Request::Stop).await.map(drop),
            Err(error) => Err(error),
        };
        if asked.is_ok() {
            return Ok(());
        }
        let (layout, cgroup) = (self.layout.clone(), self.cgroup());
        self.inner.lane.run(move || cleanup::sandbox(&layout, &cgroup)).await
    }

    /// What a container, or with `None` the whole pod, uses.
    pub async fn usage(&self, container: Option<&str>) -> Usage {
        let cgroup = self.cgroup_of(container);
        self.inner.lane.run(move || cgroup.usage()).await
    }

    /// Changes the limits of a container, or with `None` of the whole pod.
    pub async fn update_resources(&self, container: Option<&str>, resources: &Resources) -> Result<(), Error> {
        let limits = Limits { oom_kills_group: container.is_some(), ..Limits::from(resources) };
        let cgroup = self.cgroup_of(container);
        Ok(self.inner.lane.run(move || cgroup.limit(&limits)).await?)
    }

    async fn order(&self, request: &Request) -> Result<(), Error> {
        let mut link = Link::open(&self.layout.run).await?;
        match link.ask(request).await? {
            Reply::Done => Ok(()),
            _ => Err(link.unexpected()),
        }
    }

    /// Without their shim containers would run unwatched, so what is left of them ends here.
    async fn recorded(&self) -> Vec<ContainerStatus> {
        let (layout, cgroup) = (self.layout.clone(), self.cgroup());
        let records = self.inner.lane.run(move || {
            cgroup.kill();
            layout.records()
        });
        records.await.into_iter().map(ended_unseen).collect()
    }

    fn cgroup(&self) -> Cgroup {
        self.inner.cgroup(&self.config)
    }

    fn cgroup_of(&self, container: Option<&str>) -> Cgroup {
        container.map_or_else(|| self.cgroup(), |id| self.cgroup().child(id))
    }
}

/// Changes of containers, as they happen.
pub struct Watch {
    link: Link,
    waiting: std::collections::VecDeque<ContainerStatus>,
}

impl Watch {
    /// The next state of a container; `None` when the shim is gone. Giving up on it loses nothing.
    pub async fn next(&mut self) -> Option<ContainerStatus> {
        if let Some(status) = self.waiting.pop_front() {
            return Some(status);
        }
        loop {
            match self.link.receive().await {
                Ok(Some(Reply::Changed(status))) => return Some(status),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

/// A command that runs in a container, or a connection to a container's own process.
pub struct Exec {
    link: Link,
    streams: Option<Streams>,
    terminal: Option<OwnedFd>,
    exited: Option<i32>,
}

impl Exec {
    fn new(mut link: Link, reply: Reply) -> Result<Self, Error> {
        let Reply::Streams { kinds, .. } = reply else { return Err(link.unexpected()) };
        let mut found: BTreeMap<u8, OwnedFd> =
            kinds.iter().map(|kind| *kind as u8).zip(link.take_descriptors()).collect();
        let mut take = |kind: StreamKind| found.remove(&(kind as u8));
        let streams = Streams {
            stdin: take(StreamKind::Stdin),
            stdout: take(StreamKind::Stdout),
            stderr: take(StreamKind::Stderr),
            terminal: take(StreamKind::Terminal),
        };
        let terminal = streams.terminal.as_ref().and_then(|terminal| terminal.try_clone().ok());
        Ok(Self { link, streams: Some(streams), terminal, exited: None })
    }

    /// The streams; they can be taken once.
    pub fn take_streams(&mut self) -> Option<Streams> {
        self.streams.take()
    }

    /// Waits for the end of the command, or of the container that is attached to, and returns its
    /// exit code; 255 when the shim is gone.
    pub async fn wait(&mut self) -> i32 {
        while self.exited.is_none() {
            match self.link.receive().await {
                Ok(Some(Reply::Exited { code })) => self.exited = Some(code),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => self.exited = Some(UNKNOWN_EXIT),
            }
        }
        self.exited.unwrap_or(UNKNOWN_EXIT)
    }

    /// Tells the terminal its size. Without a terminal nothing happens.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<(), Error> {
        let Some(terminal) = &self.terminal else { return Ok(()) };
        fd::resize_terminal(terminal, columns, rows).map_err(Error::Terminal)
    }

    /// Kills the command, or lets go of the container that is attached to. Dropping does the same.
    pub fn kill(self) {}
}

fn ended_unseen(record: Record) -> ContainerStatus {
    let state = match record.state {
        ContainerState::Running { started_at_ns, .. } => ContainerState::Exited {
            code: UNKNOWN_EXIT,
            signal: 0,
            oom_killed: false,
            started_at_ns,
            finished_at_ns: started_at_ns,
        },
        state => state,
    };
    ContainerStatus { id: record.config.id, state, annotations: record.config.annotations }
}
