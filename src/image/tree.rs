//! Writes files below a root directory that belongs to an image, whose author is not trusted:
//! every path is resolved inside the root (`openat2` with `RESOLVE_IN_ROOT`), and the last
//! component is never followed, so that no symbolic link of a layer leads out of it.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
    linkat, mkdirat, mknodat, openat, openat2, statat, symlinkat, unlinkat, utimensat,
};

use super::tar::Kind;

/// Mode of directories that a layer forgot to list.
const MISSING_DIRECTORY_MODE: u32 = 0o755;
/// Marks a directory that hides everything below it (kernel documentation, "Overlay Filesystem").
const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// Owner, permissions, times and attributes of a file.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds and nanoseconds.
    pub modified: (i64, u32),
    /// Extended attributes.
    pub xattrs: Vec<(OsString, Vec<u8>)>,
}

/// A directory tree that is being written.
pub struct Tree {
    root: OwnedFd,
    parent: Option<(PathBuf, OwnedFd)>,
}

impl Tree {
    /// Writes below `root`, which exists.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: openat(rustix::fs::CWD, root, flags, Mode::empty())?, parent: None })
    }

    /// Creates a regular file in the place of whatever is at `path`.
    pub fn create_file(&mut self, path: &Path) -> io::Result<File> {
        let name = self.make_room(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(self.parent_fd(), name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Creates a directory, or keeps the one that is there. One that takes the place of a whiteout
    /// hides what lower layers have below it.
    pub fn create_directory(&mut self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let Some(name) = self.enter_parent(path)? else {
            return self.set_attributes(Path::new(""), OsStr::new("."), attributes);
        };
        let opaque = match self.kind_at(&name)? {
            Some(FileType::Directory) => false,
            existing => {
                let whiteout = existing == Some(FileType::CharacterDevice) && self.is_whiteout(&name)?;
                self.remove(&name, existing)?;
                mkdirat(self.parent_fd(), &name, Mode::from_raw_mode(MISSING_DIRECTORY_MODE))?;
                whiteout
            }
        };
        if opaque {
            self.set_xattr(&name, OsStr::new(OPAQUE_XATTR), b"y")?;
        }
        self.set_attributes_at(&name, FileType::Directory, attributes)
    }

    /// Creates anything but a regular file or directory.
    pub fn create_special(&mut self, path: &Path, kind: &Kind, attributes: &Attributes) -> io::Result<()> {
        let target = match kind {
            Kind::HardLink(target) => Some(self.find(target)?),
            _ => None,
        };
        let name = self.make_room(path)?;
        let parent = self.parent_fd();
        let permissions = Mode::from_raw_mode(0o600);
        let device = |kind, major, minor| mknodat(parent, &name, kind, permissions, rustix::fs::makedev(major, minor));
        let created = match kind {
            Kind::Symlink(target) => symlinkat(target, parent, &name).map(|()| FileType::Symlink),
            Kind::CharacterDevice(major, minor) => {
                device(FileType::CharacterDevice, *major, *minor).map(|()| FileType::CharacterDevice)
            }
            Kind::BlockDevice(major, minor) => {
                device(FileType::BlockDevice, *major, *minor).map(|()| FileType::BlockDevice)
            }
            Kind::Fifo => device(FileType::Fifo, 0, 0).map(|()| FileType::Fifo),
            Kind::HardLink(_) | Kind::File | Kind::Directory => Ok(FileType::Unknown),
        }?;
        match target {
            // A hard link shares its target's attributes, which are set already.
            Some((directory, target)) => Ok(linkat(directory, target, parent, &name, AtFlags::empty())?),
            None => self.set_attributes_at(&name, created, attributes),
        }
    }

    /// Hides `path` of lower layers; a file of this layer itself stays.
    pub fn create_whiteout(&mut self, path: &Path) -> io::Result<()> {
        let Some(name) = self.enter_parent(path)? else { return Ok(()) };
        if self.kind_at(&name)?.is_some() {
            return Ok(());
        }
        Ok(mknodat(self.parent_fd(), &name, FileType::CharacterDevice, Mode::empty(), 0)?)
    }

    /// Hides all that lower layers have in the directory `path`.
    pub fn set_opaque(&mut self, path: &Path) -> io::Result<()> {
        // Entering the directory as the parent of something creates it where it is missing.
        self.enter_parent(&path.join("x"))?;
        set_xattr_at(self.parent_fd(), OsStr::new("."), OsStr::new(OPAQUE_XATTR), b"y")
    }

    /// Sets the attributes of what was created last at `path`: owner first, because a change of
    /// owner clears the setuid bits and the capabilities.
    pub fn set_file_attributes(&mut self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let Some(name) = self.enter_parent(path)? else { return Ok(()) };
        self.set_attributes_at(&name, FileType::RegularFile, attributes)
    }

    /// Sets a directory's modification time, once nothing more is created in it.
    pub fn set_modified(&mut self, path: &Path, modified: (i64, u32)) -> io::Result<()> {
        match self.enter_parent(path)? {
            Some(name) => set_times(self.parent_fd(), &name, modified),
            None => set_times(&self.root, OsStr::new("."), modified),
        }
    }

    fn set_attributes(&mut self, parent: &Path, name: &OsStr, attributes: &Attributes) -> io::Result<()> {
        self.enter(parent)?;
        self.set_attributes_at(name, FileType::Directory, attributes)
    }

    fn set_attributes_at(&self, name: &OsStr, kind: FileType, attributes: &Attributes) -> io::Result<()> {
        let parent = self.parent_fd();
        let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
        chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        if kind != FileType::Symlink {
            chmodat(parent, name, Mode::from_raw_mode(attributes.mode), AtFlags::empty())?;
        }
        for (key, value) in &attributes.xattrs {
            self.set_xattr(name, key, value)?;
        }
        set_times(parent, name, attributes.modified)
    }

    fn set_xattr(&self, name: &OsStr, key: &OsStr, value: &[u8]) -> io::Result<()> {
        set_xattr_at(self.parent_fd(), name, key, value)
    }

    /// Enters the parent and removes what is at `path`, so that something new can take its place.
    fn make_room(&mut self, path: &Path) -> io::Result<OsString> {
        let name = self.enter_parent(path)?.ok_or(io::ErrorKind::IsADirectory)?;
        let existing = self.kind_at(&name)?;
        self.remove(&name, existing)?;
        Ok(name)
    }

    fn remove(&mut self, name: &OsStr, existing: Option<FileType>) -> io::Result<()> {
        match existing {
            None => Ok(()),
            Some(FileType::Directory) => {
                std::fs::remove_dir_all(through_proc(self.parent_fd(), name))?;
                self.forget_parent();
                Ok(())
            }
            Some(_) => Ok(unlinkat(self.parent_fd(), name, AtFlags::empty())?),
        }
    }

    /// A removed directory may be the one that the cached path led through; its descriptor, which
    /// is in use, still names the right parent, so only the path is forgotten.
    fn forget_parent(&mut self) {
        if let Some((path, _)) = &mut self.parent {
            *path = PathBuf::from("\0");
        }
    }

    fn kind_at(&self, name: &OsStr) -> io::Result<Option<FileType>> {
        match statat(self.parent_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn is_whiteout(&self, name: &OsStr) -> io::Result<bool> {
        Ok(statat(self.parent_fd(), name, AtFlags::SYMLINK_NOFOLLOW)?.st_rdev == 0)
    }

    /// Makes the parent of `path` current and gives the last component; `None` for the root itself.
    fn enter_parent(&mut self, path: &Path) -> io::Result<Option<OsString>> {
        let path = normalise(path)?;
        let Some(name) = path.file_name() else {
            self.enter(Path::new(""))?;
            return Ok(None);
        };
        self.enter(path.parent().unwrap_or(Path::new("")))?;
        Ok(Some(name.to_owned()))
    }

    fn enter(&mut self, directory: &Path) -> io::Result<()> {
        if self.parent.as_ref().is_none_or(|(path, _)| path != directory) {
            let fd = match self.resolve(directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.create_missing(directory)?,
                result => result?,
            };
            self.parent = Some((directory.to_owned(), fd));
        }
        Ok(())
    }

    fn create_missing(&self, directory: &Path) -> io::Result<OwnedFd> {
        let mut current = self.resolve(Path::new(""))?;
        let mut path = PathBuf::new();
        for component in directory {
            path.push(component);
            current = match self.resolve(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    mkdirat(&current, component, Mode::from_raw_mode(MISSING_DIRECTORY_MODE))?;
                    self.resolve(&path)?
                }
                result => result?,
            };
        }
        Ok(current)
    }

    fn resolve(&self, directory: &Path) -> io::Result<OwnedFd> {
        let path = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        resolve_in(&self.root, path, OFlags::PATH | OFlags::DIRECTORY)
    }

    /// The directory and name of a hard link's target, resolved inside the root.
    fn find(&self, target: &Path) -> io::Result<(OwnedFd, OsString)> {
        let target = normalise(target)?;
        let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let directory = self.resolve(target.parent().unwrap_or(Path::new("")))?;
        Ok((directory, name.to_owned()))
    }

    fn parent_fd(&self) -> &OwnedFd {
        self.parent.as_ref().map_or(&self.root, |(_, fd)| fd)
    }
}

/// Opens `path` below `root`; symbolic links, absolute ones too, cannot lead out of it.
pub fn resolve_in(root: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// `./a//b/` as `a/b`. A path with `..` is refused: no honest layer has one.
fn normalise(path: &Path) -> io::Result<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path leads out of the layer"));
            }
        }
    }
    Ok(normal)
}

fn set_times(parent: &OwnedFd, name: &OsStr, (seconds, nanoseconds): (i64, u32)) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// File systems without extended attributes of a kind are no reason to refuse an image.
fn set_xattr_at(parent: &OwnedFd, name: &OsStr, key: &OsStr, value: &[u8]) -> io::Result<()> {
    match rustix::fs::lsetxattr(through_proc(parent, name), key, value, XattrFlags::empty()) {
        Err(rustix::io::Errno::OPNOTSUPP) if key != OPAQUE_XATTR => Ok(()),
        result => Ok(result?),
    }
}

/// A path for calls that take no directory descriptor; its last component is still not followed.
fn through_proc(parent: &OwnedFd, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name)
}
