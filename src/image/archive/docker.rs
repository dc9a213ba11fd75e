//! `docker save` archives: `manifest.json` lists configurations and layers by path.

use serde::Deserialize;

use super::{Archive, Error, Found};
use crate::image::{digest::Digest, manifest::Config};

pub(super) const MANIFEST: &str = "manifest.json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Item {
    pub(super) config: String,
    pub(super) repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// All images of the archive.
pub(super) fn images(archive: &Archive) -> Result<Vec<Found>, Error> {
    items(archive)?.into_iter().map(|item| image(archive, item)).collect()
}

pub(super) fn items(archive: &Archive) -> Result<Vec<Item>, Error> {
    archive.json(MANIFEST)
}

fn image(archive: &Archive, item: Item) -> Result<Found, Error> {
    let bytes = archive.document(&item.config)?;
    let id = Digest::of(&bytes);
    // The configuration is the root of trust for the layers; its name is its digest.
    if named_digest(&item.config).is_some_and(|named| named != id) {
        return Err(Error::Digest { entry: item.config, actual: id });
    }
    let layers = item.layers.unwrap_or_default();
    let config = Config::decode(&bytes, layers.len());
    let config = config.map_err(|source| Error::Manifest { entry: item.config, source })?;
    Ok(Found { id, config, layers, names: item.repo_tags.unwrap_or_default(), digest: None })
}

/// `<hex>.json`, or `blobs/sha256/<hex>` since Docker 25.
pub(super) fn named_digest(path: &str) -> Option<Digest> {
    let name = path.rsplit('/').next().unwrap_or(path);
    Digest::parse(&format!("sha256:{}", name.strip_suffix(".json").unwrap_or(name)))
}
