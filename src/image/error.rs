//! What goes wrong with images. [`Error::kind`] sorts it into what a kubelet tells its users apart.

use std::{io, path::PathBuf};

use super::{archive, digest::Digest, reference, registry, unpack};
use crate::base::file;

/// What went wrong. Printed with its sources it reads as containerd's messages do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is not an image name.
    #[error(transparent)]
    InvalidName(#[from] reference::Invalid),
    /// A pull failed.
    #[error("failed to pull and unpack image \"{reference}\"")]
    Pull {
        /// The normalised name.
        reference: String,
        /// What the registry, or a layer of it, did.
        #[source]
        source: Box<registry::Error>,
    },
    /// An archive cannot be imported.
    #[error("failed to import {}", path.display())]
    Import {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<archive::Error>,
    },
    /// There is no such image here.
    #[error("image \"{name}\" not found")]
    NotFound {
        /// What was asked for.
        name: String,
    },
    /// A container uses the image.
    #[error("image \"{name}\" is in use by container {container}")]
    InUse {
        /// What was asked for.
        name: String,
        /// One of the containers.
        container: String,
    },
    /// A container's root file system cannot be made or removed.
    #[error("failed to {action} the root file system of container {container}")]
    Rootfs {
        /// `mount` or `unmount`, `create` or `remove`.
        action: &'static str,
        /// The container's ID.
        container: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store's own files failed.
    #[error("image store")]
    File(#[from] file::Error),
}

/// A layer that cannot be added to the store.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// It cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] unpack::Error),
    /// It is not what the image's configuration says it is.
    #[error("the unpacked layer has digest {actual}, expected {expected}")]
    Mismatch {
        /// From the configuration's `rootfs.diff_ids`.
        expected: Digest,
        /// What its bytes give.
        actual: Digest,
    },
    /// Reading it failed.
    #[error("the layer cannot be read")]
    Read(#[source] io::Error),
    /// The store's own files failed.
    #[error("image store")]
    File(#[from] file::Error),
}

/// What a kubelet tells its users apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `InvalidImageName`.
    InvalidName,
    /// The registry does not have it (`ErrImagePull`).
    NotFound,
    /// The registry does not give it to us (`ErrImagePull`).
    Unauthorized,
    /// The registry cannot be reached or is out of order (`RegistryUnavailable`).
    Unavailable,
    /// What came is not what was announced, or is damaged (`ErrImagePull`).
    Corrupt,
    /// This machine's trouble: disk, mounts.
    Local,
}

impl Error {
    /// Sorts the error.
    pub fn kind(&self) -> Kind {
        match self {
            Self::InvalidName(_) => Kind::InvalidName,
            Self::NotFound { .. } => Kind::NotFound,
            Self::Pull { source, .. } => source.kind(),
            Self::Import { source, .. } => source.kind(),
            Self::InUse { .. } | Self::Rootfs { .. } | Self::File(_) => Kind::Local,
        }
    }
}

impl LayerError {
    /// Sorts the error.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unpack(unpack::Error::Create { .. }) | Self::File(_) => Kind::Local,
            Self::Unpack(_) | Self::Mismatch { .. } | Self::Read(_) => Kind::Corrupt,
        }
    }
}
