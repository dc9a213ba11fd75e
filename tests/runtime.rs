//! Containers for real: the built executable as shim, busybox as every program, in throw-away
//! cgroups and directories. Needs root and a static /bin/busybox, and says so when it must skip.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and says aloud what it skips")]

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::fs::symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nauplius::{
    base::lane::Lane,
    oci::{
        ContainerConfig, ContainerState, Error, ExecConfig, Mount, Options, Propagation, Resources, Runtime, Sandbox,
        SandboxConfig, Seccomp,
    },
};
use nix::sys::signal::Signal;

const DEADLINE: Duration = Duration::from_secs(20);
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// A runtime of its own, removed to the last cgroup when it goes.
struct Bench {
    directory: tempfile::TempDir,
    parent: String,
    runtime: Runtime,
}

impl Bench {
    async fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: containers need root");
            return None;
        }
        if !Path::new("/bin/busybox").exists() {
            eprintln!("SKIPPED: there is no static /bin/busybox (apt-get install busybox-static)");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("nauplius-test-").tempdir_in("/run").unwrap();
        let parent = format!("/nauplius-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let runtime = Runtime::open(options(directory.path(), &parent)).await.unwrap();
        Some(Self { directory, parent, runtime })
    }

    async fn reopen(&mut self) {
        self.runtime = Runtime::open(options(self.directory.path(), &self.parent)).await.unwrap();
    }

    async fn sandbox(&self, id: &str) -> Sandbox {
        self.runtime.create_sandbox(sandbox_config(id)).await.unwrap()
    }

    fn rootfs(&self, name: &str) -> PathBuf {
        let root = self.directory.path().join("rootfs").join(name);
        for directory in ["bin", "proc", "sys", "dev", "tmp", "etc", "root"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::hard_link("/bin/busybox", root.join("bin/busybox"))
            .or_else(|_| fs::copy("/bin/busybox", root.join("bin/busybox")).map(drop))
            .unwrap();
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
            .unwrap();
        root
    }

    fn container(&self, id: &str, script: &str) -> ContainerConfig {
        ContainerConfig {
            id: id.into(),
            rootfs: self.rootfs(id),
            args: vec!["sh".into(), "-c".into(), script.into()],
            env: vec!["PATH=/bin".into(), "GREETING=hello".into()],
            working_directory: "/srv/app".into(),
            uid: 0,
            gid: 0,
            additional_gids: vec![],
            capabilities: DEFAULT_CAPABILITIES.iter().map(|name| (*name).to_owned()).collect(),
            privileged: false,
            read_only_rootfs: false,
            no_new_privileges: false,
            seccomp: Seccomp::RuntimeDefault,
            unmasked_proc: false,
            mounts: vec![],
            resources: Resources::default(),
            oom_score_adj: 0,
            tty: false,
            stdin: false,
            stdin_once: false,
            log_path: self.directory.path().join("log").join(id).join("0.log"),
            log_limit_bytes: 0,
            log_files: 5,
            annotations: BTreeMap::from([("name".into(), id.into())]),
        }
    }

    fn log(&self, id: &str) -> String {
        let path = self.directory.path().join("log").join(id).join("0.log");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned() + "\n").collect()
    }

    /// Runs a container to its end; returns its state and output.
    async fn run(&self, sandbox: &Sandbox, config: ContainerConfig) -> (ContainerState, String) {
        let id = config.id.clone();
        sandbox.create(config).await.unwrap();
        sandbox.start(&id).await.unwrap();
        (exited(sandbox, &id).await, self.log(&id))
    }

    /// Everything is gone after the sandboxes are.
    async fn finish(self, sandboxes: &[&Sandbox]) {
        for sandbox in sandboxes {
            sandbox.stop().await.unwrap();
            assert!(!sandbox.is_alive().await);
        }
        let left = mounts_under(self.directory.path());
        assert!(left.is_empty(), "mounts are left: {left:?}");
        let run = fs::read_dir(self.directory.path().join("run/shim")).unwrap().count();
        let state = fs::read_dir(self.directory.path().join("state")).unwrap().count();
        assert_eq!((run, state), (0, 0), "directories are left");
        let mut pods = cgroups(&self.parent);
        pods.retain(|path| path.to_str().is_some_and(|path| path.contains("/pod")));
        assert!(pods.is_empty(), "cgroups are left: {pods:?}");
        nauplius::oci::purge(&self.directory.path().join("run"), &self.directory.path().join("state"), &self.parent)
            .await
            .unwrap();
        assert_eq!(cgroups(&self.parent), Vec::<PathBuf>::new());
    }
}

/// A failed test must not leave containers behind either.
impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let (run, state) = (self.directory.path().join("run"), self.directory.path().join("state"));
        for entry in fs::read_dir(run.join("shim")).into_iter().flatten().flatten() {
            let log = fs::read_to_string(entry.path().join("shim.log")).unwrap_or_default();
            eprintln!("{}: {log}", entry.path().display());
        }
        let parent = self.parent.clone();
        let purge = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(nauplius::oci::purge(&run, &state, &parent))
        };
        let _ = std::thread::spawn(purge).join();
        nauplius::sys::mount::unmount_tree(&nauplius::sys::mount::Kernel, self.directory.path());
    }
}

const APPLETS: [&str; 26] = [
    "sh", "sleep", "echo", "cat", "id", "ls", "hostname", "kill", "true", "touch", "mount", "unshare", "dd", "tty",
    "stty", "ps", "head", "printf", "chroot", "mkdir", "env", "pwd", "grep", "tail", "mknod", "yes",
];

fn options(directory: &Path, parent: &str) -> Options {
    Options {
        run_dir: directory.join("run"),
        state_dir: directory.join("state"),
        cgroup_parent: parent.to_owned(),
        executable: env!("CARGO_BIN_EXE_nauplius").into(),
    }
}

fn sandbox_config(id: &str) -> SandboxConfig {
    SandboxConfig {
        id: id.into(),
        netns: None,
        hostname: "pod".into(),
        share_process_namespace: false,
        host_pid: false,
        host_ipc: false,
        sysctls: BTreeMap::new(),
        cgroup: format!("besteffort/pod{id}"),
        resources: Resources::default(),
        annotations: BTreeMap::from([("pod".into(), id.into())]),
    }
}

fn mounts_under(directory: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(directory.to_str().unwrap())).map(str::to_owned).collect()
}

fn cgroups(parent: &str) -> Vec<PathBuf> {
    let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
    roots.extend(fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path()));
    let mut found = Vec::new();
    for root in roots {
        collect(&root.join(&parent[1..]), &mut found);
    }
    found
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    if directory.is_dir() {
        found.push(directory.to_owned());
        for entry in fs::read_dir(directory).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
            collect(&entry.path(), found);
        }
    }
}

async fn exited(sandbox: &Sandbox, id: &str) -> ContainerState {
    let mut watch = sandbox.watch().await.unwrap();
    let wait = async {
        loop {
            let status = watch.next().await.expect("the shim lives");
            if status.id == id && matches!(status.state, ContainerState::Exited { .. }) {
                return status.state;
            }
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("the container ends")
}

fn code(state: &ContainerState) -> i32 {
    match state {
        ContainerState::Exited { code, .. } => *code,
        state => panic!("not exited: {state:?}"),
    }
}

async fn read_all(end: OwnedFd) -> String {
    let lane = Lane::new(1);
    let read = lane.run(move || {
        let mut text = Vec::new();
        // A terminal ends with an error.
        let _ = fs::File::from(end).read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    tokio::time::timeout(DEADLINE, read).await.unwrap()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "{what} within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_a_program_and_reports_how_it_ended() {
    let Some(bench) = Bench::new().await else { return };
    let sandbox = bench.sandbox("basic").await;
    let script = "echo $GREETING $HOME; pwd; echo problem >&2; printf rest; exit 7";
    let (state, log) = bench.run(&sandbox, bench.container("c1", script)).await;
    assert_eq!(code(&state), 7);
    for line in ["hello /root\n", "/srv/app\n", "problem\n", "rest\n"] {
        assert!(log.contains(line), "{line:?} in {log:?}");
    }
    let ContainerState::Exited { started_at_ns, finished_at_ns, oom_killed, signal, .. } = state else { panic!() };
    assert!(started_at_ns > 0 && finished_at_ns >= started_at_ns && !oom_killed && signal == 0);
    sandbox.remove("c1").await.unwrap();
    sandbox.remove("c1").await.unwrap();
    assert_eq!(sandbox.statuses().await.unwrap(), []);
    bench.finish(&[&sandbox]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_container_with_its_number() {
    let Some(bench) = Bench::new().await else { return };
    let sandbox = bench.sandbox("signal").await;
    for (id, script, signal, expected) in [
        ("term", "trap 'exit 3' TERM; echo up; while true; do sleep 0.05; done", Signal::SIGTERM, 3),
        ("kill", "echo up; while true; do sleep 1; done", Signal::SIGKILL, 137),
    ] {
        sandbox.create(bench.container(id, script)).await.unwrap();
        sandbox.start(id).await.unwrap();
        eventually("the trap is set", || bench.log(id).contains("up")).await;
        assert!(matches!(sandbox.remove(id).await, Err(Error::WrongState(_))));
        sandbox.signal(id, signal).await.unwrap();
        assert_eq!(code(&exited(&sandbox, id).await), expected);
        assert!(matches!(sandbox.signal(id, signal).await, Err(Error::WrongState(_))));
    }
    bench.finish(&[&sandbox]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn says_what_is_wrong_with_a_command() {
    let Some(bench) = Bench::new().await else { return };
    let sandbox = bench.sandbox("missing").await;
    let config = ContainerConfig { args: vec!["foo".into()], ..bench.container("none", "") };
    sandbox.create(config).await.unwrap();
    let error = sandbox.start("none").await.unwrap_err();
    let expected = "unable to start container process: exec: \"foo\": executable file not found in $PATH";
    assert_eq!(error.to_string(), expected);
    assert_eq!(code(&exited(&sandbox, "none").await), 128);
    assert!(matches!(sandbox.start("none").await, Err(Error::WrongState(_))));
    assert!(matches!(sandbox.start("other").await, Err(Error::NotFound(_))));
    let missing = ContainerConfig { rootfs: "/nowhere".into(), ..bench.container("rootless", "") };
    sandbox.create(missing).await.unwrap();
    assert!(matches!(sandbox.start("rootless").await, Err(Error::Start(_))));

    sandbox.create(bench.container("up", "sleep 100")).await.unwrap();
    sandbox.start("up").await.unwrap();
    let exec = ExecConfig { args: vec!["/no/such".into()], tty: false, stdin: false };
    let Err(error) = sandbox.exec("up", exec).await else { panic!("there is no such program") };
    assert!(error.to_string().ends_with("exec: \"/no/such\": stat /no/such: no such file or directory"), "{error}");
    bench.finish(&[&sandbox]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold() {
    let Some(bench) = Bench::new().await else { return };
    let sandbox = bench.sandbox("limits").await;
    let memory = Resources { memory_limit_bytes: Some(16 << 20), ..Resources::default() };
    let hog = ContainerConfig { resources: memory, ..bench.container("memory", "exec tail /dev/zero") };
    let (state, _) = bench.run(&sandbox, hog).await;
    assert!(matches!(state, ContainerState::Exited { code: 137, signal: 9, oom_killed: true, .. }), "{state:?}");

    let pids = Resources { pids_limit: Some(5), ..Resources::default() };
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo all";
    let forks = ContainerConfig { resources: pids, ..bench.container("pids", script) };
    let (_, log) = bench.run(&sandbox, forks).await;
    assert!(log.contains("can't fork") && !log.contains("all"), "{log}");

    sandbox.create(bench.container("grows", "sleep 100")).await.unwrap();
    sandbox.start("grows").await.unwrap();
    let usage = sandbox.usage(Some("grows")).await;
    assert!(usage.memory_bytes.is_some_and(|bytes| bytes > 0) && usage.pids == Some(1), "{usage:?}");
    for limit in [32 << 20, 8 << 20, 64 << 20] {
        let resources = Resources { memory_limit_bytes: Some(limit), ..Resources::default() };
        sandbox.update_resources(Some("grows"), &resources).await.unwrap();
    }
    bench.finish(&[&sandbox]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_commands_with_and_without_a_terminal() {
    let Some(bench) = Bench::new().await else { return };
    let sandbox = bench.sandbox("exec").await;
    sandbox.create(bench.container("c", "sleep 100")).await.unwrap();
    sandbox.start("c").await.unwrap();

    let command =
        |script: &str, tty, stdin| ExecConfig { args: vec!["sh".into(), "-c".into(), script.into()], tty, stdin };
    let mut exec = sandbox.exec("c", command("cat; echo $GREETING; echo bad >&2; exit 5", false, true)).await.unwrap();
    let streams = exec.take_streams().unwrap();
    assert!(exec.take_streams().is_none() && streams.terminal.is_none());
    let mut stdin = fs::File::from(streams.stdin.unwrap());
    stdin.write_all(b"typed\n").unwrap();
    drop(stdin);
    assert_eq!(read_all(streams.stdout.unwrap()).await, "typed\nhello\n");
    assert_eq!(read_all(streams.stderr.unwrap()).await, "bad\n");
    assert_eq!(exec.wait().await, 5);

    let mut exec = sandbox.exec("c", command("tty; read go; stty size; exit 6", true, true)).await.unwrap();
    exec.resize(101, 37).unwrap();
    let streams = exec.take_streams().unwrap();
    fs::File::from(streams.stdin.unwrap()).write_all(b"go\n").unwrap();
    let output = read_all(streams.stdout.unwrap()).await;
    assert!(output.contains("/dev/pts/0") && output.contains("37 101"), "{output:?}");
    assert_eq!(exec.wait().await, 6);

    for _ in 0..20 {
        let mut exec = sandbox.exec("c", command("exit 4", false, false)).await.unwrap();
        assert_eq!(exec.wait().await, 4);
    }
    let exec = sandbox.exec("c", command("echo $$ > /tmp/pid; sleep 200", false, false)).await.unwrap();
    let root = bench.directory.path().join("rootfs/c");
    eventually("the command runs", || fs::read_to_string(root.join("tmp/pid")).is_ok_and(|pid| pid.ends_with('\n')))
        .await;
    exec.kill();
    let check = "ls -d /proc/$(cat /tmp/pid) 2>/dev/null; true";
    let end = Instant::now() + DEADLINE;
    loop {
        let mut exec = sandbox.exec("c", command(check, false, false)).await.unwrap();
        if read_all(exec.take_streams().unwrap().stdout.unwrap()).await.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "a command ends with its client");
    }
    bench.finish(&[&sandbox]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attaches_to_input_and_output() {
    let Some(bench) = Bench::new().await else { return };
    let sandbox = bench.sandbox("attach").await;
    let config = ContainerConfig { stdin: true, stdin_once: true, ..bench.container("c", "cat; echo end; exit 2") };
    sandbox.create(config).await.unwrap();
    sandbox.start("c").await.unwrap();
    let mut first = sandbox.attach("c").await.unwrap();
    let mut second = sandbox.attach("c").await.unwrap();
    let (mine, others) = (first.take_streams().unwrap(), second.take_streams().unwrap());
    drop(others.stdin);
    let mut stdin = fs::File::from(mine.stdin.unwrap());
    stdin.write_all(b"typed\n").unwrap();
    eventually("the log has it", || bench.log("c").contains("typed")).await;
    drop((stdin, first));
    assert_eq!(read_all(others.stdout.unwrap()).await, "typed\nend\n");
    assert_eq!(second.wait().await, 2);
    assert_eq!(bench.log("c"), "typed\nend\n");

    let shell = ContainerConfig { tty: true, stdin: true, args: vec!["sh".into()], ..bench.container("t", "") };
    sandbox.create(shell).await.unwrap();
    sandbox.start("t").await.unwrap();
    let mut terminal = sandbox.attach("t").await.unwrap();
    let streams = terminal.take_streams().unwrap();
    terminal.resize(90, 20).unwrap();
    fs::File::from(streams.stdin.unwrap()).write_all(b"stty size; tty; exit 9\n").unwrap();
    let output = read_all(streams.stdout.unwrap()).await;
    assert!(output.contains("20 90") && output.contains("/dev/pts/0"), "{output:?}");
    assert_eq!(terminal.wait().await, 9);
    bench.finish(&[&sandbox]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_agent_finds_everything_and_no_line_is_lost() {
    let Some(mut bench) = Bench::new().await else { return };
    let sandbox = bench.sandbox("survivor").await;
    let script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; sleep 0.3; exit 3";
    sandbox.create(bench.container("c", script)).await.unwrap();
    sandbox.start("c").await.unwrap();
    drop(sandbox);
    bench.reopen().await;
    let sandbox = bench.runtime.recover().await.unwrap().pop().unwrap();
    assert_eq!((sandbox.config().id.as_str(), sandbox.is_alive().await), ("survivor", true));
    assert_eq!(code(&exited(&sandbox, "c").await), 3);
    let status = sandbox.statuses().await.unwrap().remove(0);
    assert_eq!(status.annotations["name"], "c");
    let expected: String = (0..5000).map(|number| format!("line {number}\n")).collect();
    assert!(bench.log("c") == expected, "a line is missing");

    sandbox.create(bench.container("d", "sleep 100")).await.unwrap();
    sandbox.start("d").await.unwrap();
    kill_shim(&bench, "survivor").await;
    bench.reopen().await;
    let sandbox = bench.runtime.recover().await.unwrap().pop().unwrap();
    assert!(!sandbox.is_alive().await);
    let codes: BTreeMap<String, i32> =
        sandbox.statuses().await.unwrap().iter().map(|status| (status.id.clone(), code(&status.state))).collect();
    assert_eq!(codes, BTreeMap::from([("c".into(), 3), ("d".into(), 255)]));
    bench.finish(&[&sandbox]).await;
}

async fn kill_shim(bench: &Bench, id: &str) {
    let identity = bench.directory.path().join("run/shim").join(id).join("shim.json");
    let identity: nauplius::sys::process::Identity =
        serde_json::from_slice::<Option<_>>(&fs::read(identity).unwrap()).unwrap().unwrap();
    let shim = identity.open().unwrap().unwrap();
    shim.signal(Signal::SIGKILL).unwrap();
    assert!(shim.wait(5000).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_container_is_confined() {
    let Some(bench) = Bench::new().await else { return };
    let sandbox = bench.sandbox("confined").await;
    let script = "id -u; id -G; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; \
        mount -t tmpfs x /tmp 2>/dev/null && echo mounted; unshare -U true 2>/dev/null && echo unshared; \
        touch /file 2>/dev/null && echo wrote; cat /proc/kcore | head -c 1; ls /proc/acpi /sys/firmware; \
        echo 1 > /proc/sys/kernel/printk && echo set; cat /dev/null && echo null; exit 0";
    let (_, log) = bench.run(&sandbox, bench.container("root", script)).await;
    assert!(log.starts_with("0\n") && log.contains("wrote") && log.contains("null"), "{log}");
    assert!(log.contains("Seccomp:\t2") && log.contains("NoNewPrivs:\t0"), "{log}");
    assert!(log.contains("CapEff:\t00000000a80425fb") && log.contains("CapBnd:\t00000000a80425fb"), "{log}");
    for forbidden in ["mounted", "unshared", "set\n"] {
        assert!(!log.contains(forbidden), "{forbidden} in {log}");
    }
    let user = ContainerConfig {
        uid: 1000,
        gid: 1000,
        additional_gids: vec![2000],
        read_only_rootfs: true,
        no_new_privileges: true,
        ..bench.container("user", script)
    };
    let (_, log) = bench.run(&sandbox, user).await;
    assert!(log.starts_with("1000\n1000 2000\n") && !log.contains("wrote"), "{log}");
    assert!(log.contains("CapEff:\t0000000000000000") && log.contains("NoNewPrivs:\t1"), "{log}");
    let unconfined = ContainerConfig {
        seccomp: Seccomp::Unconfined,
        uid: 1000,
        ..bench.container("unconfined", "unshare -U true && echo unshared; grep Seccomp: /proc/self/status")
    };
    let (_, log) = bench.run(&sandbox, unconfined).await;
    assert!(log.contains("Seccomp:\t0"), "{log}");
    bench.finish(&[&sandbox]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privileged_container_is_not_confined() {
    let Some(bench) = Bench::new().await else { return };
    let sandbox = bench.sandbox("privileged").await;
    let script = "mount -t tmpfs x /tmp && echo mounted; ls /dev/kmsg; grep Seccomp: /proc/self/status; \
        mknod /x c 1 1 && head -c 1 /dev/mem >/dev/null 2>&1; echo 4 > /proc/sys/kernel/printk && echo set";
    let config = ContainerConfig { privileged: true, ..bench.container("c", script) };
    let (_, log) = bench.run(&sandbox, config).await;
    for allowed in ["mounted", "/dev/kmsg", "Seccomp:\t0", "set"] {
        assert!(log.contains(allowed), "{allowed} in {log}");
    }
    bench.finish(&[&sandbox]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_are_as_asked() {
    let Some(bench) = Bench::new().await else { return };
    let sandbox = bench.sandbox("mounts").await;
    let volume = bench.directory.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "content").unwrap();
    let mount = |source: &Path, destination: &str, read_only| Mount {
        source: source.to_owned(),
        destination: destination.into(),
        read_only,
        propagation: Propagation::Private,
    };
    let script = "cat /data/file /etc/one; touch /data/no 2>/dev/null || echo read-only; touch /rw/yes; \
        grep -c ' /dev/shm ' /proc/mounts; hostname";
    let config = ContainerConfig {
        mounts: vec![
            mount(&volume, "/data", true),
            mount(&volume, "/rw", false),
            mount(&volume.join("file"), "/etc/one", true),
        ],
        ..bench.container("c", script)
    };
    let (state, log) = bench.run(&sandbox, config).await;
    assert_eq!(code(&state), 0);
    assert!(log.starts_with("contentcontentread-only\n1\n"), "{log}");
    assert!(volume.join("yes").exists());
    bench.finish(&[&sandbox]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_pass_between_host_and_container_as_asked() {
    use nauplius::sys::mount::{Kernel, Mounts, Operation, Propagation as Spread, list_under};
    let Some(bench) = Bench::new().await else { return };
    let sandbox = bench.sandbox("propagation").await;
    let volume = bench.directory.path().join("volume");
    for directory in ["in", "out"] {
        fs::create_dir_all(volume.join(directory)).unwrap();
    }
    // Shared with the host, as a service manager makes all file systems.
    let share = |target: PathBuf| {
        Kernel.apply(&Operation::Bind { source: target.clone(), target: target.clone(), recursive: false }).unwrap();
        Kernel.apply(&Operation::Propagate { target, propagation: Spread::Shared, recursive: false }).unwrap();
    };
    share(volume.clone());
    let mount =
        |propagation| Mount { source: volume.clone(), destination: "/volume".into(), read_only: false, propagation };
    let script = "mount -t tmpfs x /volume/out && touch /volume/out/theirs; echo up; \
        while [ ! -e /volume/in/ours ]; do sleep 0.05; done; exit 3";
    for (id, propagation) in [("slave", Propagation::HostToContainer), ("shared", Propagation::Bidirectional)] {
        let config =
            ContainerConfig { privileged: true, mounts: vec![mount(propagation)], ..bench.container(id, script) };
        share(config.rootfs.clone());
        sandbox.create(config).await.unwrap();
        sandbox.start(id).await.unwrap();
        eventually("the container mounts", || bench.log(id).contains("up")).await;
        assert_eq!(volume.join("out/theirs").exists(), propagation == Propagation::Bidirectional);
        let target = volume.join("in");
        Kernel.apply(&Operation::Tmpfs { target: target.clone(), size_bytes: None, mode: 0o755 }).unwrap();
        fs::write(target.join("ours"), "").unwrap();
        assert_eq!(code(&exited(&sandbox, id).await), 3);
        Kernel.apply(&Operation::Unmount { target, lazy: false }).unwrap();
    }
    let own = list_under(&Kernel, &bench.directory.path().join("rootfs")).unwrap();
    nauplius::sys::mount::unmount_tree(&Kernel, &bench.directory.path().join("rootfs"));
    nauplius::sys::mount::unmount_tree(&Kernel, &volume);
    assert!(own.len() == 2, "the container's own mounts are on the host: {own:?}");
    bench.finish(&[&sandbox]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_pod_share_what_they_shall() {
    let Some(bench) = Bench::new().await else { return };
    let netns = PathBuf::from(format!("/run/netns/nauplius-test-pod-{}", std::process::id()));
    nauplius::sys::namespace::create_network(&netns).unwrap();
    let config = SandboxConfig {
        netns: Some(netns.clone()),
        share_process_namespace: true,
        sysctls: BTreeMap::from([("net.ipv4.ip_unprivileged_port_start".into(), "7".into())]),
        ..sandbox_config("shared")
    };
    let sandbox = bench.runtime.create_sandbox(config).await.unwrap();
    sandbox.create(bench.container("first", "echo shared > /dev/shm/note; sleep 100 & sleep 100")).await.unwrap();
    sandbox.start("first").await.unwrap();
    let script = "hostname; cat /dev/shm/note; ps | grep -c 'sleep 10[0]'; cat /proc/1/comm; \
        cat /proc/sys/net/ipv4/ip_unprivileged_port_start; grep -c : /proc/net/dev";
    eventually("the note is written", || true).await;
    let (state, log) = bench.run(&sandbox, bench.container("second", script)).await;
    nauplius::sys::namespace::remove_network(&netns).unwrap();
    assert_eq!(code(&state), 0);
    assert_eq!(log, "pod\nshared\n2\npause\n7\n1\n");
    sandbox.signal("first", Signal::SIGKILL).await.unwrap();
    exited(&sandbox, "first").await;
    let cgroup = format!("{}/besteffort/podshared/first", &bench.parent[1..]);
    let empty = || {
        let roots = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
        let files = roots.map(|root| root.path().join(&cgroup).join("cgroup.procs"));
        files.filter_map(|file| fs::read_to_string(file).ok()).all(|text| text.is_empty())
    };
    eventually("nothing of the first container is left", empty).await;
    bench.finish(&[&sandbox]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotates_a_log_that_grows_too_large() {
    let Some(bench) = Bench::new().await else { return };
    let sandbox = bench.sandbox("rotation").await;
    let script = "i=0; while [ $i -lt 3 ]; do yes 0123456789 | head -n 2000; sleep 1.1; i=$((i+1)); done";
    let config = ContainerConfig { log_limit_bytes: 60_000, log_files: 2, ..bench.container("c", script) };
    bench.run(&sandbox, config).await;
    let files: Vec<_> = fs::read_dir(bench.directory.path().join("log/c")).unwrap().flatten().collect();
    assert_eq!(files.len(), 2, "{files:?}");
    bench.finish(&[&sandbox]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_pods_at_once() {
    let Some(bench) = Bench::new().await else { return };
    let begin = Instant::now();
    let work = (0..20).map(|number| {
        let bench = &bench;
        async move {
            let sandbox = bench.sandbox(&format!("many-{number}")).await;
            let (state, log) = bench.run(&sandbox, bench.container(&format!("c{number}"), "echo done; exit 1")).await;
            assert_eq!((code(&state), log.as_str()), (1, "done\n"));
            sandbox
        }
    });
    let sandboxes = futures_util::future::join_all(work).await;
    eprintln!("20 pods ran in {:?}", begin.elapsed());
    bench.finish(&sandboxes.iter().collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn measures_start_and_memory() {
    let Some(bench) = Bench::new().await else { return };
    let begin = Instant::now();
    let sandbox = bench.sandbox("measure").await;
    let sandbox_time = begin.elapsed();
    let mut times = Vec::new();
    for number in 0..10 {
        let id = format!("c{number}");
        let config = bench.container(&id, "exec sleep 100");
        let begin = Instant::now();
        sandbox.create(config).await.unwrap();
        sandbox.start(&id).await.unwrap();
        times.push(begin.elapsed());
    }
    times.sort();
    let identity = fs::read_to_string(bench.directory.path().join("run/shim/measure/shim.json")).unwrap();
    let pid = serde_json::from_str::<serde_json::Value>(&identity).unwrap()["pid"].as_i64().unwrap();
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let private: u64 = smaps
        .lines()
        // Pages of an executable that was just built count as dirty; these do not.
        .filter(|line| line.starts_with("Anonymous"))
        .map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap())
        .sum();
    eprintln!(
        "sandbox {sandbox_time:?}, create + start median {:?} worst {:?}, shim private {private} kB",
        times[5], times[9]
    );
    assert!(private < 8 << 10, "{private} kB");
    bench.finish(&[&sandbox]).await;
}
