//! `subPath`: a part of a volume mounted into a container. What lies in a volume belongs to the
//! pod, links included, so the part is opened without ever leaving the volume, and the opened
//! file itself is bound to a place of the kubelet's that the pod cannot change.

use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    mount::{MsFlags, mount},
    sys::stat::{Mode, mkdirat},
};

/// Mode of directories made for a sub path that is missing.
const DIRECTORY_MODE: Mode = Mode::from_bits_truncate(0o750);

/// Binds `sub_path` of the volume at `volume` to `target`, making missing directories. A target
/// that is bound already is left as it is.
pub fn bind(volume: &Path, sub_path: &Path, target: &Path) -> io::Result<()> {
    if super::mounts::is_mount_point(target)? {
        return Ok(());
    }
    let part = open_inside(volume, sub_path)?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", part.as_raw_fd()));
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if fs::metadata(&source)?.is_dir() {
        fs::create_dir_all(target)?;
    } else {
        fs::File::create(target)?;
    }
    mount(Some(&source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    Ok(())
}

/// Opens a part of a volume, making what is missing. Links are followed inside the volume only:
/// one that leads out is an error.
fn open_inside(volume: &Path, sub_path: &Path) -> io::Result<OwnedFd> {
    if !is_relative(sub_path) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "sub path must be relative and without '..'"));
    }
    let root = open(volume, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut known = PathBuf::new();
    for component in sub_path.components() {
        let parent = open_beneath(&root, &known)?;
        known.push(component);
        match open_beneath(&root, &known) {
            Err(nix::Error::ENOENT) => match mkdirat(&parent, Path::new(component.as_os_str()), DIRECTORY_MODE) {
                Ok(()) | Err(nix::Error::EEXIST) => {}
                Err(error) => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
    }
    Ok(open_beneath(&root, &known)?)
}

fn open_beneath(root: &OwnedFd, path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, if path.as_os_str().is_empty() { Path::new(".") } else { path }, how)
}

fn is_relative(path: &Path) -> bool {
    path.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_directories_are_made() {
        let volume = tempfile::tempdir().unwrap();
        open_inside(volume.path(), Path::new("a/b")).unwrap();
        assert!(volume.path().join("a/b").is_dir());
    }

    #[test]
    fn links_may_not_lead_out() {
        let volume = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", volume.path().join("out")).unwrap();
        fs::create_dir(volume.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", volume.path().join("in")).unwrap();
        assert!(open_inside(volume.path(), Path::new("out/passwd")).is_err());
        assert!(open_inside(volume.path(), Path::new("out/new")).is_err());
        assert!(open_inside(volume.path(), Path::new("../x")).is_err());
        open_inside(volume.path(), Path::new("in/x")).unwrap();
        assert!(volume.path().join("real/x").is_dir());
    }
}
