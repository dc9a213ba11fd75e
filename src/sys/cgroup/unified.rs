//! Cgroup v2 (cgroup-v2.rst): a group's controllers must be switched on in every ancestor first.

use std::{fs, path::Path};

use super::{Error, write};

/// Controllers that pods use; the others stay as they are.
const CONTROLLERS: [&str; 5] = ["cpu", "memory", "pids", "cpuset", "io"];

/// Creates `path` below `root`. Controllers are switched on one by one in the ancestors, since one
/// that this kernel lacks would make the whole write fail. The init system may switch unused ones
/// off again at the root, but not while a group below uses them.
pub(super) fn create(root: &Path, path: &Path) -> Result<(), Error> {
    let mut directory = root.to_owned();
    for component in path.components() {
        switch_controllers_on(&directory);
        directory.push(component);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::file("create", &directory, error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn switch_controllers_on(directory: &Path) {
    let file = directory.join("cgroup.subtree_control");
    let active = fs::read_to_string(&file).unwrap_or_default();
    let missing = CONTROLLERS.iter().filter(|name| !active.split_whitespace().any(|found| found == **name));
    for controller in missing {
        // A kernel without this controller refuses; limits of that kind are then not set.
        let _ = write(&file, &format!("+{controller}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_controllers_on_in_all_ancestors_but_not_in_the_group() {
        let directory = tempfile::tempdir().unwrap();
        let control = directory.path().join("cgroup.subtree_control");
        fs::write(&control, "cpu memory pids cpuset\n").unwrap();
        create(directory.path(), Path::new("nauplius/pod")).unwrap();
        create(directory.path(), Path::new("nauplius/pod")).unwrap();
        assert!(directory.path().join("nauplius/pod").is_dir());
        assert!(fs::read_to_string(&control).unwrap().starts_with("+io"));
    }
}
