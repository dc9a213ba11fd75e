//! The service proxy: watches Services and EndpointSlices and keeps the node's packet program equal
//! to them. A watch event only names a service; what it needs is computed from the informers when
//! its turn comes, so a burst of events is one batch. What was installed last is on disk: a node that
//! starts while its server is away serves what it knew until the first list is there.

mod peers;
mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{
    base::{backoff::Backoff, log::chain},
    client::{
        ObjectKey,
        informer::{Informer, Informers},
    },
    net::{NodeNetwork, services::ServicePort},
};

/// How long further events are waited for before a batch is made.
const COALESCE: Duration = Duration::from_millis(5);
/// How long services must rest before they are written to disk.
const SAVE_DELAY: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LIMIT: Duration = Duration::from_secs(30);
/// The label that ties an EndpointSlice to its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Starts the service proxy and the overlay's upkeep for the node called `node_name`.
pub fn run(informers: &Informers, network: NodeNetwork, node_name: &str) {
    let supervisor = informers.supervisor();
    supervisor.spawn("overlay peers", peers::run(informers.clone(), network.clone(), node_name.to_owned()));
    let proxy = Proxy {
        services: informers.of(),
        slices: informers.of(),
        work: Arc::default(),
        network,
        node_name: node_name.to_owned(),
    };
    supervisor.spawn("service proxy", proxy.run());
}

struct Proxy {
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    work: Arc<Work>,
    network: NodeNetwork,
    node_name: String,
}

/// What the informers' handlers leave for the proxy.
#[derive(Default)]
struct Work {
    state: Mutex<Pending>,
    changed: Notify,
}

#[derive(Default)]
struct Pending {
    services: BTreeSet<ObjectKey>,
    /// Which slices belong to a service, so that one event never means reading all slices.
    slices: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
}

impl Proxy {
    async fn run(self) {
        self.subscribe();
        self.services.synced().await;
        self.slices.synced().await;
        // Services that went while nobody watched are only visible in what is installed.
        let mut installed: BTreeMap<ObjectKey, BTreeSet<String>> = BTreeMap::new();
        for name in self.network.services().into_keys() {
            installed.entry(service_of(&name)).or_default().insert(name);
        }
        self.work.state.lock().services.extend(installed.keys().cloned());
        self.work.changed.notify_one();
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LIMIT);
        let mut save_at: Option<Instant> = None;
        loop {
            tokio::select! {
                () = self.work.changed.notified() => {}
                () = sleep_until(save_at) => {
                    save_at = None;
                    if let Err(error) = self.network.save_services().await {
                        tracing::warn!(error = chain(&error), "services could not be kept on disk");
                    }
                    continue;
                }
            }
            tokio::time::sleep(COALESCE).await;
            let keys = std::mem::take(&mut self.work.state.lock().services);
            match self.reconcile(&keys, &mut installed).await {
                Ok(changed) => {
                    backoff.reset();
                    save_at = if changed { Some(Instant::now() + SAVE_DELAY) } else { save_at };
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "services could not be programmed, trying again");
                    tokio::time::sleep(backoff.next_delay()).await;
                    self.work.state.lock().services.extend(keys);
                    self.work.changed.notify_one();
                }
            }
        }
    }

    fn subscribe(&self) {
        let work = self.work.clone();
        self.services.on_change(move |delta| work.nudge(ObjectKey::of(&**delta.latest())));
        let work = self.work.clone();
        self.slices.on_change(move |delta| {
            let key = ObjectKey::of(&**delta.latest());
            if let Some(service) = delta.old.and_then(|slice| owner(slice)) {
                work.unlink(&service, &key);
            }
            if let Some(service) = delta.new.and_then(|slice| owner(slice)) {
                work.link(service, key);
            }
        });
    }

    /// Installs what these services need now; says whether anything was different.
    async fn reconcile(
        &self,
        keys: &BTreeSet<ObjectKey>,
        installed: &mut BTreeMap<ObjectKey, BTreeSet<String>>,
    ) -> Result<bool, crate::net::Error> {
        let mut changes = BTreeMap::new();
        let mut names = Vec::new();
        for key in keys {
            let wanted = self.wanted(key);
            let gone = installed.get(key).into_iter().flatten().filter(|name| !wanted.contains_key(*name));
            changes.extend(gone.map(|name| (name.clone(), None)));
            names.push((key.clone(), wanted.keys().cloned().collect::<BTreeSet<_>>()));
            changes.extend(wanted.into_iter().map(|(name, port)| (name, Some(port))));
        }
        let changed = self.network.update_services(changes).await?;
        for (key, names) in names {
            if names.is_empty() {
                installed.remove(&key)
            } else {
                installed.insert(key, names)
            };
        }
        Ok(changed)
    }

    fn wanted(&self, key: &ObjectKey) -> BTreeMap<String, ServicePort> {
        let Some(service) = self.services.get(key) else { return BTreeMap::new() };
        let slice_keys = self.work.state.lock().slices.get(key).cloned().unwrap_or_default();
        let slices: Vec<_> = slice_keys.iter().filter_map(|slice| self.slices.get(slice)).collect();
        plan::plan(&service, &slices, &self.node_name, &self.network.config().cluster_dns)
    }
}

impl Work {
    fn nudge(&self, service: ObjectKey) {
        self.state.lock().services.insert(service);
        self.changed.notify_one();
    }

    fn link(&self, service: ObjectKey, slice: ObjectKey) {
        self.state.lock().slices.entry(service.clone()).or_default().insert(slice);
        self.nudge(service);
    }

    fn unlink(&self, service: &ObjectKey, slice: &ObjectKey) {
        let mut state = self.state.lock();
        if let Some(slices) = state.slices.get_mut(service) {
            slices.remove(slice);
            if slices.is_empty() {
                state.slices.remove(service);
            }
        }
        state.services.insert(service.clone());
        self.changed.notify_one();
    }
}

fn owner(slice: &EndpointSlice) -> Option<ObjectKey> {
    let service = slice.labels().get(SERVICE_LABEL)?;
    Some(ObjectKey::new(slice.namespace().unwrap_or_default(), service.clone()))
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
