//! The image store: what is here, and root file systems made of it. It owns its directory:
//!
//! - `images/<id>.json` one file per image
//! - `layers/<diff ID>/` unpacked layers
//! - `ingest/` what is being written; emptied at start
//! - `containers/<ID>/{upper,work,merged}` the root file systems of containers

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    Image, Rootfs,
    digest::Digest,
    error::Error,
    garbage::Leases,
    layers::Layers,
    pull::Turns,
    records::{NewImage, Record, Records},
    reference::Reference,
    registry,
    snapshot::Snapshots,
};
use crate::{
    base::{file, lane::Lane, task::Supervisor},
    sys::mount::Mounts,
};

/// Layers that are unpacked, and root file systems that are made, at once.
const LANE_WIDTH: usize = 4;

/// How a store is opened.
pub struct Options {
    /// The store's directory (`<data-dir>/agent/image`).
    pub root: PathBuf,
    /// Mirrors, credentials and TLS of registries.
    pub registries: registry::Config,
    /// What mounts.
    pub mounts: Arc<dyn Mounts>,
    /// Runs the connections to registries.
    pub supervisor: Supervisor,
}

/// All images of this node. Cheap to clone.
#[derive(Clone)]
pub struct ImageStore {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) layers: Layers,
    pub(super) records: Mutex<Records>,
    pub(super) snapshots: Snapshots,
    pub(super) leases: Leases,
    pub(super) turns: Turns,
    pub(super) lane: Lane,
    pub(super) registries: registry::Registries,
    pub(super) root: PathBuf,
}

impl ImageStore {
    /// Opens a store and drops whatever a crash or power cut left half-written.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let lane = Lane::new(LANE_WIDTH);
        let opening = lane.clone();
        let inner = lane.run(move || Inner::open(options, opening)).await?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The image with this name (tag or digest) or ID, if it is here.
    pub fn get(&self, name: &str) -> Option<Image> {
        self.inner.records.lock().find(name).map(|record| record.image.clone())
    }

    /// All images, by ID.
    pub fn list(&self) -> Vec<Image> {
        self.inner.records.lock().iter().map(|record| record.image.clone()).collect()
    }

    /// Removes a name, and with its last name, or by its ID, the image with the layers that no
    /// other image has. Fails while a container uses the image.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        let (store, name) = (self.clone(), name.to_owned());
        self.inner.lane.run(move || store.inner.remove(&name)).await
    }

    /// Makes a container's root file system: an overlay of the image's layers and a directory that
    /// takes the container's changes. One that is mounted already is given back as it is.
    pub async fn prepare(&self, image: &Image, container: &str) -> Result<Rootfs, Error> {
        let (inner, id, container) = (self.inner.clone(), image.id.clone(), container.to_owned());
        self.inner.lane.run(move || inner.prepare(&id, &container)).await
    }

    /// Unmounts and removes a container's root file system; one that is gone is fine.
    pub async fn release(&self, container: &str) -> Result<(), Error> {
        let (inner, container) = (self.inner.clone(), container.to_owned());
        self.inner.lane.run(move || inner.snapshots.remove(&container)).await
    }

    /// Finds the containers whose root file systems are still mounted, and forgets those that
    /// a reboot has unmounted. To be called once, before the first [`ImageStore::prepare`].
    pub async fn recover(&self) -> Result<Vec<String>, Error> {
        let inner = self.inner.clone();
        self.inner.lane.run(move || inner.snapshots.recover()).await
    }

    /// Bytes of a container's own changes to its root file system, for statistics and eviction.
    pub async fn writable_bytes(&self, container: &str) -> u64 {
        let (inner, container) = (self.inner.clone(), container.to_owned());
        self.inner.lane.run(move || inner.snapshots.writable_bytes(&container)).await
    }

    /// The store's directory, whose file system is the node's image file system.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Makes an image visible whose layers are here.
    pub(super) async fn publish(&self, new: NewImage) -> Result<Image, file::Error> {
        let inner = self.inner.clone();
        self.inner.lane.run(move || inner.records.lock().add(new, now_s())).await
    }
}

impl Inner {
    fn open(options: Options, lane: Lane) -> Result<Self, Error> {
        let Options { root, registries, mounts, supervisor } = options;
        let layers = Layers::open(&root)?;
        let whole = |record: &Record| record.layers.iter().all(|layer| layers.contains(layer));
        let records = Records::open(&root, whole)?;
        let inner = Self {
            records: Mutex::new(records),
            snapshots: Snapshots::open(&root, mounts)?,
            leases: Leases::default(),
            turns: Turns::default(),
            registries: registry::Registries::new(registries, lane.clone(), supervisor),
            layers,
            lane,
            root,
        };
        inner.remove_unused_layers()?;
        Ok(inner)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let mut records = self.records.lock();
        let found = records.find(name).map(|record| record.image.clone());
        let image = found.ok_or_else(|| Error::NotFound { name: name.to_owned() })?;
        let reference = Reference::parse(name).ok();
        let names = reference.map(|reference| match &reference.digest {
            Some(digest) => reference.with_digest(digest),
            None => reference.to_string(),
        });
        let known = names.filter(|name| image.tags.contains(name) || image.digests.contains(name));
        let by_one_of_several = known.filter(|_| image.tags.len() > 1);
        match by_one_of_several {
            Some(tag) => records.remove_name(&image.id, &tag)?,
            None => {
                if let Some(container) = self.snapshots.user_of(&image.id) {
                    return Err(Error::InUse { name: name.to_owned(), container });
                }
                records.remove(&image.id)?;
            }
        }
        drop(records);
        Ok(self.remove_unused_layers()?)
    }

    fn prepare(&self, id: &str, container: &str) -> Result<Rootfs, Error> {
        let layers: Vec<Digest> = {
            let mut records = self.records.lock();
            let record = records.find(id).ok_or_else(|| Error::NotFound { name: id.to_owned() })?;
            let layers = record.layers.clone();
            // Noted as used before the lock is given back: nobody collects the image in between.
            self.snapshots.reserve(container, id);
            records.touch(id, now_s())?;
            layers
        };
        let lower = layers.iter().rev().map(|layer| self.layers.directory().join(Layers::relative_path(layer)));
        self.snapshots.create(container, id, lower.collect())
    }
}

/// Images by the containers that were made of them.
pub(super) type Users = HashMap<String, String>;

/// Seconds since the epoch.
pub(super) fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}
