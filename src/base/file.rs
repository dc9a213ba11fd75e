//! Files that are either there whole or not at all: written beside their place, synced, renamed.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Mode of files that hold a secret.
pub const SECRET_MODE: u32 = 0o600;
/// Mode of files that anybody may read.
pub const PUBLIC_MODE: u32 = 0o644;

/// A file operation that failed, with the path it failed on.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}", path.display())]
pub struct Error {
    /// What was tried: "read", "write", "create".
    pub action: &'static str,
    /// The path it was tried on.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// Writes `contents` to `path` with `mode`, atomically and durably: after a power cut the file has
/// its old or its new contents, never a part.
pub fn write_atomic(path: &Path, contents: &[u8], mode: u32) -> Result<(), Error> {
    let error = |source| Error { action: "write", path: path.to_owned(), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
    let temporary = directory.join(name);
    write_synced(&temporary, contents, mode)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| fs::File::open(directory)?.sync_all())
        .map_err(|source| {
            // The rename may have happened: a leftover is removed only if it is there.
            let _ = fs::remove_file(&temporary);
            error(source)
        })
}

/// Reads a file, or `None` if it does not exist.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(contents) => Ok(Some(contents)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error { action: "read", path: path.to_owned(), source }),
    }
}

/// Creates a directory and its parents; the last one gets `mode`.
pub fn create_directory(path: &Path, mode: u32) -> Result<(), Error> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(|source| Error { action: "create", path: path.to_owned(), source })
}

fn write_synced(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The mode given to open is cut by the umask; what was asked for is what the file gets.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(contents)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_no_temporary() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        write_atomic(&path, b"one", SECRET_MODE).unwrap();
        write_atomic(&path, b"two", SECRET_MODE).unwrap();
        assert_eq!(read_optional(&path).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SECRET_MODE);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_file_is_none_and_a_missing_directory_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(read_optional(&directory.path().join("none")).unwrap().is_none());
        let error = write_atomic(&directory.path().join("no/such"), b"", PUBLIC_MODE).unwrap_err();
        assert!(error.to_string().starts_with("write "));
    }
}
