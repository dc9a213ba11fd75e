//! `emptyDir`: a directory on disk or a tmpfs that lives as long as its pod.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use k8s_openapi::api::core::v1::EmptyDirVolumeSource;
use nix::mount::{MsFlags, mount};

use crate::{
    api::quantity::Quantity as Amount,
    kubelet::volumes::{Cause, mounts},
};

/// Everybody may write, as upstream has it; the pod's users are not known here.
const MODE: u32 = 0o777;

/// Makes the directory if it is not there yet. True if it is new.
pub fn prepare(path: &Path, source: &EmptyDirVolumeSource) -> Result<bool, Cause> {
    let in_memory = source.medium.as_deref() == Some("Memory");
    let exists = path.is_dir();
    if exists && (!in_memory || mounts::is_mount_point(path).map_err(Cause::io(path))?) {
        return Ok(false);
    }
    fs::create_dir_all(path).map_err(Cause::io(path))?;
    if in_memory {
        mount_tmpfs(path, source)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(Cause::io(path))?;
    Ok(true)
}

fn mount_tmpfs(path: &Path, source: &EmptyDirVolumeSource) -> Result<(), Cause> {
    let limit =
        source.size_limit.as_ref().and_then(|limit| limit.0.parse().ok()).map(Amount::value).filter(|limit| *limit > 0);
    let options = limit.map_or_else(|| "mode=0777".to_owned(), |limit| format!("mode=0777,size={limit}"));
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
        .map_err(|error| Cause::io(path)(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("volumes/v");
        let source = EmptyDirVolumeSource::default();
        assert!(prepare(&path, &source).unwrap());
        fs::write(path.join("file"), "kept").unwrap();
        assert!(!prepare(&path, &source).unwrap());
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "kept");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    }
}
