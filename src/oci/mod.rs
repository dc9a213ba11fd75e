//! Containers: one shim process per pod holds its namespaces and creates its containers with
//! libcontainer; the agent talks to shims over their sockets and finds them again after a restart.
//! Plain structs in; nothing here knows the API or images.

mod layout;
mod link;
mod protocol;
mod runtime;
mod sandbox;
pub mod shim;
mod spec;

use std::{collections::BTreeMap, io, os::fd::OwnedFd, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use runtime::{Options, Runtime, purge};
pub use sandbox::{Exec, Sandbox, Watch};

use crate::{
    base::file,
    sys::{cgroup, mount},
};

/// An operation on a sandbox or container that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such container.
    #[error("{0}")]
    NotFound(String),
    /// The container or sandbox is not in the state for it.
    #[error("{0}")]
    WrongState(String),
    /// The process could not be started; the text is what users know from other runtimes, such as
    /// `exec: "foo": executable file not found in $PATH`.
    #[error("unable to start container process: {0}")]
    Start(String),
    /// The shim reports a failure.
    #[error("{0}")]
    Shim(String),
    /// No shim serves in this directory.
    #[error("connect to the shim in {}", directory.display())]
    NotRunning {
        /// The sandbox's run directory.
        directory: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The conversation with a shim broke off.
    #[error("talk to the shim in {}", directory.display())]
    Broken {
        /// The sandbox's run directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The shim's program could not be run.
    #[error("run {}", program.display())]
    StartShim {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file of a sandbox.
    #[error("{action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The path it was tried on.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A directory could not be created.
    #[error(transparent)]
    Directory(#[from] file::Error),
    /// A control group.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// A mount.
    #[error(transparent)]
    Mount(#[from] mount::Error),
    /// A terminal could not be resized.
    #[error("resize the terminal")]
    Terminal(#[source] io::Error),
}

/// What a pod's shim is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SandboxConfig {
    /// Unique name of the sandbox: names its socket, state directory and cgroup. The pod's UID,
    /// or the UID with a suffix for a second sandbox of the same pod.
    pub id: String,
    /// Network namespace to join (`/run/netns/…`); `None` for the host's.
    pub netns: Option<PathBuf>,
    /// Host name in the pod's UTS namespace; ignored with the host's network.
    pub hostname: String,
    /// All containers share one PID namespace, in which the shim is process 1.
    pub share_process_namespace: bool,
    /// The host's PID namespace.
    pub host_pid: bool,
    /// The host's IPC namespace.
    pub host_ipc: bool,
    /// Kernel parameters set in the pod's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// The pod's cgroup below the parent, such as `burstable/pod<uid>`.
    pub cgroup: String,
    /// Limits of the pod as a whole.
    pub resources: Resources,
    /// Free text kept with the sandbox and given back by recovery; the kubelet's own notes.
    pub annotations: BTreeMap<String, String>,
}

/// Limits of a container or pod. `None` is "no limit".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory limit in bytes.
    pub memory_limit_bytes: Option<i64>,
    /// CPU shares in cgroup v1 terms (2 to 262144); converted to a weight on v2.
    pub cpu_shares: Option<u64>,
    /// CPU quota in microseconds per period.
    pub cpu_quota_us: Option<i64>,
    /// CPU period in microseconds.
    pub cpu_period_us: Option<u64>,
    /// Most processes.
    pub pids_limit: Option<i64>,
}

/// A mount inside a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    /// Host path for a bind mount.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub destination: PathBuf,
    /// Read-only, recursively.
    pub read_only: bool,
    /// Mount propagation.
    pub propagation: Propagation,
}

/// Mount propagation (`mountPropagation` of a volume mount).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// `rprivate`
    #[default]
    Private,
    /// `rslave`
    HostToContainer,
    /// `rshared`
    Bidirectional,
}

/// Which system calls a container may make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// The runtime's default profile.
    #[default]
    RuntimeDefault,
    /// All.
    Unconfined,
    /// A profile file in the OCI/Docker JSON format.
    Localhost(PathBuf),
}

/// A container to create in a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Unique ID (64 hex digits).
    pub id: String,
    /// The mounted root file system.
    pub rootfs: PathBuf,
    /// Whole command line; never empty.
    pub args: Vec<String>,
    /// `KEY=value`.
    pub env: Vec<String>,
    /// Working directory; created if it is missing.
    pub working_directory: String,
    /// User ID, already resolved.
    pub uid: u32,
    /// Group ID, already resolved.
    pub gid: u32,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
    /// Capabilities (`CAP_CHOWN`) of the process; already the default set plus and minus the pod's wishes.
    pub capabilities: Vec<String>,
    /// All devices, no masked paths, all capabilities.
    pub privileged: bool,
    /// The root file system is read-only.
    pub read_only_rootfs: bool,
    /// `no_new_privs`.
    pub no_new_privileges: bool,
    /// Seccomp profile; ignored when privileged.
    pub seccomp: Seccomp,
    /// Show /proc whole (`procMount: Unmasked`).
    pub unmasked_proc: bool,
    /// Mounts beside the standard ones (/proc, /dev, /sys, /dev/shm, …).
    pub mounts: Vec<Mount>,
    /// Limits.
    pub resources: Resources,
    /// `oom_score_adj`; where it cannot be lowered it is left as it is.
    pub oom_score_adj: i32,
    /// Allocate a terminal.
    pub tty: bool,
    /// Keep standard input open for attach; closed at once otherwise.
    pub stdin: bool,
    /// Close standard input when the first attached client goes away.
    pub stdin_once: bool,
    /// Log file in CRI format.
    pub log_path: PathBuf,
    /// The log is rotated at this size.
    pub log_limit_bytes: u64,
    /// Rotated files that are kept, the current one included.
    pub log_files: u32,
    /// Free text kept with the container and given back by recovery.
    pub annotations: BTreeMap<String, String>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Its process has not been started.
    Created,
    /// Its process runs.
    Running {
        /// Process ID on the host.
        pid: i32,
        /// Start, nanoseconds since the epoch.
        started_at_ns: i64,
    },
    /// Its process has ended.
    Exited {
        /// Exit code; 128 plus the signal's number when it was killed.
        code: i32,
        /// The signal that killed it, or 0.
        signal: i32,
        /// Whether the kernel killed it for lack of memory.
        oom_killed: bool,
        /// Start, nanoseconds since the epoch.
        started_at_ns: i64,
        /// End, nanoseconds since the epoch.
        finished_at_ns: i64,
    },
}

/// A container as its shim reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// The container's ID.
    pub id: String,
    /// Its state.
    pub state: ContainerState,
    /// [`ContainerConfig::annotations`].
    pub annotations: BTreeMap<String, String>,
}

/// A command to run in a running container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExecConfig {
    /// Command line.
    pub args: Vec<String>,
    /// Allocate a terminal; standard error then comes with standard output.
    pub tty: bool,
    /// Connect standard input.
    pub stdin: bool,
}

/// Streams of a command or an attached container: ends of pipes, or one terminal.
/// Bytes flow directly between the caller and the process, not through the shim.
pub struct Streams {
    /// Write end of standard input.
    pub stdin: Option<OwnedFd>,
    /// Read end of standard output, or of the terminal.
    pub stdout: Option<OwnedFd>,
    /// Read end of standard error.
    pub stderr: Option<OwnedFd>,
    /// The terminal's controlling end, for resizing.
    pub terminal: Option<OwnedFd>,
}
