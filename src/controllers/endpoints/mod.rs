//! Which pods stand behind a Service, and on which ports: what both EndpointSlices ([`slices`]) and
//! the older Endpoints ([`legacy`]) are made from.

pub mod legacy;
pub mod slices;
mod trigger;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::{
    api::core::v1::{ObjectReference, Service, ServicePort},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::ResourceExt;

use crate::{
    client::{
        ObjectKey,
        informer::{Delta, Informer},
        pod::Pod,
        queue::WorkQueue,
    },
    controllers::{owner, pods},
};

/// A port of a Service as one pod serves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackendPort {
    /// Name of the Service port; empty if it has none.
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Port number on the pod.
    pub port: i32,
    /// `appProtocol` of the Service port.
    pub app_protocol: Option<String>,
}

/// A pod behind a Service.
#[derive(Debug, Clone)]
pub struct Backend {
    /// The pod.
    pub pod: Arc<Pod>,
    /// The Service's ports on it.
    pub ports: Vec<BackendPort>,
    /// Takes traffic.
    pub ready: bool,
    /// Would take traffic if it were not going away.
    pub serving: bool,
    /// Is going away.
    pub terminating: bool,
}

impl Backend {
    /// The pod's address of the family asked for.
    pub fn address(&self, ipv6: bool) -> Option<String> {
        let status = self.pod.status.as_ref()?;
        let all = status.pod_ips.iter().flatten().map(|ip| &ip.ip).chain(&status.pod_ip);
        all.filter(|ip| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == ipv6)).map(Clone::clone).next()
    }

    /// The reference that says which pod an address belongs to.
    pub fn target(&self) -> ObjectReference {
        ObjectReference {
            kind: Some("Pod".into()),
            namespace: self.pod.metadata.namespace.clone(),
            name: self.pod.metadata.name.clone(),
            uid: self.pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }
    }

    /// The pod's host name, if the Service is the subdomain it belongs to.
    pub fn hostname(&self, service: &Service) -> Option<String> {
        let spec = self.pod.spec.as_ref()?;
        let hostname = spec.hostname.clone().filter(|hostname| !hostname.is_empty())?;
        (spec.subdomain == service.metadata.name && spec.subdomain.is_some()).then_some(hostname)
    }
}

/// All pods behind `service`, by name. None for a Service without a selector: its endpoints are
/// somebody else's business.
pub fn backends(service: &Service, candidates: &[Arc<Pod>]) -> Option<Vec<Backend>> {
    let spec = service.spec.as_ref()?;
    let selector = spec.selector.clone().filter(|selector| !selector.is_empty())?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let selector = LabelSelector { match_labels: Some(selector), match_expressions: None };
    let publish_all = spec.publish_not_ready_addresses == Some(true);
    let backends = candidates
        .iter()
        .filter(|pod| owner::selects(&selector, &***pod) && !pods::is_finished(pod))
        .map(|pod| {
            let serving = pods::is_ready(pod);
            let terminating = pod.metadata.deletion_timestamp.is_some();
            Backend {
                pod: pod.clone(),
                ports: spec.ports.iter().flatten().filter_map(|port| resolve(port, pod)).collect(),
                ready: publish_all || serving && !terminating,
                serving: publish_all || serving,
                terminating,
            }
        })
        .collect();
    Some(backends)
}

/// The number of a Service port on `pod`; `None` if it names a port that the pod does not have.
fn resolve(port: &ServicePort, pod: &Pod) -> Option<BackendPort> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
    let number = match &port.target_port {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named_port(pod, name, &protocol)?,
    };
    let name = port.name.clone().unwrap_or_default();
    Some(BackendPort { name, protocol, port: number, app_protocol: port.app_protocol.clone() })
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let containers = spec.containers.iter().chain(sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always")));
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let matches = |port: &&k8s_openapi::api::core::v1::ContainerPort| {
        port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
    };
    ports.find(matches).map(|port| port.container_port)
}

/// Feeds `queue` with every Service that comes or changes, and with those that select a pod that
/// does.
pub fn watch(queue: &WorkQueue<ObjectKey>, services: &Informer<Service>, pods: &Informer<Pod>) {
    let nudged = queue.clone();
    services.on_change(move |delta| nudged.add(ObjectKey::of(&**delta.latest())));
    let (nudged, known) = (queue.clone(), services.clone());
    pods.on_change(move |delta| {
        if concerns_endpoints(delta) {
            let namespace = delta.latest().namespace().unwrap_or_default();
            for service in known.list_in(&namespace) {
                let concerned = delta.old.into_iter().chain(delta.new).any(|pod| selects(&service, pod));
                if concerned {
                    nudged.add(ObjectKey::of(&*service));
                }
            }
        }
    });
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let empty = BTreeMap::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
    selector.is_some_and(|selector| {
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    })
}

/// Whether a pod's change can change endpoints: most status updates cannot.
fn concerns_endpoints(delta: &Delta<'_, Pod>) -> bool {
    let (Some(old), Some(new)) = (delta.old, delta.new) else { return true };
    let ips = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ips.clone());
    let hostname = |pod: &Pod| pod.spec.as_ref().map(|spec| (spec.hostname.clone(), spec.subdomain.clone()));
    old.metadata.labels != new.metadata.labels
        || pods::is_ready(old) != pods::is_ready(new)
        || pods::is_finished(old) != pods::is_finished(new)
        || old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
        || pods::node_name(old) != pods::node_name(new)
        || ips(old) != ips(new)
        || hostname(old) != hostname(new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_named_port_is_looked_up_on_each_pod() {
        let service: Service = serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": {
            "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}}))
        .unwrap();
        let pod = |port: i32| -> Arc<Pod> {
            let pod = json!({"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "ports": [{"name": "web", "containerPort": port}]}]}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let backends = backends(&service, &[pod(8080), pod(9090)]).unwrap();
        let ports: Vec<_> = backends.iter().map(|backend| backend.ports[0].port).collect();
        assert_eq!(ports, [8080, 9090]);
    }

    #[test]
    fn a_service_without_a_selector_is_left_alone() {
        assert!(backends(&Service::default(), &[]).is_none());
    }
}
