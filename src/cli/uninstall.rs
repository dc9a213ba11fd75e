//! `nauplius uninstall`: removes everything that Nauplius ever made on this machine. It goes on
//! after a failure and says at the end what it could not remove.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::boot::{
    args::{DATA_DIR, RUN_DIR},
    cleanup::{self, Paths},
};

/// Names that `install.sh` gives its services unless told otherwise.
const SERVICES: [&str; 2] = ["nauplius", "nauplius-agent"];
/// Configuration, kubeconfig and environment of the services.
const CONFIG_DIR: &str = "/etc/nauplius";
/// How long a node that was told to stop may take.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Uninstall {
    /// Folder of the state
    #[arg(short = 'd', long, env = "NAUPLIUS_DATA_DIR", default_value = DATA_DIR, value_name = "DIR")]
    data_dir: PathBuf,
    /// Folder of the run-time files
    #[arg(long, env = "NAUPLIUS_RUN_DIR", default_value = RUN_DIR, value_name = "DIR")]
    run_dir: PathBuf,
    /// Folder of the logs of containers
    #[arg(long, default_value = "/var/log/pods", value_name = "DIR")]
    pod_logs_dir: PathBuf,
    /// Folder of the links to the logs of containers
    #[arg(long, default_value = "/var/log/containers", value_name = "DIR")]
    container_logs_dir: PathBuf,
    /// Name of the cgroup that holds all pods
    #[arg(long, default_value = "nauplius", value_name = "NAME")]
    cgroup: String,
    /// Remove the cluster's state but leave services, configuration and the executable
    #[arg(long)]
    keep_executable: bool,
}

impl Uninstall {
    /// Removes everything.
    pub fn run(self) -> anyhow::Result<()> {
        if !nix::unistd::geteuid().is_root() {
            bail!("removing networks and containers needs root");
        }
        let mut failures = Vec::new();
        let services = services(Path::new(CONFIG_DIR));
        if !self.keep_executable {
            stop_services(&services, &mut failures);
        }
        let paths = Paths {
            data_dir: std::path::absolute(&self.data_dir)?,
            run_dir: std::path::absolute(&self.run_dir)?,
            pod_logs_dir: self.pod_logs_dir.clone(),
            container_logs_dir: self.container_logs_dir.clone(),
            cgroup: self.cgroup.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        failures.extend(runtime.block_on(cleanup::everything(&paths)));
        if !self.keep_executable {
            remove_installation(&services, &mut failures);
        }
        if failures.is_empty() {
            say("Nauplius is removed");
            return Ok(());
        }
        bail!("some things could not be removed:\n  {}", failures.join("\n  "))
    }
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn say(line: &str) {
    println!("{line}");
}

/// Names of the services on this machine: `install.sh` leaves the environment of each in its folder.
fn services(config_dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(config_dir).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".env")?.to_owned()));
    names.chain(SERVICES.map(str::to_owned)).collect()
}

fn stop_services(services: &BTreeSet<String>, failures: &mut Vec<String>) {
    for name in services {
        if Path::new("/etc/systemd/system").join(format!("{name}.service")).exists() {
            quietly("systemctl", &["disable", "--now", name]);
        }
        if Path::new("/etc/init.d").join(name).exists() {
            quietly("rc-service", &[name, "stop"]);
            quietly("rc-update", &["del", name]);
        }
        stop_background(&PathBuf::from(format!("/run/{name}.pid")), failures);
    }
}

/// Stops the process that `install.sh` started where there is no service manager.
fn stop_background(pid_file: &Path, failures: &mut Vec<String>) {
    let Some(pid) = fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse::<i32>().ok()) else { return };
    let is_ours = || {
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        program.to_string_lossy().trim_end_matches(" (deleted)").ends_with("/nauplius")
    };
    if !is_ours() {
        return;
    }
    // A process that has just ended is what is wanted.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
    let deadline = Instant::now() + STOP_DEADLINE;
    while is_ours() {
        if Instant::now() > deadline {
            failures.push(format!("process {pid} does not stop"));
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn remove_installation(services: &BTreeSet<String>, failures: &mut Vec<String>) {
    let mut paths: Vec<PathBuf> = vec![CONFIG_DIR.into()];
    for name in services {
        paths.push(format!("/etc/systemd/system/{name}.service").into());
        paths.push(format!("/etc/init.d/{name}").into());
        paths.push(format!("/run/{name}.pid").into());
        paths.push(format!("/var/log/{name}.log").into());
    }
    // Last, so that a failed removal can be tried again.
    paths.extend(std::env::current_exe().ok());
    for path in paths {
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                failures.push(format!("{}: {error}", path.display()));
            }
            _ => {}
        }
    }
    if Path::new("/run/systemd/system").exists() {
        quietly("systemctl", &["daemon-reload"]);
        quietly("systemctl", &["reset-failed"]);
    }
}

/// Runs a service manager's command; what it does not know is gone already.
fn quietly(program: &str, arguments: &[&str]) {
    let _ = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_under_names_of_their_own_are_found() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["edge.env", "config.yaml", "nauplius.env"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let found: Vec<String> = services(directory.path()).into_iter().collect();
        assert_eq!(found, ["edge", "nauplius", "nauplius-agent"]);
    }
}
