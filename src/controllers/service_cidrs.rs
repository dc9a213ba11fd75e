//! The service CIDR controller (KEP-1880): says of the networks of services whether addresses may be taken
//! from them, and keeps a deleted one until no service has an address that only it explains. The
//! ServiceCIDR `kubernetes` is of the networks that the server was started with, and always there.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::{
    api::networking::v1::{IPAddress, ServiceCIDR, ServiceCIDRSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    client::{
        ObjectKey,
        informer::Informer,
        queue::{Outcome, WorkQueue},
    },
    controllers::{
        Context, finalizer, ignore_not_found,
        service_addresses::{is_managed, no_conflict},
    },
};

const NAME: &str = "service-cidrs-controller";
/// Name of the ServiceCIDR of the networks that the server was started with.
const DEFAULT_NETWORKS: &str = "kubernetes";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// Time that a deleted network stays, so that a write that took an address of it is seen.
const GRACE: Duration = Duration::from_secs(10);
/// Networks worked on at once.
const WIDTH: usize = 2;

pub(super) async fn run(context: Context) {
    let queue: WorkQueue<String> = WorkQueue::new();
    let networks = context.informers.of::<ServiceCIDR>();
    let addresses = context.informers.of::<IPAddress>();
    // Whether one may go depends on the others, and on the addresses that are there.
    let (nudged, all) = (queue.clone(), networks.clone());
    networks.on_change(move |delta| {
        nudged.add(name_of(delta.latest()));
        deleted(&all).for_each(|name| nudged.add(name));
    });
    let (nudged, all) = (queue.clone(), networks.clone());
    addresses.on_change(move |_| deleted(&all).for_each(|name| nudged.add(name)));
    networks.synced().await;
    addresses.synced().await;
    queue.add(DEFAULT_NETWORKS.to_owned());
    let own_client = context.own_client.clone();
    let keeper = Keeper { client: context.client(NAME), own_client, networks, addresses };
    let configured = &context.config.service_cidrs;
    queue.run(NAME, WIDTH, |name| keeper.reconcile(name, configured)).await;
}

struct Keeper {
    client: Client,
    own_client: Client,
    networks: Informer<ServiceCIDR>,
    addresses: Informer<IPAddress>,
}

/// What has to be done about a network.
#[derive(Debug, PartialEq)]
enum Plan {
    /// Addresses may be taken from it.
    Ready,
    /// It is to go, and services have addresses of it.
    Held,
    /// It may go after this time.
    Go(Duration),
}

impl Keeper {
    async fn reconcile(&self, name: String, configured: &[IpNet]) -> kube::Result<Outcome> {
        let Some(object) = self.networks.get(&ObjectKey::new("", &*name)) else {
            if name == DEFAULT_NETWORKS {
                let api: Api<ServiceCIDR> = Api::all(self.own_client.clone());
                no_conflict(api.create(&PostParams::default(), &default_networks(configured)).await)?;
            }
            return Ok(Outcome::Done);
        };
        let plan = plan(&object, &self.networks.list(), &self.addresses.list(), Timestamp::now());
        if let Plan::Go(delay) = plan
            && !delay.is_zero()
        {
            return Ok(Outcome::After(delay));
        }
        let api: Api<ServiceCIDR> = Api::all(self.client.clone());
        if let Some(action) = finalizer::plan(&object.metadata, FINALIZER, || plan == Plan::Held) {
            finalizer::apply(&api, &object.metadata, FINALIZER, action).await?;
        }
        match plan {
            Plan::Ready => tell(&api, &object, "True", "", "Kubernetes Service CIDR is ready").await?,
            Plan::Held => {
                let why = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a \
                           new ServiceCIDR";
                tell(&api, &object, "False", "Terminating", why).await?;
            }
            Plan::Go(_) => {}
        }
        Ok(Outcome::Done)
    }
}

/// Sets the condition `Ready`, unless it says so already.
async fn tell(
    api: &Api<ServiceCIDR>,
    object: &ServiceCIDR,
    status: &str,
    reason: &str,
    message: &str,
) -> kube::Result<()> {
    let conditions = object.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let is_same = conditions.iter().any(|condition| {
        (&*condition.type_, &*condition.status, &*condition.reason, &*condition.message)
            == ("Ready", status, reason, message)
    });
    if is_same {
        return Ok(());
    }
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let ready = json!({"type": "Ready", "status": status, "reason": reason, "message": message,
                       "lastTransitionTime": now.to_string()});
    let patch = Patch::Merge(json!({"status": {"conditions": [ready]}}));
    ignore_not_found(api.patch_status(&name_of(object), &PatchParams::default(), &patch).await).map(drop)
}

fn plan(object: &ServiceCIDR, all: &[Arc<ServiceCIDR>], addresses: &[Arc<IPAddress>], now: Timestamp) -> Plan {
    let Some(deleted) = &object.metadata.deletion_timestamp else { return Plan::Ready };
    if is_needed(object, all, addresses) {
        return Plan::Held;
    }
    let over = Duration::try_from(now.duration_since(deleted.0)).unwrap_or_default();
    Plan::Go(GRACE.saturating_sub(over))
}

/// Whether a service has an address that no other network explains.
fn is_needed(object: &ServiceCIDR, all: &[Arc<ServiceCIDR>], addresses: &[Arc<IPAddress>]) -> bool {
    let others: Vec<IpNet> =
        all.iter().filter(|other| other.metadata.name != object.metadata.name).flat_map(|other| cidrs(other)).collect();
    let own = cidrs(object);
    let is_covered = |address: &IpAddr| others.iter().any(|network| may_give(network, *address));
    addresses
        .iter()
        .filter(|address| is_managed(address))
        .filter_map(|address| address.metadata.name.as_deref()?.parse::<IpAddr>().ok())
        .any(|address| own.iter().any(|network| may_give(network, address)) && !is_covered(&address))
}

/// Whether an address of the network may be given: not the one that names it, nor IPv4's broadcast.
fn may_give(network: &IpNet, address: IpAddr) -> bool {
    let is_broadcast = network.addr().is_ipv4() && address == network.broadcast();
    network.contains(&address) && address != network.network() && !is_broadcast
}

fn cidrs(object: &ServiceCIDR) -> Vec<IpNet> {
    let cidrs = object.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default();
    cidrs.iter().filter_map(|cidr| cidr.parse().ok()).collect()
}

/// Names of the networks that are being deleted.
fn deleted(networks: &Informer<ServiceCIDR>) -> impl Iterator<Item = String> {
    let is_deleted = |network: &Arc<ServiceCIDR>| network.metadata.deletion_timestamp.is_some();
    networks.list().into_iter().filter(is_deleted).map(|network| name_of(&network))
}

fn name_of(object: &ServiceCIDR) -> String {
    object.metadata.name.clone().unwrap_or_default()
}

fn default_networks(cidrs: &[IpNet]) -> ServiceCIDR {
    ServiceCIDR {
        metadata: ObjectMeta { name: Some(DEFAULT_NETWORKS.to_owned()), ..ObjectMeta::default() },
        spec: Some(ServiceCIDRSpec { cidrs: Some(cidrs.iter().map(|cidr| cidr.trunc().to_string()).collect()) }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, cidr: &str, deleted: bool) -> Arc<ServiceCIDR> {
        let mut metadata = json!({"name": name});
        if deleted {
            metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": {"cidrs": [cidr]}})).unwrap())
    }

    fn address(name: &str) -> Arc<IPAddress> {
        let labels = json!({"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"});
        let parent = json!({"resource": "services", "name": "a", "namespace": "b"});
        let object = json!({"metadata": {"name": name, "labels": labels}, "spec": {"parentRef": parent}});
        Arc::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_network_stays_while_only_it_explains_an_address() {
        let now: Timestamp = "2026-01-01T00:00:04Z".parse().unwrap();
        let (own, going) = (network("kubernetes", "10.43.0.0/16", false), network("more", "10.44.0.0/24", true));
        let all = [own.clone(), going.clone()];
        assert_eq!(plan(&own, &all, &[], now), Plan::Ready);
        assert_eq!(plan(&going, &all, &[address("10.43.0.7")], now), Plan::Go(Duration::from_secs(6)));
        assert_eq!(plan(&going, &all, &[address("10.44.0.7")], now), Plan::Held);
        let wider = [own, going.clone(), network("wide", "10.44.0.0/16", false)];
        assert_eq!(plan(&going, &wider, &[address("10.44.0.7")], now), Plan::Go(Duration::from_secs(6)));
        let later: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(plan(&going, &all, &[], later), Plan::Go(Duration::ZERO));
    }
}
