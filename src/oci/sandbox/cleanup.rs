//! Removing what a sandbox leaves when its shim cannot do it any more. Blocks.

use std::{fs, io, path::Path};

use nix::sys::signal::Signal;

use crate::{
    oci::{
        Error,
        layout::{Layout, ignore_missing},
    },
    sys::{cgroup::Cgroup, mount},
};

/// How long a killed shim is waited for, in milliseconds.
const END_TIME_MS: u16 = 5000;

/// Ends a shim that does not answer, and removes the pod's processes, cgroup, mounts and files.
pub(in crate::oci) fn sandbox(layout: &Layout, cgroup: &Cgroup) -> Result<(), Error> {
    end_shim(layout);
    cgroup.kill();
    let removed = cgroup.remove().map_err(Error::from);
    unfinished(layout).and(removed)
}

/// Removes mounts and files of a sandbox of which nothing is recorded.
pub(in crate::oci) fn unfinished(layout: &Layout) -> Result<(), Error> {
    end_shim(layout);
    let unmounted = unmount(&layout.run);
    let removed = layout.remove();
    removed.map_err(|source| Error::File { action: "remove", path: layout.run.clone(), source }).and(unmounted)
}

/// Removes all cgroups below and with `parent`, with every process in them, and the directories.
pub(in crate::oci) fn everything(parent: &Cgroup, run_dir: &Path, state_dir: &Path) -> Result<(), Error> {
    parent.kill();
    let cgroups = parent.remove().map_err(Error::from);
    let unmounted = unmount(run_dir);
    let remove = |path: &Path| {
        let removed: io::Result<()> = ignore_missing(fs::remove_dir_all(path));
        removed.map_err(|source| Error::File { action: "remove", path: path.to_owned(), source })
    };
    remove(run_dir).and(remove(state_dir)).and(unmounted).and(cgroups)
}

fn unmount(directory: &Path) -> Result<(), Error> {
    mount::unmount_tree(&mount::Kernel, directory).into_iter().next().map_or(Ok(()), |error| Err(error.into()))
}

fn end_shim(layout: &Layout) {
    let Some(Ok(Some(shim))) = layout.identity().map(|identity| identity.open()) else { return };
    // A shim that cannot be killed is left to its cgroup's end.
    let _ = shim.signal(Signal::SIGKILL).and_then(|()| shim.wait(END_TIME_MS));
}
