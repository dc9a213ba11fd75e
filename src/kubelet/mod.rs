//! The kubelet: from pods bound to this node to running containers and their reported status.
//!
//! One worker per pod asks the pure [`plan`] what to do next and carries it out through the
//! traits of [`host`]; [`status`] is a pure function of the same record. Nothing polls: workers
//! wake on changes of their pod, of the objects it uses, of its containers, and on timers.

pub mod adapters;
pub mod backend;
pub mod collection;
pub mod config;
pub mod container;
pub mod dns;
pub mod host;
pub mod jobs;
pub mod names;
pub mod node;
pub mod objects;
pub mod plan;
pub mod probe;
pub mod pull;
pub mod pull_secret;
pub mod record;
pub mod recovery;
pub mod resources;
pub mod serve;
pub mod shared;
pub mod source;
pub mod status;
pub mod volumes;
pub mod wake;
pub mod worker;

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Service;
use kube::Client;
use parking_lot::RwLock;
use tokio::sync::{Notify, Semaphore};

use crate::{
    base::{lane::Lane, task::Supervisor},
    client::{events::Recorder, informer::Informer},
};

pub use config::Config;
use host::{Containers, Images, Network};
use node::{facts::Facts, object};
use shared::{CREATION_LIMIT, LANE_WIDTH, Shared};

/// How long until something that failed is tried again (upstream's `backOffPeriod`).
pub const RETRY_PERIOD: Duration = Duration::from_secs(10);

/// What the kubelet works with.
pub struct Host {
    /// Containers.
    pub containers: Arc<dyn Containers>,
    /// Images.
    pub images: Arc<dyn Images>,
    /// The pod network; it may come later.
    pub network: Arc<dyn Network>,
}

/// Takes over what runs on this node, and from then on keeps its pods as the API says. Returns
/// once everything has been started; `services` is for the environment of containers.
///
/// Fails if the host cannot tell what runs on it.
pub async fn run(
    config: Config,
    client: Client,
    services: Informer<Service>,
    host: Host,
    supervisor: &Supervisor,
) -> Result<Arc<Shared>, host::Error> {
    let (shared, facts) = share(config, client, services, host, supervisor).await;
    let known = recovery::recover(&shared).await?;
    supervisor.spawn("node heartbeat", node::heartbeat::run(shared.clone(), facts));
    supervisor.spawn("image collection", collection::run(shared.clone()));
    supervisor.spawn("pod source", source::run(shared.clone(), known));
    Ok(shared)
}

async fn share(
    config: Config,
    client: Client,
    services: Informer<Service>,
    host: Host,
    supervisor: &Supervisor,
) -> (Arc<Shared>, Facts) {
    let lane = Lane::new(LANE_WIDTH);
    let directory = config.data_dir.clone();
    let facts = lane.run(move || Facts::read(&directory)).await;
    let shared = Arc::new(Shared {
        containers: host.containers,
        images: host.images,
        network: host.network,
        objects: objects::Objects::new(client.clone(), supervisor.clone()),
        tokens: volumes::tokens::Tokens::new(client.clone()),
        services,
        recorder: Recorder::new(supervisor, client.clone(), "kubelet", Some(&config.node_name)),
        supervisor: supervisor.clone(),
        lane,
        creations: Semaphore::new(CREATION_LIMIT),
        pulls: Semaphore::new(config.parallel_pulls.max(1)),
        disk_changed: Notify::new(),
        allocatable: object::allocatable(&config, &facts),
        memory_bytes: facts.memory_bytes,
        views: RwLock::new(HashMap::new()),
        client,
        config,
    });
    (shared, facts)
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
