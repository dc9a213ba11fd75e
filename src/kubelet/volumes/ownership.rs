//! `fsGroup`: the volume's files belong to the group and may be used by it.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

/// What the group may do with the volume's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    ReadWrite,
    /// Read.
    ReadOnly,
}

/// Deepest nesting of directories that is followed.
const DEPTH_LIMIT: u32 = 256;

/// Gives everything at and below `path` to the group; directories pass it on to new files.
/// Links are changed themselves, never followed.
pub fn set_group(path: &Path, group: i64, access: Access) -> io::Result<()> {
    let group = u32::try_from(group).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    set(path, group, access, 0)
}

fn set(path: &Path, group: u32, access: Access, depth: u32) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.gid() != group {
        lchown(path, None, Some(group))?;
    }
    if metadata.is_symlink() {
        return Ok(());
    }
    let mut mode = metadata.mode() & 0o7777;
    mode |= match access {
        Access::ReadWrite => 0o660,
        Access::ReadOnly => 0o440,
    };
    if metadata.is_dir() {
        mode |= 0o2110;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if metadata.is_dir() && depth < DEPTH_LIMIT {
        for entry in fs::read_dir(path)? {
            set(&entry?.path(), group, access, depth + 1)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_pass_the_group_on() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let group = i64::from(fs::metadata(&file).unwrap().gid());
        set_group(directory.path(), group, Access::ReadWrite).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o660);
        assert_eq!(fs::metadata(directory.path()).unwrap().mode() & 0o2070, 0o2070);
    }
}
