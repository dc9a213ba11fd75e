//! Network namespaces that live at a path: a bind mount keeps them when no process is in them, as
//! `ip netns` does it. And work inside a namespace, always on a thread of its own, because a
//! namespace belongs to a thread, and tokio's threads must stay where they are.

use std::{fs, io, os::fd::AsFd, path::Path, path::PathBuf, thread};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags},
    sched::CloneFlags,
};

/// An operation on a namespace that failed.
#[derive(Debug, thiserror::Error)]
#[error("{action} network namespace {}", path.display())]
pub struct Error {
    /// What was tried: "create", "enter", "remove".
    pub action: &'static str,
    /// Where the namespace is.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// Creates a network namespace at `path`, whose parent directory is created too. One that is there
/// already is kept. Its loopback device is down.
pub fn create_network(path: &Path) -> Result<(), Error> {
    let error = |source| Error { action: "create", path: path.to_owned(), source };
    if is_network(path) {
        return Ok(());
    }
    prepare_mount_point(path).map_err(error)?;
    on_own_thread(|| pin_new_network(path)).map_err(|source| {
        // The empty file would look like a namespace that cannot be entered.
        let _ = fs::remove_file(path);
        error(source)
    })
}

/// Removes the namespace at `path`; its devices go with it once no process is left inside.
/// One that is gone already is no error.
pub fn remove_network(path: &Path) -> Result<(), Error> {
    let error = |source: io::Error| Error { action: "remove", path: path.to_owned(), source };
    match nix::mount::umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
        Err(source) => return Err(error(source.into())),
    }
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(error(source)),
        _ => Ok(()),
    }
}

/// Whether there is a namespace at `path`.
pub fn is_network(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::NSFS_MAGIC)
}

/// Runs `work` inside the network namespace at `path`, on a thread of its own, and waits for it.
/// Sockets opened there stay in that namespace wherever they are used afterwards.
pub fn within_network<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let error = |source| Error { action: "enter", path: path.to_owned(), source };
    let namespace = fs::File::open(path).map_err(error)?;
    on_own_thread(move || {
        nix::sched::setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        Ok(work())
    })
    .map_err(error)
}

fn prepare_mount_point(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).map(drop)
}

fn pin_new_network(path: &Path) -> io::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNET)?;
    let own = Path::new("/proc/thread-self/ns/net");
    nix::mount::mount(Some(own), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(())
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| match thread::Builder::new().name("namespace".into()).spawn_scoped(scope, work)?.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

#[cfg(test)]
#[expect(clippy::print_stderr, reason = "tests say aloud what they skip")]
mod tests {
    use super::*;

    fn links() -> usize {
        fs::read_to_string("/proc/thread-self/net/dev").unwrap().lines().count()
    }

    #[test]
    fn creates_enters_and_removes_a_network_namespace() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: creating a network namespace needs root");
            return;
        }
        let path = PathBuf::from(format!("/run/netns/nauplius-test-ns-{}", std::process::id()));
        create_network(&path).unwrap();
        create_network(&path).unwrap();
        let inode =
            || fs::metadata("/proc/thread-self/ns/net").map(|found| std::os::unix::fs::MetadataExt::ino(&found));
        let (outside, inside) = (inode().unwrap(), within_network(&path, || (inode().unwrap(), links())).unwrap());
        let pinned = is_network(&path);
        remove_network(&path).unwrap();
        remove_network(&path).unwrap();
        assert!(pinned && !path.exists());
        assert_ne!(outside, inside.0);
        assert!(inside.1 >= 3, "two header lines and the loopback device");
        assert_eq!(outside, inode().unwrap());
    }

    #[test]
    fn entering_what_is_no_namespace_fails_with_its_path() {
        let error = within_network(Path::new("/nowhere/ns"), || ()).unwrap_err();
        assert_eq!(error.to_string(), "enter network namespace /nowhere/ns");
    }
}
