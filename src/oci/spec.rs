//! From our plain [`ContainerConfig`] to the OCI runtime specification that libcontainer reads
//! (config.md, config-linux.md). The pod's network, IPC and UTS namespaces are not named there:
//! the process that creates the container is in them already, and so the container is too.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{ContainerConfig, Mount, Propagation, Resources};
use crate::sys::{capability, cgroup::Limits};

const OCI_VERSION: &str = "1.2.0";
/// `PATH` of a container whose image and pod set none, as containerd gives it.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Hidden from containers, since they tell about or reach other parts of the machine.
const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the specification says beside the container's own configuration.
pub(super) struct Surroundings<'a> {
    /// The container's cgroup, absolute.
    pub cgroup: &'a Path,
    /// The pod's /dev/shm on the host.
    pub shared_memory: &'a Path,
    /// The PID namespace to join; `None` for an own one.
    pub pid_namespace: Option<&'a Path>,
    /// No PID namespace at all: the host's.
    pub host_pid: bool,
    /// The container gets a cgroup namespace (on v2, as containerd does).
    pub cgroup_namespace: bool,
    /// Numbers of the capabilities that this process may pass on.
    pub bounding: u64,
    /// Device files of the host, for privileged containers.
    pub devices: Vec<Value>,
}

/// The specification (config.json) of a container.
pub(super) fn container(config: &ContainerConfig, around: &Surroundings<'_>) -> Value {
    let mut linux = json!({
        "cgroupsPath": around.cgroup,
        "namespaces": namespaces(around),
        "devices": around.devices,
    });
    if !config.privileged && !config.unmasked_proc {
        linux["maskedPaths"] = json!(MASKED_PATHS);
        linux["readonlyPaths"] = json!(READ_ONLY_PATHS);
    }
    if passes_mounts_on(config) {
        linux["rootfsPropagation"] = json!("shared");
    }
    json!({
        "ociVersion": OCI_VERSION,
        "process": process(config, &config.args, config.tty, around.bounding),
        "root": {"path": config.rootfs, "readonly": config.read_only_rootfs},
        "mounts": mounts(config, around),
        "linux": linux,
    })
}

/// The `process` of the specification, for a container's own process and for commands in it.
pub(super) fn process(config: &ContainerConfig, args: &[String], tty: bool, bounding: u64) -> Value {
    let names = capabilities(config, bounding);
    let mut process = json!({
        "terminal": tty,
        "user": {"uid": config.uid, "gid": config.gid, "additionalGids": config.additional_gids},
        "args": args,
        "env": environment(config, tty),
        "cwd": if config.working_directory.is_empty() { "/" } else { &config.working_directory },
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
    });
    // Left out rather than false: libcontainer takes its presence for a yes in places.
    if config.no_new_privileges {
        process["noNewPrivileges"] = json!(true);
    }
    process
}

/// Names of the capabilities of the container's processes.
pub(super) fn capabilities(config: &ContainerConfig, bounding: u64) -> Vec<String> {
    let wanted = |name: &str| config.privileged || config.capabilities.iter().any(|wanted| matches_name(wanted, name));
    let known =
        capability::NAMES.iter().enumerate().filter(|(number, name)| bounding >> number & 1 == 1 && wanted(name));
    known.map(|(_, name)| format!("CAP_{name}")).collect()
}

/// The same as bits.
pub(super) fn capability_mask(names: &[String]) -> u64 {
    let known = capability::NAMES.iter().enumerate();
    let found = known.filter(|(_, name)| names.iter().any(|wanted| matches_name(wanted, name)));
    found.fold(0, |mask, (number, _)| mask | 1 << number)
}

/// The environment, in its order; a search path and, on terminals, a kind of terminal are added if missing.
pub(super) fn environment(config: &ContainerConfig, tty: bool) -> Vec<String> {
    let mut environment = config.env.clone();
    let has = |name: &str| config.env.iter().any(|entry| entry.split('=').next() == Some(name));
    if !has("PATH") {
        environment.push(format!("PATH={DEFAULT_PATH}"));
    }
    if tty && !has("TERM") {
        environment.push("TERM=xterm".to_owned());
    }
    environment
}

/// Capability numbers in this process's bounding set: nobody can pass on more.
pub(super) fn bounding_set() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(u64::MAX)
}

/// Device files of the host, as a privileged container sees them.
pub(super) fn host_devices() -> Vec<Value> {
    let mut found = Vec::new();
    collect_devices(Path::new("/dev"), &mut found);
    found
}

impl From<&Resources> for Limits {
    fn from(resources: &Resources) -> Self {
        Self {
            memory_bytes: resources.memory_limit_bytes,
            cpu_shares: resources.cpu_shares,
            cpu_quota_us: resources.cpu_quota_us,
            cpu_period_us: resources.cpu_period_us,
            pids: resources.pids_limit,
            oom_kills_group: false,
        }
    }
}

fn namespaces(around: &Surroundings<'_>) -> Vec<Value> {
    let mut namespaces = vec![json!({"type": "mount"})];
    match around.pid_namespace {
        Some(path) => namespaces.push(json!({"type": "pid", "path": path})),
        None if around.host_pid => {}
        None => namespaces.push(json!({"type": "pid"})),
    }
    if around.cgroup_namespace {
        namespaces.push(json!({"type": "cgroup"}));
    }
    namespaces
}

fn matches_name(wanted: &str, name: &str) -> bool {
    wanted.strip_prefix("CAP_").unwrap_or(wanted) == name
}

fn mounts(config: &ContainerConfig, around: &Surroundings<'_>) -> Vec<Value> {
    let access = if config.privileged { "rw" } else { "ro" };
    let plain = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    let mut mounts = vec![
        plain("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        plain("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        plain("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        plain("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        plain("/sys", "sysfs", &["nosuid", "noexec", "nodev", access]),
        plain("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access]),
    ];
    let overridden =
        |mount: &Value| config.mounts.iter().any(|wanted| mount["destination"] == json!(wanted.destination));
    mounts.retain(|mount| !overridden(mount));
    if !config.mounts.iter().any(|mount| mount.destination == Path::new("/dev/shm")) {
        mounts.push(json!({
            "destination": "/dev/shm", "type": "bind", "source": around.shared_memory,
            "options": ["rbind", "rw", "nosuid", "noexec", "nodev"],
        }));
    }
    mounts.extend(config.mounts.iter().map(bind));
    mounts
}

fn bind(mount: &Mount) -> Value {
    let propagation = match mount.propagation {
        Propagation::Private => "rprivate",
        Propagation::HostToContainer => "rslave",
        Propagation::Bidirectional => "rshared",
    };
    // A read-only mount is so with all mounts below it; only a kernel without mount_setattr would not do that.
    let access: &[&str] = if mount.read_only { &["ro", "rro"] } else { &["rw"] };
    let options: Vec<&str> = ["rbind", propagation].iter().chain(access).copied().collect();
    json!({"destination": mount.destination, "type": "bind", "source": mount.source, "options": options})
}

/// A mount can only pass its mounts on to the host if the container's root is shared. Everything
/// else receives mounts from the host, which is libcontainer's default.
fn passes_mounts_on(config: &ContainerConfig) -> bool {
    config.mounts.iter().any(|mount| mount.propagation == Propagation::Bidirectional)
}

fn collect_devices(directory: &Path, found: &mut Vec<Value>) {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    // Terminals and shared memory are the container's own.
    const OWN: [&str; 6] = ["pts", "shm", "fd", "mqueue", "console", "ptmx"];
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        let kind = metadata.file_type();
        if OWN.iter().any(|own| entry.file_name() == *own) {
            continue;
        }
        if kind.is_dir() {
            collect_devices(&entry.path(), found);
        } else if kind.is_char_device() || kind.is_block_device() {
            found.push(json!({
                "path": entry.path(), "type": if kind.is_block_device() { "b" } else { "c" },
                "major": nix::sys::stat::major(metadata.rdev()), "minor": nix::sys::stat::minor(metadata.rdev()),
                "fileMode": metadata.mode() & 0o777, "uid": metadata.uid(), "gid": metadata.gid(),
            }));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::oci) fn config() -> ContainerConfig {
        ContainerConfig {
            id: "c".into(),
            rootfs: "/rootfs".into(),
            args: vec!["sh".into()],
            env: vec!["A=1".into()],
            working_directory: String::new(),
            uid: 7,
            gid: 8,
            additional_gids: vec![9],
            capabilities: vec!["CAP_CHOWN".into(), "CAP_SYS_RESOURCE".into()],
            privileged: false,
            read_only_rootfs: true,
            no_new_privileges: false,
            seccomp: crate::oci::Seccomp::Unconfined,
            unmasked_proc: false,
            mounts: Vec::new(),
            resources: Resources::default(),
            oom_score_adj: 0,
            tty: false,
            stdin: false,
            stdin_once: false,
            log_path: "/log/0.log".into(),
            log_limit_bytes: 0,
            log_files: 1,
            annotations: std::collections::BTreeMap::new(),
        }
    }

    fn around() -> Surroundings<'static> {
        Surroundings {
            cgroup: Path::new("/nauplius/pod/c"),
            shared_memory: Path::new("/run/shm"),
            pid_namespace: None,
            host_pid: false,
            cgroup_namespace: false,
            bounding: !(1 << 24),
            devices: Vec::new(),
        }
    }

    #[test]
    fn an_ordinary_container_is_confined() {
        let spec = container(&config(), &around());
        assert_eq!(
            spec["process"]["capabilities"]["bounding"],
            json!(["CAP_CHOWN"]),
            "what this process lacks is left out"
        );
        assert!(spec["process"].get("noNewPrivileges").is_none());
        assert_eq!(spec["root"], json!({"path": "/rootfs", "readonly": true}));
        assert!(spec["linux"]["maskedPaths"].as_array().unwrap().contains(&json!("/proc/kcore")));
        assert_eq!(spec["linux"]["namespaces"], json!([{"type": "mount"}, {"type": "pid"}]));
        assert_eq!(spec["process"]["env"][1], json!(format!("PATH={DEFAULT_PATH}")));
        let parsed: oci_spec::runtime::Spec = serde_json::from_value(spec).unwrap();
        assert_eq!(parsed.process().as_ref().unwrap().user().uid(), 7);
    }

    #[test]
    fn a_privileged_container_is_not() {
        let config = ContainerConfig { privileged: true, ..config() };
        let spec = container(&config, &Surroundings { host_pid: true, ..around() });
        assert_eq!(spec["process"]["capabilities"]["bounding"].as_array().unwrap().len(), capability::NAMES.len() - 1);
        assert!(spec["linux"].get("maskedPaths").is_none());
        assert_eq!(spec["linux"]["namespaces"], json!([{"type": "mount"}]));
    }

    #[test]
    fn a_mount_takes_the_place_of_a_standard_one() {
        let shm = Mount {
            source: "/volume".into(),
            destination: "/dev/shm".into(),
            read_only: true,
            propagation: Propagation::Bidirectional,
        };
        let spec = container(&ContainerConfig { mounts: vec![shm], ..config() }, &around());
        let mounts = spec["mounts"].as_array().unwrap();
        let shm: Vec<_> = mounts.iter().filter(|mount| mount["destination"] == "/dev/shm").collect();
        assert_eq!(shm.len(), 1);
        assert_eq!(shm[0]["options"], json!(["rbind", "rshared", "ro", "rro"]));
        assert_eq!(spec["linux"]["rootfsPropagation"], json!("shared"));
    }
}
