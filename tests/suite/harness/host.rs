//! A throw-away host: a network namespace on a test network; mount and PID namespaces held by an
//! anchor process, whose end is the end of everything on the host; a directory for its disk; a cgroup
//! name of its own. It is removed when it goes out of scope, and also when the test process is
//! killed.

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    net::Ipv4Addr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::Pid};
use parking_lot::Mutex;

use super::{
    images::Image,
    kubectl::Kubectl,
    lan::{Lan, Namespace, ip},
    wait::{PATIENCE, eventually},
};

/// Lines of the log that are shown when a test fails.
const LOG_TAIL_LINES: usize = 60;
/// What holds the host's namespaces, as process 1: a /run of its own, and a shell that reaps.
const ANCHOR: &str = "mount -t tmpfs -o mode=0755 tmpfs /run && echo ready && exec 1>&- && \
                      while sleep 86400; do :; done";

/// A machine for a node.
pub struct Host {
    lan: Lan,
    number: u8,
    // Before `namespace`: processes end while there is still a host.
    process: Mutex<Option<Process>>,
    anchor: Child,
    directory: PathBuf,
    namespace: Namespace,
}

/// A `nauplius server` or `nauplius agent` on the host.
struct Process {
    /// `nsenter`, which waits for it.
    outer: Child,
    /// The process itself, as this test sees it.
    pid: Pid,
}

impl Host {
    /// A host alone on its network, with the address 10.77.0.1.
    pub fn new() -> Self {
        Lan::new().host(1)
    }

    /// A host on `lan` with the address 10.77.0.`number`.
    pub(super) fn on(lan: Lan, number: u8) -> Self {
        let mut namespace = Namespace::new("host", 0, "");
        lan.connect(&namespace.name, number);
        let directory = std::env::temp_dir().join(&namespace.name);
        fs::create_dir_all(directory.join("data/agent/images")).unwrap();
        let anchor = anchor(&namespace.name);
        namespace.attach(anchor.id(), directory.to_str().unwrap());
        Self { lan, number, process: Mutex::new(None), anchor, directory, namespace }
    }

    /// The network it is on.
    pub fn lan(&self) -> &Lan {
        &self.lan
    }

    /// Its name, which is that of its network namespace and of its cgroups.
    pub fn name(&self) -> &str {
        &self.namespace.name
    }

    /// Name of the node on it.
    pub fn node_name(&self) -> String {
        format!("node-{}", self.number)
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.number)
    }

    /// Its disk; `data`, `logs` and `nauplius.log` are there.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The node's state directory (`--data-dir`).
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Puts an image where the node imports it from.
    pub fn add_image(&self, image: Image) {
        let target = self.data_dir().join("agent/images").join(image.file_name());
        let part = target.with_extension("part");
        fs::copy(image.archive(), &part).unwrap();
        fs::rename(part, target).unwrap();
    }

    /// Starts `nauplius server` with further flags. Returns before it is ready.
    pub fn start_server(&self, flags: &[&str]) {
        let kubeconfig = self.kubeconfig();
        let mut all = vec!["server", "--write-kubeconfig", kubeconfig.to_str().unwrap()];
        all.extend(flags);
        self.start(&all);
    }

    /// Starts `nauplius agent` with further flags, which joins the server on `server`.
    pub fn start_agent(&self, server: &Host, flags: &[&str]) {
        let token = server.token();
        self.start_agent_with(server, &[&["--token", token.as_str()], flags].concat());
    }

    /// Starts `nauplius agent` with these flags and no token but one that is among them.
    pub fn start_agent_with(&self, server: &Host, flags: &[&str]) {
        let url = server.url();
        self.start(&[&["agent", "--server", url.as_str()], flags].concat());
    }

    /// Runs `nauplius agent` to its end: for flags with which it does not start.
    pub fn run_agent(&self, server: &Host, flags: &[&str]) -> Output {
        let mut agent = self.command("timeout");
        agent.args(["--signal=KILL", "60"]).arg(executable()).args(["agent", "--server", &server.url()]);
        agent.args(self.paths()).arg(format!("--node-name={}", self.node_name())).args(flags).output().unwrap()
    }

    /// Cuts the power: every process ends at once, and nothing stays but what is on the disk.
    pub fn power_off(&mut self) {
        if let Some(Process { mut outer, pid }) = self.process.lock().take() {
            nix::sys::signal::kill(pid, Signal::SIGKILL).ok();
            outer.wait().ok();
        }
        self.anchor.kill().unwrap();
        self.anchor.wait().unwrap();
        self.lan.disconnect(self.number);
        ip(&format!("netns delete {}", self.name()));
        eventually("the host's control groups are gone", PATIENCE, || remove_cgroups(self.name()));
    }

    /// Switches the host on again, with a network, a /run and control groups that are new.
    pub fn power_on(&mut self) {
        ip(&format!("netns add {}", self.name()));
        ip(&format!("-n {} link set lo up", self.name()));
        self.lan.connect(self.name(), self.number);
        self.anchor = anchor(self.name());
        self.namespace.attach(self.anchor.id(), self.directory.to_str().unwrap());
    }

    /// The token with which others join the server on this host.
    pub fn token(&self) -> String {
        let path = self.data_dir().join("server/token");
        eventually("the server has written its token", PATIENCE, || {
            fs::read_to_string(&path).map_err(|e| e.to_string())
        })
        .trim()
        .to_owned()
    }

    /// Waits until the API answers.
    pub fn wait_for_api(&self) {
        let kubectl = self.kubectl();
        eventually("the API is ready", PATIENCE, || self.alive(kubectl.try_run("get --raw /readyz")));
    }

    /// Waits until the node of `host` is Ready, as this host's API has it.
    pub fn wait_for_node(&self, host: &Host) {
        let kubectl = self.kubectl();
        let wait = format!("wait --for=condition=Ready --timeout=5s node/{}", host.node_name());
        eventually("the node is Ready", PATIENCE, || host.alive(kubectl.try_run(&wait)));
        let pressure = kubectl
            .path(&format!("node/{}", host.node_name()), "{.status.conditions[?(@.type==\"DiskPressure\")].status}");
        assert_ne!(pressure, "True", "less than a tenth of the disk is free: nodes take no pods until there is more");
    }

    /// Asks nauplius to stop (SIGTERM) and waits for its end. Pods go on.
    pub fn stop(&self) -> ExitStatus {
        self.end(Signal::SIGTERM)
    }

    /// Kills nauplius without warning. Pods go on.
    pub fn kill(&self) {
        let status = self.end(Signal::SIGKILL);
        assert_eq!(status.signal().or(status.code().map(|code| code - 128)), Some(9), "it had ended before: {status}");
    }

    /// The process ID of nauplius, as this test sees it.
    pub fn pid(&self) -> Pid {
        self.process.lock().as_ref().expect("nauplius was started").pid
    }

    /// What nauplius has logged, over all its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Prints the end of the log, for a test that fails.
    pub fn show_log(&self) {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        eprintln!("---- end of the log of {} ({})\n{}\n----", self.node_name(), self.name(), tail.join("\n"));
    }

    /// kubectl on this host, as the cluster's administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.name(), &self.kubeconfig())
    }

    /// kubectl on this host with a token, and nothing else to show.
    pub fn kubectl_with_token(&self, token: &str) -> Kubectl {
        // An administrator's kubeconfig would send its certificate along.
        let config = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: \
             'https://127.0.0.1:6443', insecure-skip-tls-verify: true}}}}], users: [{{name: u, user: {{token: {token}}}}}], \
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}"
        );
        let file = tempfile::Builder::new().suffix(".yaml").tempfile_in(&self.directory).unwrap();
        fs::write(file.path(), config).unwrap();
        // It goes with the host's disk.
        Kubectl::new(self.name(), &file.keep().unwrap().1)
    }

    /// A program in the host's namespaces.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.inner_anchor().to_string()).args(["--mount", "--net", "--pid", "--"]);
        command.arg(program).stdin(Stdio::null());
        command
    }

    /// Runs a shell script on the host and returns what it printed. Fails the test if it fails.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        assert!(output.status.success(), "{script}: {}\n{}", output.status, text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a shell script on the host.
    pub fn try_sh(&self, script: &str) -> Output {
        self.command("sh").args(["-c", script]).output().unwrap()
    }

    /// Whether a shell script prints `part`; if not, what it printed instead.
    pub fn sees(&self, script: &str, part: &str) -> Result<(), String> {
        let output = self.try_sh(script);
        let printed = text(&output);
        if output.status.success() && printed.contains(part) {
            Ok(())
        } else {
            Err(format!("{}: {printed}", output.status))
        }
    }

    /// Runs `nauplius` on the host with these words, such as `ctr images ls`.
    pub fn nauplius(&self, words: &str) -> Output {
        let mut command = self.command(executable());
        command.args(words.split_whitespace()).env("NAUPLIUS_RUN_DIR", "/run/nauplius");
        command.output().unwrap()
    }

    /// The flags that tell nauplius where its host's things are; `uninstall` takes them too.
    pub fn paths(&self) -> Vec<String> {
        let at = |name: &str| self.directory.join(name).display().to_string();
        vec![
            format!("--data-dir={}", at("data")),
            "--run-dir=/run/nauplius".to_owned(),
            format!("--cgroup={}", self.name()),
            format!("--pod-logs-dir={}", at("logs/pods")),
            format!("--container-logs-dir={}", at("logs/containers")),
        ]
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig.yaml")
    }

    fn url(&self) -> String {
        format!("https://{}:6443", self.address())
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("nauplius.log")
    }

    fn start(&self, arguments: &[&str]) {
        let mut process = self.process.lock();
        assert!(process.is_none(), "nauplius runs already on {}", self.name());
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = self.command(executable());
        command.arg(arguments[0]).args(self.paths());
        command.arg(format!("--node-name={}", self.node_name()));
        command.arg(format!("--private-registry={}", self.directory.join("registries.yaml").display()));
        command.arg(format!("--resolv-conf={}", self.resolv_conf().display()));
        command.args(&arguments[1..]).stdout(clone(&log)).stderr(log);
        let outer = command.spawn().unwrap();
        let pid = eventually("nauplius has started", PATIENCE, || child_of(outer.id()));
        *process = Some(Process { outer, pid });
    }

    /// A test network has no resolver: names outside the cluster end at an address that refuses.
    fn resolv_conf(&self) -> PathBuf {
        let path = self.directory.join("resolv.conf");
        fs::write(&path, "nameserver 10.77.0.254\n").unwrap();
        path
    }

    fn end(&self, signal: Signal) -> ExitStatus {
        let Process { mut outer, pid } = self.process.lock().take().expect("nauplius was started");
        // It may have ended by itself: its exit status then says so.
        nix::sys::signal::kill(pid, signal).ok();
        eventually("nauplius has ended", PATIENCE, || match outer.try_wait().unwrap() {
            Some(status) => Ok(status),
            None => Err(format!("process {pid} still runs\n{}", self.log())),
        })
    }

    /// Fails the test at once when nauplius has ended, instead of after all of its patience.
    fn alive<T>(&self, result: Result<T, super::Failure>) -> Result<T, String> {
        if let Some(process) = self.process.lock().as_mut()
            && let Some(status) = process.outer.try_wait().unwrap()
        {
            self.show_log();
            panic!("nauplius on {} has ended: {status}", self.name());
        }
        result.map_err(|failure| failure.to_string())
    }

    /// Process 1 of the host, as this test sees it.
    fn inner_anchor(&self) -> Pid {
        child_of(self.anchor.id()).expect("the anchor's child lives as long as the anchor")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_log();
        }
        if let Some(Process { mut outer, pid }) = self.process.lock().take() {
            nix::sys::signal::kill(pid, Signal::SIGKILL).ok();
            outer.wait().ok();
        }
        self.anchor.kill().ok();
        self.anchor.wait().ok();
    }
}

/// The executable under test.
pub fn executable() -> PathBuf {
    std::env::var_os("NAUPLIUS_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_nauplius").into(), PathBuf::from)
}

/// Standard output and error of a program, for a failure's message.
pub fn text(output: &Output) -> String {
    let mut text = String::new();
    write!(text, "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)).unwrap();
    text
}

fn anchor(namespace: &str) -> Child {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}"));
    command.args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", ANCHOR]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    assert_eq!(line, "ready\n", "the anchor of {namespace} did not start");
    child
}

fn remove_cgroups(name: &str) -> Result<(), String> {
    let script = "for cgroup in /sys/fs/cgroup/$1 /sys/fs/cgroup/*/$1; do
        [ ! -d $cgroup ] || find $cgroup -depth -type d -exec rmdir {} +; done";
    let output = Command::new("sh").args(["-c", script, "sh", name]).output().unwrap();
    if output.stderr.is_empty() { Ok(()) } else { Err(text(&output)) }
}

fn child_of(pid: u32) -> Result<Pid, String> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).map_err(|error| error.to_string())?;
    let first = children.split_whitespace().next().ok_or("it has no child")?;
    Ok(Pid::from_raw(first.parse().unwrap()))
}

fn clone(file: &File) -> File {
    file.try_clone().unwrap()
}

/// Seconds, so that scenarios read well.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
