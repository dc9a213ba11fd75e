//! Named network namespaces: files in a directory such as /run/netns, onto which a namespace is
//! bind-mounted. Entering one happens on a thread that ends afterwards, never on one that others use.

use std::{fs, path::Path};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

use super::Error;

/// Creates a namespace and binds it to `path`; nothing happens if one is already bound there.
/// Blocks for the time the kernel needs, some milliseconds.
pub fn create_namespace(path: &Path) -> Result<(), Error> {
    let error = |source| Error::Namespace { action: "create", path: path.display().to_string(), source };
    if is_namespace(path) {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(|source| error(errno(&source)))?;
    }
    fs::File::create(path).map_err(|source| error(errno(&source)))?;
    let bound = std::thread::scope(|scope| scope.spawn(|| bind_new_namespace(path)).join());
    bound.unwrap_or(Err(Errno::EAGAIN)).map_err(|source| {
        // An empty file would be taken for a namespace by nobody, but would be left behind.
        let _ = fs::remove_file(path);
        error(source)
    })
}

/// Unbinds a namespace and removes its file; nothing happens if there is none. Processes in it
/// keep it alive until they end.
pub fn remove_namespace(path: &Path) -> Result<(), Error> {
    let error = |source| Error::Namespace { action: "remove", path: path.display().to_string(), source };
    match umount2(path, MntFlags::MNT_DETACH) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
        Err(source) => return Err(error(source)),
    }
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(error(errno(&source))),
        _ => Ok(()),
    }
}

/// Runs `work` on a thread of its own inside the namespace of the file `path`.
pub async fn in_namespace<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let shown = path.display().to_string();
    let error = move |source| Error::Namespace { action: "enter", path: shown, source };
    let file = fs::File::open(path).map_err(|source| errno(&source));
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("netns".to_owned())
        .spawn(move || {
            let result = file.and_then(|file| setns(file, CloneFlags::CLONE_NEWNET)).map(|()| work());
            // Nobody waits any more when the caller was cancelled.
            let _ = sender.send(result);
        })
        .map_err(|source| Error::Namespace {
            action: "enter",
            path: path.display().to_string(),
            source: errno(&source),
        })?;
    receiver.await.unwrap_or(Err(Errno::EAGAIN)).map_err(error)
}

fn bind_new_namespace(path: &Path) -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
}

fn is_namespace(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::FsType(NSFS_MAGIC))
}

/// `NSFS_MAGIC` of linux/magic.h.
const NSFS_MAGIC: libc::__fsword_t = 0x6e73_6673;

fn errno(source: &std::io::Error) -> Errno {
    Errno::from_raw(source.raw_os_error().unwrap_or(libc::EIO))
}
