//! Cluster DNS, answered on every node: the Kubernetes DNS specification 1.1.0 from a small index of
//! Services, and everything else from the host's resolvers through a bounded cache. The node has the
//! DNS address on a device of its own, so pods, pods on the host's network and the host itself all
//! reach their own node, and no answer crosses the network. The index is on disk too: a node whose
//! server is away still knows the names it knew.

mod cache;
mod index;
mod resolver;
mod server;
#[cfg(test)]
mod tests;
mod upstream;
mod zone;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hickory_proto::rr::Name;
use ipnet::IpNet;
use tokio::time::Instant;

use self::{
    index::{Entry, Index, ServiceName},
    resolver::Resolver,
    upstream::Forwarder,
    zone::Zone,
};
pub use upstream::Upstreams;

use crate::{
    base::{file, lane::Lane, log::chain},
    client::{ObjectKey, informer::Informers, services::ServiceChanges},
};

/// How long further events are waited for before names change.
const COALESCE: Duration = Duration::from_millis(5);
/// How long after a change names are written to disk, with all that changed meanwhile.
const SAVE_DELAY: Duration = Duration::from_secs(5);
const INDEX_FILE: &str = "names.json";
const STATE_DIRECTORY_MODE: u32 = 0o700;

/// What cluster DNS is made from.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to answer, such as 10.43.0.10:53.
    pub listen: Vec<SocketAddr>,
    /// `cluster.local`
    pub cluster_domain: String,
    /// The networks of pods and services, whose reverse names are never asked of others.
    pub networks: Vec<IpNet>,
    /// Who is asked for everything else.
    pub upstreams: Upstreams,
    /// Where the index is kept (`<data-dir>/agent/net`).
    pub state_dir: PathBuf,
}

/// Why cluster DNS did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster domain is not a domain.
    #[error("{domain:?} is not a domain")]
    Domain {
        /// What was given.
        domain: String,
        /// Why it is none.
        #[source]
        source: hickory_proto::ProtoError,
    },
    /// The index on disk could not be read.
    #[error(transparent)]
    State(#[from] file::Error),
}

/// Starts to answer, with what is on disk until the first lists are there.
pub fn run(config: Config, informers: &Informers) -> Result<(), Error> {
    let domain = config.cluster_domain.trim_matches('.');
    let domain = Name::from_ascii(format!("{domain}."))
        .map_err(|source| Error::Domain { domain: config.cluster_domain.clone(), source })?;
    file::create_directory(&config.state_dir, STATE_DIRECTORY_MODE)?;
    let index = load(&config.state_dir)?;
    let own: Vec<IpAddr> = config.listen.iter().map(SocketAddr::ip).collect();
    let forwarder = Forwarder::new(config.upstreams, own);
    let resolver = Arc::new(Resolver::new(Zone::new(domain, config.networks), index, forwarder));
    for address in config.listen {
        server::start(informers.supervisor(), address, &resolver);
    }
    let changes = ServiceChanges::subscribe(informers);
    informers.supervisor().spawn("dns index", follow(changes, resolver, config.state_dir));
    Ok(())
}

/// Keeps the index equal to Services and EndpointSlices. Never returns.
async fn follow(changes: ServiceChanges, resolver: Arc<Resolver>, state_dir: PathBuf) {
    changes.synced().await;
    // Names on disk whose services are gone are only visible there.
    let known = resolver.index.read().names();
    changes.put_back(known.into_iter().map(|(namespace, name)| ObjectKey::new(namespace, name)));
    let lane = Lane::new(1);
    let mut save_at: Option<Instant> = None;
    loop {
        tokio::select! {
            () = changes.changed() => {}
            () = sleep_until(save_at) => {
                save_at = None;
                let (entries, directory) = (resolver.index.read().entries(), state_dir.clone());
                if let Err(error) = lane.run(move || save(&directory, &entries)).await {
                    tracing::warn!(error = chain(&error), "names could not be kept on disk");
                }
                continue;
            }
        }
        tokio::time::sleep(COALESCE).await;
        for key in changes.take() {
            let entry = changes.get(&key).and_then(|(service, slices)| index::entry(&service, &slices));
            if resolver.index.write().set((key.namespace, key.name), entry) {
                save_at.get_or_insert(Instant::now() + SAVE_DELAY);
            }
        }
    }
}

/// An unreadable file is as good as none: the API has everything that is in it.
fn load(directory: &Path) -> Result<Index, Error> {
    let bytes = file::read_optional(&directory.join(INDEX_FILE))?.unwrap_or_default();
    let entries: Vec<(ServiceName, Entry)> = serde_json::from_slice(&bytes).unwrap_or_default();
    let mut index = Index::default();
    for (name, entry) in entries {
        index.set(name, Some(entry));
    }
    Ok(index)
}

fn save(directory: &Path, entries: &[(ServiceName, Entry)]) -> Result<(), file::Error> {
    let bytes = serde_json::to_vec(entries).expect("entries have only string keys");
    file::write_atomic(&directory.join(INDEX_FILE), &bytes, file::SECRET_MODE)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
