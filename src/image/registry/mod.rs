//! Pulling from registries (OCI distribution specification; Docker registry HTTP API v2).
//!
//! The exchange is written on the project's own HTTP client rather than on a registry client
//! library, for what an edge box needs and those lack: client certificates, credentials that are
//! never shared between pulls, bounded manifests, resumable blobs, and trust on a machine without
//! installed certificate authorities.

mod blob;
mod challenge;
pub mod config;
mod credential;
mod error;
mod session;
mod tls;

pub use blob::download;
pub use config::Config;
pub use error::Error;
pub use session::Session;
use tokio::sync::Semaphore;

use self::config::Endpoint;
use super::{Credential, reference::Reference};
use crate::base::{lane::Lane, task::Supervisor};

/// Blobs that are downloaded at once, by all pulls together.
const DOWNLOADS: usize = 6;

/// All registries, as they are configured.
pub struct Registries {
    config: Config,
    lane: Lane,
    supervisor: Supervisor,
    /// One permit per blob that is being downloaded.
    pub downloads: Semaphore,
}

impl Registries {
    /// Registries under this configuration; their connections run under `supervisor`, and files
    /// are read on `lane`.
    pub fn new(config: Config, lane: Lane, supervisor: Supervisor) -> Self {
        Self { config, lane, supervisor, downloads: Semaphore::new(DOWNLOADS) }
    }

    /// The ways to ask for an image, in the order they are to be tried: each endpoint with each
    /// credential that is meant for it. A credential is never shown to another host than its own.
    pub fn sessions(&self, reference: &Reference, credentials: &[Credential]) -> Vec<Session> {
        let mut sessions = Vec::new();
        for endpoint in self.config.endpoints(reference) {
            for credential in self.credentials_for(reference, &endpoint, credentials) {
                let machinery = (self.config.clone(), self.lane.clone(), self.supervisor.clone());
                sessions.push(Session::new(endpoint.clone(), credential, machinery));
            }
        }
        sessions
    }

    /// Those of the pull secrets that fit, else that of `registries.yaml`, else none.
    fn credentials_for(
        &self,
        reference: &Reference,
        endpoint: &Endpoint,
        credentials: &[Credential],
    ) -> Vec<Option<Credential>> {
        let fitting = credential::fitting(credentials, &endpoint.host, &endpoint.repository);
        if !fitting.is_empty() {
            return fitting.into_iter().map(Some).collect();
        }
        let name = if endpoint.mirror_of.is_none() { &reference.domain } else { &endpoint.host };
        vec![self.config.host(&endpoint.host).auth.map(|auth| credential::from_config(name, auth))]
    }
}
