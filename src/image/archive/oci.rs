//! OCI image layouts (OCI image specification, "Image Layout"): `index.json` and `blobs/sha256/`.

use oci_spec::image::{Descriptor, ImageIndex};

use super::{Archive, Error, Found, docker};
use crate::image::{
    digest::Digest,
    manifest::{Blob, Config, Document, Manifest},
    platform::Platform,
};

pub(super) const INDEX: &str = "index.json";
/// The whole name, as containerd and Docker write it.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// A tag or a whole name (OCI image specification, "Annotations").
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const INDEX_DEPTH: usize = 3;

/// The images of the archive that run on this machine.
pub(super) fn images(archive: &Archive, stem: &str) -> Result<Vec<Found>, Error> {
    let index: ImageIndex = archive.json(INDEX)?;
    let platform = Platform::current();
    let runs_here = |descriptor: &&Descriptor| descriptor.platform().is_none() || platform.runs(descriptor);
    let mut found = Vec::new();
    for descriptor in index.manifests().iter().filter(runs_here) {
        if let Some(manifest) = resolve(archive, descriptor, &platform)? {
            found.push(image(archive, descriptor, &manifest, stem)?);
        }
    }
    if found.is_empty() {
        return Err(Error::Platform { platform: platform.name() });
    }
    Ok(found)
}

/// The manifest behind a descriptor; `None` for an index without one for this machine.
fn resolve(archive: &Archive, descriptor: &Descriptor, platform: &Platform) -> Result<Option<Manifest>, Error> {
    let mut descriptor = descriptor.clone();
    for _ in 0..INDEX_DEPTH {
        let blob = blob_of(&descriptor, INDEX)?;
        let bytes = document(archive, &blob)?;
        let invalid = |source| Error::Manifest { entry: entry_of(&blob.digest), source };
        match Document::decode(&bytes).map_err(invalid)? {
            Document::Manifest(manifest) => return Ok(Some(manifest)),
            Document::Index(index) => match platform.select(&index) {
                Some(chosen) => descriptor = chosen.clone(),
                None => return Ok(None),
            },
        }
    }
    Ok(None)
}

fn image(archive: &Archive, descriptor: &Descriptor, manifest: &Manifest, stem: &str) -> Result<Found, Error> {
    let bytes = document(archive, &manifest.config)?;
    let config = Config::decode(&bytes, manifest.layers.len());
    let config = config.map_err(|source| Error::Manifest { entry: entry_of(&manifest.config.digest), source })?;
    for layer in &manifest.layers {
        check_size(archive, layer)?;
    }
    let id = manifest.config.digest.clone();
    let mut names: Vec<String> = name_of(descriptor, stem).into_iter().collect();
    if names.is_empty() {
        names = docker_names(archive, &id);
    }
    let layers = manifest.layers.iter().map(|layer| entry_of(&layer.digest)).collect();
    Ok(Found { id, config, layers, names, digest: Some(blob_of(descriptor, INDEX)?.digest) })
}

/// Whole names come as they are; a tag alone is a tag of the archive's own name.
fn name_of(descriptor: &Descriptor, stem: &str) -> Option<String> {
    let annotations = descriptor.annotations().as_ref()?;
    if let Some(name) = annotations.get(CONTAINERD_NAME) {
        return Some(name.clone());
    }
    let name = annotations.get(REF_NAME)?;
    Some(if name.contains(['/', ':']) { name.clone() } else { format!("{stem}:{name}") })
}

/// `docker save` writes both formats, and tags only in its own.
fn docker_names(archive: &Archive, id: &Digest) -> Vec<String> {
    let items = docker::items(archive).unwrap_or_default();
    let same = items.into_iter().filter(|item| docker::named_digest(&item.config).as_ref() == Some(id));
    same.flat_map(|item| item.repo_tags.unwrap_or_default()).collect()
}

fn document(archive: &Archive, blob: &Blob) -> Result<Vec<u8>, Error> {
    check_size(archive, blob)?;
    let entry = entry_of(&blob.digest);
    let bytes = archive.document(&entry)?;
    let actual = Digest::of(&bytes);
    if actual == blob.digest { Ok(bytes) } else { Err(Error::Digest { entry, actual }) }
}

fn check_size(archive: &Archive, blob: &Blob) -> Result<(), Error> {
    let entry = entry_of(&blob.digest);
    let actual_bytes = archive.section(&entry)?.remaining();
    if actual_bytes == blob.size_bytes {
        return Ok(());
    }
    Err(Error::Size { entry, expected_bytes: blob.size_bytes, actual_bytes })
}

fn blob_of(descriptor: &Descriptor, entry: &str) -> Result<Blob, Error> {
    Blob::from_oci(descriptor).map_err(|source| Error::Manifest { entry: entry.to_owned(), source })
}

fn entry_of(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
