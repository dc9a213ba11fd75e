//! Reading files of an image's root file system without ever leaving it: images are not trusted,
//! and any of their directories may be a symbolic link to somewhere else.

use std::{fs::File, io, io::Read, path::Path};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::Mode,
};

/// Largest account file that is read.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// The text of a file inside `rootfs`, its links resolved as if `rootfs` were `/`; empty if there
/// is none.
pub fn read(rootfs: &Path, path: &str) -> io::Result<String> {
    let directory = open(rootfs, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = match openat2(&directory, path, how) {
        Ok(file) => File::from(file),
        Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => return Ok(String::new()),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_out_of_the_root_stays_inside() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("passwd"), "outside").unwrap();
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("etc")).unwrap();
        assert_eq!(read(root.path(), "etc/passwd").unwrap(), "");
        std::fs::write(root.path().join("plain"), "inside").unwrap();
        std::os::unix::fs::symlink("/plain", root.path().join("link")).unwrap();
        assert_eq!(read(root.path(), "link").unwrap(), "inside");
    }
}
