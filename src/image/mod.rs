//! Images: pulled from registries or imported from archives, layers stored once, mounted as overlay.
//! Knows OCI and Docker formats, not Kubernetes.

use std::path::PathBuf;

pub mod archive;
pub mod compression;
pub mod digest;
mod error;
pub mod garbage;
mod import;
mod layers;
pub mod manifest;
pub mod platform;
mod pull;
mod records;
pub mod reference;
pub mod registry;
mod snapshot;
mod store;
pub mod tar;
pub mod tree;
pub mod unpack;
pub mod user;

#[cfg(test)]
mod tests;

pub use error::{Error, Kind, LayerError};
pub use store::{ImageStore, Options};

/// What an image says about how it is run (OCI image configuration, "config").
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RunConfig {
    /// `KEY=value`.
    pub env: Vec<String>,
    /// First part of the command line.
    pub entrypoint: Vec<String>,
    /// Second part of the command line, replaced by a container's arguments.
    pub command: Vec<String>,
    /// Working directory; empty for `/`.
    pub working_directory: String,
    /// `user[:group]`, by name or number; empty for root.
    pub user: String,
    /// Signal that ends the container, such as `SIGQUIT`; empty for SIGTERM.
    pub stop_signal: String,
    /// Paths that the image declares as volumes.
    pub volumes: Vec<String>,
}

/// An image that is here whole.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Image {
    /// Digest of its configuration, `sha256:…`: the image ID.
    pub id: String,
    /// Fully qualified names with a tag (`docker.io/library/nginx:1.27`).
    pub tags: Vec<String>,
    /// Fully qualified names with a manifest digest (`docker.io/library/nginx@sha256:…`).
    pub digests: Vec<String>,
    /// Bytes on disk of all its layers, unpacked.
    pub size_bytes: u64,
    /// How it is run.
    pub config: RunConfig,
    /// Whether it was imported from a file, and so is never garbage-collected.
    pub pinned: bool,
}

/// Credentials for a registry, from an image pull secret or `registries.yaml`.
#[derive(Clone, Default)]
pub struct Credential {
    /// The registry host, optionally with a port and a path prefix, as in `.dockerconfigjson`.
    pub registry: String,
    /// User name.
    pub username: String,
    /// Password or token. Never logged.
    pub password: String,
    /// Identity token for OAuth2, instead of a password.
    pub identity_token: String,
}

/// The root file system of one container: an overlay mount over an image's layers.
#[derive(Debug, Clone)]
pub struct Rootfs {
    /// Where it is mounted.
    pub path: PathBuf,
}
