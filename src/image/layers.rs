//! Layers on disk: one directory per diff ID below `layers/`, shared by all images that have it.
//!
//! A layer is unpacked in `ingest/`, synced, and only then renamed into its place, so that what is
//! in `layers/` is whole, whatever happened to the machine meanwhile.

use std::{
    collections::HashMap,
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

use super::{
    digest::{Digest, HashingReader},
    error::LayerError,
    tar::Stream,
    unpack,
};
use crate::base::file::{self, PUBLIC_MODE};

/// Hexadecimal digits of the diff ID that name a layer's directory. Short, because overlayfs takes
/// all of an image's layers in one page of options; what is left out is checked in [`LAYER_FILE`].
const NAME_DIGITS: usize = 20;
const LAYER_FILE: &str = "layer.json";
const TREE: &str = "fs";
const PRIVATE_DIRECTORY_MODE: u32 = 0o700;

/// What is noted beside a layer's tree.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Layer {
    /// Digest of its uncompressed archive.
    pub diff_id: Digest,
    /// Bytes of its files.
    pub size_bytes: u64,
}

/// All layers that are here whole.
pub struct Layers {
    directory: PathBuf,
    ingest: PathBuf,
    present: Mutex<HashMap<Digest, Layer>>,
}

/// A directory that is removed unless it has been moved away.
pub struct Scratch {
    /// Where it is.
    pub path: PathBuf,
}

impl Layers {
    /// Opens the layers below `root` and drops everything half-written.
    pub fn open(root: &Path) -> Result<Self, file::Error> {
        let (directory, ingest) = (root.join("layers"), root.join("ingest"));
        file::create_directory(&directory, PRIVATE_DIRECTORY_MODE)?;
        empty_directory(&ingest)?;
        file::create_directory(&ingest, PRIVATE_DIRECTORY_MODE)?;
        let layers = Self { directory, ingest, present: Mutex::default() };
        layers.load()?;
        Ok(layers)
    }

    /// Whether the layer is here.
    pub fn contains(&self, diff_id: &Digest) -> bool {
        self.present.lock().contains_key(diff_id)
    }

    /// Bytes of the layer's files; 0 if it is not here.
    pub fn size_bytes(&self, diff_id: &Digest) -> u64 {
        self.present.lock().get(diff_id).map_or(0, |layer| layer.size_bytes)
    }

    /// All of them.
    pub fn diff_ids(&self) -> Vec<Digest> {
        self.present.lock().keys().cloned().collect()
    }

    /// The layer's directory relative to [`Layers::directory`].
    pub fn relative_path(diff_id: &Digest) -> PathBuf {
        Path::new(&diff_id.hex()[..NAME_DIGITS]).join(TREE)
    }

    /// Where all layers are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A directory of its own for something that is being written.
    pub fn scratch(&self) -> Result<Scratch, file::Error> {
        let path = self.ingest.join(uuid::Uuid::new_v4().simple().to_string());
        file::create_directory(&path, PRIVATE_DIRECTORY_MODE)?;
        Ok(Scratch { path })
    }

    /// Adds the layer whose uncompressed archive is `input`. Nothing stays behind on an error.
    pub fn install(&self, diff_id: &Digest, input: impl Read) -> Result<(), LayerError> {
        if self.contains(diff_id) {
            return Ok(());
        }
        let scratch = self.scratch()?;
        let tree = scratch.path.join(TREE);
        // The root of a layer that does not list it is a plain readable directory.
        file::create_directory(&tree, 0o755)?;
        let hashing = Stream(HashingReader::new(input));
        let (unpacked, rest) = unpack::unpack(hashing, &tree, unpack::DEFAULT_LIMITS)?;
        let actual = rest.0.finish().map_err(LayerError::Read)?;
        if actual != *diff_id {
            return Err(LayerError::Mismatch { expected: diff_id.clone(), actual });
        }
        let layer = Layer { diff_id: diff_id.clone(), size_bytes: unpacked.bytes };
        self.publish(scratch, layer)?;
        Ok(())
    }

    /// Takes a layer out of the store at once; its files go with the scratch directory that is
    /// given back, so that a half-removed layer is never found in its place.
    pub fn detach(&self, diff_id: &Digest) -> Result<Scratch, file::Error> {
        let scratch = self.scratch()?;
        if self.present.lock().remove(diff_id).is_some() {
            let path = self.path(diff_id);
            fs::rename(&path, scratch.path.join(TREE)).map_err(at("remove", &path))?;
        }
        Ok(scratch)
    }

    fn publish(&self, scratch: Scratch, layer: Layer) -> Result<(), file::Error> {
        let note = serde_json::to_vec(&layer).expect("a layer's note is plain data");
        file::write_atomic(&scratch.path.join(LAYER_FILE), &note, PUBLIC_MODE)?;
        sync_file_system(&scratch.path)?;
        let mut present = self.present.lock();
        if present.contains_key(&layer.diff_id) {
            // Somebody else was faster with the same layer; theirs may be mounted already.
            return Ok(());
        }
        let path = self.path(&layer.diff_id);
        fs::rename(&scratch.path, &path).map_err(at("rename", &path))?;
        sync_directory(&self.directory)?;
        present.insert(layer.diff_id.clone(), layer);
        Ok(())
    }

    fn load(&self) -> Result<(), file::Error> {
        for entry in fs::read_dir(&self.directory).map_err(at("read", &self.directory))? {
            let path = entry.map_err(at("read", &self.directory))?.path();
            let note = file::read_optional(&path.join(LAYER_FILE)).ok().flatten();
            let layer = note.and_then(|note| serde_json::from_slice::<Layer>(&note).ok());
            match layer.filter(|layer| self.path(&layer.diff_id) == path) {
                Some(layer) => drop(self.present.lock().insert(layer.diff_id.clone(), layer)),
                None => {
                    tracing::warn!(path = %path.display(), "dropping a layer without a valid note");
                    Scratch { path }.remove()?;
                }
            }
        }
        Ok(())
    }

    fn path(&self, diff_id: &Digest) -> PathBuf {
        self.directory.join(&diff_id.hex()[..NAME_DIGITS])
    }
}

impl Scratch {
    /// Removes it and reports what stands in the way, which dropping it cannot.
    pub fn remove(self) -> Result<(), file::Error> {
        remove_tree(&self.path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(error = %crate::base::log::chain(&error), "a scratch directory stays behind");
        }
    }
}

/// Removes a file or directory tree; one that is not there is fine.
pub fn remove_tree(path: &Path) -> Result<(), file::Error> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(at("remove", path)),
    }
}

/// Makes a rename or removal in `directory` survive a power cut.
pub fn sync_directory(directory: &Path) -> Result<(), file::Error> {
    fs::File::open(directory).and_then(|file| file.sync_all()).map_err(at("sync", directory))
}

/// Turns an error of `action` on `path` into ours.
pub fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> file::Error {
    let path = path.to_owned();
    move |source| file::Error { action, path, source }
}

fn empty_directory(path: &Path) -> Result<(), file::Error> {
    remove_tree(path)
}

/// One call instead of an fsync per file: a layer has thousands.
fn sync_file_system(path: &Path) -> Result<(), file::Error> {
    let sync = || rustix::fs::syncfs(fs::File::open(path)?).map_err(io::Error::from);
    sync().map_err(at("sync", path))
}
