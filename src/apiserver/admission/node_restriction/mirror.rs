//! Mirror pods: a kubelet shows in the API what it runs from a file. Such a pod belongs to its node and
//! names no other object, which it would open to the node.

use serde_json::Value;

use crate::{
    api::{Status, meta},
    apiserver::admission::Request,
};

const MIRROR: &str = "kubernetes.io/config.mirror";

/// Whether `node`, whose object has `node_uid`, may create the pod.
pub fn check(request: &Request<'_>, node: &str, node_uid: Option<&str>, pod: &Value) -> Result<(), Status> {
    let refuse = |why: String| Err(request.forbid(pod, &why));
    if meta::annotation(pod, MIRROR).is_none() {
        return refuse(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
    }
    if pod["spec"]["nodeName"] != node {
        return refuse(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    if let Some(why) = wrong_owner(node, pod) {
        return refuse(format!("node {node:?} {why}"));
    }
    let owner = &pod["metadata"]["ownerReferences"][0]["uid"];
    match node_uid {
        None => return Err(Status::not_found("", "nodes", node)),
        Some(uid) if owner != uid => {
            let given = owner.as_str().unwrap_or_default();
            return refuse(format!("node {node} UID mismatch: expected {given} got {uid}"));
        }
        Some(_) => {}
    }
    match reference(&pod["spec"]) {
        Ok(None) => Ok(()),
        Ok(Some(what)) => refuse(format!("node {node:?} can not create pods that reference {what}")),
        Err(why) => refuse(format!("error checking mirror pod for API references: {why}")),
    }
}

fn wrong_owner(node: &str, pod: &Value) -> Option<&'static str> {
    let owners = pod["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
    let owner = match owners {
        [] => return Some("can only create pods with an owner reference set to itself"),
        [owner] => owner,
        _ => return Some("can only create pods with a single owner reference set to itself"),
    };
    if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != node {
        return Some("can only create pods with an owner reference set to itself");
    }
    if owner["controller"] != true {
        return Some("can only create pods with a controller owner reference set to itself");
    }
    (owner["blockOwnerDeletion"] == true).then_some("must not set blockOwnerDeletion on an owner reference")
}

/// Another object that the pod refers to, as upstream names it.
fn reference(spec: &Value) -> Result<Option<&'static str>, String> {
    let is_set = |field: &str| spec[field].as_str().is_some_and(|text| !text.is_empty());
    let has_items = |field: &str| spec[field].as_array().is_some_and(|items| !items.is_empty());
    if is_set("serviceAccountName") {
        return Ok(Some("serviceaccounts"));
    }
    let volumes = || spec["volumes"].as_array().into_iter().flatten();
    if names_secrets(spec) {
        return Ok(Some("secrets"));
    }
    if environment(spec, "configMapKeyRef", "configMapRef") || volumes().any(names_config_map) {
        return Ok(Some("configmaps"));
    }
    if has_items("resourceClaims") {
        return Ok(Some("resourceclaims"));
    }
    for volume in volumes() {
        if let Some(what) = volume_reference(volume)? {
            return Ok(Some(what));
        }
    }
    Ok(None)
}

/// Whether the pod uses any secret.
pub fn names_secrets(spec: &Value) -> bool {
    let mut volumes = spec["volumes"].as_array().into_iter().flatten();
    spec["imagePullSecrets"].as_array().is_some_and(|secrets| !secrets.is_empty())
        || environment(spec, "secretKeyRef", "secretRef")
        || volumes.any(names_secret)
}

fn environment(spec: &Value, key: &str, whole: &str) -> bool {
    let lists = ["containers", "initContainers", "ephemeralContainers"].map(|list| &spec[list]);
    let containers = lists.into_iter().filter_map(Value::as_array).flatten();
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    containers.into_iter().any(|container| {
        items(&container["env"]).iter().any(|item| item["valueFrom"][key].is_object())
            || items(&container["envFrom"]).iter().any(|item| item[whole].is_object())
    })
}

/// Volume sources that carry a `secretRef` of their own.
const SECRET_REF_SOURCES: [&str; 6] = ["cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"];

fn names_secret(volume: &Value) -> bool {
    volume["secret"].is_object()
        || volume["azureFile"].is_object()
        || projected(volume).any(|source| source["secret"].is_object())
        || volume["csi"]["nodePublishSecretRef"].is_object()
        || SECRET_REF_SOURCES.iter().any(|source| volume[*source]["secretRef"].is_object())
}

fn names_config_map(volume: &Value) -> bool {
    volume["configMap"].is_object() || projected(volume).any(|source| source["configMap"].is_object())
}

fn projected(volume: &Value) -> impl Iterator<Item = &Value> {
    volume["projected"]["sources"].as_array().into_iter().flatten()
}

/// What a volume refers to. One that is not known is refused, for it might.
fn volume_reference(volume: &Value) -> Result<Option<&'static str>, String> {
    const HARMLESS: [&str; 22] = [
        "awsElasticBlockStore",
        "azureDisk",
        "cephfs",
        "cinder",
        "downwardAPI",
        "emptyDir",
        "fc",
        "flexVolume",
        "flocker",
        "gcePersistentDisk",
        "gitRepo",
        "hostPath",
        "image",
        "iscsi",
        "nfs",
        "photonPersistentDisk",
        "portworxVolume",
        "quobyte",
        "rbd",
        "scaleIO",
        "storageos",
        "vsphereVolume",
    ];
    const TELLING: [(&str, &str); 4] = [
        ("csi", "csidrivers (via CSI volumes)"),
        ("glusterfs", "endpoints (via glusterFS volumes)"),
        ("persistentVolumeClaim", "persistentvolumeclaims"),
        ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
    ];
    if HARMLESS.iter().any(|source| volume[*source].is_object()) {
        return Ok(None);
    }
    if let Some((_, what)) = TELLING.iter().find(|(source, _)| volume[*source].is_object()) {
        return Ok(Some(what));
    }
    let name = volume["name"].as_str().unwrap_or_default();
    if !volume["projected"].is_object() {
        return Err(format!("unknown volume type for volume  {name:?}"));
    }
    const PROJECTED: [(&str, &str); 3] = [
        ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
        ("clusterTrustBundle", "clustertrustbundles"),
        ("podCertificate", "podcertificates"),
    ];
    for source in projected(volume) {
        if let Some((_, what)) = PROJECTED.iter().find(|(field, _)| source[*field].is_object()) {
            return Ok(Some(what));
        }
        if !source["downwardAPI"].is_object() {
            return Err(format!("unknown source for projected volume {name:?}"));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_names_an_object_is_found() {
        let volume = |source: Value| json!({"volumes": [source]});
        let table = [
            (json!({}), Ok(None)),
            (volume(json!({"emptyDir": {}})), Ok(None)),
            (json!({"serviceAccountName": "a"}), Ok(Some("serviceaccounts"))),
            (json!({"imagePullSecrets": [{"name": "a"}]}), Ok(Some("secrets"))),
            (json!({"initContainers": [{"envFrom": [{"configMapRef": {}}]}]}), Ok(Some("configmaps"))),
            (json!({"resourceClaims": [{}]}), Ok(Some("resourceclaims"))),
            (volume(json!({"persistentVolumeClaim": {}})), Ok(Some("persistentvolumeclaims"))),
            (volume(json!({"csi": {}})), Ok(Some("csidrivers (via CSI volumes)"))),
            (
                volume(json!({"projected": {"sources": [{"downwardAPI": {}}, {"serviceAccountToken": {}}]}})),
                Ok(Some("serviceaccounts (via projected volumes)")),
            ),
            (volume(json!({"name": "v", "new": {}})), Err("unknown volume type for volume  \"v\"".to_owned())),
        ];
        for (spec, expected) in table {
            assert_eq!(reference(&spec), expected, "{spec}");
        }
    }

    #[test]
    fn a_mirror_pod_belongs_to_its_node_alone() {
        let owned = |owners: Value| json!({"metadata": {"ownerReferences": owners}});
        let good = json!({"apiVersion": "v1", "kind": "Node", "name": "edge1", "controller": true});
        let with = |field: &str, value: Value| {
            let mut owner = good.clone();
            owner[field] = value;
            owned(json!([owner]))
        };
        let wrong = |pod: &Value| wrong_owner("edge1", pod);
        assert_eq!(wrong(&owned(json!([good.clone()]))), None);
        assert!(wrong(&owned(json!([]))).unwrap().contains("an owner reference"));
        assert!(wrong(&owned(json!([good.clone(), good.clone()]))).unwrap().contains("a single owner reference"));
        assert!(wrong(&with("name", json!("edge2"))).unwrap().contains("an owner reference"));
        assert!(wrong(&with("controller", json!(false))).unwrap().contains("a controller owner reference"));
        assert!(wrong(&with("blockOwnerDeletion", json!(true))).unwrap().contains("blockOwnerDeletion"));
    }
}
