//! What goes wrong with registries, in containerd's wording where people have seen it there.

use std::io;

use super::super::{
    digest::Digest,
    error::{Kind, LayerError},
    manifest,
};
use crate::{base::file, http::client};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest could not be had.
    #[error("failed to resolve reference \"{reference}\"")]
    Resolve {
        /// The image's normalised name.
        reference: String,
        /// Why.
        #[source]
        source: Box<Self>,
    },
    /// The registry does not have it.
    #[error("{what}: not found")]
    NotFound {
        /// The image's name, or a blob's digest.
        what: String,
    },
    /// The registry wants other credentials.
    #[error("pull access denied, repository does not exist or may require authorization: {message}")]
    Denied {
        /// What it said.
        message: String,
    },
    /// No answer.
    #[error("failed to do request: {method} \"{url}\"")]
    Request {
        /// `Get` or `Head`.
        method: &'static str,
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: Transport,
    },
    /// An answer that is no success.
    #[error("unexpected status from {method} request to {url}: {status}{message}")]
    Status {
        /// `GET` or `POST`.
        method: &'static str,
        /// What was asked for.
        url: String,
        /// The answer.
        status: http::StatusCode,
        /// What the registry said beside, after a colon, or nothing.
        message: String,
    },
    /// An answer that makes no sense.
    #[error("invalid response from {url}: {problem}")]
    Invalid {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Not the bytes that were asked for.
    #[error("unexpected digest {actual}, expected {expected}")]
    Digest {
        /// From the manifest or name.
        expected: Digest,
        /// Of what came.
        actual: Digest,
    },
    /// More or fewer bytes than announced.
    #[error("blob {digest} has another size than the {expected_bytes} bytes of its descriptor")]
    Size {
        /// The blob.
        digest: Digest,
        /// From the manifest.
        expected_bytes: u64,
    },
    /// A manifest or configuration that cannot be used.
    #[error("failed to read manifest {digest}")]
    Manifest {
        /// Its digest.
        digest: Digest,
        /// Why.
        #[source]
        source: manifest::Error,
    },
    /// The image is not made for this machine.
    #[error("no match for platform {platform} in manifest: not found")]
    Platform {
        /// `linux/arm64`.
        platform: String,
    },
    /// A layer that cannot be added to the store.
    #[error("failed to extract layer {digest}")]
    Layer {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// The store's own files failed.
    #[error("image store")]
    File(#[from] file::Error),
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum Transport {
    /// No connection. Go programs say it so, and so do people who search for it.
    #[error("dial tcp {target}")]
    Dial {
        /// Host and port.
        target: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The registry did not prove who it is.
    #[error("tls: handshake with {target}")]
    Tls {
        /// Host and port.
        target: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// TLS is not configured right.
    #[error("tls: configuration")]
    TlsConfig(#[source] io::Error),
    /// The body is longer than it may be.
    #[error("the body is too large")]
    Oversized,
    /// Too slow.
    #[error("i/o timeout")]
    Timeout,
    /// The exchange broke off.
    #[error("exchange")]
    Exchange(#[source] client::Error),
    /// The body broke off.
    #[error("read the body")]
    Body(#[source] crate::http::body::BoxError),
}

impl Error {
    /// Whether the exchange began and then broke off: asking again at once is likely to help.
    pub fn broke_off(&self) -> bool {
        matches!(self, Self::Request { source: Transport::Exchange(_) | Transport::Body(_), .. })
    }

    /// Sorts the error.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Resolve { source, .. } => source.kind(),
            Self::NotFound { .. } | Self::Platform { .. } => Kind::NotFound,
            Self::Denied { .. } => Kind::Unauthorized,
            Self::Request { source: Transport::TlsConfig(_), .. } | Self::File(_) => Kind::Local,
            Self::Request { source: Transport::Oversized, .. } => Kind::Corrupt,
            Self::Request { .. } => Kind::Unavailable,
            Self::Status { status, .. } if status.is_server_error() || status.as_u16() == 429 => Kind::Unavailable,
            Self::Status { .. } | Self::Invalid { .. } => Kind::Corrupt,
            Self::Digest { .. } | Self::Size { .. } | Self::Manifest { .. } => Kind::Corrupt,
            Self::Layer { source, .. } => source.kind(),
        }
    }
}
