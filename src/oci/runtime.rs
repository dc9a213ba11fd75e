//! The agent's entry to containers: starts shims, and finds them again after a restart.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use super::{
    Error, Sandbox, SandboxConfig,
    layout::{self, Layout, ShimConfig},
    sandbox::cleanup,
    shim,
};
use crate::{
    base::lane::Lane,
    sys::{
        cgroup::{self, Cgroup},
        mount,
    },
};

/// Blocking work (files, cgroups, mounts) done at once.
const LANE_WIDTH: usize = 8;
/// A shim that is not ready by then has failed.
const START_TIME: Duration = Duration::from_secs(30);

/// Where things are, and which program a shim is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Files that go with a reboot (`/run/nauplius`).
    pub run_dir: PathBuf,
    /// Files that stay (`/var/lib/nauplius/agent/containers`).
    pub state_dir: PathBuf,
    /// The cgroup that everything of ours is in (`/nauplius`).
    pub cgroup_parent: String,
    /// The program that a shim runs: this one (`/proc/self/exe` resolved), called with `shim`.
    pub executable: PathBuf,
}

/// Starts and finds sandboxes. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub options: Options,
    pub cgroups: Arc<cgroup::Layout>,
    pub lane: Lane,
}

impl Inner {
    /// The group of a pod.
    pub fn cgroup(&self, config: &SandboxConfig) -> Cgroup {
        Cgroup::new(self.cgroups.clone(), &self.options.cgroup_parent).child(&config.cgroup)
    }
}

impl Runtime {
    /// Looks at the machine's control groups and creates the directories.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let lane = Lane::new(LANE_WIDTH);
        let (run_dir, state_dir) = (layout::sandboxes(&options.run_dir), options.state_dir.clone());
        let cgroups = lane.run(move || {
            create_directory(&run_dir)?;
            create_directory(&state_dir)?;
            Ok::<_, Error>(cgroup::Layout::detect(&mount::Kernel)?)
        });
        let cgroups = Arc::new(cgroups.await?);
        Ok(Self { inner: Arc::new(Inner { options, cgroups, lane }) })
    }

    /// Starts a shim for a pod. What a failed attempt leaves is removed.
    pub async fn create_sandbox(&self, config: SandboxConfig) -> Result<Sandbox, Error> {
        check_name(&config.id)?;
        let layout = self.layout(&config.id);
        let (prepared, shim_config) = (layout.clone(), self.shim_config(&config, &layout));
        self.inner.lane.run(move || prepare(&prepared, &shim_config)).await?;
        let sandbox = Sandbox::new(self.inner.clone(), layout.clone(), config);
        if let Err(error) = self.start_shim(&layout).await {
            // The failure to start is what matters; what is left is removed by the next recovery.
            let _ = sandbox.stop().await;
            return Err(error);
        }
        Ok(sandbox)
    }

    /// All sandboxes that are known: those whose shims live, and those whose shims are gone (after
    /// a reboot, say), of which [`Sandbox::statuses`] still tells how containers ended, until
    /// [`Sandbox::stop`]. What is left of sandboxes that were never finished is removed.
    pub async fn recover(&self) -> Result<Vec<Sandbox>, Error> {
        let options = self.inner.options.clone();
        let known = self.inner.lane.run(move || known_sandboxes(&options)).await?;
        let mut sandboxes = Vec::new();
        for id in known {
            let layout = self.layout(&id);
            let loading = layout.clone();
            match self.inner.lane.run(move || layout::load(&loading.sandbox_record())).await {
                Ok(config) => sandboxes.push(Sandbox::new(self.inner.clone(), layout, config)),
                Err(_) => self.inner.lane.run(move || cleanup::unfinished(&layout)).await?,
            }
        }
        Ok(sandboxes)
    }

    fn layout(&self, id: &str) -> Layout {
        Layout::new(&self.inner.options.run_dir, &self.inner.options.state_dir, id)
    }

    fn shim_config(&self, config: &SandboxConfig, layout: &Layout) -> ShimConfig {
        ShimConfig {
            sandbox: config.clone(),
            state: layout.state.clone(),
            cgroup_parent: self.inner.options.cgroup_parent.clone(),
        }
    }

    async fn start_shim(&self, layout: &Layout) -> Result<(), Error> {
        let mut command = tokio::process::Command::new(&self.inner.options.executable);
        // Nothing of the agent's environment is the shim's business: it may hold secrets.
        command.arg(shim::SUBCOMMAND).arg(&layout.run).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let start = |source| Error::StartShim { program: self.inner.options.executable.clone(), source };
        let output = tokio::time::timeout(START_TIME, command.output()).await;
        let output = output.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(start)?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Shim(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// Removes every sandbox, running or not, and all cgroups: for the end of an installation. Goes on
/// after failures and returns the first.
pub async fn purge(run_dir: &Path, state_dir: &Path, cgroup_parent: &str) -> Result<(), Error> {
    let options = Options {
        run_dir: run_dir.to_owned(),
        state_dir: state_dir.to_owned(),
        cgroup_parent: cgroup_parent.to_owned(),
        executable: PathBuf::new(),
    };
    let runtime = Runtime::open(options).await?;
    let mut result = Ok(());
    for sandbox in runtime.recover().await? {
        result = result.and(sandbox.stop().await);
    }
    let (parent, run_dir, state_dir) =
        (Cgroup::new(runtime.inner.cgroups.clone(), cgroup_parent), layout::sandboxes(run_dir), state_dir.to_owned());
    result.and(runtime.inner.lane.run(move || cleanup::everything(&parent, &run_dir, &state_dir)).await)
}

fn prepare(layout: &Layout, config: &ShimConfig) -> Result<(), Error> {
    let file = |path: PathBuf| move |source| Error::File { action: "write", path, source };
    if layout.sandbox_record().exists() {
        return Err(Error::WrongState(format!("sandbox {} is there already", config.sandbox.id)));
    }
    layout.create().map_err(file(layout.run.clone()))?;
    layout::save(&layout.shim_config(), config).map_err(file(layout.shim_config()))?;
    layout::save(&layout.sandbox_record(), &config.sandbox).map_err(file(layout.sandbox_record()))
}

/// IDs name directories and cgroups, so they must not lead anywhere else.
fn check_name(id: &str) -> Result<(), Error> {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    let safe = !id.is_empty() && id.len() <= 128 && id.chars().all(plain) && !id.starts_with('.');
    if safe { Ok(()) } else { Err(Error::WrongState(format!("{id:?} is not a sandbox ID"))) }
}

fn create_directory(path: &Path) -> Result<(), Error> {
    crate::base::file::create_directory(path, 0o700).map_err(Error::Directory)
}

fn known_sandboxes(options: &Options) -> Result<Vec<String>, Error> {
    let mut known = std::collections::BTreeSet::new();
    for directory in [&layout::sandboxes(&options.run_dir), &options.state_dir] {
        let list = |source| Error::File { action: "list", path: directory.clone(), source };
        for entry in fs::read_dir(directory).map_err(list)? {
            known.extend(entry.map_err(list)?.file_name().into_string());
        }
    }
    Ok(known.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sandbox_ids_cannot_lead_elsewhere() {
        assert!(check_name("0e6d4c1c-8d5d-4d59-a3a5-3ad3bbb2d5a2-1").is_ok());
        for id in ["", ".", "..", "a/b", "a\0", &"x".repeat(200)] {
            assert!(check_name(id).is_err(), "{id:?}");
        }
    }
}
