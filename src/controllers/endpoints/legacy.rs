//! The Endpoints controller: the same addresses in the older form that some clients still read.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::{
    api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};

use crate::{
    client::{
        ObjectKey,
        informer::Informer,
        pod::Pod,
        queue::{Outcome, WorkQueue},
    },
    controllers::{
        Context,
        endpoints::{
            self, Backend,
            trigger::{self, Triggers},
        },
        ignore_not_found, pods,
    },
};

const NAME: &str = "endpoint-controller";
const MANAGED_LABEL: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
const CAPACITY_ANNOTATION: &str = "endpoints.kubernetes.io/over-capacity";
/// Most addresses in one object; further ones are only in the slices.
const ADDRESS_LIMIT: usize = 1000;

/// Runs the controller.
pub async fn run(context: Context) {
    let queue = WorkQueue::new();
    let (services, pods) = (context.informers.of::<Service>(), context.informers.of::<Pod>());
    let known = context.informers.of::<Endpoints>();
    services.synced().await;
    pods.synced().await;
    known.synced().await;
    endpoints::watch(&queue, &services, &pods);
    let controller = Controller { client: context.client(NAME), services, pods, known, triggers: Triggers::default() };
    queue.run(NAME, 8, |key| controller.reconcile(key)).await;
}

struct Controller {
    client: Client,
    services: Informer<Service>,
    pods: Informer<Pod>,
    known: Informer<Endpoints>,
    triggers: Triggers,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> kube::Result<Outcome> {
        let api: Api<Endpoints> = Api::namespaced(self.client.clone(), &key.namespace);
        let Some(service) = self.services.get(&key) else {
            self.triggers.forget(&key);
            ignore_not_found(api.delete(&key.name, &DeleteParams::default()).await)?;
            return Ok(Outcome::Done);
        };
        let Some(backends) = endpoints::backends(&service, &self.pods.list_in(&key.namespace)) else {
            return Ok(Outcome::Done);
        };
        let trigger = self.triggers.next(&key, &service, &backends);
        let mut wanted = build(&service, &backends);
        let present = self.known.get(&key);
        if let Some(present) = &present {
            keep_annotations(&mut wanted, present);
        }
        trigger::annotate(&mut wanted.metadata.annotations, trigger);
        let written = match &present {
            None => Some(api.create(&PostParams::default(), &wanted).await?),
            Some(present) if present.subsets == wanted.subsets && has_all(present, &wanted) => {
                return Ok(Outcome::Done);
            }
            Some(present) => {
                wanted.metadata.resource_version = present.metadata.resource_version.clone();
                ignore_not_found(api.replace(&key.name, &PostParams::default(), &wanted).await)?
            }
        };
        if let Some(version) = written.and_then(|written| written.metadata.resource_version) {
            let shown = |seen: Option<&Endpoints>| {
                seen.is_none_or(|seen| seen.metadata.resource_version.as_deref() == Some(&*version))
            };
            self.known.settle(&key, shown).await;
        }
        Ok(Outcome::Done)
    }
}

/// What others say of the object stays; what this controller says is said anew.
fn keep_annotations(wanted: &mut Endpoints, present: &Endpoints) {
    let own = wanted.metadata.annotations.take().unwrap_or_default();
    let mut annotations = present.metadata.annotations.clone().unwrap_or_default();
    annotations.remove(CAPACITY_ANNOTATION);
    annotations.extend(own);
    wanted.metadata.annotations = Some(annotations);
}

fn has_all(present: &Endpoints, wanted: &Endpoints) -> bool {
    present.metadata.labels == wanted.metadata.labels
}

fn build(service: &Service, backends: &[Backend]) -> Endpoints {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_LABEL.into(), MANAGER.into());
    if service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        labels.insert(HEADLESS_LABEL.into(), String::new());
    }
    let shown = &backends[..backends.len().min(ADDRESS_LIMIT)];
    let truncated = (shown.len() < backends.len())
        .then(|| BTreeMap::from([(CAPACITY_ANNOTATION.to_owned(), "truncated".to_owned())]));
    let subsets = subsets(service, shown);
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: truncated,
            ..ObjectMeta::default()
        },
        subsets: Some(subsets).filter(|subsets| !subsets.is_empty()),
    }
}

/// Addresses with the same ports stand together, those that are ready apart from those that are not.
/// Pods that are going away are left out.
fn subsets(service: &Service, backends: &[Backend]) -> Vec<EndpointSubset> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_deref()).unwrap_or_default();
    let ipv6 = families.first().is_some_and(|family| family == "IPv6");
    let mut groups: BTreeMap<_, (Vec<EndpointAddress>, Vec<EndpointAddress>)> = BTreeMap::new();
    for backend in backends.iter().filter(|backend| !backend.terminating || backend.ready) {
        let Some(ip) = backend.address(ipv6) else { continue };
        let address = EndpointAddress {
            ip,
            hostname: backend.hostname(service),
            node_name: Some(pods::node_name(&backend.pod).to_owned()).filter(|node| !node.is_empty()),
            target_ref: Some(backend.target()),
        };
        let group = groups.entry(backend.ports.clone()).or_default();
        if backend.ready { group.0.push(address) } else { group.1.push(address) }
    }
    let sorted = |mut addresses: Vec<EndpointAddress>| {
        addresses.sort_by_key(|address| address.ip.parse::<IpAddr>().ok());
        Some(addresses).filter(|addresses| !addresses.is_empty())
    };
    groups
        .into_iter()
        .map(|(ports, (ready, not_ready))| EndpointSubset {
            addresses: sorted(ready),
            not_ready_addresses: sorted(not_ready),
            ports: Some(
                ports
                    .into_iter()
                    .map(|port| EndpointPort {
                        name: Some(port.name).filter(|name| !name.is_empty()),
                        port: port.port,
                        protocol: Some(port.protocol),
                        app_protocol: port.app_protocol,
                    })
                    .collect::<Vec<_>>(),
            )
            .filter(|ports| !ports.is_empty()),
        })
        .collect()
}
