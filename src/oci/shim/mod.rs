//! The shim: one small process per pod that holds the pod's namespaces, starts its containers,
//! waits for them and writes their logs. It is started before anything of the agent's runtime
//! exists, has one thread, sleeps in poll(2), and outlives the agent.

mod connection;
mod container;
mod executor;
mod helper;
mod launch;
mod log;
mod reap;
mod server;

use std::{
    fs,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use nix::{sched::CloneFlags, sys::stat::Mode};

use super::layout::{self, Layout, SOCKET, ShimConfig};
use crate::{
    base::log::chain,
    sys::{
        cgroup::{self, Cgroup, Limits},
        fd,
        fork::{self, Side},
        mount,
        process::Identity,
    },
};

/// Name of the hidden subcommand.
pub const SUBCOMMAND: &str = "shim";
/// The cgroup of all shims, beside those of the pods: a pod's limits are its containers' alone.
pub(super) const CGROUP: &str = "shims";
/// Shims are the last to be killed when memory runs out.
const OOM_SCORE: &str = "-998";
/// Shown in process lists for the first process of a shared PID namespace.
const INIT_NAME: &str = "pause";

/// Why a shim did not start.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    System(&'static str, #[source] io::Error),
    #[error("set {0} to {1:?}")]
    Sysctl(String, String, #[source] io::Error),
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    #[error(transparent)]
    Mount(#[from] mount::Error),
}

/// The shim's main function: `arguments` are those after the subcommand, one directory. Returns in
/// the starting process once the shim serves, or with its error on standard error; in the shim
/// itself when all is over. Must be called before there is a second thread.
pub fn main(arguments: &[std::ffi::OsString]) -> ExitCode {
    let [directory] = arguments else { return fail("usage: shim DIRECTORY") };
    match start(Path::new(directory)) {
        Ok(Outcome::Started) | Ok(Outcome::Ended) => ExitCode::SUCCESS,
        Ok(Outcome::Failed(message)) => fail(&message),
        Err(error) => fail(&chain(&error)),
    }
}

enum Outcome {
    /// In the starting process: the shim serves.
    Started,
    /// In the starting process: the shim could not be made ready.
    Failed(String),
    /// In the shim: it has done its work.
    Ended,
}

fn fail(message: &str) -> ExitCode {
    // Whoever started this reads it; if nobody does, nothing is lost.
    let _ = writeln!(io::stderr(), "{message}");
    ExitCode::FAILURE
}

/// Splits off the shim; the starting process waits for the word that it is ready.
fn start(directory: &Path) -> Result<Outcome, Error> {
    let (read_end, write_end) = fd::pipe().map_err(|error| Error::System("open a pipe", error))?;
    match fork::in_two().map_err(|error| Error::System("fork", error))? {
        Side::Parent => {
            drop(write_end);
            let mut message = String::new();
            let read = fs::File::from(read_end).read_to_string(&mut message);
            read.map_err(|error| Error::System("wait for the shim", error))?;
            let ready = message.strip_prefix(READY);
            Ok(ready.map_or_else(|| Outcome::Failed(message.clone()), |_| Outcome::Started))
        }
        Side::Child => {
            drop(read_end);
            serve(directory, write_end)
        }
    }
}

const READY: &str = "ready\n";

fn serve(directory: &Path, starter: OwnedFd) -> Result<Outcome, Error> {
    let mut starter = fs::File::from(starter);
    let mut server = match prepare(directory) {
        Ok(server) => server,
        Err(error) => {
            // The starting process reports it; if that is gone too, nobody cares.
            let _ = starter.write_all(chain(&error).as_bytes());
            return Ok(Outcome::Ended);
        }
    };
    let _ = starter.write_all(READY.as_bytes());
    drop(starter);
    server.run().map_err(|error| Error::System("serve", error))?;
    Ok(Outcome::Ended)
}

fn prepare(directory: &Path) -> Result<server::Server, Error> {
    let path = directory.join("config.json");
    let config: ShimConfig = layout::load(&path).map_err(|source| Error::File { action: "read", path, source })?;
    let layout = Layout { run: directory.to_owned(), state: config.state.clone() };
    become_daemon(&layout)?;
    let cgroups = Arc::new(cgroup::Layout::detect(&mount::Kernel)?);
    let parent = Cgroup::new(cgroups.clone(), &config.cgroup_parent);
    join_own_cgroup(&parent.child(CGROUP))?;
    let pod = parent.child(&config.sandbox.cgroup);
    pod.create()?;
    pod.limit(&Limits::from(&config.sandbox.resources))?;
    enter_namespaces(&config)?;
    if !config.sandbox.host_ipc {
        let path = layout.shared_memory();
        fs::create_dir_all(&path).map_err(|source| Error::File { action: "create", path: path.clone(), source })?;
        helper::mount_shared_memory(&path)?;
    }
    let init = if config.sandbox.share_process_namespace && !config.sandbox.host_pid {
        Some(fork::namespace_init(INIT_NAME).map_err(|error| Error::System("create a PID namespace", error))?)
    } else {
        None
    };
    let listener = listen(directory)?;
    let unified = cgroups.version() == cgroup::Version::Unified;
    server::Server::new(config, layout, pod, unified, init, listener)
        .map_err(|error| Error::System("prepare signals", error))
}

fn become_daemon(layout: &Layout) -> Result<(), Error> {
    let system = |what| move |error: nix::errno::Errno| Error::System(what, error.into());
    nix::unistd::setsid().map_err(system("start a session"))?;
    nix::sys::prctl::set_child_subreaper(true).map_err(system("become a subreaper"))?;
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    nix::unistd::chdir("/").map_err(system("change to the root directory"))?;
    redirect_stdio(layout).map_err(|error| Error::System("redirect the standard streams", error))?;
    // Lowering the score needs a capability that even root may lack.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    let pid = nix::unistd::getpid().as_raw();
    let identity = Identity::of(pid).map_err(|error| Error::System("look up the own process", error))?;
    let path = layout.shim_identity();
    layout::save(&path, &identity).map_err(|source| Error::File { action: "write", path, source })
}

fn redirect_stdio(layout: &Layout) -> io::Result<()> {
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let log = fs::OpenOptions::new().append(true).create(true).open(layout.shim_log())?;
    nix::unistd::dup2_stdin(null.as_fd())?;
    nix::unistd::dup2_stdout(null.as_fd())?;
    nix::unistd::dup2_stderr(log.as_fd())?;
    Ok(())
}

/// Out of the agent's cgroup, so that the end of its service does not end the pods.
fn join_own_cgroup(own: &Cgroup) -> Result<(), Error> {
    own.create()?;
    Ok(own.add(nix::unistd::getpid().as_raw())?)
}

/// The pod's namespaces are this process's; containers inherit them.
fn enter_namespaces(config: &ShimConfig) -> Result<(), Error> {
    let sandbox = &config.sandbox;
    let system = |what| move |error: nix::errno::Errno| Error::System(what, error.into());
    let mut own = CloneFlags::empty();
    if let Some(path) = &sandbox.netns {
        let open = |source| Error::File { action: "open network namespace", path: path.clone(), source };
        let namespace = fs::File::open(path).map_err(open)?;
        nix::sched::setns(namespace, CloneFlags::CLONE_NEWNET).map_err(system("enter the network namespace"))?;
        own |= CloneFlags::CLONE_NEWUTS;
    }
    if !sandbox.host_ipc {
        own |= CloneFlags::CLONE_NEWIPC;
    }
    nix::sched::unshare(own).map_err(system("create namespaces"))?;
    if sandbox.netns.is_some() {
        nix::unistd::sethostname(&sandbox.hostname).map_err(system("set the host name"))?;
    }
    for (name, value) in &sandbox.sysctls {
        set_kernel_parameter(name, value).map_err(|source| Error::Sysctl(name.clone(), value.clone(), source))?;
    }
    Ok(())
}

fn set_kernel_parameter(name: &str, value: &str) -> io::Result<()> {
    if name.split(['.', '/']).any(|part| part.is_empty()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Names with slashes as separators may hold dots, such as those of VLAN devices.
    let path = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    fs::write(Path::new("/proc/sys").join(path), value)
}

fn listen(directory: &Path) -> Result<UnixListener, Error> {
    let bind = || {
        std::env::set_current_dir(directory)?;
        layout::ignore_missing(fs::remove_file(SOCKET))?;
        let listener = UnixListener::bind(SOCKET)?;
        fs::set_permissions(SOCKET, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        std::env::set_current_dir("/")?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|source| Error::File { action: "listen on", path: directory.join(SOCKET), source })
}
