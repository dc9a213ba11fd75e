//! The service proxy: watches Services and EndpointSlices and keeps the node's packet program equal
//! to them. A watch event only names a service; what it needs is computed from the informers when
//! its turn comes, so a burst of events is one batch. What was installed last is on disk: a node that
//! starts while its server is away serves what it knew until the first list is there.

mod peers;
mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    base::{backoff::Backoff, log::chain},
    client::{ObjectKey, informer::Informers, services::ServiceChanges},
    net::{self, NodeNetwork, services::ServicePort},
};

/// How long further events are waited for before a batch is made.
const COALESCE: Duration = Duration::from_millis(5);
/// How long a change of services may wait before it is written to disk, with all that follow.
const SAVE_DELAY: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LIMIT: Duration = Duration::from_secs(30);

/// Starts the service proxy and the overlay's upkeep for the node called `node_name`.
pub fn run(informers: &Informers, network: NodeNetwork, node_name: &str) {
    let supervisor = informers.supervisor();
    supervisor.spawn("overlay peers", peers::run(informers.clone(), network.clone(), node_name.to_owned()));
    let changes = ServiceChanges::subscribe(informers);
    let proxy = Proxy { changes, network, node_name: node_name.to_owned(), installed: BTreeMap::new() };
    supervisor.spawn("service proxy", proxy.run());
}

struct Proxy {
    changes: ServiceChanges,
    network: NodeNetwork,
    node_name: String,
    /// The names of each service's ports in the packet program.
    installed: BTreeMap<ObjectKey, BTreeSet<String>>,
}

impl Proxy {
    async fn run(mut self) {
        self.changes.synced().await;
        // Services that went while nobody watched are only visible in what is installed.
        for name in self.network.services().into_keys() {
            self.installed.entry(service_of(&name)).or_default().insert(name);
        }
        self.changes.put_back(self.installed.keys().cloned());
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LIMIT);
        let mut save_at: Option<Instant> = None;
        loop {
            tokio::select! {
                () = self.changes.changed() => {}
                () = sleep_until(save_at) => {
                    save_at = None;
                    self.save().await;
                    continue;
                }
            }
            tokio::time::sleep(COALESCE).await;
            let keys = self.changes.take();
            match self.reconcile(&keys).await {
                Ok(changed) => {
                    backoff.reset();
                    if changed {
                        // Not put off by later changes: a node that reboots must know its services.
                        save_at.get_or_insert(Instant::now() + SAVE_DELAY);
                    }
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "services could not be programmed, trying again");
                    tokio::time::sleep(backoff.next_delay()).await;
                    self.changes.put_back(keys);
                }
            }
        }
    }

    /// Installs what these services need now; says whether anything was different.
    async fn reconcile(&mut self, keys: &BTreeSet<ObjectKey>) -> Result<bool, net::Error> {
        let mut changes: BTreeMap<String, Option<ServicePort>> = BTreeMap::new();
        let mut names = Vec::new();
        for key in keys {
            let wanted = self.wanted(key);
            changes.extend(self.installed.get(key).into_iter().flatten().map(|name| (name.clone(), None)));
            names.push((key.clone(), wanted.keys().cloned().collect::<BTreeSet<_>>()));
            changes.extend(wanted.into_iter().map(|(name, port)| (name, Some(port))));
        }
        let changed = self.network.update_services(changes).await?;
        for (key, names) in names {
            if names.is_empty() {
                self.installed.remove(&key)
            } else {
                self.installed.insert(key, names)
            };
        }
        Ok(changed)
    }

    fn wanted(&self, key: &ObjectKey) -> BTreeMap<String, ServicePort> {
        let Some((service, slices)) = self.changes.get(key) else { return BTreeMap::new() };
        plan::plan(&service, &slices, &self.node_name, &self.network.config().cluster_dns)
    }

    async fn save(&self) {
        if let Err(error) = self.network.save_services().await {
            tracing::warn!(error = chain(&error), "services could not be kept on disk");
        }
    }
}

/// The service of a port's name (`namespace/service/port`).
fn service_of(port_name: &str) -> ObjectKey {
    let mut parts = port_name.splitn(3, '/');
    ObjectKey::new(parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
