//! Where everything of a sandbox is on disk, and the records that outlive its shim.
//!
//! `<run-dir>/shim/<sandbox>/` goes with a reboot: the socket, the shim's own configuration, the
//! shared memory of the pod, a bundle per container. `<state-dir>/<sandbox>/` stays: the
//! sandbox's configuration and one record per container, so that a container that ended while no
//! agent or no shim was there is still reported.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{ContainerConfig, ContainerState, SandboxConfig};
use crate::sys::process::Identity;

/// Directory of all sandboxes below the run directory.
const SANDBOXES: &str = "shim";
/// Only root looks into sandboxes: they hold environment variables of containers.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// The socket's name; relative, because the length of a socket's path is limited to 108 bytes.
pub(super) const SOCKET: &str = "shim.sock";

/// What a shim reads when it starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ShimConfig {
    pub sandbox: SandboxConfig,
    /// The sandbox's directory below the state directory.
    pub state: PathBuf,
    /// The cgroup that everything of ours is in.
    pub cgroup_parent: String,
}

/// What is remembered of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub config: ContainerConfig,
    pub state: ContainerState,
}

/// The directories of one sandbox.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub run: PathBuf,
    pub state: PathBuf,
}

impl Layout {
    pub fn new(run_dir: &Path, state_dir: &Path, id: &str) -> Self {
        Self { run: sandboxes(run_dir).join(id), state: state_dir.join(id) }
    }

    pub fn create(&self) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(DIRECTORY_MODE);
        builder.create(&self.run)?;
        builder.create(self.runtime_root())?;
        builder.create(&self.state)
    }

    pub fn shim_config(&self) -> PathBuf {
        self.run.join("config.json")
    }

    pub fn shim_identity(&self) -> PathBuf {
        self.run.join("shim.json")
    }

    pub fn shim_log(&self) -> PathBuf {
        self.run.join("shim.log")
    }

    /// The pod's /dev/shm.
    pub fn shared_memory(&self) -> PathBuf {
        self.run.join("shm")
    }

    /// Where libcontainer keeps its own state.
    pub fn runtime_root(&self) -> PathBuf {
        self.run.join("containers")
    }

    pub fn bundle(&self, container: &str) -> PathBuf {
        self.run.join(container)
    }

    pub fn sandbox_record(&self) -> PathBuf {
        self.state.join("sandbox.json")
    }

    fn container_record(&self, container: &str) -> PathBuf {
        self.state.join(format!("container-{container}.json"))
    }

    pub fn save_record(&self, record: &Record) -> io::Result<()> {
        save(&self.container_record(&record.config.id), record)
    }

    pub fn remove_record(&self, container: &str) -> io::Result<()> {
        ignore_missing(fs::remove_file(self.container_record(container)))
    }

    /// Records of all containers; those that a power cut has torn are left out.
    pub fn records(&self) -> Vec<Record> {
        let entries = fs::read_dir(&self.state).into_iter().flatten().flatten();
        let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("container-"));
        named.filter_map(|entry| load(&entry.path()).ok()).collect()
    }

    pub fn identity(&self) -> Option<Identity> {
        load(&self.shim_identity()).ok()
    }

    /// Removes both directories; they are empty of mounts by then.
    pub fn remove(&self) -> io::Result<()> {
        let run = ignore_missing(fs::remove_dir_all(&self.run));
        ignore_missing(fs::remove_dir_all(&self.state)).and(run)
    }
}

/// The directory of all sandboxes.
pub(super) fn sandboxes(run_dir: &Path) -> PathBuf {
    run_dir.join(SANDBOXES)
}

/// Replaces a file by rename. Not synced: after a power cut the containers are gone anyway, and a
/// sync would cost more than the start of a container.
pub(super) fn save<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(FILE_MODE).open(&temporary)?;
    serde_json::to_writer(io::BufWriter::new(file), value)?;
    fs::rename(&temporary, path)
}

pub(super) fn load<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

pub(super) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
