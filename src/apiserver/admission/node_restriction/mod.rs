//! NodeRestriction: a kubelet writes its own node, its own lease and the pods bound to it, and asks
//! for tokens only on behalf of pods it runs (Kubernetes reference, "Admission Control").

use std::sync::Arc;

use serde_json::Value;

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    api::{Status, kinds::certificate_signing_request::request, meta},
    apiserver::{
        admission::{Operation, Plugin, Request, Warnings},
        authz::{
            Authorizer,
            node::{NODES_GROUP, node_name},
        },
        reader::Reader,
    },
};

mod mirror;
mod token;

pub use mirror::names_secrets;

/// Signers of what kubelets show.
const KUBELET_SIGNERS: [&str; 2] = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];
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
    authorizer: Arc<Authorizer>,
}

impl NodeRestriction {
    pub fn new(reader: Arc<dyn Reader>, authorizer: Arc<Authorizer>) -> Self {
        Self { reader, authorizer }
    }

    fn check_pod(&self, request: &Request<'_>, node: &str, pod: &Value) -> Result<(), Status> {
        match request.operation {
            Operation::Create => {
                let object = self.get("", "nodes", "", node);
                mirror::check(request, node, object.as_ref().map(meta::uid), pod)
            }
            Operation::Delete if pod["spec"]["nodeName"] != node => {
                let why = format!("node {node:?} can only delete pods with spec.nodeName set to itself");
                Err(request.forbid(pod, &why))
            }
            Operation::Delete => Ok(()),
            _ => {
                let why = format!("unexpected operation, node {node:?} can only create and delete mirror pods");
                Err(request.forbid(pod, &why))
            }
        }
    }

    fn check_eviction(&self, request: &Request<'_>, node: &str, eviction: &Value) -> Result<(), Status> {
        let name = own_name(request, eviction);
        if name.is_empty() {
            return Err(request.forbid(eviction, "could not determine pod from request data"));
        }
        let pod = self.get("", "pods", &request.attributes.namespace, name);
        let pod = pod.ok_or_else(|| Status::not_found("", "pods", name))?;
        if pod["spec"]["nodeName"] != node {
            let why = format!("node {node} can only evict pods with spec.nodeName set to itself");
            return Err(request.forbid(eviction, &why));
        }
        Ok(())
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
            ("", "pods") => self.check_pod(request, node, object)?,
            ("", "pods/status") => check_pod_status(request, node, object)?,
            ("", "pods/eviction") => self.check_eviction(request, node, object)?,
            ("", resource) if resource.starts_with("pods/") => {
                let subresource = &request.attributes.subresource;
                let why =
                    format!("unexpected pod subresource {subresource:?}, only 'status' and 'eviction' are allowed");
                return Err(request.forbid(object, &why));
            }
            ("", "nodes" | "nodes/status") => check_node(request, node, object)?,
            ("", "persistentvolumeclaims/status") => check_claim_status(request, node, object)?,
            ("", "persistentvolumeclaims") => return Err(request.forbid(object, "may only update PVC status")),
            ("", "serviceaccounts/token") => self.check_token(request, node, object)?,
            ("coordination.k8s.io", "leases") => check_lease(request, node, object)?,
            ("storage.k8s.io", "csinodes") => check_csi_node(request, node, object)?,
            ("resource.k8s.io", "resourceslices") => check_slice(request, node, object)?,
            ("certificates.k8s.io", "certificatesigningrequests") => check_signing_request(request, node, object)?,
            _ => {}
        }
        Ok(Warnings::new())
    }
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
    let (before, after) = (&old["status"], &pod["status"]);
    if nothing_if_empty(&before["resourceClaimStatuses"]) != nothing_if_empty(&after["resourceClaimStatuses"]) {
        return Err(request.forbid(pod, &format!("node {node:?} cannot update resource claim statues")));
    }
    if before["extendedResourceClaimStatus"] != after["extendedResourceClaimStatus"] {
        return Err(request.forbid(pod, &format!("node {node:?} cannot update extended resource claim status")));
    }
    Ok(())
}

/// An empty list is as good as none.
fn nothing_if_empty(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Only the size and what is said about it.
fn check_claim_status(request: &Request<'_>, node: &str, claim: &Value) -> Result<(), Status> {
    let rest = |claim: &Value| {
        let mut claim = claim.clone();
        for field in ["resourceVersion", "managedFields"] {
            meta::set(&mut claim, field, Value::Null);
        }
        if let Some(status) = claim.get_mut("status").and_then(Value::as_object_mut) {
            for field in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
                status.remove(field);
            }
        }
        claim
    };
    if rest(request.old.unwrap_or(claim)) == rest(claim) {
        return Ok(());
    }
    let why = format!("node {node:?} is not allowed to update fields other than status.quantity and status.conditions");
    Err(request.forbid(claim, &why))
}

fn check_node(request: &Request<'_>, node: &str, object: &Value) -> Result<(), Status> {
    let name = own_name(request, object);
    if name != node {
        return Err(request.forbid(object, &format!("node {node:?} is not allowed to modify node {name:?}")));
    }
    let refuse = |why: &str| Err(request.forbid(object, &format!("node {node:?} {why}")));
    let config = &object["spec"]["configSource"];
    match (request.operation, request.old) {
        (Operation::Create, _) => {
            if !config.is_null() {
                return refuse("is not allowed to create pods with a non-nil configSource");
            }
            let foreign = foreign_labels(&Value::Null, object);
            if !foreign.is_empty() {
                return refuse(&format!("is not allowed to set the following labels: {}", foreign.join(", ")));
            }
        }
        (Operation::Update, Some(old)) => {
            if !config.is_null() && *config != old["spec"]["configSource"] {
                return refuse("is not allowed to update configSource to a new non-nil configSource");
            }
            if nothing_if_empty(&old["spec"]["taints"]) != nothing_if_empty(&object["spec"]["taints"]) {
                return refuse("is not allowed to modify taints");
            }
            let owners = |object: &Value| nothing_if_empty(&object["metadata"]["ownerReferences"]).to_vec();
            if owners(old) != owners(object) {
                return refuse("is not allowed to modify ownerReferences");
            }
            let foreign = foreign_labels(old, object);
            if !foreign.is_empty() {
                let why = format!("is not allowed to modify labels: {}", foreign.join(", "));
                return Err(request.forbid(object, &why));
            }
        }
        _ => {}
    }
    Ok(())
}

/// The name in the URL, or of what is created.
fn own_name<'a>(request: &'a Request<'_>, object: &'a Value) -> &'a str {
    if request.attributes.name.is_empty() { meta::name(object) } else { &request.attributes.name }
}

fn check_csi_node(request: &Request<'_>, node: &str, object: &Value) -> Result<(), Status> {
    if own_name(request, object) == node {
        return Ok(());
    }
    Err(request.forbid(object, "can only access CSINode with the same name as the requesting node"))
}

fn check_slice(request: &Request<'_>, node: &str, slice: &Value) -> Result<(), Status> {
    let verb = match request.operation {
        Operation::Create => "create",
        Operation::Delete => "delete",
        _ => return Ok(()),
    };
    if slice["spec"]["nodeName"] == node {
        return Ok(());
    }
    let why = format!("can only {verb} ResourceSlice with the same NodeName as the requesting node");
    Err(request.forbid(slice, &why))
}

/// A kubelet asks for certificates of its own name alone.
fn check_signing_request(request: &Request<'_>, node: &str, object: &Value) -> Result<(), Status> {
    let signer = object["spec"]["signerName"].as_str().unwrap_or_default();
    if request.operation != Operation::Create || !KUBELET_SIGNERS.contains(&signer) {
        return Ok(());
    }
    let pem = object["spec"]["request"].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
    let asked = request::Request::parse(&pem.unwrap_or_default());
    let asked = asked.map_err(|why| request.forbid(object, &format!("unable to parse csr: {why}")))?;
    if asked.common_name == format!("system:node:{node}") {
        return Ok(());
    }
    Err(request.forbid(object, &format!("can only create a node CSR with CN=system:node:{node}")))
}

fn check_lease(request: &Request<'_>, node: &str, lease: &Value) -> Result<(), Status> {
    if request.attributes.namespace != LEASE_NAMESPACE {
        let why = format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace");
        return Err(request.forbid(lease, &why));
    }
    if own_name(request, lease) == node {
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
        reader.put("", "nodes", json!({"metadata": {"name": "edge1", "uid": "n"}}));
        let volumes = json!([{"projected": {"sources": [{"serviceAccountToken": {"audience": "vault"}}]}}]);
        let pod = json!({"metadata": {"namespace": "a", "name": "vault", "uid": "1"},
            "spec": {"nodeName": "edge1", "volumes": volumes}});
        reader.put("", "pods", pod);
        let user = fixture::user("system:node:edge1", &[NODES_GROUP]);
        let (group, resource) = resource.rsplit_once(' ').unwrap_or(("", resource));
        let attributes = fixture::attributes(user, "update", group, resource, "a", name);
        let kind = fixture::any_kind();
        let request = fixture::request(&attributes, operation, &kind, old.as_ref());
        let reader: Arc<dyn Reader> = Arc::new(reader);
        let authorizer = Arc::new(Authorizer::new(reader.clone()));
        let result = NodeRestriction::new(reader, authorizer).validate(&request, &object);
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
        tainted["spec"]["taints"] = json!([{"key": "a", "effect": "NoSchedule"}]);
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
        let token = |pod: &str, uid: &str, audiences: Value| {
            let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid});
            json!({"spec": {"boundObjectRef": bound, "audiences": audiences}})
        };
        let ask = |object: Value| outcome(Operation::Create, "serviceaccounts/token", "default", None, object);
        assert_eq!(ask(token("vault", "1", json!(["vault"]))).await, None);
        assert!(ask(token("vault", "2", json!(["vault"]))).await.unwrap().contains("does not match the UID in record"));
        assert!(ask(token("other", "1", json!(["vault"]))).await.unwrap().ends_with("scheduled on a different node"));
        assert!(ask(json!({"spec": {}})).await.unwrap().ends_with("node requested token not bound to a pod"));
        assert!(ask(token("vault", "", json!([]))).await.unwrap().ends_with("a pod binding without a uid"));
        assert!(ask(token("vault", "1", json!(["a", "b"]))).await.unwrap().ends_with("0 or 1 audiences"));
        let message = ask(token("vault", "1", json!([]))).await.unwrap();
        assert!(message.contains("audience \"\" not found in pod spec volume"), "{message}");
    }

    #[tokio::test]
    async fn a_mirror_pod_carries_its_nodes_uid() {
        let pod = |uid: &str| {
            let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "edge1", "uid": uid, "controller": true});
            let annotations = json!({"kubernetes.io/config.mirror": "x"});
            json!({"metadata": {"name": "p", "annotations": annotations, "ownerReferences": [owner]},
                "spec": {"nodeName": "edge1"}})
        };
        assert_eq!(outcome(Operation::Create, "pods", "p", None, pod("n")).await, None);
        let message = outcome(Operation::Create, "pods", "p", None, pod("m")).await.unwrap();
        assert!(message.ends_with("node edge1 UID mismatch: expected m got n"), "{message}");
    }

    #[tokio::test]
    async fn a_kubelet_changes_of_a_claim_its_size_alone() {
        let claim = |capacity: &str, phase: &str| json!({"metadata": {"name": "c"}, "status": {"phase": phase, "capacity": {"storage": capacity}}});
        let change = |new: Value| {
            outcome(Operation::Update, "persistentvolumeclaims/status", "c", Some(claim("1Gi", "Bound")), new)
        };
        assert_eq!(change(claim("2Gi", "Bound")).await, None);
        assert!(change(claim("1Gi", "Lost")).await.unwrap().contains("other than status.quantity"));
        let whole = outcome(Operation::Update, "persistentvolumeclaims", "c", None, claim("1Gi", "Bound")).await;
        assert!(whole.unwrap().ends_with("may only update PVC status"));
    }

    #[tokio::test]
    async fn slices_and_certificates_are_of_the_node_itself() {
        let slice = |node: &str| json!({"metadata": {"name": "s"}, "spec": {"nodeName": node}});
        let slices = "resource.k8s.io resourceslices";
        assert_eq!(outcome(Operation::Create, slices, "s", None, slice("edge1")).await, None);
        assert!(outcome(Operation::Delete, slices, "s", None, slice("edge2")).await.unwrap().contains("only delete"));
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:edge2");
        let pem = params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let request = json!({"metadata": {"name": "r"}, "spec": {
            "signerName": KUBELET_SIGNERS[0], "request": BASE64_STANDARD.encode(pem)}});
        let requests = "certificates.k8s.io certificatesigningrequests";
        let message = outcome(Operation::Create, requests, "r", None, request).await.unwrap();
        assert!(message.ends_with("can only create a node CSR with CN=system:node:edge1"), "{message}");
    }
}
