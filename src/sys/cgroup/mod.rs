//! Control groups, version 1, version 2, and both at once: one [`Cgroup`] is the same path in
//! every hierarchy that the machine has. Missing controllers are tolerated, because small boards
//! often boot without the memory controller: a limit that cannot be set is then not set.

mod legacy;
mod limits;
mod unified;
mod usage;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

pub use limits::{Limits, shares_to_weight};
pub use usage::Usage;

use crate::sys::mount::{self, MountPoint, Mounts};

/// Where hierarchies are mounted.
const ROOT: &str = "/sys/fs/cgroup";
const PROCESSES: &str = "cgroup.procs";
/// How often a group that is still busy with dying processes is tried again, and after which pause.
const REMOVE_TRIES: u32 = 100;
const REMOVE_PAUSE: Duration = Duration::from_millis(5);

/// An operation on a cgroup that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory of the cgroup file system.
    #[error("{action} {}", path.display())]
    File {
        /// What was tried: "create", "write", "remove", …
        action: &'static str,
        /// The path it was tried on.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// No hierarchy is mounted.
    #[error("find a cgroup hierarchy under {ROOT}")]
    NoHierarchy,
    /// The table of mounts could not be read.
    #[error(transparent)]
    Mounts(#[from] mount::Error),
    /// The program that guards device files could not be installed.
    #[error("restrict devices of {}", path.display())]
    Devices {
        /// The cgroup's directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Error {
    fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { action, path: path.to_owned(), source }
    }
}

/// Which hierarchies this machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    hierarchies: Vec<Hierarchy>,
    version: Version,
}

/// Where controllers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Controllers are in hierarchies of their own; a v2 hierarchy without controllers may be there too.
    Legacy,
    /// One hierarchy has all controllers.
    Unified,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    root: PathBuf,
    /// Controllers of a v1 hierarchy; `name=…` hierarchies and v2 have none here.
    controllers: Vec<String>,
}

impl Layout {
    /// Looks at what is mounted.
    pub fn detect(mounts: &dyn Mounts) -> Result<Self, Error> {
        Self::from_mounts(&mount::list_under(mounts, Path::new(ROOT))?).ok_or(Error::NoHierarchy)
    }

    /// A layout of one v2 hierarchy at `root`.
    pub fn unified(root: &Path) -> Self {
        let hierarchy = Hierarchy { root: root.to_owned(), controllers: Vec::new() };
        Self { hierarchies: vec![hierarchy], version: Version::Unified }
    }

    /// Where controllers are.
    pub fn version(&self) -> Version {
        self.version
    }

    fn from_mounts(mounts: &[MountPoint]) -> Option<Self> {
        let root = Path::new(ROOT);
        if let Some(unified) = mounts.iter().find(|mount| mount.path == root && mount.file_system == "cgroup2") {
            return Some(Self::unified(&unified.path));
        }
        let found = mounts.iter().filter(|mount| mount.path.parent() == Some(root));
        let hierarchies: Vec<_> = found.filter_map(hierarchy_of).collect();
        (!hierarchies.is_empty()).then_some(Self { hierarchies, version: Version::Legacy })
    }

    fn with_controller(&self, controller: &str) -> Option<&Hierarchy> {
        match self.version {
            Version::Unified => self.hierarchies.first(),
            Version::Legacy => {
                self.hierarchies.iter().find(|found| found.controllers.iter().any(|name| name == controller))
            }
        }
    }
}

fn hierarchy_of(mount: &MountPoint) -> Option<Hierarchy> {
    let name = mount.path.file_name()?.to_str()?;
    let controllers = match mount.file_system.as_str() {
        "cgroup" => name.split(',').map(str::to_owned).collect(),
        "cgroup2" => Vec::new(),
        _ => return None,
    };
    Some(Hierarchy { root: mount.path.clone(), controllers })
}

/// One group: the same path in every hierarchy.
#[derive(Debug, Clone)]
pub struct Cgroup {
    layout: Arc<Layout>,
    path: PathBuf,
}

impl Cgroup {
    /// The group at `path` below each hierarchy's root. Creates nothing.
    pub fn new(layout: Arc<Layout>, path: &str) -> Self {
        Self { layout, path: PathBuf::from(path.trim_start_matches('/')) }
    }

    /// A group inside this one.
    pub fn child(&self, name: &str) -> Self {
        Self { layout: self.layout.clone(), path: self.path.join(name.trim_start_matches('/')) }
    }

    /// The path that processes see in /proc/PID/cgroup, with its leading slash.
    pub fn path(&self) -> PathBuf {
        Path::new("/").join(&self.path)
    }

    /// Whether it is there in any hierarchy.
    pub fn exists(&self) -> bool {
        self.directories().any(|directory| directory.exists())
    }

    /// Creates it in every hierarchy, with its parents, and makes all controllers available in it.
    /// A hierarchy that refuses is an error only if it has controllers.
    pub fn create(&self) -> Result<(), Error> {
        for hierarchy in &self.layout.hierarchies {
            let created = match self.layout.version {
                Version::Unified => unified::create(&hierarchy.root, &self.path),
                Version::Legacy => legacy::create(hierarchy, &self.path),
            };
            let optional = self.layout.version == Version::Legacy && hierarchy.controllers.is_empty();
            created.or_else(|error| if optional { Ok(()) } else { Err(error) })?;
        }
        Ok(())
    }

    /// Sets limits; those that are `None` are lifted.
    pub fn limit(&self, limits: &Limits) -> Result<(), Error> {
        match self.layout.version {
            Version::Unified => limits.apply_unified(|_| self.directories().next()),
            Version::Legacy => limits.apply_legacy(|controller| self.directory(controller)),
        }
    }

    /// Lets processes in this group use these device files only.
    pub fn allow_devices(&self, rules: &[crate::sys::device::Rule]) -> Result<(), Error> {
        let Some(directory) = self.directory("devices") else { return Ok(()) };
        match self.layout.version {
            Version::Legacy => legacy::allow_devices(&directory, rules),
            Version::Unified => crate::sys::device::attach(&directory, rules)
                .map_err(|source| Error::Devices { path: directory, source }),
        }
    }

    /// Moves a process, with all its threads, into this group in every hierarchy.
    pub fn add(&self, pid: i32) -> Result<(), Error> {
        for (hierarchy, directory) in self.layout.hierarchies.iter().zip(self.directories()) {
            let result = write(&directory.join(PROCESSES), &pid.to_string());
            let optional = self.layout.version == Version::Legacy && hierarchy.controllers.is_empty();
            result.or_else(|error| if optional { Ok(()) } else { Err(error) })?;
        }
        Ok(())
    }

    /// All processes in this group and the groups inside it.
    pub fn processes(&self) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        self.directories().for_each(|directory| collect_processes(&directory, &mut found));
        found
    }

    /// Kills every process in this group and the groups inside it. Does not wait for their end.
    pub fn kill(&self) {
        if self.layout.version == Version::Unified
            && let Some(directory) = self.directories().next()
            && write(&directory.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        for pid in self.processes() {
            // It may have ended since the group was read.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Removes this group and the groups inside it. Those that are gone are no error; those still
    /// busy with dying processes are waited for, up to half a second. Blocks.
    pub fn remove(&self) -> Result<(), Error> {
        let mut failure = Ok(());
        for directory in self.directories() {
            if let Err(error) = remove_tree(&directory) {
                failure = Err(error);
            }
        }
        failure
    }

    /// Memory, processor time and processes in use.
    pub fn usage(&self) -> Usage {
        match self.layout.version {
            Version::Unified => Usage::read_unified(self.directories().next().as_deref()),
            Version::Legacy => Usage::read_legacy(|controller| self.directory(controller)),
        }
    }

    /// How many processes of this group the kernel has killed for lack of memory.
    pub fn oom_kills(&self) -> u64 {
        let Some(directory) = self.directory("memory") else { return 0 };
        let file = match self.layout.version {
            Version::Unified => "memory.events",
            Version::Legacy => "memory.oom_control",
        };
        usage::read_keyed(&directory.join(file), "oom_kill").unwrap_or(0)
    }

    fn directory(&self, controller: &str) -> Option<PathBuf> {
        self.layout.with_controller(controller).map(|hierarchy| hierarchy.root.join(&self.path))
    }

    fn directories(&self) -> impl Iterator<Item = PathBuf> {
        self.layout.hierarchies.iter().map(|hierarchy| hierarchy.root.join(&self.path))
    }
}

fn collect_processes(directory: &Path, found: &mut BTreeSet<i32>) {
    let processes = fs::read_to_string(directory.join(PROCESSES)).unwrap_or_default();
    found.extend(processes.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    for child in children(directory) {
        collect_processes(&child, found);
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn remove_tree(directory: &Path) -> Result<(), Error> {
    for child in children(directory) {
        remove_tree(&child)?;
    }
    let mut tries = 0;
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) && tries < REMOVE_TRIES => {
                tries += 1;
                thread::sleep(REMOVE_PAUSE);
            }
            Err(error) => return Err(Error::file("remove", directory, error)),
        }
    }
}

/// Writes a control file in one call, as the kernel wants it.
fn write(path: &Path, value: &str) -> Result<(), Error> {
    use io::Write;
    let mut file = fs::OpenOptions::new().write(true).open(path).map_err(|error| Error::file("open", path, error))?;
    file.write_all(value.as_bytes()).map_err(|error| Error::file("write", path, error))
}

/// Like [`write`], but a control file that this kernel does not have is no error.
fn write_if_there(path: &Path, value: &str) -> Result<(), Error> {
    match write(path, value) {
        Err(Error::File { action: "open", source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
#[expect(clippy::print_stderr, reason = "tests say aloud what they skip")]
mod tests {
    use super::*;

    fn mounted(path: &str, file_system: &str) -> MountPoint {
        MountPoint { path: path.into(), file_system: file_system.into(), root: "/".into() }
    }

    #[test]
    fn tells_the_versions_apart() {
        let unified = Layout::from_mounts(&[mounted("/sys/fs/cgroup", "cgroup2")]).unwrap();
        assert_eq!(unified.version(), Version::Unified);
        let hybrid = Layout::from_mounts(&[
            mounted("/sys/fs/cgroup", "tmpfs"),
            mounted("/sys/fs/cgroup/cpu,cpuacct", "cgroup"),
            mounted("/sys/fs/cgroup/unified", "cgroup2"),
            mounted("/sys/fs/cgroup/a/b", "cgroup"),
        ])
        .unwrap();
        assert_eq!((hybrid.version(), hybrid.hierarchies.len()), (Version::Legacy, 2));
        assert_eq!(hybrid.with_controller("cpuacct").unwrap().root, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert!(hybrid.with_controller("memory").is_none());
        assert_eq!(Layout::from_mounts(&[mounted("/sys/fs/cgroup", "tmpfs")]), None);
    }

    #[test]
    fn sums_up_processes_of_groups_inside() {
        let directory = tempfile::tempdir().unwrap();
        let group = Cgroup::new(Arc::new(Layout::unified(directory.path())), "/pods");
        fs::create_dir_all(directory.path().join("pods/a")).unwrap();
        fs::write(directory.path().join("pods/cgroup.procs"), "3\n0\n").unwrap();
        fs::write(directory.path().join("pods/a/cgroup.procs"), "7\n3\n").unwrap();
        assert_eq!(group.processes().into_iter().collect::<Vec<_>>(), [3, 7]);
    }

    #[test]
    fn a_real_group_limits_and_goes_away() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: creating a cgroup needs root");
            return;
        }
        let layout = Arc::new(Layout::detect(&mount::Kernel).unwrap());
        let parent = Cgroup::new(layout, &format!("nauplius-test-cgroup-{}", std::process::id()));
        let group = parent.child("a/b");
        let mut sleeper = std::process::Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(sleeper.id()).unwrap();
        let limits = Limits { memory_bytes: Some(64 << 20), pids: Some(10), ..Limits::default() };
        let tried = (|| {
            group.create()?;
            group.limit(&limits)?;
            group.add(pid)?;
            Ok::<_, Error>((parent.processes(), group.usage()))
        })();
        group.kill();
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        parent.remove().unwrap();
        let (processes, usage) = tried.unwrap();
        assert_eq!(processes.into_iter().collect::<Vec<_>>(), [pid]);
        assert_eq!(usage.pids, Some(1));
        assert_eq!(group.oom_kills(), 0);
        assert!(!parent.exists());
    }
}
