//! Cgroup v1: what a new group needs before it can take processes, and device rules.

use std::{fs, path::Path};

use super::{Error, Hierarchy, write, write_if_there};
use crate::sys::device::Rule;

/// Creates `path` in one hierarchy. A cpuset group starts without processors and memory nodes and
/// would refuse every process, so it gets its parent's.
pub(super) fn create(hierarchy: &Hierarchy, path: &Path) -> Result<(), Error> {
    let cpuset = hierarchy.controllers.iter().any(|controller| controller == "cpuset");
    let mut directory = hierarchy.root.clone();
    for component in path.components() {
        let parent = directory.clone();
        directory.push(component);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::file("create", &directory, error));
            }
            _ => {}
        }
        if cpuset {
            inherit(&parent, &directory, "cpuset.cpus")?;
            inherit(&parent, &directory, "cpuset.mems")?;
        }
    }
    Ok(())
}

/// Replaces the list of allowed devices.
pub(super) fn allow_devices(directory: &Path, rules: &[Rule]) -> Result<(), Error> {
    write_if_there(&directory.join("devices.deny"), "a")?;
    rules.iter().try_for_each(|rule| write_if_there(&directory.join("devices.allow"), &rule.to_string()))
}

fn inherit(parent: &Path, directory: &Path, file: &str) -> Result<(), Error> {
    let own = fs::read_to_string(directory.join(file)).unwrap_or_default();
    let wanted = fs::read_to_string(parent.join(file)).unwrap_or_default();
    if own.trim().is_empty() && !wanted.trim().is_empty() {
        write(&directory.join(file), wanted.trim())?;
    }
    Ok(())
}
