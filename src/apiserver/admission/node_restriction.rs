//! NodeRestriction: a kubelet writes its own node, its own lease and the pods bound to it, and asks
//! for tokens only on behalf of pods it runs (Kubernetes reference, "Admission Control").

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::{Status, kind::GroupResource, meta},
    apiserver::{
        admission::{Operation, Plugin, Request, Warnings},
        authz::node::{NODES_GROUP, node_name},
        reader::Reader,
    },
};

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// Labels of the kubernetes.io and k8s.io namespaces that a kubelet may give its node.
const OWN_LABELS: &[&str] = &[
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
/// Prefixes in which a kubelet may give any label.
const OWN_LABEL_NAMESPACES: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

pub struct NodeRestriction {
    reader: Arc<dyn Reader>,
}

impl NodeRestriction {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }

    fn check_token(&self, request: &Request<'_>, node: &str, token: &Value) -> Result<(), Status> {
        let bound = &token["spec"]["boundObjectRef"];
        let text = |field: &str| bound[field].as_str().unwrap_or_default();
        if text("kind") != "Pod" || text("name").is_empty() || text("uid").is_empty() {
            return Err(request.forbid(token, &format!("node {node:?} can only request tokens bound to a pod")));
        }
        let pod = self.pod(&request.attributes.namespace, text("name"));
        let pod = pod.ok_or_else(|| Status::not_found("", "pods", text("name")))?;
        if meta::uid(&pod) != text("uid") {
            return Err(request.forbid(token, "the UID in the bound object reference does not match that of the pod"));
        }
        if pod["spec"]["nodeName"] != node {
            let why = format!("node {node:?} can only request tokens for pods running on it");
            return Err(request.forbid(token, &why));
        }
        Ok(())
    }

    fn check_eviction(&self, request: &Request<'_>, node: &str, eviction: &Value) -> Result<(), Status> {
        let name = if request.attributes.name.is_empty() { meta::name(eviction) } else { &request.attributes.name };
        match self.pod(&request.attributes.namespace, name) {
            Some(pod) if pod["spec"]["nodeName"] != node => {
                let why = format!("node {node} can only evict pods with spec.nodeName set to itself");
                Err(request.forbid(eviction, &why))
            }
            _ => Ok(()),
        }
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<Value> {
        let pod = self.reader.get(GroupResource { group: "", resource: "pods" }, namespace, name)?;
        serde_json::from_slice(&pod).ok()
    }
}

impl Plugin for NodeRestriction {
    fn validate(&self, request: &Request<'_>, object: &Value) -> Result<Warnings, Status> {
        let user = &request.attributes.user;
        if !user.is_in(NODES_GROUP) {
            return Ok(Warnings::new());
        }
        let Some(node) = node_name(user) else {
            return Err(request.forbid(object, &format!("could not determine node from user {:?}", user.name)));
        };
        let resource = request.attributes.resource_path();
        match (request.attributes.group.as_str(), resource.as_str()) {
            ("", "pods") => check_pod(request, node, object)?,
            ("", "pods/status") => check_pod_status(request, node, object)?,
            ("", "pods/eviction") => self.check_eviction(request, node, object)?,
            ("", "nodes" | "nodes/status") => check_node(request, node, object)?,
            ("", "serviceaccounts/token") => self.check_token(request, node, object)?,
            ("coordination.k8s.io", "leases") => check_lease(request, node, object)?,
            ("storage.k8s.io", "csinodes") => check_own_name(request, node, object, "CSINode")?,
            _ => {}
        }
        Ok(Warnings::new())
    }
}

fn check_pod(request: &Request<'_>, node: &str, pod: &Value) -> Result<(), Status> {
    let is_on_node = pod["spec"]["nodeName"] == node;
    match request.operation {
        Operation::Create if meta::annotation(pod, MIRROR).is_none() => {
            let why = format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods");
            Err(request.forbid(pod, &why))
        }
        Operation::Create if !is_on_node => {
            let why = format!("node {node:?} can only create pods with spec.nodeName set to itself");
            Err(request.forbid(pod, &why))
        }
        Operation::Create => check_mirror_references(request, node, pod),
        Operation::Delete if !is_on_node => {
            let why = format!("node {node:?} can only delete pods with spec.nodeName set to itself");
            Err(request.forbid(pod, &why))
        }
        Operation::Delete => Ok(()),
        _ => Err(request.forbid(pod, "unexpected operation")),
    }
}

/// A mirror pod that named a secret would open it to the node.
fn check_mirror_references(request: &Request<'_>, node: &str, pod: &Value) -> Result<(), Status> {
    if pod["spec"]["serviceAccountName"].as_str().is_some_and(|name| !name.is_empty()) {
        let why = format!("node {node:?} can not create pods that reference a service account");
        return Err(request.forbid(pod, &why));
    }
    let spec = pod["spec"].to_string();
    for (field, what) in [
        ("\"secretName\":", "secrets"),
        ("\"secretKeyRef\":", "secrets"),
        ("\"secretRef\":", "secrets"),
        ("\"secret\":", "secrets"),
        ("\"imagePullSecrets\":[{", "secrets"),
        ("\"configMap\":", "configmaps"),
        ("\"configMapKeyRef\":", "configmaps"),
        ("\"configMapRef\":", "configmaps"),
        ("\"persistentVolumeClaim\":", "persistentvolumeclaims"),
        ("\"serviceAccountToken\":", "serviceaccounts"),
    ] {
        if spec.contains(field) {
            return Err(request.forbid(pod, &format!("node {node:?} can not create pods that reference {what}")));
        }
    }
    Ok(())
}

fn check_pod_status(request: &Request<'_>, node: &str, pod: &Value) -> Result<(), Status> {
    let old = request.old.unwrap_or(pod);
    if old["spec"]["nodeName"] != node {
        let why = format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself");
        return Err(request.forbid(pod, &why));
    }
    if old["metadata"]["labels"] != pod["metadata"]["labels"] {
        return Err(request.forbid(pod, &format!("node {node:?} cannot update labels through pod status")));
    }
    Ok(())
}

fn check_node(request: &Request<'_>, node: &str, object: &Value) -> Result<(), Status> {
    check_own_name(request, node, object, "node")?;
    if request.operation == Operation::Delete {
        return Ok(());
    }
    let nothing = Value::Null;
    let old = request.old.unwrap_or(&nothing);
    let changes_taints = request.operation == Operation::Update && old["spec"]["taints"] != object["spec"]["taints"];
    if changes_taints && request.is_for("", "nodes") {
        return Err(request.forbid(object, &format!("node {node:?} is not allowed to modify taints")));
    }
    if old["metadata"]["ownerReferences"] != object["metadata"]["ownerReferences"] {
        return Err(request.forbid(object, &format!("node {node:?} is not allowed to modify ownerReferences")));
    }
    let foreign = foreign_labels(old, object);
    if foreign.is_empty() {
        return Ok(());
    }
    let what = if request.operation == Operation::Create { "set" } else { "modify" };
    Err(request.forbid(object, &format!("is not allowed to {what} the following labels: {}", foreign.join(", "))))
}

fn check_own_name(request: &Request<'_>, node: &str, object: &Value, what: &str) -> Result<(), Status> {
    let name = if request.attributes.name.is_empty() { meta::name(object) } else { &request.attributes.name };
    if name == node {
        return Ok(());
    }
    Err(request.forbid(object, &format!("node {node:?} is not allowed to modify {what} {name:?}")))
}

fn check_lease(request: &Request<'_>, node: &str, lease: &Value) -> Result<(), Status> {
    if request.attributes.namespace != LEASE_NAMESPACE {
        let why = format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace");
        return Err(request.forbid(lease, &why));
    }
    let name = if request.attributes.name.is_empty() { meta::name(lease) } else { &request.attributes.name };
    if name == node {
        return Ok(());
    }
    Err(request.forbid(lease, "can only access node lease with the same name as the requesting node"))
}

/// Labels that were added, changed or removed and are not the kubelet's to touch.
fn foreign_labels(old: &Value, new: &Value) -> Vec<String> {
    let (before, after): (Vec<_>, Vec<_>) = (meta::labels(old).collect(), meta::labels(new).collect());
    let changed_from = before.iter().filter(|label| !after.contains(label));
    let changed_to = after.iter().filter(|label| !before.contains(label));
    let mut keys: Vec<String> =
        changed_from.chain(changed_to).map(|(key, _)| *key).filter(|key| is_reserved(key)).map(str::to_owned).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn is_reserved(key: &str) -> bool {
    let namespace = key.split_once('/').map_or("", |(namespace, _)| namespace);
    let within = |domain: &str| {
        namespace == domain || namespace.strip_suffix(domain).is_some_and(|prefix| prefix.ends_with('.'))
    };
    (within("kubernetes.io") || within("k8s.io"))
        && !OWN_LABELS.contains(&key)
        && !OWN_LABEL_NAMESPACES.iter().any(|own| within(own))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::{admission::fixture, reader::fake::FakeReader};

    async fn outcome(
        operation: Operation,
        resource: &str,
        name: &str,
        old: Option<Value>,
        object: Value,
    ) -> Option<String> {
        let reader = FakeReader::default();
        for (name, node) in [("mine", "edge1"), ("other", "edge2")] {
            let pod = json!({"metadata": {"namespace": "a", "name": name, "uid": "1"}, "spec": {"nodeName": node}});
            reader.put("", "pods", pod);
        }
        let user = fixture::user("system:node:edge1", &[NODES_GROUP]);
        let attributes = fixture::attributes(user, "update", "", resource, "a", name);
        let kind = fixture::any_kind();
        let request = fixture::request(&attributes, operation, &kind, old.as_ref());
        let result = NodeRestriction::new(Arc::new(reader)).validate(&request, &object);
        result.err().map(|status| status.message)
    }

    #[tokio::test]
    async fn a_kubelet_touches_its_own_node_only() {
        let node = |labels: Value| json!({"metadata": {"name": "edge1", "labels": labels}});
        let plain = node(json!({"kubernetes.io/hostname": "edge1", "example.com/a": "b"}));
        assert_eq!(outcome(Operation::Create, "nodes", "", None, plain.clone()).await, None);
        let foreign = node(json!({"node-restriction.kubernetes.io/secure": "yes"}));
        let message = outcome(Operation::Create, "nodes", "", None, foreign).await.unwrap();
        assert!(message.ends_with("set the following labels: node-restriction.kubernetes.io/secure"), "{message}");
        let message = outcome(Operation::Update, "nodes/status", "edge2", Some(plain.clone()), plain.clone()).await;
        assert_eq!(
            message.unwrap(),
            r#"nodes "edge2" is forbidden: node "edge1" is not allowed to modify node "edge2""#
        );
        let mut tainted = plain.clone();
        tainted["spec"]["taints"] = json!([]);
        assert!(outcome(Operation::Update, "nodes", "edge1", Some(plain), tainted).await.is_some());
    }

    #[tokio::test]
    async fn a_kubelet_touches_its_own_pods_only() {
        let pod = |node: &str| json!({"metadata": {"name": "p"}, "spec": {"nodeName": node}});
        assert_eq!(outcome(Operation::Delete, "pods", "p", None, pod("edge1")).await, None);
        assert!(outcome(Operation::Delete, "pods", "p", None, pod("edge2")).await.is_some());
        assert!(outcome(Operation::Create, "pods", "p", None, pod("edge1")).await.unwrap().contains("mirror"));
        let status = |node: &str| outcome(Operation::Update, "pods/status", "p", Some(pod(node)), pod(node));
        assert_eq!(status("edge1").await, None);
        assert!(status("edge2").await.is_some());
    }

    #[tokio::test]
    async fn a_kubelet_gets_tokens_for_pods_it_runs() {
        let token =
            |pod: &str, uid: &str| json!({"spec": {"boundObjectRef": {"kind": "Pod", "name": pod, "uid": uid}}});
        let ask = |object: Value| outcome(Operation::Create, "serviceaccounts/token", "default", None, object);
        assert_eq!(ask(token("mine", "1")).await, None);
        assert!(ask(token("mine", "2")).await.is_some());
        assert!(ask(token("other", "1")).await.is_some());
        assert!(ask(json!({"spec": {}})).await.is_some());
    }
}
