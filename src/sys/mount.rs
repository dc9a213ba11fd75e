//! Mounts: what is asked of the kernel is a value ([`Operation`]), so that everything that mounts
//! can be tested without root against a fake that records the values ([`Recorder`]).
#![expect(unsafe_code, reason = "the mount calls of Linux 5.2 and later have no safe wrapper in nix")]

use std::{
    ffi::{CStr, CString, OsString},
    fs, io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags},
};
use parking_lot::Mutex;

const MOUNT_INFO: &str = "/proc/self/mountinfo";

/// A mount operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused an operation.
    #[error("{action} {}", target.display())]
    Refused {
        /// What was tried: "bind", "mount tmpfs on", …
        action: &'static str,
        /// Where it was tried.
        target: PathBuf,
        /// Why it was refused.
        #[source]
        source: Errno,
    },
    /// The table of mounts could not be read.
    #[error("read {MOUNT_INFO}")]
    List(#[source] io::Error),
}

/// How mounts and unmounts under a mount point spread to its peers (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Neither sent nor received.
    Private,
    /// Received from the master only.
    Slave,
    /// Sent and received.
    Shared,
}

/// One thing to do to the table of mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Makes `source` visible at `target`, which must exist and be of the same type.
    Bind {
        /// A file or directory.
        source: PathBuf,
        /// Where it appears.
        target: PathBuf,
        /// With all mounts below it.
        recursive: bool,
    },
    /// Makes a mount read-only, or, recursively, also all mounts below it.
    ReadOnly {
        /// A mount point.
        target: PathBuf,
        /// With all mounts below it.
        recursive: bool,
    },
    /// A file system in memory.
    Tmpfs {
        /// An existing directory.
        target: PathBuf,
        /// Most bytes it holds; `None` for the kernel's default (half of the memory).
        size_bytes: Option<u64>,
        /// Mode of its root directory.
        mode: u32,
    },
    /// Layers on top of each other.
    Overlay {
        /// An existing directory.
        target: PathBuf,
        /// Read-only layers, the topmost first; never empty.
        lower: Vec<PathBuf>,
        /// Layer that takes the changes and an empty directory beside it; without it the mount is read-only.
        upper: Option<(PathBuf, PathBuf)>,
    },
    /// Changes how mounts spread.
    Propagate {
        /// A mount point.
        target: PathBuf,
        /// The new way.
        propagation: Propagation,
        /// With all mounts below it.
        recursive: bool,
    },
    /// Takes the topmost mount at `target` away.
    Unmount {
        /// A mount point.
        target: PathBuf,
        /// Also while it is in use: it disappears now and ends with its last user.
        lazy: bool,
    },
}

/// A line of the table of mounts (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// Where it is mounted.
    pub path: PathBuf,
    /// Type of its file system, such as `overlay`.
    pub file_system: String,
    /// Path within that file system that is its root: `/` unless it is a bind mount.
    pub root: PathBuf,
}

/// Something that mounts: the kernel, or a fake.
pub trait Mounts: Send + Sync {
    /// Carries one operation out.
    fn apply(&self, operation: &Operation) -> Result<(), Error>;

    /// All mounts of this mount namespace, in the order they were made.
    fn list(&self) -> Result<Vec<MountPoint>, Error>;
}

/// Mounts at and below `directory`, in the order they were made.
pub fn list_under(mounts: &dyn Mounts, directory: &Path) -> Result<Vec<MountPoint>, Error> {
    Ok(mounts.list()?.into_iter().filter(|mount| mount.path.starts_with(directory)).collect())
}

/// Takes away every mount at and below `directory`, the newest first. Goes on after a failure and
/// returns all of them; what is gone already is no failure.
pub fn unmount_tree(mounts: &dyn Mounts, directory: &Path) -> Vec<Error> {
    let found = match list_under(mounts, directory) {
        Ok(found) => found,
        Err(error) => return vec![error],
    };
    let unmount = |mount: MountPoint| mounts.apply(&Operation::Unmount { target: mount.path, lazy: true }).err();
    let gone = |error: &Error| matches!(error, Error::Refused { source: Errno::EINVAL | Errno::ENOENT, .. });
    found.into_iter().rev().filter_map(unmount).filter(|error| !gone(error)).collect()
}

/// The kernel of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl Mounts for Kernel {
    fn apply(&self, operation: &Operation) -> Result<(), Error> {
        let (action, target, result) = match operation {
            Operation::Bind { source, target, recursive } => ("bind", target, bind(source, target, *recursive)),
            Operation::ReadOnly { target, recursive } => ("make read-only", target, set_read_only(target, *recursive)),
            Operation::Tmpfs { target, size_bytes, mode } => {
                ("mount tmpfs on", target, mount_tmpfs(target, *size_bytes, *mode))
            }
            Operation::Overlay { target, lower, upper } => {
                ("mount overlay on", target, mount_overlay(target, lower, upper.as_ref()))
            }
            Operation::Propagate { target, propagation, recursive } => {
                ("change propagation of", target, propagate(target, *propagation, *recursive))
            }
            Operation::Unmount { target, lazy } => ("unmount", target, unmount(target, *lazy)),
        };
        result.map_err(|source| Error::Refused { action, target: target.clone(), source })
    }

    fn list(&self) -> Result<Vec<MountPoint>, Error> {
        let table = fs::read(MOUNT_INFO).map_err(Error::List)?;
        Ok(parse_mount_info(&table))
    }
}

/// A fake that records what it is asked, and keeps a table of the mounts that would result.
#[derive(Debug, Default)]
pub struct Recorder {
    operations: Mutex<Vec<Operation>>,
    table: Mutex<Vec<MountPoint>>,
}

impl Recorder {
    /// What was asked so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.operations.lock().clone()
    }

    fn add(&self, path: &Path, file_system: &str) {
        let mount = MountPoint { path: path.into(), file_system: file_system.into(), root: "/".into() };
        self.table.lock().push(mount);
    }

    fn remove(&self, path: &Path) -> Result<(), Error> {
        let mut table = self.table.lock();
        let refused = || Error::Refused { action: "unmount", target: path.into(), source: Errno::EINVAL };
        let position = table.iter().rposition(|mount| mount.path == path).ok_or_else(refused)?;
        table.remove(position);
        Ok(())
    }
}

impl Mounts for Recorder {
    fn apply(&self, operation: &Operation) -> Result<(), Error> {
        self.operations.lock().push(operation.clone());
        match operation {
            Operation::Bind { target, .. } => self.add(target, "bind"),
            Operation::Tmpfs { target, .. } => self.add(target, "tmpfs"),
            Operation::Overlay { target, .. } => self.add(target, "overlay"),
            Operation::Unmount { target, .. } => self.remove(target)?,
            Operation::ReadOnly { .. } | Operation::Propagate { .. } => {}
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<MountPoint>, Error> {
        Ok(self.table.lock().clone())
    }
}

fn bind(source: &Path, target: &Path, recursive: bool) -> Result<(), Errno> {
    mount(Some(source), target, None, MsFlags::MS_BIND | recursion(recursive), None)
}

fn mount_tmpfs(target: &Path, size_bytes: Option<u64>, mode: u32) -> Result<(), Errno> {
    let size = size_bytes.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    let data = format!("mode={mode:o}{size}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some(Path::new("tmpfs")), target, Some("tmpfs"), flags, Some(data.as_bytes()))
}

fn propagate(target: &Path, propagation: Propagation, recursive: bool) -> Result<(), Errno> {
    let flag = match propagation {
        Propagation::Private => MsFlags::MS_PRIVATE,
        Propagation::Slave => MsFlags::MS_SLAVE,
        Propagation::Shared => MsFlags::MS_SHARED,
    };
    mount(None, target, None, flag | recursion(recursive), None)
}

fn unmount(target: &Path, lazy: bool) -> Result<(), Errno> {
    let flags = if lazy { MntFlags::MNT_DETACH } else { MntFlags::empty() };
    nix::mount::umount2(target, flags | MntFlags::UMOUNT_NOFOLLOW)
}

fn recursion(recursive: bool) -> MsFlags {
    if recursive { MsFlags::MS_REC } else { MsFlags::empty() }
}

fn mount(
    source: Option<&Path>,
    target: &Path,
    file_system: Option<&str>,
    flags: MsFlags,
    data: Option<&[u8]>,
) -> Result<(), Errno> {
    nix::mount::mount(source, target, file_system, flags, data)
}

/// The kernel's `struct mount_attr` (mount_setattr(2)).
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

fn set_read_only(target: &Path, recursive: bool) -> Result<(), Errno> {
    let path = c_string(target)?;
    let attributes = MountAttributes { set: libc::MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, user_namespace: 0 };
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: both pointers are valid for the call, and the size is that of the structure.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    match Errno::result(result) {
        Err(Errno::ENOSYS) => remount_read_only(target, recursive),
        other => other.map(drop),
    }
}

/// Before Linux 5.12 each mount is made read-only by itself, and must repeat the flags it has.
fn remount_read_only(target: &Path, recursive: bool) -> Result<(), Errno> {
    let table = fs::read(MOUNT_INFO).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let below = |path: &Path| path == target || recursive && path.starts_with(target);
    for mount_point in parse_mount_info(&table).into_iter().filter(|found| below(&found.path)) {
        let kept = nix::sys::statvfs::statvfs(&mount_point.path)?.flags().bits();
        let flags = MsFlags::from_bits_truncate(kept) | MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None, &mount_point.path, None, flags, None)?;
    }
    Ok(())
}

fn mount_overlay(target: &Path, lower: &[PathBuf], upper: Option<&(PathBuf, PathBuf)>) -> Result<(), Errno> {
    match mount_overlay_by_layers(target, lower, upper) {
        Err(Errno::ENOSYS | Errno::EINVAL) => mount_overlay_by_string(target, lower, upper),
        result => result,
    }
}

/// One option per layer, since Linux 6.5: neither their number nor colons in their names matter.
fn mount_overlay_by_layers(target: &Path, lower: &[PathBuf], upper: Option<&(PathBuf, PathBuf)>) -> Result<(), Errno> {
    let context = open_file_system(c"overlay")?;
    for layer in lower {
        configure(&context, c"lowerdir+", layer)?;
    }
    if let Some((upper, work)) = upper {
        configure(&context, c"upperdir", upper)?;
        configure(&context, c"workdir", work)?;
    }
    create_and_move(&context, target)
}

fn mount_overlay_by_string(target: &Path, lower: &[PathBuf], upper: Option<&(PathBuf, PathBuf)>) -> Result<(), Errno> {
    let mut data = b"lowerdir=".to_vec();
    data.extend(lower.iter().map(|layer| escape_layer(layer)).collect::<Vec<_>>().join(&b':'));
    if let Some((upper, work)) = upper {
        data.extend_from_slice(b",upperdir=");
        data.extend(escape_layer(upper));
        data.extend_from_slice(b",workdir=");
        data.extend(escape_layer(work));
    }
    mount(Some(Path::new("overlay")), target, Some("overlay"), MsFlags::empty(), Some(&data))
}

fn escape_layer(layer: &Path) -> Vec<u8> {
    let special = |byte: &u8| matches!(byte, b':' | b',' | b'\\');
    let bytes = layer.as_os_str().as_bytes();
    bytes.iter().flat_map(|byte| special(byte).then_some(b'\\').into_iter().chain([*byte])).collect()
}

const CONFIGURE_STRING: libc::c_uint = 1;
const CONFIGURE_CREATE: libc::c_uint = 6;

fn open_file_system(name: &CStr) -> Result<OwnedFd, Errno> {
    // SAFETY: the name is a valid C string; the flag is FSOPEN_CLOEXEC.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), 1) })
}

fn configure(context: &OwnedFd, key: &CStr, value: &Path) -> Result<(), Errno> {
    let value = c_string(value)?;
    let fd = context.as_raw_fd();
    // SAFETY: key and value are valid C strings for the call.
    let result = unsafe { libc::syscall(libc::SYS_fsconfig, fd, CONFIGURE_STRING, key.as_ptr(), value.as_ptr(), 0) };
    Errno::result(result).map(drop)
}

fn create_and_move(context: &OwnedFd, target: &Path) -> Result<(), Errno> {
    let target = c_string(target)?;
    let null = std::ptr::null::<libc::c_char>();
    // SAFETY: the creating command takes null pointers.
    Errno::result(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), CONFIGURE_CREATE, null, null, 0) })?;
    // SAFETY: plain integers; the flag is FSMOUNT_CLOEXEC.
    let mount = owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), 1, 0) })?;
    let from_empty_path: libc::c_uint = 4;
    // SAFETY: both paths are valid C strings for the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            from_empty_path,
        )
    };
    Errno::result(result).map(drop)
}

fn owned(result: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = Errno::result(result)?;
    let fd = libc::c_int::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just returned this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn c_string(path: &Path) -> Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}

fn parse_mount_info(table: &[u8]) -> Vec<MountPoint> {
    table.split(|byte| *byte == b'\n').filter_map(parse_mount_info_line).collect()
}

fn parse_mount_info_line(line: &[u8]) -> Option<MountPoint> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = unescape(fields.nth(3)?);
    let path = unescape(fields.next()?);
    let mut after_separator = fields.skip_while(|field| *field != b"-").skip(1);
    let file_system = String::from_utf8_lossy(after_separator.next()?).into_owned();
    Some(MountPoint { path, file_system, root })
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match digits {
            Some(digits) if *byte == b'\\' => {
                bytes.push(digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_table_of_mounts() {
        let table = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            36 22 0:31 /a /mnt/with\\040space rw - overlay overlay rw,lowerdir=/x\n\nbroken line\n";
        let found = parse_mount_info(table);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].path, Path::new("/mnt/with space"));
        assert_eq!((found[1].file_system.as_str(), found[1].root.as_path()), ("overlay", Path::new("/a")));
    }

    #[test]
    fn unmounts_a_tree_newest_first_and_leaves_neighbours() {
        let recorder = Recorder::default();
        for target in ["/run/a", "/run/a/b", "/run/ab"] {
            let bind = Operation::Bind { source: "/x".into(), target: target.into(), recursive: false };
            recorder.apply(&bind).unwrap();
        }
        assert!(unmount_tree(&recorder, Path::new("/run/a")).is_empty());
        let left: Vec<_> = recorder.list().unwrap().into_iter().map(|mount| mount.path).collect();
        assert_eq!(left, [Path::new("/run/ab")]);
        let last = recorder.operations().pop().unwrap();
        assert_eq!(last, Operation::Unmount { target: "/run/a".into(), lazy: true });
    }

    #[test]
    fn escapes_what_separates_layers() {
        assert_eq!(escape_layer(Path::new("/a:b,c\\d")), b"/a\\:b\\,c\\\\d");
    }
}
