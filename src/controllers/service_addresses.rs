//! What the addresses of services look like as objects (KEP-1880): an IPAddress for each address that a
//! service has. The server's allocator does not need them: they are for people and tools to read, and
//! follow the services.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::{
    api::{
        core::v1::Service,
        networking::v1::{IPAddress, IPAddressSpec, ParentReference},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams, Preconditions},
};

use crate::{
    client::{
        ObjectKey,
        informer::Informer,
        queue::{Outcome, WorkQueue},
    },
    controllers::{Context, ignore_not_found, is_conflict},
};

const FAMILY_LABEL: &str = "ipaddress.kubernetes.io/ip-family";
const MANAGER_LABEL: &str = "ipaddress.kubernetes.io/managed-by";
/// Who manages addresses of services, in that label.
const MANAGER: &str = "ipallocator.k8s.io";
/// Addresses worked on at once.
const WIDTH: usize = 4;

/// Whether an address is one of a service.
pub(super) fn is_managed(object: &IPAddress) -> bool {
    object.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGER_LABEL)).is_some_and(|by| by == MANAGER)
}

pub(super) async fn run(context: Context) {
    let queue: WorkQueue<IpAddr> = WorkQueue::new();
    let services = context.informers.of::<Service>();
    let addresses = context.informers.of::<IPAddress>();
    let owners = Arc::new(Owners::default());
    let (nudged, known) = (queue.clone(), owners.clone());
    services.on_change(move |delta| {
        let object = delta.latest();
        let held = if delta.new.is_none() { BTreeSet::new() } else { held(object) };
        let changed = known.set(ObjectKey::of(&**object), held);
        changed.into_iter().for_each(|address| nudged.add(address));
    });
    let nudged = queue.clone();
    addresses.on_change(move |delta| {
        let name = delta.latest().metadata.name.as_deref().unwrap_or_default();
        name.parse().into_iter().for_each(|address| nudged.add(address));
    });
    services.synced().await;
    addresses.synced().await;
    let keeper = Keeper { client: context.own_client.clone(), addresses, owners };
    queue.run("service addresses", WIDTH, |address| keeper.reconcile(address)).await;
}

/// Which service has which addresses.
#[derive(Default)]
struct Owners {
    inner: parking_lot::Mutex<Held>,
}

#[derive(Default)]
struct Held {
    by_service: BTreeMap<ObjectKey, BTreeSet<IpAddr>>,
    by_address: BTreeMap<IpAddr, ObjectKey>,
}

impl Owners {
    /// Takes in what a service has; gives the addresses of which that changes something.
    fn set(&self, service: ObjectKey, held: BTreeSet<IpAddr>) -> Vec<IpAddr> {
        let mut inner = self.inner.lock();
        let before = inner.by_service.remove(&service).unwrap_or_default();
        let changed: Vec<IpAddr> = before.symmetric_difference(&held).copied().collect();
        for gone in before.difference(&held) {
            if inner.by_address.get(gone) == Some(&service) {
                inner.by_address.remove(gone);
            }
        }
        for address in &held {
            inner.by_address.insert(*address, service.clone());
        }
        if !held.is_empty() {
            inner.by_service.insert(service, held);
        }
        changed
    }

    fn of(&self, address: IpAddr) -> Option<ObjectKey> {
        self.inner.lock().by_address.get(&address).cloned()
    }
}

struct Keeper {
    client: Client,
    addresses: Informer<IPAddress>,
    owners: Arc<Owners>,
}

/// What has to be done about the object of an address.
#[derive(Debug, PartialEq)]
enum Step {
    Create,
    Delete,
    /// It belongs to somebody else now.
    Replace,
}

impl Keeper {
    async fn reconcile(&self, address: IpAddr) -> kube::Result<Outcome> {
        let name = address.to_string();
        let found = self.addresses.get(&ObjectKey::new("", &*name));
        let wanted = self.owners.of(address).map(|owner| object(address, &owner));
        let Some(step) = plan(wanted.as_ref(), found.as_deref()) else { return Ok(Outcome::Done) };
        let api: Api<IPAddress> = Api::all(self.client.clone());
        if matches!(step, Step::Delete | Step::Replace) {
            let uid = found.as_ref().and_then(|found| found.metadata.uid.clone());
            let preconditions = Some(Preconditions { uid, resource_version: None });
            let params = DeleteParams { preconditions, ..DeleteParams::default() };
            no_conflict(ignore_not_found(api.delete(&name, &params).await))?;
        }
        if let (Step::Create | Step::Replace, Some(wanted)) = (step, wanted) {
            no_conflict(api.create(&PostParams::default(), &wanted).await)?;
        }
        Ok(Outcome::Done)
    }
}

/// Somebody who was quicker is heard of through the watch.
pub(super) fn no_conflict<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Err(error) if !is_conflict(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Addresses that a service has.
fn held(service: &Service) -> BTreeSet<IpAddr> {
    let spec = service.spec.as_ref();
    let all = spec.and_then(|spec| spec.cluster_ips.as_deref()).unwrap_or_default();
    all.iter().filter_map(|address| address.parse().ok()).collect()
}

/// The step from what is there to what should be. Objects that are not of this manager are left alone.
fn plan(wanted: Option<&IPAddress>, found: Option<&IPAddress>) -> Option<Step> {
    match (wanted, found) {
        (Some(_), None) => Some(Step::Create),
        (_, Some(found)) if !is_managed(found) => None,
        (None, Some(_)) => Some(Step::Delete),
        (Some(wanted), Some(found)) => (wanted.spec != found.spec).then_some(Step::Replace),
        (None, None) => None,
    }
}

fn object(address: IpAddr, owner: &ObjectKey) -> IPAddress {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let labels = [(FAMILY_LABEL, family), (MANAGER_LABEL, MANAGER)];
    IPAddress {
        metadata: ObjectMeta {
            name: Some(address.to_string()),
            labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
            ..ObjectMeta::default()
        },
        spec: IPAddressSpec {
            parent_ref: ParentReference {
                group: None,
                resource: "services".to_owned(),
                namespace: Some(owner.namespace.clone()),
                name: owner.name.clone(),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> ObjectKey {
        ObjectKey::new("a", name)
    }

    #[test]
    fn an_address_follows_its_service() {
        let owners = Owners::default();
        let address: IpAddr = "10.43.0.5".parse().unwrap();
        assert_eq!(owners.set(service("s"), BTreeSet::from([address])), [address]);
        assert!(owners.set(service("s"), BTreeSet::from([address])).is_empty());
        // The next service may be seen before the last one is gone.
        assert_eq!(owners.set(service("t"), BTreeSet::from([address])), [address]);
        assert_eq!(owners.set(service("s"), BTreeSet::new()), [address]);
        assert_eq!(owners.of(address), Some(service("t")));
        assert_eq!(owners.set(service("t"), BTreeSet::new()), [address]);
        assert_eq!(owners.of(address), None);
    }

    #[test]
    fn only_what_is_managed_here_is_changed() {
        let address: IpAddr = "fd00::5".parse().unwrap();
        let (own, other) = (object(address, &service("s")), object(address, &service("t")));
        assert_eq!(own.metadata.labels.as_ref().unwrap()[FAMILY_LABEL], "IPv6");
        assert_eq!(plan(Some(&own), None), Some(Step::Create));
        assert_eq!(plan(Some(&own), Some(&own)), None);
        assert_eq!(plan(Some(&own), Some(&other)), Some(Step::Replace));
        assert_eq!(plan(None, Some(&own)), Some(Step::Delete));
        let foreign = IPAddress { metadata: ObjectMeta { labels: None, ..own.metadata.clone() }, ..own.clone() };
        assert_eq!(plan(None, Some(&foreign)), None);
        assert_eq!(plan(Some(&own), Some(&foreign)), None);
    }
}
