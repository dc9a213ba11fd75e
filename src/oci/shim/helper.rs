//! Helpers: short-lived copies of the shim in which libcontainer works. It changes the process
//! that it runs in and takes memory that would never be given back; a copy that ends after some
//! milliseconds does not matter. What it starts becomes the shim's child, since the shim is a subreaper.

use std::{
    cell::RefCell,
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{fs::DirBuilderExt, net::UnixListener},
    },
    path::{Component, Path, PathBuf},
    rc::Rc,
};

use libcontainer::{container::builder::ContainerBuilder, syscall::syscall::SyscallType};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::executor::Program;
use crate::{
    base::log::chain,
    oci::{
        ContainerConfig, Seccomp, layout,
        spec::{self, Surroundings},
    },
    sys::{
        capability,
        cgroup::{Cgroup, Limits},
        device, fd, mount,
        mount::Mounts,
        seccomp,
    },
};

const CONSOLE_SOCKET: &str = "console.sock";

/// What a helper, or the process that it has started, tells the shim; one line each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Message {
    /// The process is there; its terminal comes along if it has one.
    Started { pid: i32 },
    /// It could not be started, or could not become the program.
    Failed(String),
}

impl Message {
    pub fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("messages are plain structures");
        line.push(b'\n');
        line
    }
}

/// Standard streams of a new process; none with a terminal.
#[derive(Debug, Default)]
pub(super) struct Stdio {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// What a helper works on.
pub(super) struct Job<'a> {
    pub config: &'a ContainerConfig,
    /// The container's directory.
    pub bundle: PathBuf,
    /// Where libcontainer keeps its own state.
    pub runtime_root: PathBuf,
    /// The pod's /dev/shm.
    pub shared_memory: PathBuf,
    pub cgroup: Cgroup,
    pub pid_namespace: Option<PathBuf>,
    pub host_pid: bool,
    pub cgroup_namespace: bool,
    /// Where messages go.
    pub report: OwnedFd,
    pub stdio: Stdio,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Creates and starts the container. Returns the helper's exit status.
pub(super) fn start(job: Job<'_>) -> i32 {
    run(job, |job, report| {
        prepare_cgroup(job)?;
        prepare_working_directory(job.config)?;
        write_specification(job)?;
        let program = program(job, job.config.args.clone(), job.config.tty, report.clone())?;
        let console = Console::new(job, job.config.tty, "init")?;
        let mut container = builder(job, program, &console)?.as_init(&job.bundle).with_systemd(false).build()?;
        let pid = container.pid().ok_or("the container has no process")?.as_raw();
        console.announce(report, pid)?;
        container.start()?;
        Ok(())
    })
}

/// Runs a command in the container. Returns the helper's exit status.
pub(super) fn execute(job: Job<'_>, name: &str, args: &[String], tty: bool) -> i32 {
    run(job, |job, report| {
        let process = job.bundle.join(format!("{name}.json"));
        write_process(job, args, tty, &process)?;
        let program = program(job, args.to_vec(), tty, report.clone())?;
        let console = Console::new(job, tty, name)?;
        let built = builder(job, program, &console)?.as_tenant().with_detach(true).with_process(Some(&process)).build();
        let _ = fs::remove_file(&process);
        console.announce(report, built?.as_raw())?;
        Ok(())
    })
}

fn run(mut job: Job<'_>, work: impl FnOnce(&mut Job<'_>, &Rc<OwnedFd>) -> Outcome<()>) -> i32 {
    let Ok(report) = job.report.try_clone().map(Rc::new) else { return 1 };
    adjust_oom_score(job.config.oom_score_adj);
    match work(&mut job, &report) {
        Ok(()) => 0,
        Err(error) => {
            // The other end is the shim's; without it nobody is left to tell.
            let _ = fd::send(&*report, &Message::Failed(chain(error.as_ref())).line(), &[]);
            1
        }
    }
}

/// Lowering needs a capability that even root may lack; the score then stays as it is.
fn adjust_oom_score(score: i32) {
    let _ = fs::write("/proc/self/oom_score_adj", score.to_string());
}

fn prepare_cgroup(job: &Job<'_>) -> Outcome<()> {
    job.cgroup.create()?;
    let limits = Limits { oom_kills_group: true, ..Limits::from(&job.config.resources) };
    job.cgroup.limit(&limits)?;
    let rules: &[device::Rule] = if job.config.privileged { &[device::Rule::ALL] } else { &device::DEFAULT_RULES };
    Ok(job.cgroup.allow_devices(rules)?)
}

/// Creates what is missing of the working directory. Stops at symbolic links: where they lead is
/// known only inside the container.
fn prepare_working_directory(config: &ContainerConfig) -> io::Result<()> {
    let mut path = config.rootfs.clone();
    for component in Path::new(&config.working_directory).components() {
        let Component::Normal(name) = component else { continue };
        path.push(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Ok(()),
            Err(_) => fs::DirBuilder::new().mode(0o755).create(&path)?,
        }
    }
    Ok(())
}

fn write_specification(job: &Job<'_>) -> io::Result<()> {
    let cgroup = job.cgroup.path();
    let around = Surroundings {
        cgroup: &cgroup,
        shared_memory: &job.shared_memory,
        pid_namespace: job.pid_namespace.as_deref(),
        host_pid: job.host_pid,
        cgroup_namespace: job.cgroup_namespace,
        bounding: spec::bounding_set(),
        devices: if job.config.privileged { spec::host_devices() } else { Vec::new() },
    };
    let mut specification = spec::container(job.config, &around);
    lend_capabilities(job.config, &mut specification["process"]);
    layout::save(&job.bundle.join("config.json"), &specification)
}

fn write_process(job: &Job<'_>, args: &[String], tty: bool, path: &Path) -> io::Result<()> {
    let mut process = spec::process(job.config, args, tty, spec::bounding_set());
    lend_capabilities(job.config, &mut process);
    layout::save(path, &process)
}

fn is_filtered(config: &ContainerConfig) -> bool {
    !config.privileged && config.seccomp != Seccomp::Unconfined
}

/// Installing a filter needs CAP_SYS_ADMIN, and giving that up again CAP_SETPCAP; the program
/// itself never has them unless it shall.
fn lend_capabilities(config: &ContainerConfig, process: &mut Value) {
    if !is_filtered(config) {
        return;
    }
    for set in ["bounding", "effective", "permitted"] {
        if let Some(names) = process["capabilities"][set].as_array_mut() {
            for lent in ["CAP_SYS_ADMIN", "CAP_SETPCAP"] {
                if !names.iter().any(|name| name == lent) {
                    names.push(lent.into());
                }
            }
        }
    }
}

fn program(job: &Job<'_>, args: Vec<String>, tty: bool, report: Rc<OwnedFd>) -> Outcome<Program> {
    let names = spec::capabilities(job.config, spec::bounding_set());
    let has = |name: &str| names.iter().any(|found| found == name);
    let lent = |name: &str, number: u32| (is_filtered(job.config) && !has(name)).then_some(number);
    let numbers = [lent("CAP_SYS_ADMIN", capability::ADMINISTRATE), lent("CAP_SETPCAP", capability::SET_CAPABILITIES)];
    let filters = match &job.config.seccomp {
        _ if !is_filtered(job.config) => Vec::new(),
        Seccomp::Localhost(path) => {
            let text = fs::read(path).map_err(|error| format!("read seccomp profile {}: {error}", path.display()))?;
            seccomp::parse(&text, has)?.compile()?
        }
        Seccomp::RuntimeDefault | Seccomp::Unconfined => seccomp::default_profile(has).compile()?,
    };
    Ok(Program {
        args,
        env: spec::environment(job.config, tty),
        report,
        home: Rc::new(RefCell::new(None)),
        filters: Rc::new(filters),
        borrowed: numbers.into_iter().flatten().collect(),
        capabilities: spec::capability_mask(&names),
    })
}

fn builder(job: &mut Job<'_>, program: Program, console: &Console) -> Outcome<ContainerBuilder> {
    let mut builder = ContainerBuilder::new(job.config.id.clone(), SyscallType::default())
        .with_root_path(&job.runtime_root)?
        .with_executor(program)
        .with_console_socket(console.path());
    let stdio = std::mem::take(&mut job.stdio);
    (builder.stdin, builder.stdout, builder.stderr) = (stdio.stdin, stdio.stdout, stdio.stderr);
    Ok(builder)
}

/// The socket through which a new process sends its terminal's controlling end.
struct Console {
    listener: Option<(UnixListener, PathBuf)>,
}

impl Console {
    fn new(job: &Job<'_>, tty: bool, name: &str) -> io::Result<Self> {
        if !tty {
            return Ok(Self { listener: None });
        }
        let file = format!("{name}-{CONSOLE_SOCKET}");
        // A relative path, as the length of a socket's path is limited.
        std::env::set_current_dir(&job.bundle)?;
        layout::ignore_missing(fs::remove_file(&file))?;
        let listener = UnixListener::bind(&file)?;
        std::env::set_current_dir("/")?;
        Ok(Self { listener: Some((listener, job.bundle.join(file))) })
    }

    fn path(&self) -> Option<PathBuf> {
        self.listener.as_ref().map(|(_, path)| path.clone())
    }

    /// Tells the shim that the process is there, and hands its terminal on.
    fn announce(self, report: &OwnedFd, pid: i32) -> io::Result<()> {
        let mut terminal = Vec::new();
        if let Some((listener, path)) = self.listener {
            let (socket, _) = listener.accept()?;
            fd::receive(&socket, &mut [0; 64], &mut terminal)?;
            fs::remove_file(path)?;
        }
        fd::send(report, &Message::Started { pid }.line(), &terminal).map(drop)
    }
}

/// Mounts the pod's /dev/shm, as large as other runtimes make it.
pub(super) fn mount_shared_memory(directory: &Path) -> Result<(), mount::Error> {
    const SIZE_BYTES: u64 = 64 << 20;
    let target = directory.to_owned();
    mount::Kernel.apply(&mount::Operation::Tmpfs { target, size_bytes: Some(SIZE_BYTES), mode: 0o1777 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::spec::tests::config;

    #[test]
    fn creates_working_directories_but_follows_no_links() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = directory.path().join("rootfs");
        fs::create_dir(&rootfs).unwrap();
        std::os::unix::fs::symlink(directory.path(), rootfs.join("out")).unwrap();
        let at = |path: &str| ContainerConfig { rootfs: rootfs.clone(), working_directory: path.into(), ..config() };
        prepare_working_directory(&at("/srv/app")).unwrap();
        prepare_working_directory(&at("/out/side")).unwrap();
        prepare_working_directory(&at("/../../up")).unwrap();
        assert!(rootfs.join("srv/app").is_dir() && rootfs.join("up").is_dir());
        assert!(!directory.path().join("side").exists());
    }

    #[test]
    fn lends_capabilities_for_filters_only() {
        let mut process = spec::process(&config(), &[], false, u64::MAX);
        lend_capabilities(&config(), &mut process);
        assert_eq!(process["capabilities"]["bounding"].as_array().unwrap().len(), 2);
        lend_capabilities(&ContainerConfig { seccomp: Seccomp::RuntimeDefault, ..config() }, &mut process);
        assert_eq!(process["capabilities"]["effective"].as_array().unwrap().len(), 4);
    }
}
