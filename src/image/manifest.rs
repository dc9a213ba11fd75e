//! Manifests and configurations, as OCI and Docker write them (OCI image specification; Docker
//! image manifest version 2, schema 2). Everything is decoded from bytes whose digest was checked.

use oci_spec::image::{ImageIndex, ImageManifest};
use serde::{Deserialize, Deserializer};

use super::{RunConfig, digest::Digest};

/// Media types of manifests, for `Accept`.
pub const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// Most bytes of a manifest, index or configuration. The distribution specification wants
/// registries to take manifests of at least 4 MiB.
pub const DOCUMENT_LIMIT_BYTES: u64 = 8 * 1024 * 1024;

/// Most layers; overlayfs takes 500, Docker makes 127.
const LAYER_LIMIT: usize = 500;

/// What is wrong with a manifest or configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the JSON it should be.
    #[error("invalid {what}")]
    Json {
        /// `manifest`, `index` or `configuration`.
        what: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A format of before 2016.
    #[error("manifest schema version 1 is not supported")]
    SchemaVersion1,
    /// The configuration does not describe the layers that the manifest lists.
    #[error("the manifest lists {layers} layers, the configuration {diff_ids}")]
    LayerCount {
        /// Layers of the manifest.
        layers: usize,
        /// Layers of the configuration.
        diff_ids: usize,
    },
    /// More layers than overlayfs can mount.
    #[error("more than {LAYER_LIMIT} layers")]
    TooManyLayers,
    /// A digest of another algorithm than SHA-256.
    #[error("unsupported digest \"{0}\"")]
    Digest(String),
}

/// A manifest, or an index of several.
#[derive(Debug)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// One image per platform.
    Index(Box<ImageIndex>),
}

/// A blob that a manifest points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Number of its bytes.
    pub size_bytes: u64,
}

/// What is needed of an image's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The configuration.
    pub config: Blob,
    /// The layers, the lowest first.
    pub layers: Vec<Blob>,
}

/// What is needed of an image's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Digests of the uncompressed layers, the lowest first.
    pub diff_ids: Vec<Digest>,
    /// How the image is run.
    pub run: RunConfig,
}

impl Document {
    /// Decodes a manifest or index. Media types are not trusted: an index is what has `manifests`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape {
            #[serde(default)]
            schema_version: u32,
            manifests: Option<serde::de::IgnoredAny>,
        }
        let shape: Shape = serde_json::from_slice(bytes).map_err(json("manifest"))?;
        if shape.schema_version == 1 {
            return Err(Error::SchemaVersion1);
        }
        if shape.manifests.is_some() {
            return Ok(Self::Index(serde_json::from_slice(bytes).map_err(json("index"))?));
        }
        let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(json("manifest"))?;
        Manifest::from_oci(&manifest).map(Self::Manifest)
    }
}

impl Manifest {
    fn from_oci(manifest: &ImageManifest) -> Result<Self, Error> {
        if manifest.layers().len() > LAYER_LIMIT {
            return Err(Error::TooManyLayers);
        }
        let layers = manifest.layers().iter().map(Blob::from_oci).collect::<Result<_, _>>()?;
        Ok(Self { config: Blob::from_oci(manifest.config())?, layers })
    }
}

impl Blob {
    /// From a descriptor.
    pub fn from_oci(descriptor: &oci_spec::image::Descriptor) -> Result<Self, Error> {
        let digest = descriptor.digest().to_string();
        let digest = Digest::parse(&digest).ok_or(Error::Digest(digest))?;
        Ok(Self { digest, size_bytes: descriptor.size() })
    }
}

impl Config {
    /// Decodes a configuration that describes `layers` layers.
    pub fn decode(bytes: &[u8], layers: usize) -> Result<Self, Error> {
        let file: ConfigFile = serde_json::from_slice(bytes).map_err(json("configuration"))?;
        let diff_ids = file.rootfs.diff_ids;
        if diff_ids.len() != layers {
            return Err(Error::LayerCount { layers, diff_ids: diff_ids.len() });
        }
        Ok(Self { diff_ids, run: file.config.into() })
    }
}

fn json(what: &'static str) -> impl Fn(serde_json::Error) -> Error {
    move |source| Error::Json { what, source }
}

/// Docker writes `null` where OCI leaves a field out.
#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default, deserialize_with = "null_is_default")]
    config: RunSection,
    #[serde(default, deserialize_with = "null_is_default")]
    rootfs: RootfsSection,
}

#[derive(Default, Deserialize)]
struct RootfsSection {
    #[serde(default, deserialize_with = "null_is_default")]
    diff_ids: Vec<Digest>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RunSection {
    #[serde(default, deserialize_with = "null_is_default")]
    env: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    entrypoint: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    cmd: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    working_dir: String,
    #[serde(default, deserialize_with = "null_is_default")]
    user: String,
    #[serde(default, deserialize_with = "null_is_default")]
    stop_signal: String,
    #[serde(default, deserialize_with = "null_is_default")]
    volumes: std::collections::BTreeMap<String, serde::de::IgnoredAny>,
}

impl From<RunSection> for RunConfig {
    fn from(section: RunSection) -> Self {
        Self {
            env: section.env,
            entrypoint: section.entrypoint,
            command: section.cmd,
            working_directory: section.working_dir,
            user: section.user,
            stop_signal: section.stop_signal,
            volumes: section.volumes.into_keys().collect(),
        }
    }
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(input: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_nulls_are_nothing() {
        let bytes =
            br#"{"config":{"Env":null,"Cmd":["sh"],"Volumes":{"/data":{}},"User":null},"rootfs":{"diff_ids":null}}"#;
        let config = Config::decode(bytes, 0).unwrap();
        assert_eq!(config.run.command, ["sh"]);
        assert_eq!(config.run.volumes, ["/data"]);
    }

    #[test]
    fn a_configuration_for_other_layers_is_refused() {
        let error = Config::decode(br#"{"rootfs":{"diff_ids":[]}}"#, 2).unwrap_err();
        assert_eq!(error.to_string(), "the manifest lists 2 layers, the configuration 0");
    }

    #[test]
    fn what_is_no_manifest_says_so() {
        assert!(matches!(Document::decode(b"{\"schemaVersion\":1}"), Err(Error::SchemaVersion1)));
        assert!(matches!(Document::decode(b"<html>"), Err(Error::Json { .. })));
    }
}
