//! Certificates and tokens: the authorities of a cluster, what they sign, the join token and the
//! service-account signing key.
//!
//! There are three authorities, as k3s has them, so that trust in one direction never implies trust
//! in another: the *server* authority signs what servers and kubelets show, the *client* authority
//! signs who may ask, the *request-header* authority signs the aggregating proxy. All keys are
//! ECDSA P-256. Owned on disk: `<data-dir>/server/tls`, `<data-dir>/server/token`,
//! `<data-dir>/agent/tls`.

use std::path::PathBuf;

pub mod agent;
pub mod authority;
pub mod certify;
mod der;
pub mod identity;
pub mod join;
pub mod jwt;
pub mod kubeconfig;
pub mod server;
pub mod serving;
pub mod signing;
pub mod tls;
pub mod token;

pub use server::Server;

/// Why a key, certificate or token could not be made, read or trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("keep keys and certificates")]
    File(#[from] crate::base::file::Error),
    /// A file is there but is not what it should be.
    #[error("{} is not a valid {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A certificate or request could not be made.
    #[error("make {what}")]
    Certificate {
        /// What was being made.
        what: String,
        /// Why it failed.
        #[source]
        source: rcgen::Error,
    },
    /// A signing request was not signed with the key it is for.
    #[error("unable to verify certificate request signature")]
    RequestSignature,
    /// An authority cannot sign any more.
    #[error("the signer has expired")]
    AuthorityExpired,
    /// Usages of a certificate that nobody knows.
    #[error("unrecognized usage values: {0:?}")]
    Usages(Vec<String>),
    /// A certificate could not be parsed.
    #[error("parse {0}")]
    Parse(&'static str),
    /// TLS does not accept the keys and certificates it was given.
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
    /// A set of trusted authorities cannot be used to verify clients.
    #[error("set up verification of client certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The join token has the wrong form.
    #[error("the token must be K10<CA hash>::<user>:<secret> or the secret alone")]
    TokenForm,
    /// The token names another authority than the one the server shows.
    #[error("the server's CA does not match the hash in the token")]
    TokenAuthority,
    /// A signed token is malformed or its signature is wrong.
    #[error("{0}")]
    Jwt(&'static str),
    /// The random number generator failed.
    #[error("draw random numbers")]
    Random,
}
