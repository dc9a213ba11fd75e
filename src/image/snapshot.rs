//! Root file systems of containers: an overlay mount each, over shared read-only layers.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    Rootfs,
    error::Error,
    layers::{at, remove_tree},
    store::Users,
};
use crate::{
    base::file,
    sys::mount::{self, Mounts, Operation},
};

const IMAGE_FILE: &str = "image";
const PRIVATE_DIRECTORY_MODE: u32 = 0o700;
/// The merged root must be reachable for whatever user the container has.
const ROOT_MODE: u32 = 0o755;

/// The `containers/` directory of a store.
pub struct Snapshots {
    directory: PathBuf,
    mounts: Arc<dyn Mounts>,
    users: Mutex<Users>,
}

impl Snapshots {
    /// Opens the directory below `root`.
    pub fn open(root: &Path, mounts: Arc<dyn Mounts>) -> Result<Self, Error> {
        let directory = root.join("containers");
        file::create_directory(&directory, PRIVATE_DIRECTORY_MODE)?;
        let snapshots = Self { directory, mounts, users: Mutex::default() };
        for container in snapshots.names()? {
            if let Some(image) = snapshots.image_of(&container) {
                snapshots.reserve(&container, &image);
            }
        }
        Ok(snapshots)
    }

    /// A container that was made of the image.
    pub fn user_of(&self, image: &str) -> Option<String> {
        self.users.lock().iter().find(|(_, used)| *used == image).map(|(container, _)| container.clone())
    }

    /// Notes that a container is about to be made of an image.
    pub fn reserve(&self, container: &str, image: &str) {
        self.users.lock().insert(container.to_owned(), image.to_owned());
    }

    /// Mounts `lower` (the topmost first) and a fresh upper directory. Nothing stays behind on an error.
    pub fn create(&self, container: &str, image: &str, lower: Vec<PathBuf>) -> Result<Rootfs, Error> {
        let directory = self.path(container)?;
        let merged = directory.join("merged");
        if self.is_mounted(&merged).map_err(failed("mount", container))? {
            return Ok(Rootfs { path: merged });
        }
        match self.build(&directory, image, lower) {
            Ok(()) => Ok(Rootfs { path: merged }),
            Err(source) => {
                if let Err(error) = self.remove(container) {
                    tracing::warn!(error = %crate::base::log::chain(&error), "a root file system stays behind");
                }
                Err(failed("mount", container)(source))
            }
        }
    }

    /// Unmounts and removes; what is gone is fine.
    pub fn remove(&self, container: &str) -> Result<(), Error> {
        let directory = self.path(container)?;
        if let Some(error) = mount::unmount_tree(&*self.mounts, &directory).into_iter().next() {
            return Err(failed("unmount", container)(io::Error::other(error)));
        }
        remove_tree(&directory)?;
        self.users.lock().remove(container);
        Ok(())
    }

    /// Containers whose root file systems are mounted; the others are removed.
    pub fn recover(&self) -> Result<Vec<String>, Error> {
        let mut alive = Vec::new();
        for container in self.names()? {
            let merged = self.path(&container)?.join("merged");
            if self.is_mounted(&merged).map_err(failed("mount", &container))? {
                alive.push(container);
            } else {
                self.remove(&container)?;
            }
        }
        Ok(alive)
    }

    /// Bytes allocated for what the container has changed.
    pub fn writable_bytes(&self, container: &str) -> u64 {
        const BLOCK: u64 = 512;
        let mut pending: Vec<PathBuf> = self.path(container).into_iter().map(|path| path.join("upper")).collect();
        let mut total = 0;
        while let Some(directory) = pending.pop() {
            // The container may remove what is being counted.
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                total += metadata.blocks() * BLOCK;
                if metadata.is_dir() {
                    pending.push(entry.path());
                }
            }
        }
        total
    }

    fn build(&self, directory: &Path, image: &str, mut lower: Vec<PathBuf>) -> io::Result<()> {
        let [upper, work, merged] = ["upper", "work", "merged"].map(|name| directory.join(name));
        let create = |path: &Path, mode| file::create_directory(path, mode).map_err(io::Error::other);
        create(directory, PRIVATE_DIRECTORY_MODE)?;
        for path in [&upper, &work, &merged] {
            create(path, ROOT_MODE)?;
        }
        if lower.is_empty() {
            // An image without layers ("FROM scratch") still needs something to lie on.
            let empty = directory.join("empty");
            create(&empty, ROOT_MODE)?;
            lower.push(empty);
        }
        // A power cut may take it: nothing is mounted after that, and what is not mounted is removed.
        fs::write(directory.join(IMAGE_FILE), image)?;
        copy_attributes(&lower[0], &upper)?;
        let overlay = Operation::Overlay { target: merged, lower, upper: Some((upper, work)) };
        self.mounts.apply(&overlay).map_err(io::Error::other)
    }

    fn names(&self) -> Result<Vec<String>, file::Error> {
        let entries = fs::read_dir(&self.directory).map_err(at("read", &self.directory))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    fn image_of(&self, container: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(container).join(IMAGE_FILE)).ok()
    }

    fn is_mounted(&self, path: &Path) -> io::Result<bool> {
        // Only the table tells whether it is mounted without touching what the container may have broken.
        let mounts = mount::list_under(&*self.mounts, path).map_err(io::Error::other)?;
        Ok(mounts.iter().any(|mount| mount.path == path))
    }

    /// Container IDs name directories: anything that is more than a name is refused.
    fn path(&self, container: &str) -> Result<PathBuf, Error> {
        let plain = container.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if container.is_empty() || !plain {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "invalid container ID");
            return Err(failed("create", container)(source));
        }
        Ok(self.directory.join(container))
    }
}

/// The upper directory is the root directory that the container sees, so it gets the image's owner and mode.
fn copy_attributes(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::metadata(from)?;
    std::os::unix::fs::chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(to, metadata.permissions())
}

fn failed(action: &'static str, container: &str) -> impl FnOnce(io::Error) -> Error {
    let container = container.to_owned();
    move |source| Error::Rootfs { action, container, source }
}
