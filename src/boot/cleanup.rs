//! Removal of everything that a node makes on its machine: pods, cgroups, mounts, network, files.
//! It goes on after a failure and returns all of them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{base::log, net, oci, sys::mount};

/// Where a node's things are.
#[derive(Debug, Clone)]
pub struct Paths {
    /// `--data-dir`
    pub data_dir: PathBuf,
    /// `--run-dir`
    pub run_dir: PathBuf,
    /// `--pod-logs-dir`
    pub pod_logs_dir: PathBuf,
    /// `--container-logs-dir`
    pub container_logs_dir: PathBuf,
    /// `--cgroup`
    pub cgroup: String,
}

impl Paths {
    /// Where the runtime keeps what outlives a reboot.
    pub fn runtime_state(&self) -> PathBuf {
        self.data_dir.join("agent/containers")
    }

    /// Where the network keeps its state.
    pub fn network_state(&self) -> PathBuf {
        self.data_dir.join("agent/net")
    }
}

/// Removes everything, and says what could not be.
pub async fn everything(paths: &Paths) -> Vec<String> {
    let mut failures = Vec::new();
    let pods = oci::purge(&paths.run_dir, &paths.runtime_state(), &paths.cgroup).await;
    failures.extend(pods.err().map(|error| log::chain(&error)));
    let network = net::PurgeOptions { state_dir: paths.network_state(), namespaces_dir: None };
    failures.extend(net::purge(&network).await.err().map(|error| log::chain(&error)));
    // It came with the first pod unless others had it before; while they use it, it is not empty.
    _ = fs::remove_dir(net::NAMESPACES_DIRECTORY);
    remove_logs(paths, &mut failures);
    for directory in [&paths.run_dir, &paths.data_dir] {
        unmount_below(directory, &mut failures);
        remove(directory, &mut failures);
    }
    failures
}

fn unmount_below(directory: &Path, failures: &mut Vec<String>) {
    failures.extend(mount::unmount_tree(&mount::Kernel, directory).iter().map(|error| log::chain(error)));
}

fn remove(directory: &Path, failures: &mut Vec<String>) {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            failures.push(format!("{}: {error}", directory.display()));
        }
        _ => {}
    }
}

/// Removes the logs of this node's pods. The folders may be shared with another Kubernetes: they go
/// only if nothing is left in them.
fn remove_logs(paths: &Paths, failures: &mut Vec<String>) {
    let pods = fs::read_dir(paths.data_dir.join("agent/pods")).into_iter().flatten().flatten();
    let uids: Vec<String> = pods.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    for entry in fs::read_dir(&paths.pod_logs_dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if uids.iter().any(|uid| name.ends_with(&format!("_{uid}"))) {
            remove(&entry.path(), failures);
        }
    }
    for entry in fs::read_dir(&paths.container_logs_dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_symlink() && !path.exists() {
            let _ = fs::remove_file(&path);
        }
    }
    for directory in [&paths.container_logs_dir, &paths.pod_logs_dir] {
        // Fails when something of another program is in it, which is as it should be.
        let _ = fs::remove_dir(directory);
    }
}
