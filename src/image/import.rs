//! Imports image archives, on demand and from the directory `agent/images/`, whose archives are
//! imported at start and whenever they change. Imported images are never garbage-collected.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::BufReader,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    Image,
    archive::{Archive, Error as ArchiveError, Found},
    compression::decompress,
    error::{Error, LayerError},
    layers::at,
    records::NewImage,
    reference::Reference,
    store::{ImageStore, Inner, now_s},
};
use crate::{
    base::{
        file::{self, PUBLIC_MODE},
        log::chain,
    },
    sys::inotify,
};

/// What counts as an archive in the directory.
const SUFFIXES: [&str; 5] = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst"];
const LEDGER: &str = "imported.json";
const DIRECTORY_MODE: u32 = 0o755;

impl ImageStore {
    /// Imports all images of an archive for this machine. Either all of them become visible, or
    /// none and nothing stays behind.
    pub async fn import(&self, path: &Path) -> Result<Vec<Image>, Error> {
        let (inner, path) = (self.inner.clone(), path.to_owned());
        self.inner.lane.run(move || inner.import(&path)).await
    }

    /// Imports the archives in `directory` now and whenever they change, until it is dropped.
    /// A damaged archive is logged and tried again when it changes.
    pub async fn watch_directory(&self, directory: &Path) -> Result<(), Error> {
        file::create_directory(directory, DIRECTORY_MODE)?;
        let mut watch = inotify::Watch::new(directory, inotify::FILES).map_err(at("watch", directory))?;
        loop {
            let (inner, directory_now) = (self.inner.clone(), directory.to_owned());
            self.inner.lane.run(move || inner.import_changed(&directory_now)).await?;
            watch.changed().await.map_err(at("watch", directory))?;
        }
    }
}

/// What an archive was when it was imported.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Imported {
    size_bytes: u64,
    modified_s: i64,
    modified_ns: i64,
    images: Vec<String>,
}

impl Inner {
    fn import(&self, path: &Path) -> Result<Vec<Image>, Error> {
        let result = self.import_archive(path);
        if result.is_err() {
            // Layers that came before the damage belong to no image.
            self.remove_unused_layers()?;
        }
        result.map_err(|source| Error::Import { path: path.to_owned(), source: Box::new(source) })
    }

    fn import_archive(&self, path: &Path) -> Result<Vec<Image>, ArchiveError> {
        let scratch = self.layers.scratch()?;
        let archive = Archive::open(path, &scratch.path)?;
        let found = archive.images(stem(path))?;
        let all: Vec<_> = found.iter().flat_map(|image| image.config.diff_ids.iter().cloned()).collect();
        let _lease = self.leases.take(&all);
        for image in &found {
            self.import_layers(&archive, image)?;
        }
        let mut records = self.records.lock();
        let add = |image: Found| {
            let new = self.describe(image);
            records.add(new, now_s())
        };
        Ok(found.into_iter().map(add).collect::<Result<_, _>>()?)
    }

    fn import_layers(&self, archive: &Archive, image: &Found) -> Result<(), ArchiveError> {
        for (entry, diff_id) in image.layers.iter().zip(&image.config.diff_ids) {
            if self.layers.contains(diff_id) {
                continue;
            }
            let failed = |source| ArchiveError::Layer { entry: entry.clone(), source };
            let section = BufReader::with_capacity(256 * 1024, archive.section(entry)?);
            let input = decompress(section).map_err(|error| failed(LayerError::Read(error)))?;
            self.layers.install(diff_id, input).map_err(failed)?;
        }
        Ok(())
    }

    fn describe(&self, image: Found) -> NewImage {
        // Names that are none are left out: the image can still be used by its ID.
        let names: Vec<Reference> = image.names.iter().filter_map(|name| Reference::parse(name).ok()).collect();
        let digest = image.digest.as_ref();
        NewImage {
            id: image.id,
            tags: names.iter().filter_map(Reference::tagged).collect(),
            digests: names.iter().filter_map(|name| Some(name.with_digest(digest?))).collect(),
            size_bytes: image.config.diff_ids.iter().map(|layer| self.layers.size_bytes(layer)).sum(),
            layers: image.config.diff_ids,
            config: image.config.run,
            pinned: true,
        }
    }

    fn import_changed(&self, directory: &Path) -> Result<(), Error> {
        let mut ledger = self.read_ledger();
        for path in archives(directory)? {
            let Ok(metadata) = path.metadata() else { continue };
            let key = path.to_string_lossy().into_owned();
            let same = |known: &Imported| {
                (known.size_bytes, known.modified_s, known.modified_ns)
                    == (metadata.len(), metadata.mtime(), metadata.mtime_nsec())
            };
            if ledger.get(&key).is_some_and(|known| same(known) && self.has_all(&known.images)) {
                continue;
            }
            match self.import(&path) {
                Ok(images) => {
                    // An archive may name an image in several places.
                    let names: BTreeSet<&str> =
                        images.iter().flat_map(|image| &image.tags).map(String::as_str).collect();
                    let names = names.into_iter().collect::<Vec<_>>().join(", ");
                    tracing::info!(path = %path.display(), images = names, "imported an image archive");
                    let imported = Imported {
                        size_bytes: metadata.len(),
                        modified_s: metadata.mtime(),
                        modified_ns: metadata.mtime_nsec(),
                        images: images.into_iter().map(|image| image.id).collect(),
                    };
                    ledger.insert(key, imported);
                    self.write_ledger(&ledger)?;
                }
                Err(error) => tracing::error!(error = %chain(&error), "an image archive cannot be imported"),
            }
        }
        Ok(())
    }

    fn has_all(&self, images: &[String]) -> bool {
        let records = self.records.lock();
        images.iter().all(|id| records.find(id).is_some())
    }

    fn read_ledger(&self) -> BTreeMap<String, Imported> {
        let bytes = file::read_optional(&self.root.join(LEDGER)).ok().flatten();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    fn write_ledger(&self, ledger: &BTreeMap<String, Imported>) -> Result<(), file::Error> {
        let bytes = serde_json::to_vec(ledger).expect("a ledger is plain data");
        file::write_atomic(&self.root.join(LEDGER), &bytes, PUBLIC_MODE)
    }
}

fn archives(directory: &Path) -> Result<Vec<PathBuf>, file::Error> {
    let entries = std::fs::read_dir(directory).map_err(at("read", directory))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_archive(path)).collect();
    paths.sort();
    Ok(paths)
}

fn is_archive(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) && !name.starts_with('.')
}

/// The archive's name without what says that it is one.
fn stem(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("image");
    SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}
