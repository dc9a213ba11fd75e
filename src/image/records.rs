//! What the store knows about images: one file per image below `images/`, written atomically after
//! its layers are on disk. An image is visible exactly when its file is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::{
    Image, RunConfig,
    digest::Digest,
    layers::{at, remove_tree, sync_directory},
    reference::Reference,
};
use crate::base::file::{self, PUBLIC_MODE};

const DIRECTORY_MODE: u32 = 0o700;

/// An image with what the store needs to know beyond what others see.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// The image.
    pub image: Image,
    /// Its layers, the lowest first.
    pub layers: Vec<Digest>,
    /// When it was pulled or a container was made of it last, seconds since the epoch.
    pub last_used_s: i64,
}

/// Everything by which an image that has just come is known.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// Digest of the configuration.
    pub id: Digest,
    /// `docker.io/library/nginx:1.27`, if it has a name.
    pub tags: Vec<String>,
    /// `docker.io/library/nginx@sha256:…`.
    pub digests: Vec<String>,
    /// Its layers, the lowest first.
    pub layers: Vec<Digest>,
    /// Bytes of its layers.
    pub size_bytes: u64,
    /// How it is run.
    pub config: RunConfig,
    /// Imported from a file.
    pub pinned: bool,
}

/// All images.
pub struct Records {
    directory: PathBuf,
    images: BTreeMap<String, Record>,
}

impl Records {
    /// Reads the images below `root`; those for which `is_whole` is false are dropped.
    pub fn open(root: &Path, is_whole: impl Fn(&Record) -> bool) -> Result<Self, file::Error> {
        let directory = root.join("images");
        file::create_directory(&directory, DIRECTORY_MODE)?;
        let mut records = Self { directory, images: BTreeMap::new() };
        for entry in fs::read_dir(&records.directory).map_err(at("read", &records.directory))? {
            let path = entry.map_err(at("read", &records.directory))?.path();
            let bytes = file::read_optional(&path)?.unwrap_or_default();
            let record = serde_json::from_slice::<Record>(&bytes).ok();
            match record.filter(|record| records.path(&record.image.id) == path && is_whole(record)) {
                Some(record) => drop(records.images.insert(record.image.id.clone(), record)),
                None => {
                    tracing::warn!(path = %path.display(), "dropping an image that is not whole");
                    remove_tree(&path)?;
                }
            }
        }
        Ok(records)
    }

    /// Adds an image, or adds names to it. Its tags are taken from whoever had them.
    pub fn add(&mut self, new: NewImage, now_s: i64) -> Result<Image, file::Error> {
        let id = new.id.to_string();
        let previous = self.images.get(&id).map(|record| record.image.clone());
        let merge = |old: Option<&Vec<String>>, new: &[String]| -> Vec<String> {
            let all: BTreeSet<&String> = old.into_iter().flatten().chain(new).collect();
            all.into_iter().cloned().collect()
        };
        let image = Image {
            tags: merge(previous.as_ref().map(|image| &image.tags), &new.tags),
            digests: merge(previous.as_ref().map(|image| &image.digests), &new.digests),
            pinned: new.pinned || previous.is_some_and(|image| image.pinned),
            id,
            size_bytes: new.size_bytes,
            config: new.config,
        };
        self.write(Record { image: image.clone(), layers: new.layers, last_used_s: now_s })?;
        self.take_tags(&image.id, &new.tags)?;
        Ok(image)
    }

    /// The image with this ID (with or without `sha256:`), name or digest.
    pub fn find(&self, name: &str) -> Option<&Record> {
        let by_id = self.images.get(name).or_else(|| self.images.get(&format!("sha256:{name}")));
        by_id.or_else(|| {
            let reference = Reference::parse(name).ok()?;
            let wanted = match &reference.digest {
                Some(digest) => reference.with_digest(digest),
                None => reference.tagged()?,
            };
            self.images
                .values()
                .find(|record| record.image.tags.contains(&wanted) || record.image.digests.contains(&wanted))
        })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.images.values()
    }

    /// Removes an image; its layers are somebody else's business.
    pub fn remove(&mut self, id: &str) -> Result<(), file::Error> {
        if self.images.remove(id).is_some() {
            remove_tree(&self.path(id))?;
            sync_directory(&self.directory)?;
        }
        Ok(())
    }

    /// Takes one name from an image; the image goes with its last name.
    pub fn remove_name(&mut self, id: &str, name: &str) -> Result<(), file::Error> {
        let Some(mut record) = self.images.get(id).cloned() else { return Ok(()) };
        record.image.tags.retain(|tag| tag != name);
        record.image.digests.retain(|digest| digest != name);
        if record.image.tags.is_empty() {
            return self.remove(id);
        }
        self.write(record)
    }

    /// Notes that an image is used. Written at most once a day, because only the order of
    /// garbage collection depends on it.
    pub fn touch(&mut self, id: &str, now_s: i64) -> Result<(), file::Error> {
        const GRANULARITY_S: i64 = 24 * 3600;
        let Some(record) = self.images.get_mut(id) else { return Ok(()) };
        let stale = now_s - record.last_used_s > GRANULARITY_S;
        record.last_used_s = now_s;
        if !stale {
            return Ok(());
        }
        let record = record.clone();
        self.write(record)
    }

    fn take_tags(&mut self, owner: &str, tags: &[String]) -> Result<(), file::Error> {
        let had = |record: &&Record| record.image.id != owner && record.image.tags.iter().any(|tag| tags.contains(tag));
        for mut record in self.images.values().filter(had).cloned().collect::<Vec<_>>() {
            record.image.tags.retain(|tag| !tags.contains(tag));
            self.write(record)?;
        }
        Ok(())
    }

    fn write(&mut self, record: Record) -> Result<(), file::Error> {
        let bytes = serde_json::to_vec(&record).expect("a record is plain data");
        file::write_atomic(&self.path(&record.image.id), &bytes, PUBLIC_MODE)?;
        self.images.insert(record.image.id.clone(), record);
        Ok(())
    }

    fn path(&self, id: &str) -> PathBuf {
        // An ID that is no digest has no file: "none" never exists.
        let hex = Digest::parse(id).map_or_else(|| "none".to_owned(), |digest| digest.hex().to_owned());
        self.directory.join(format!("{hex}.json"))
    }
}
