//! Which of the host's mounts lie below a directory, and taking them away.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, umount2};

/// Whether something is mounted at exactly this path.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    Ok(mount_points(&fs::read_to_string("/proc/self/mountinfo")?).iter().any(|mounted| mounted == path))
}

/// Unmounts everything at or below a directory, the innermost first.
pub fn unmount_below(directory: &Path) -> io::Result<()> {
    let mut below = mount_points(&fs::read_to_string("/proc/self/mountinfo")?);
    below.retain(|path| path.starts_with(directory));
    let mut result = Ok(());
    for path in below.iter().rev() {
        let unmounted = umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).map_err(io::Error::from);
        result = result.and(unmounted);
    }
    result
}

/// Mount points in the order in which they were mounted (proc(5), mountinfo: fifth field, octal
/// escapes).
fn mount_points(mountinfo: &str) -> Vec<PathBuf> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(|field| PathBuf::from(unescape(field))).collect()
}

fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_escaped_mount_points() {
        let text = "22 1 0:20 / /a\\040b rw - tmpfs tmpfs rw\n23 22 0:21 / /c rw shared:1 - ext4 /dev/x rw\n";
        assert_eq!(mount_points(text), [PathBuf::from("/a b"), PathBuf::from("/c")]);
    }

    #[test]
    fn a_plain_directory_is_no_mount_point() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_mount_point(directory.path()).unwrap());
        unmount_below(directory.path()).unwrap();
    }
}
