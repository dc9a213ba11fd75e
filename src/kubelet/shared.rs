//! What every pod's worker shares: the settings, the API, the host.

use std::{collections::BTreeMap, collections::HashMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Pod, Service},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::Client;
use parking_lot::RwLock;
use tokio::sync::{Notify, Semaphore};

use crate::{
    base::{lane::Lane, task::Supervisor},
    client::{
        events::{Recorder, Type},
        informer::Informer,
    },
    kubelet::{
        Config,
        host::{Containers, Images, Network},
        names,
        objects::Objects,
        record::Record,
        volumes::tokens::Tokens,
    },
};

/// Closures that touch files at once.
pub const LANE_WIDTH: usize = 8;
/// Sandboxes and containers that are being created at once.
pub const CREATION_LIMIT: usize = 16;

/// A pod as its worker last saw it, for those who only look.
#[derive(Clone)]
pub struct View {
    /// The pod with the status that this node reports.
    pub pod: Arc<Pod>,
    /// How far it is.
    pub record: Arc<Record>,
}

/// Shared by all workers.
pub struct Shared {
    /// Settings.
    pub config: Config,
    /// The API.
    pub client: Client,
    /// Containers.
    pub containers: Arc<dyn Containers>,
    /// Images.
    pub images: Arc<dyn Images>,
    /// The pod network.
    pub network: Arc<dyn Network>,
    /// ConfigMaps and Secrets in use.
    pub objects: Objects,
    /// Service account tokens in use.
    pub tokens: Tokens,
    /// Services, for environment variables.
    pub services: Informer<Service>,
    /// Events.
    pub recorder: Recorder,
    /// Tasks.
    pub supervisor: Supervisor,
    /// Blocking work.
    pub lane: Lane,
    /// Bounds creations.
    pub creations: Semaphore,
    /// Bounds pulls.
    pub pulls: Semaphore,
    /// Told when images came or pods went.
    pub disk_changed: Notify,
    /// What the node has for pods.
    pub allocatable: BTreeMap<String, Quantity>,
    /// Memory of the node.
    pub memory_bytes: u64,
    /// Pods of this node by UID.
    pub views: RwLock<HashMap<String, View>>,
}

impl Shared {
    /// Records an event about a pod.
    pub fn event(&self, pod: &Pod, kind: Type, reason: &str, note: impl Into<String>) {
        self.recorder.record(&names::reference(pod), kind, reason, note);
    }

    /// Records an event about one of its containers.
    pub fn container_event(&self, pod: &Pod, container: &str, kind: Type, reason: &str, note: impl Into<String>) {
        self.recorder.record(&names::container_reference(pod, container), kind, reason, note);
    }
}
