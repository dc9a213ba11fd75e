//! What the kubelet needs of its host: containers, images, a network. Traits, so that everything
//! above them is tested with fakes; `adapters/` implements them for the real ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    time::Duration,
};

use futures_util::future::BoxFuture;

use crate::{
    image::{Credential, Image},
    oci::{ContainerConfig, ContainerStatus, ExecConfig, SandboxConfig, Streams},
};

/// Why the host could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image reference cannot be parsed.
    #[error("couldn't parse image name \"{reference}\": {message}")]
    InvalidImageName {
        /// The reference as the pod has it.
        reference: String,
        /// What is wrong with it.
        message: String,
    },
    /// The sandbox or container does not exist, or no longer.
    #[error("{id} not found")]
    NotFound {
        /// Its ID.
        id: String,
    },
    /// A command in a container did not end in time and was killed.
    #[error("command {command:?} timed out after {timeout:?}")]
    ExecTimeout {
        /// The command line.
        command: String,
        /// What it was given.
        timeout: Duration,
    },
    /// Anything else, with the host's own chain of reasons.
    #[error("{0}")]
    Failed(String),
}

/// Result of a request to the host.
pub type Result<T> = std::result::Result<T, Error>;

/// How a command in a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecResult {
    /// Exit code.
    pub code: i32,
    /// Standard output and error, cut at [`EXEC_OUTPUT_LIMIT_BYTES`].
    pub output: Vec<u8>,
}

/// Most output of a probe or hook that is kept (upstream's `maxReadLength` of probes).
pub const EXEC_OUTPUT_LIMIT_BYTES: usize = 10 * 1024;

/// A sandbox that was found after a restart.
#[derive(Debug, Clone)]
pub struct RecoveredSandbox {
    /// Its ID.
    pub id: String,
    /// [`SandboxConfig::annotations`].
    pub annotations: BTreeMap<String, String>,
    /// Whether its shim is there; without it no container of it runs.
    pub alive: bool,
    /// Its containers, dead ones included.
    pub containers: Vec<ContainerStatus>,
}

/// A running command, or a container that is attached to: its streams and its end. Dropping it
/// does not end the process.
pub struct ExecSession {
    /// Ends of its pipes or terminal.
    pub streams: Streams,
    /// Resolves to the exit code.
    pub exit: BoxFuture<'static, Result<i32>>,
}

/// Runs containers.
pub trait Containers: Send + Sync + 'static {
    /// Starts a pod's shim.
    fn create_sandbox(&self, config: SandboxConfig) -> BoxFuture<'_, Result<()>>;
    /// Kills whatever runs in a sandbox and removes it with its containers and cgroup. Succeeds
    /// when there is none.
    fn remove_sandbox<'a>(&'a self, sandbox: &'a str) -> BoxFuture<'a, Result<()>>;
    /// Resolves when the sandbox is gone although nobody asked for it.
    fn sandbox_lost<'a>(&'a self, sandbox: &'a str) -> BoxFuture<'a, ()>;
    /// Creates a container without starting its process.
    fn create<'a>(&'a self, sandbox: &'a str, config: ContainerConfig) -> BoxFuture<'a, Result<()>>;
    /// Starts a created container.
    fn start<'a>(&'a self, sandbox: &'a str, id: &'a str) -> BoxFuture<'a, Result<ContainerStatus>>;
    /// Resolves when the container has exited, with its status.
    fn wait<'a>(&'a self, sandbox: &'a str, id: &'a str) -> BoxFuture<'a, Result<ContainerStatus>>;
    /// Sends a signal by number.
    fn signal<'a>(&'a self, sandbox: &'a str, id: &'a str, signal: i32) -> BoxFuture<'a, Result<()>>;
    /// Forgets a container that has exited or never started.
    fn remove<'a>(&'a self, sandbox: &'a str, id: &'a str) -> BoxFuture<'a, Result<()>>;
    /// Runs a command to its end, or kills it at `timeout`.
    fn exec<'a>(
        &'a self,
        sandbox: &'a str,
        id: &'a str,
        command: Vec<String>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<ExecResult>>;
    /// Starts a command and hands out its streams.
    fn exec_streams<'a>(
        &'a self,
        sandbox: &'a str,
        id: &'a str,
        config: ExecConfig,
    ) -> BoxFuture<'a, Result<ExecSession>>;
    /// Streams of the container's main process, and its end.
    fn attach<'a>(&'a self, sandbox: &'a str, id: &'a str) -> BoxFuture<'a, Result<ExecSession>>;
    /// Every sandbox that outlived the last agent.
    fn recover(&self) -> BoxFuture<'_, Result<Vec<RecoveredSandbox>>>;
}

/// Brings images, and root file systems made of them.
pub trait Images: Send + Sync + 'static {
    /// The image, if it is here whole.
    fn find<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>>>;
    /// Fetches an image from its registry.
    fn pull<'a>(&'a self, reference: &'a str, credentials: Vec<Credential>) -> BoxFuture<'a, Result<Image>>;
    /// Mounts a writable root file system of an image for a container; gives its path.
    fn mount<'a>(&'a self, image: &'a str, container: &'a str) -> BoxFuture<'a, Result<PathBuf>>;
    /// Unmounts and deletes it. Succeeds when there is none.
    fn unmount<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<()>>;
    /// Containers that have a root file system. To be asked once, before the first mount.
    fn mounted(&self) -> BoxFuture<'_, Result<Vec<String>>>;
    /// All images.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Image>>>;
    /// Removes images that nothing uses if the disk is nearly full; gives their IDs.
    fn collect(&self) -> BoxFuture<'_, Result<Vec<String>>>;
}

/// A port of the host that leads to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Host address it listens on; `None` for all.
    pub host_ip: Option<IpAddr>,
    /// Port on the host.
    pub host_port: u16,
    /// Port in the pod.
    pub container_port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

/// A pod's place in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its network namespace.
    pub netns: PathBuf,
    /// Its addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
}

/// The pod network of this node.
pub trait Network: Send + Sync + 'static {
    /// Whether pods can be attached now, or why not.
    fn ready(&self) -> std::result::Result<(), String>;
    /// Resolves when they can.
    fn became_ready(&self) -> BoxFuture<'_, ()>;
    /// Makes a network namespace for the pod and gives it addresses. Asked again for a pod that
    /// is attached, it gives the same answer.
    fn attach<'a>(&'a self, pod: &'a str, ports: &'a [HostPort]) -> BoxFuture<'a, Result<Attachment>>;
    /// Removes the pod's network namespace and frees its addresses. Succeeds when there are none.
    fn detach<'a>(&'a self, pod: &'a str) -> BoxFuture<'a, Result<()>>;
    /// Detaches every pod that is not named: those that ended while nobody watched.
    fn retain<'a>(&'a self, keep: &'a BTreeSet<String>) -> BoxFuture<'a, Result<()>>;
}
