//! `hostPath`: a path of the node itself, checked or created as its type says.

use std::{
    fs::{self, Metadata},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
};

use k8s_openapi::api::core::v1::HostPathVolumeSource;

use crate::kubelet::volumes::Cause;

/// Checks the path, and creates it where the type allows.
pub fn prepare(source: &HostPathVolumeSource) -> Result<(), Cause> {
    let path = Path::new(&source.path);
    let metadata = fs::metadata(path).ok();
    let check = |expected: &'static str, is: fn(&Metadata) -> bool| match &metadata {
        Some(metadata) if is(metadata) => Ok(()),
        _ => Err(Cause::HostPath { path: source.path.clone(), expected }),
    };
    match (source.type_.as_deref().unwrap_or_default(), &metadata) {
        ("DirectoryOrCreate", None) => create_directory(path),
        ("FileOrCreate", None) => create_file(path),
        ("Directory" | "DirectoryOrCreate", _) => check("directory", Metadata::is_dir),
        ("File" | "FileOrCreate", _) => check("file", Metadata::is_file),
        ("Socket", _) => check("socket file", |metadata| metadata.file_type().is_socket()),
        ("CharDevice", _) => check("character device", |metadata| metadata.file_type().is_char_device()),
        ("BlockDevice", _) => check("block device", |metadata| metadata.file_type().is_block_device()),
        // Without a type a missing path becomes a directory, as container runtimes do.
        (_, None) => create_directory(path),
        (_, Some(_)) => Ok(()),
    }
}

fn create_directory(path: &Path) -> Result<(), Cause> {
    fs::create_dir_all(path).map_err(Cause::io(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(Cause::io(path))
}

fn create_file(path: &Path) -> Result<(), Cause> {
    fs::File::create(path).map_err(Cause::io(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).map_err(Cause::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare_as(path: &Path, kind: &str) -> Result<(), Cause> {
        prepare(&HostPathVolumeSource { path: path.display().to_string(), type_: Some(kind.into()) })
    }

    #[test]
    fn types_are_checked_and_created() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert!(prepare_as(&at("d"), "Directory").is_err());
        prepare_as(&at("d"), "DirectoryOrCreate").unwrap();
        prepare_as(&at("d"), "Directory").unwrap();
        prepare_as(&at("f"), "FileOrCreate").unwrap();
        prepare_as(&at("f"), "File").unwrap();
        let error = prepare_as(&at("f"), "Directory").unwrap_err();
        assert!(error.to_string().ends_with("is not a directory"), "{error}");
        assert!(prepare_as(&at("none"), "Socket").is_err());
        prepare_as(&at("plain"), "").unwrap();
        assert!(at("plain").is_dir());
    }
}
