//! Controllers, one folder or file each. A controller is a queue of keys, fed by informers; working
//! on a key reads the present state, lets a pure `plan` say what is to be done, and does it. Each
//! acts under the service account that upstream gives it, so RBAC binds it to its own business.

use std::sync::Arc;

use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::ReplicationController};
use kube::Client;

use crate::{
    base::task::Supervisor,
    client::{events::Recorder, informer::Informers},
};

mod account_tokens;
mod bootstrap_token;
mod certificates;
mod deployment;
mod endpoints;
mod finalizer;
mod garbage;
pub mod keys;
mod kubernetes_service;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod node_role;
mod node_secret;
mod owner;
mod pod_gc;
mod pods;
mod policy_status;
mod replicas;
mod resource_quota;
mod root_ca;
mod service_account;
mod service_addresses;
mod service_cidrs;
mod storage_protection;
mod taint_eviction;

/// What controllers need to know of the cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// Networks that nodes get their pods' addresses from, one per address family.
    pub cluster_cidrs: Vec<ipnet::IpNet>,
    /// Address under which the API server is reached from inside the cluster.
    pub advertise_address: std::net::IpAddr,
    /// Port at that address.
    pub api_port: u16,
    /// First address of the service network, one per family: that of the `kubernetes` Service.
    pub kubernetes_service_ips: Vec<std::net::IpAddr>,
    /// Networks that services get their addresses from, one per address family.
    pub service_cidrs: Vec<ipnet::IpNet>,
    /// Certificate authority of the API server, PEM: what pods verify it with.
    pub root_ca_pem: String,
    /// The node that runs in the server's own process, if one does.
    pub own_node: Option<String>,
}

/// What every controller is started with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Informers shared by all controllers.
    pub informers: Informers,
    /// The cluster.
    pub config: Arc<Config>,
    /// What signs certificates and tokens.
    pub keys: Arc<dyn keys::Keys>,
    /// A client that may do everything, for the objects that are the server's own.
    pub own_client: Client,
    client_as: Arc<dyn Fn(&str) -> Client + Send + Sync>,
}

impl Context {
    /// A context whose clients come from `client_as`, given the name of a service account in
    /// `kube-system`.
    pub fn new(
        informers: Informers,
        config: Config,
        keys: Arc<dyn keys::Keys>,
        own_client: Client,
        client_as: impl Fn(&str) -> Client + Send + Sync + 'static,
    ) -> Self {
        Self { informers, config: Arc::new(config), keys, own_client, client_as: Arc::new(client_as) }
    }

    /// A client that acts as the service account `kube-system/<controller>`.
    pub fn client(&self, controller: &str) -> Client {
        (self.client_as)(controller)
    }

    /// A recorder of events under the controller's name.
    pub fn recorder(&self, controller: &str) -> Recorder {
        Recorder::new(self.informers.supervisor(), self.client(controller), controller, None)
    }
}

/// Starts all controllers; gives the names of their tasks.
pub fn start(context: &Context) -> Vec<&'static str> {
    let mut supervisor = Starting { supervisor: context.informers.supervisor(), names: Vec::new() };
    supervisor.spawn("kubernetes service", kubernetes_service::run(context.clone()));
    supervisor.spawn("service addresses", service_addresses::run(context.clone()));
    supervisor.spawn("service CIDR controller", service_cidrs::run(context.clone()));
    supervisor.spawn("service account controller", service_account::run(context.clone()));
    supervisor.spawn("root CA publisher", root_ca::run(context.clone()));
    supervisor.spawn("node IPAM controller", node_ipam::run(context.clone()));
    supervisor.spawn("node lifecycle controller", node_lifecycle::run(context.clone()));
    supervisor.spawn("node role", node_role::run(context.clone()));
    supervisor.spawn("node secrets", node_secret::run(context.clone()));
    supervisor.spawn("taint eviction controller", taint_eviction::run(context.clone()));
    supervisor.spawn("deployment controller", deployment::run(context.clone()));
    supervisor.spawn("replicaset controller", replicas::run::<ReplicaSet>(context.clone()));
    supervisor.spawn("replication controller", replicas::run::<ReplicationController>(context.clone()));
    supervisor.spawn("endpoints controller", endpoints::legacy::run(context.clone()));
    supervisor.spawn("endpointslice controller", endpoints::slices::run(context.clone()));
    supervisor.spawn("namespace controller", namespace::run(context.clone()));
    supervisor.spawn("garbage collector", garbage::run(context.clone()));
    supervisor.spawn("pod garbage collector", pod_gc::run(context.clone()));
    supervisor.spawn("resource quota controller", resource_quota::run(context.clone()));
    supervisor.spawn("CSR signing controller", certificates::signer::run(context.clone()));
    supervisor.spawn("CSR approving controller", certificates::approver::run(context.clone()));
    supervisor.spawn("CSR cleaner", certificates::cleaner::run(context.clone()));
    supervisor.spawn("service account tokens", account_tokens::run(context.clone()));
    supervisor.spawn("token cleaner", bootstrap_token::cleaner::run(context.clone()));
    supervisor.spawn("bootstrap signer", bootstrap_token::signer::run(context.clone()));
    supervisor.spawn("admission policy status controller", policy_status::run(context.clone()));
    supervisor.spawn("PVC protection controller", storage_protection::claims::run(context.clone()));
    supervisor.spawn("PV protection controller", storage_protection::volumes::run(context.clone()));
    supervisor.spawn("VAC protection controller", storage_protection::classes::run(context.clone()));
    supervisor.names
}

/// Starts tasks and remembers their names.
struct Starting<'a> {
    supervisor: &'a Supervisor,
    names: Vec<&'static str>,
}

impl Starting<'_> {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.names.push(name);
        self.supervisor.spawn(name, task);
    }
}

/// Whether an error says that the object is not there, which whoever deletes or looks is fine with.
fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Whether an error says that the object exists already, or was changed by somebody else.
fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Takes "not found" for success.
fn ignore_not_found<T>(result: kube::Result<T>) -> kube::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
