//! Contents of a volume, changed all at once: files lie in a directory named by time, `..data`
//! links to it, and what containers see links into `..data`. A change makes a new directory and
//! moves one link, so that no reader ever sees half of it.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink},
    path::{Component, Path, PathBuf},
};

/// One file of a volume.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// What is in it.
    pub data: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
    /// Who owns it, if not root.
    pub owner: Option<u32>,
}

/// Files by their path in the volume.
pub type Payload = BTreeMap<PathBuf, File>;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// Makes the volume at `target` hold exactly `payload`. True if anything had to be changed.
pub fn write(target: &Path, payload: &Payload) -> io::Result<bool> {
    fs::create_dir_all(target)?;
    fs::set_permissions(target, fs::Permissions::from_mode(0o755))?;
    let old = fs::read_link(target.join(DATA)).ok();
    if let Some(old) = &old
        && same(&target.join(old), payload)
    {
        link_entries(target, payload)?;
        return Ok(false);
    }
    let name = format!("..{}", jiff::Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S.%9f"));
    let fresh = target.join(&name);
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    if let Err(error) = fill(&fresh, payload).and_then(|()| switch(target, &name)) {
        // The old contents are still in place; the half-written ones go.
        let _ = fs::remove_dir_all(&fresh);
        return Err(error);
    }
    link_entries(target, payload)?;
    remove_stale(target, payload, &name)?;
    Ok(true)
}

/// Whether a path stays inside its volume: relative, no `..`, nothing that starts with it.
pub fn is_safe(path: &Path) -> bool {
    let mut components = path.components().peekable();
    components.peek().is_some()
        && components.all(|component| match component {
            Component::Normal(name) => !name.to_string_lossy().starts_with(".."),
            _ => false,
        })
}

fn same(directory: &Path, payload: &Payload) -> bool {
    let matches = |(path, file): (&PathBuf, &File)| fs::read(directory.join(path)).is_ok_and(|data| data == file.data);
    count_files(directory).is_ok_and(|count| count == payload.len()) && payload.iter().all(matches)
}

fn count_files(directory: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { count_files(&entry.path())? } else { 1 };
    }
    Ok(count)
}

fn fill(directory: &Path, payload: &Payload) -> io::Result<()> {
    for (path, file) in payload {
        if !is_safe(path) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "path leaves the volume"));
        }
        let full = directory.join(path);
        if let Some(parent) = full.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut handle = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&full)?;
        io::Write::write_all(&mut handle, &file.data)?;
        handle.set_permissions(fs::Permissions::from_mode(file.mode & 0o777))?;
        if let Some(owner) = file.owner {
            chown(&full, Some(owner), None)?;
        }
    }
    Ok(())
}

fn switch(target: &Path, name: &str) -> io::Result<()> {
    let link = target.join(NEW_DATA);
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(name, &link)?;
    fs::rename(&link, target.join(DATA))
}

/// The names that containers see: the first component of every path.
fn entries(payload: &Payload) -> impl Iterator<Item = &Path> {
    payload.keys().filter_map(|path| path.iter().next()).map(Path::new)
}

fn link_entries(target: &Path, payload: &Payload) -> io::Result<()> {
    for entry in entries(payload) {
        let link = target.join(entry);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(entry), &link)?;
        }
    }
    Ok(())
}

fn remove_stale(target: &Path, payload: &Payload, current: &str) -> io::Result<()> {
    for entry in fs::read_dir(target)? {
        let entry = entry?;
        let name = entry.file_name();
        let keep = name == DATA || name == current || entries(payload).any(|wanted| wanted.as_os_str() == name);
        if keep {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |data: &str| File { data: data.into(), mode: 0o640, owner: None };
        files.iter().map(|(path, data)| (PathBuf::from(path), file(data))).collect()
    }

    #[test]
    fn contents_change_all_at_once_and_nothing_stale_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("v");
        assert!(write(&target, &payload(&[("a", "1"), ("dir/b", "2")])).unwrap());
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(target.join("dir/b")).unwrap(), "2");
        assert_eq!(fs::metadata(target.join("a")).unwrap().mode() & 0o777, 0o640);
        assert!(write(&target, &payload(&[("a", "3")])).unwrap());
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "3");
        assert!(fs::symlink_metadata(target.join("dir")).is_err());
        let names = fs::read_dir(&target).unwrap().count();
        assert_eq!(names, 3, "..data, its directory, and a");
    }

    #[test]
    fn the_same_contents_are_not_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let contents = payload(&[("a", "1")]);
        assert!(write(directory.path(), &contents).unwrap());
        let before = fs::read_link(directory.path().join(DATA)).unwrap();
        assert!(!write(directory.path(), &contents).unwrap());
        assert_eq!(fs::read_link(directory.path().join(DATA)).unwrap(), before);
    }

    #[test]
    fn an_empty_volume_is_a_volume() {
        let directory = tempfile::tempdir().unwrap();
        assert!(write(directory.path(), &Payload::new()).unwrap());
        assert!(!write(directory.path(), &Payload::new()).unwrap());
    }

    #[test]
    fn paths_that_leave_the_volume_are_refused() {
        for path in ["../x", "/x", "a/../b", "..x", "", "a/..b"] {
            assert!(!is_safe(Path::new(path)), "{path}");
        }
        assert!(is_safe(Path::new("a/b")) && is_safe(Path::new(".hidden")));
        let directory = tempfile::tempdir().unwrap();
        assert!(write(directory.path(), &payload(&[("../x", "1")])).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
