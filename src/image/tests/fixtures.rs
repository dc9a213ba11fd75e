//! Tiny images, archives of them, and stores to put them in.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;

use crate::{
    base::task::Supervisor,
    image::{ImageStore, Options, digest::Digest, registry},
    sys::mount::Recorder,
};

/// Unpacking sets owners and makes device nodes.
pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: unpacking layers needs root");
    }
    root
}

/// A store in a directory of its own.
pub struct Fixture {
    pub directory: tempfile::TempDir,
    pub store: ImageStore,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(registry::Config::default()).await
    }

    pub async fn with(registries: registry::Config) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory.path().join("image"), registries).await;
        Self { directory, store }
    }

    /// Files that are not part of a whole image.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let root = self.directory.path().join("image");
        let known = self.store.list();
        let mut left = list(&root.join("ingest"));
        if known.is_empty() {
            left.extend(list(&root.join("layers")));
            left.extend(list(&root.join("images")));
        }
        left
    }
}

pub async fn open(root: &Path, registries: registry::Config) -> ImageStore {
    let mounts = Arc::new(Recorder::default());
    let supervisor = Supervisor::new();
    ImageStore::open(Options { root: root.to_owned(), registries, mounts, supervisor }).await.unwrap()
}

fn list(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// A layer with these files.
pub fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, path, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hello"], "User": "1000"},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string().into_bytes()
}

/// What `docker save` wrote before version 25.
pub fn docker_archive(tag: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let config = config(layers);
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let names: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = json!([{"Config": config_name, "RepoTags": [tag], "Layers": names}]).to_string();
    let mut files: Vec<(&str, &[u8])> = vec![(&config_name, &config)];
    files.extend(names.iter().map(String::as_str).zip(layers.iter().map(Vec::as_slice)));
    files.push(("manifest.json", manifest.as_bytes()));
    layer(&files)
}

/// An image as a registry or an OCI layout has it.
pub struct OciImage {
    pub blobs: Vec<(Digest, Vec<u8>)>,
    pub manifest: Vec<u8>,
}

pub fn oci_image(layers: &[Vec<u8>]) -> OciImage {
    let config = config(layers);
    let mut blobs: Vec<(Digest, Vec<u8>)> =
        layers.iter().map(|layer| gzip(layer)).map(|blob| (Digest::of(&blob), blob)).collect();
    let descriptor = |(digest, blob): &(Digest, Vec<u8>), media_type: &str| json!({"mediaType": media_type, "digest": digest.to_string(), "size": blob.len()});
    let layers: Vec<_> =
        blobs.iter().map(|blob| descriptor(blob, "application/vnd.oci.image.layer.v1.tar+gzip")).collect();
    let config = (Digest::of(&config), config);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(&config, "application/vnd.oci.image.config.v1+json"), "layers": layers,
    });
    blobs.push(config);
    OciImage { blobs, manifest: manifest.to_string().into_bytes() }
}

/// An OCI layout in a tar archive.
pub fn oci_archive(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let OciImage { mut blobs, manifest } = oci_image(layers);
    let digest = Digest::of(&manifest);
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.to_string(), "size": manifest.len(),
        "annotations": {"org.opencontainers.image.ref.name": name},
    }]});
    blobs.push((digest, manifest));
    let names: Vec<String> = blobs.iter().map(|(digest, _)| format!("blobs/sha256/{}", digest.hex())).collect();
    let mut files: Vec<(&str, &[u8])> = vec![("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)];
    let index = index.to_string();
    files.push(("index.json", index.as_bytes()));
    files.extend(names.iter().map(String::as_str).zip(blobs.iter().map(|(_, blob)| blob.as_slice())));
    layer(&files)
}
