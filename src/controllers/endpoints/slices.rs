//! The EndpointSlice controller: the addresses behind each Service, in slices of at most 100, one
//! set of slices per address family and set of ports. Existing slices are filled up before new ones
//! are made, so that a change touches as few objects as it can.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    api::{
        core::v1::{Node, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
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
            self, Backend, BackendPort,
            trigger::{self, Triggers},
        },
        ignore_not_found, owner, pods,
    },
};

const NAME: &str = "endpointslice-controller";
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
const MANAGER_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// Most endpoints in one slice.
const SLICE_LIMIT: usize = 100;

/// Runs the controller.
pub async fn run(context: Context) {
    let queue = WorkQueue::new();
    let (services, pods) = (context.informers.of::<Service>(), context.informers.of::<Pod>());
    let (slices, nodes) = (context.informers.of::<EndpointSlice>(), context.informers.of::<Node>());
    services.synced().await;
    pods.synced().await;
    slices.synced().await;
    endpoints::watch(&queue, &services, &pods);
    let nudged = queue.clone();
    slices.on_change(move |delta| {
        if let Some(service) = service_of(delta.latest()).filter(|_| delta.old.is_some()) {
            nudged.add(service);
        }
    });
    let controller =
        Controller { client: context.client(NAME), services, pods, slices, nodes, triggers: Triggers::default() };
    queue.run(NAME, 8, |key| controller.reconcile(key)).await;
}

/// The Service of a slice that is ours.
fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let labels = slice.metadata.labels.as_ref()?;
    let name = labels.get(SERVICE_LABEL).filter(|_| labels.get(MANAGER_LABEL).is_some_and(|by| by == MANAGER))?;
    Some(ObjectKey::new(slice.metadata.namespace.clone().unwrap_or_default(), name.clone()))
}

/// What is to be done to a Service's slices.
#[derive(Debug, Default)]
struct Plan {
    create: Vec<EndpointSlice>,
    update: Vec<EndpointSlice>,
    delete: Vec<Arc<EndpointSlice>>,
}

/// Compares what should be with the slices there are. `zone` tells the zone of a node.
fn plan(
    service: &Service,
    backends: &[Backend],
    present: &[Arc<EndpointSlice>],
    zone: impl Fn(&str) -> Option<String>,
) -> Plan {
    let mut plan = Plan::default();
    let mut kept = BTreeSet::new();
    for ipv6 in families(service) {
        let mut groups: BTreeMap<Vec<BackendPort>, Vec<Endpoint>> = BTreeMap::new();
        for backend in backends {
            if let Some(endpoint) = endpoint(service, backend, ipv6, &zone) {
                groups.entry(backend.ports.clone()).or_default().push(endpoint);
            }
        }
        if groups.is_empty() {
            // An empty slice says that the Service was looked at.
            groups.insert(Vec::new(), Vec::new());
        }
        for (ports, endpoints) in groups {
            let ports = slice_ports(&ports);
            let same = present.iter().filter(|slice| slice.address_type == address_type(ipv6) && slice.ports == ports);
            let own: Vec<&Arc<EndpointSlice>> = same.collect();
            fill(service, ipv6, &ports, endpoints, &own, &mut plan, &mut kept);
        }
    }
    plan.delete.extend(present.iter().filter(|slice| !kept.contains(&slice.metadata.name)).cloned());
    plan
}

/// Distributes `endpoints` over the slices of their group: each stays where it is, new ones go where
/// there is room.
fn fill(
    service: &Service,
    ipv6: bool,
    ports: &Option<Vec<EndpointPort>>,
    endpoints: Vec<Endpoint>,
    own: &[&Arc<EndpointSlice>],
    plan: &mut Plan,
    kept: &mut BTreeSet<Option<String>>,
) {
    let mut waiting: BTreeMap<String, Endpoint> =
        endpoints.into_iter().map(|endpoint| (target_uid(&endpoint), endpoint)).collect();
    let mut filled: Vec<(&Arc<EndpointSlice>, Vec<Endpoint>)> = own
        .iter()
        .map(|slice| {
            let stay =
                slice.endpoints.iter().flatten().filter_map(|known| waiting.remove(&target_uid(known))).collect();
            (*slice, stay)
        })
        .collect();
    for (_, endpoints) in &mut filled {
        while endpoints.len() < SLICE_LIMIT
            && let Some((_, endpoint)) = waiting.pop_first()
        {
            endpoints.push(endpoint);
        }
    }
    let all_empty = filled.iter().all(|(_, endpoints)| endpoints.is_empty()) && waiting.is_empty();
    for (index, (slice, endpoints)) in filled.iter().enumerate() {
        if endpoints.is_empty() && !(all_empty && index == 0) {
            continue;
        }
        kept.insert(slice.metadata.name.clone());
        let mut wanted = build(service, ipv6, ports.clone(), endpoints.clone());
        wanted.metadata.name = slice.metadata.name.clone();
        wanted.metadata.generate_name = None;
        wanted.metadata.resource_version = slice.metadata.resource_version.clone();
        wanted.metadata.annotations = slice.metadata.annotations.clone();
        if endpoints_of(slice) != endpoints_of(&wanted) || slice.metadata.labels != wanted.metadata.labels {
            plan.update.push(wanted);
        }
    }
    let waiting: Vec<Endpoint> = waiting.into_values().collect();
    plan.create.extend(waiting.chunks(SLICE_LIMIT).map(|chunk| build(service, ipv6, ports.clone(), chunk.to_vec())));
    if all_empty && own.is_empty() {
        plan.create.push(build(service, ipv6, ports.clone(), Vec::new()));
    }
}

/// No endpoints and an empty list of them are the same.
fn endpoints_of(slice: &EndpointSlice) -> &[Endpoint] {
    slice.endpoints.as_deref().unwrap_or_default()
}

fn target_uid(endpoint: &Endpoint) -> String {
    endpoint.target_ref.as_ref().and_then(|target| target.uid.clone()).unwrap_or_default()
}

fn families(service: &Service) -> Vec<bool> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_deref()).unwrap_or_default();
    if families.is_empty() { vec![false] } else { families.iter().map(|family| family == "IPv6").collect() }
}

const fn address_type(ipv6: bool) -> &'static str {
    if ipv6 { "IPv6" } else { "IPv4" }
}

fn endpoint(
    service: &Service,
    backend: &Backend,
    ipv6: bool,
    zone: impl Fn(&str) -> Option<String>,
) -> Option<Endpoint> {
    let node = pods::node_name(&backend.pod);
    Some(Endpoint {
        addresses: vec![backend.address(ipv6)?],
        conditions: Some(EndpointConditions {
            ready: Some(backend.ready),
            serving: Some(backend.serving),
            terminating: Some(backend.terminating),
        }),
        hostname: backend.hostname(service),
        node_name: Some(node.to_owned()).filter(|node| !node.is_empty()),
        target_ref: Some(backend.target()),
        zone: zone(node),
        ..Endpoint::default()
    })
}

fn slice_ports(ports: &[BackendPort]) -> Option<Vec<EndpointPort>> {
    let ports: Vec<EndpointPort> = ports
        .iter()
        .map(|port| EndpointPort {
            name: Some(port.name.clone()),
            protocol: Some(port.protocol.clone()),
            port: Some(port.port),
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    Some(ports).filter(|ports| !ports.is_empty())
}

fn build(service: &Service, ipv6: bool, ports: Option<Vec<EndpointPort>>, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let name = service.metadata.name.clone().unwrap_or_default();
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS_LABEL);
    if service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        labels.insert(HEADLESS_LABEL.into(), String::new());
    }
    labels.insert(SERVICE_LABEL.into(), name.clone());
    labels.insert(MANAGER_LABEL.into(), MANAGER.into());
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![owner::reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: address_type(ipv6).into(),
        endpoints: Some(endpoints),
        ports,
    }
}

struct Controller {
    client: Client,
    services: Informer<Service>,
    pods: Informer<Pod>,
    slices: Informer<EndpointSlice>,
    nodes: Informer<Node>,
    triggers: Triggers,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> kube::Result<Outcome> {
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &key.namespace);
        let slices = self.slices.list_in(&key.namespace).into_iter();
        let present: Vec<_> = slices.filter(|slice| service_of(slice).as_ref() == Some(&key)).collect();
        let Some(service) = self.services.get(&key) else {
            self.triggers.forget(&key);
            for slice in &present {
                self.delete(&api, slice).await?;
            }
            return Ok(Outcome::Done);
        };
        if service.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        let Some(backends) = endpoints::backends(&service, &self.pods.list_in(&key.namespace)) else {
            return Ok(Outcome::Done);
        };
        let trigger = self.triggers.next(&key, &service, &backends);
        let mut plan = plan(&service, &backends, &present, |node| self.zone(node));
        for slice in plan.update.iter_mut().chain(&mut plan.create) {
            trigger::annotate(&mut slice.metadata.annotations, trigger);
        }
        for slice in &plan.update {
            let name = slice.metadata.name.as_deref().unwrap_or_default();
            let written = ignore_not_found(api.replace(name, &PostParams::default(), slice).await)?;
            if let Some(written) = written {
                self.seen(&written).await;
            }
        }
        for slice in &plan.create {
            let written = api.create(&PostParams::default(), slice).await?;
            self.slices.settle(&ObjectKey::of(&written), |seen| seen.is_some()).await;
        }
        for slice in &plan.delete {
            self.delete(&api, slice).await?;
        }
        Ok(Outcome::Done)
    }

    async fn seen(&self, written: &EndpointSlice) {
        let version = written.metadata.resource_version.clone();
        let generation = written.metadata.generation;
        let newer = |seen: Option<&EndpointSlice>| {
            seen.is_none_or(|seen| seen.metadata.resource_version == version || seen.metadata.generation > generation)
        };
        self.slices.settle(&ObjectKey::of(written), newer).await;
    }

    async fn delete(&self, api: &Api<EndpointSlice>, slice: &EndpointSlice) -> kube::Result<()> {
        let name = slice.metadata.name.as_deref().unwrap_or_default();
        ignore_not_found(api.delete(name, &DeleteParams::default()).await)?;
        self.slices.settle(&ObjectKey::of(slice), |seen| seen.is_none()).await;
        Ok(())
    }

    fn zone(&self, node: &str) -> Option<String> {
        self.nodes.get(&ObjectKey::new("", node))?.metadata.labels.as_ref()?.get(ZONE_LABEL).cloned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "d"}, "spec": {
            "selector": {"app": "web"}, "ipFamilies": ["IPv4"], "ports": [{"port": 80}]}}))
        .unwrap()
    }

    fn pods(count: usize) -> Vec<Arc<Pod>> {
        (0..count)
            .map(|index| {
                let pod = json!({"metadata": {"name": format!("p{index}"), "uid": format!("u{index:03}"), "labels": {"app": "web"}},
                    "spec": {"containers": []}, "status": {"podIPs": [{"ip": format!("10.0.{}.{}", index / 250, index % 250)}],
                    "conditions": [{"type": "Ready", "status": "True"}]}});
                Arc::new(serde_json::from_value(pod).unwrap())
            })
            .collect()
    }

    fn planned(pods: &[Arc<Pod>], present: &[Arc<EndpointSlice>]) -> Plan {
        let service = service();
        let backends = endpoints::backends(&service, pods).unwrap();
        plan(&service, &backends, present, |_| None)
    }

    fn stored(plan: Plan) -> Vec<Arc<EndpointSlice>> {
        let name = |(index, mut slice): (usize, EndpointSlice)| {
            slice.metadata.name = Some(format!("web-{index}"));
            Arc::new(slice)
        };
        plan.create.into_iter().enumerate().map(name).collect()
    }

    #[test]
    fn slices_hold_at_most_a_hundred_and_settle() {
        let present = stored(planned(&pods(150), &[]));
        let sizes: Vec<_> = present.iter().map(|slice| endpoints_of(slice).len()).collect();
        assert_eq!(sizes, [100, 50]);
        let again = planned(&pods(150), &present);
        assert_eq!((again.create.len(), again.update.len(), again.delete.len()), (0, 0, 0));
    }

    #[test]
    fn one_more_pod_changes_one_slice() {
        let present = stored(planned(&pods(150), &[]));
        let more = planned(&pods(151), &present);
        assert_eq!((more.create.len(), more.update.len(), more.delete.len()), (0, 1, 0));
    }

    #[test]
    fn a_service_without_pods_has_one_empty_slice() {
        let present = stored(planned(&[], &[]));
        assert_eq!((present.len(), endpoints_of(&present[0]).len()), (1, 0));
        let again = planned(&[], &present);
        assert_eq!((again.create.len(), again.update.len(), again.delete.len()), (0, 0, 0));
    }
}
