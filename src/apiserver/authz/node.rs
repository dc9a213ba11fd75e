//! The node authorizer: what a kubelet may do, by what is bound to its node
//! (Kubernetes reference, "Using Node Authorization"). Writes are narrowed further by the
//! NodeRestriction admission plugin, which sees the object.

use std::sync::Arc;

use serde::Deserialize;

use crate::{
    api::kind::GroupResource,
    apiserver::{attributes::Attributes, reader::Reader},
    http::identity::User,
};

/// Group of every kubelet.
pub const NODES_GROUP: &str = "system:nodes";
/// User name of a kubelet, before its node's name.
pub const NODE_USER_PREFIX: &str = "system:node:";

const CORE: &str = "";

/// The name of the node that a user is the kubelet of.
pub fn node_name(user: &User) -> Option<&str> {
    user.name.strip_prefix(NODE_USER_PREFIX).filter(|name| !name.is_empty() && user.is_in(NODES_GROUP))
}

/// The node authorizer.
pub struct NodeAuthorizer {
    reader: Arc<dyn Reader>,
}

impl NodeAuthorizer {
    /// Decides by the pods that `reader` sees.
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }

    /// Whether the user is a kubelet that needs this.
    pub fn allows(&self, attributes: &Attributes) -> bool {
        let Some(node) = node_name(&attributes.user) else { return false };
        if !attributes.is_resource() {
            return false;
        }
        let path = attributes.resource_path();
        match (attributes.group.as_str(), path.as_str()) {
            (CORE, "secrets" | "configmaps" | "persistentvolumeclaims") => {
                is_read_of_one(attributes) && self.uses(node, attributes)
            }
            (CORE, "persistentvolumeclaims/status") => {
                is_one_of(attributes, &["get", "update", "patch"]) && self.uses(node, attributes)
            }
            (CORE, "pods") => self.pods(node, attributes),
            ("resource.k8s.io", "resourceclaims") => is_one_of(attributes, &["get"]) && self.uses(node, attributes),
            ("resource.k8s.io", "resourceslices") => self.slices(node, attributes),
            (CORE, "persistentvolumes") => is_one_of(attributes, &["get"]) && self.mounts(node, attributes),
            ("storage.k8s.io", "volumeattachments") => {
                is_one_of(attributes, &["get"]) && self.is_of_node(node, attributes)
            }
            (CORE, "serviceaccounts/token") => is_one_of(attributes, &["create"]) && self.uses(node, attributes),
            (CORE, "serviceaccounts") => is_one_of(attributes, &["get"]) && self.uses(node, attributes),
            ("coordination.k8s.io", "leases") => leases(node, attributes),
            ("storage.k8s.io", "csinodes") => {
                attributes.name == node && is_one_of(attributes, &["get", "create", "update", "patch", "delete"])
            }
            (group, path) => RULES
                .iter()
                .any(|rule| rule.group == group && rule.resources.contains(&path) && is_one_of(attributes, rule.verbs)),
        }
    }

    /// The pods of `node`. NodeRestriction looks at what is created and deleted. A pod that is gone may be
    /// asked for: that it is gone is what its node wants to know.
    fn pods(&self, node: &str, attributes: &Attributes) -> bool {
        let is_own = || {
            let pods = GroupResource { group: CORE, resource: "pods" };
            let pod = self.reader.get(pods, &attributes.namespace, &attributes.name);
            pod.is_none_or(|pod| serde_json::from_slice::<Pod>(&pod).is_ok_and(|pod| pod.spec.node_name == node))
        };
        match attributes.verb.as_str() {
            "create" | "delete" => true,
            "get" => is_own(),
            "list" | "watch" if attributes.fields.exact("spec.nodeName") == Some(node) => true,
            "list" | "watch" => !attributes.name.is_empty() && is_own(),
            _ => false,
        }
    }

    /// What a driver on `node` publishes of its devices. NodeRestriction looks at what is created, and at
    /// each of those that are deleted together.
    fn slices(&self, node: &str, attributes: &Attributes) -> bool {
        match attributes.verb.as_str() {
            "create" => true,
            "list" | "watch" | "deletecollection" => attributes.fields.exact("spec.nodeName") == Some(node),
            "get" | "update" | "patch" | "delete" => self.is_of_node(node, attributes),
            _ => false,
        }
    }

    /// Whether the object says that it is of `node`.
    fn is_of_node(&self, node: &str, attributes: &Attributes) -> bool {
        let resource = GroupResource { group: &attributes.group, resource: &attributes.resource };
        let object = self.reader.get(resource, "", &attributes.name);
        let object = object.and_then(|object| serde_json::from_slice::<serde_json::Value>(&object).ok());
        object.is_some_and(|object| object["spec"]["nodeName"] == node)
    }

    /// Whether a pod bound to `node` uses the claim that the volume is bound to.
    fn mounts(&self, node: &str, attributes: &Attributes) -> bool {
        let volumes = GroupResource { group: CORE, resource: "persistentvolumes" };
        let volume = self.reader.get(volumes, "", &attributes.name);
        let Some(volume) = volume.and_then(|volume| serde_json::from_slice::<serde_json::Value>(&volume).ok()) else {
            return false;
        };
        let claim = &volume["spec"]["claimRef"];
        let text = |field: &str| claim[field].as_str().unwrap_or_default().to_owned();
        let asked = Attributes {
            resource: "persistentvolumeclaims".into(),
            namespace: text("namespace"),
            name: text("name"),
            ..attributes.clone()
        };
        self.uses(node, &asked)
    }

    /// Whether a pod bound to `node` refers to the object the request names.
    fn uses(&self, node: &str, attributes: &Attributes) -> bool {
        let (resource, name) = (attributes.resource.as_str(), attributes.name.as_str());
        if name.is_empty() || attributes.namespace.is_empty() {
            return false;
        }
        let pods = self.reader.list(GroupResource { group: CORE, resource: "pods" }, Some(&attributes.namespace));
        pods.iter().any(|pod| {
            // Most pods are of other nodes: looking for the names first avoids parsing them.
            let mentions = |text: &str| std::str::from_utf8(pod).is_ok_and(|pod| pod.contains(text));
            mentions(node)
                // An ephemeral volume's claim is named after pod and volume, not in one piece.
                && (resource == "persistentvolumeclaims" || mentions(name))
                && serde_json::from_slice::<Pod>(pod).is_ok_and(|pod| {
                    pod.spec.node_name == node
                        && (pod.spec.refers_to(resource, name, &pod.metadata.name)
                            || (resource == "resourceclaims" && pod.claims_device(name)))
                })
        })
    }
}

fn is_one_of(attributes: &Attributes, verbs: &[&str]) -> bool {
    verbs.contains(&attributes.verb.as_str())
}

/// Single objects may also be listed and watched, by name.
fn is_read_of_one(attributes: &Attributes) -> bool {
    is_one_of(attributes, &["get", "list", "watch"])
}

fn leases(node: &str, attributes: &Attributes) -> bool {
    attributes.namespace == "kube-node-lease"
        && match attributes.verb.as_str() {
            // The name of a new lease is in its body, where NodeRestriction looks at it.
            "create" => attributes.name.is_empty() || attributes.name == node,
            "get" | "update" | "patch" | "delete" | "watch" | "list" => attributes.name == node,
            _ => false,
        }
}

struct Allowed {
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
}

const READ: &[&str] = &["get", "list", "watch"];

const RULES: &[Allowed] = &[
    Allowed { group: CORE, resources: &["nodes"], verbs: &["create", "get", "list", "watch", "update", "patch"] },
    Allowed { group: CORE, resources: &["nodes/status"], verbs: &["update", "patch"] },
    Allowed { group: CORE, resources: &["pods/status"], verbs: &["update", "patch"] },
    Allowed { group: CORE, resources: &["pods/eviction"], verbs: &["create"] },
    Allowed { group: CORE, resources: &["services"], verbs: READ },
    Allowed { group: CORE, resources: &["events"], verbs: &["create", "update", "patch"] },
    Allowed { group: "events.k8s.io", resources: &["events"], verbs: &["create", "update", "patch"] },
    Allowed { group: "authentication.k8s.io", resources: &["tokenreviews"], verbs: &["create"] },
    Allowed {
        group: "authorization.k8s.io",
        resources: &["subjectaccessreviews", "localsubjectaccessreviews"],
        verbs: &["create"],
    },
    Allowed {
        group: "certificates.k8s.io",
        resources: &["certificatesigningrequests"],
        verbs: &["create", "get", "list", "watch"],
    },
    Allowed { group: "storage.k8s.io", resources: &["csidrivers"], verbs: READ },
    Allowed { group: "node.k8s.io", resources: &["runtimeclasses"], verbs: READ },
];

#[derive(Deserialize)]
struct Pod {
    #[serde(default)]
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    resource_claim_statuses: Vec<serde_json::Value>,
    extended_resource_claim_status: serde_json::Value,
}

impl Pod {
    /// Whether the pod uses this resource claim: one that it names, or one that was made for it.
    fn claims_device(&self, name: &str) -> bool {
        self.spec.resource_claims.iter().any(|claim| claim["resourceClaimName"] == name)
            || self.status.resource_claim_statuses.iter().any(|claim| claim["resourceClaimName"] == name)
            || self.status.extended_resource_claim_status["resourceClaimName"] == name
    }
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    node_name: String,
    #[serde(default)]
    service_account_name: String,
    #[serde(default)]
    image_pull_secrets: Vec<Reference>,
    #[serde(default)]
    resource_claims: Vec<serde_json::Value>,
    #[serde(default)]
    volumes: Vec<serde_json::Value>,
    #[serde(default)]
    containers: Vec<Container>,
    #[serde(default)]
    init_containers: Vec<Container>,
    #[serde(default)]
    ephemeral_containers: Vec<Container>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default)]
    env: Vec<serde_json::Value>,
    #[serde(default)]
    env_from: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(default)]
    name: String,
}

impl Spec {
    fn refers_to(&self, resource: &str, name: &str, pod_name: &str) -> bool {
        match resource {
            "secrets" => {
                self.image_pull_secrets.iter().any(|secret| secret.name == name)
                    || self.environment_names("secretKeyRef", "secretRef", name)
                    || self.volumes.iter().any(|volume| volume_uses_secret(volume, name))
            }
            "configmaps" => {
                self.environment_names("configMapKeyRef", "configMapRef", name)
                    || self.volumes.iter().any(|volume| volume_uses_config_map(volume, name))
            }
            "persistentvolumeclaims" => self.volumes.iter().any(|volume| volume_uses_claim(volume, name, pod_name)),
            "serviceaccounts" => self.service_account_name == name,
            _ => false,
        }
    }

    fn environment_names(&self, key_reference: &str, whole_reference: &str, name: &str) -> bool {
        let containers = || self.containers.iter().chain(&self.init_containers).chain(&self.ephemeral_containers);
        containers().flat_map(|container| &container.env).any(|env| env["valueFrom"][key_reference]["name"] == name)
            || containers().flat_map(|container| &container.env_from).any(|env| env[whole_reference]["name"] == name)
    }
}

/// Volume sources that carry a `secretRef` of their own.
const SECRET_REF_SOURCES: &[&str] = &["csi", "cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"];

fn volume_uses_secret(volume: &serde_json::Value, name: &str) -> bool {
    volume["secret"]["secretName"] == name
        || volume["azureFile"]["secretName"] == name
        || projected(volume).any(|source| source["secret"]["name"] == name)
        || volume["csi"]["nodePublishSecretRef"]["name"] == name
        || SECRET_REF_SOURCES.iter().any(|source| volume[*source]["secretRef"]["name"] == name)
}

fn volume_uses_config_map(volume: &serde_json::Value, name: &str) -> bool {
    volume["configMap"]["name"] == name || projected(volume).any(|source| source["configMap"]["name"] == name)
}

fn volume_uses_claim(volume: &serde_json::Value, name: &str, pod_name: &str) -> bool {
    volume["persistentVolumeClaim"]["claimName"] == name
        || (volume["ephemeral"].is_object()
            && volume["name"].as_str().is_some_and(|volume| format!("{pod_name}-{volume}") == name))
}

fn projected(volume: &serde_json::Value) -> impl Iterator<Item = &serde_json::Value> {
    volume["projected"]["sources"].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::reader::fake::FakeReader;

    fn authorizer() -> NodeAuthorizer {
        let reader = FakeReader::default();
        reader.put(
            CORE,
            "pods",
            json!({
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {
                    "nodeName": "edge1", "serviceAccountName": "web",
                    "volumes": [
                        {"name": "a", "secret": {"secretName": "tls"}},
                        {"name": "b", "projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}},
                        {"name": "c", "ephemeral": {}},
                    ],
                    "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}]}],
                }
            }),
        );
        NodeAuthorizer::new(Arc::new(reader))
    }

    fn asks(node: &str, verb: &str, resource: &str, name: &str) -> Attributes {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            user: User { name: format!("system:node:{node}"), groups: vec![NODES_GROUP.into()], ..User::default() },
            verb: verb.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: "default".into(),
            name: name.into(),
            ..Attributes::default()
        }
    }

    #[test]
    fn a_node_reads_what_its_pods_use_and_nothing_else() {
        let authorizer = authorizer();
        let table = [
            ("edge1", "get", "secrets", "tls", true),
            ("edge1", "get", "secrets", "env", true),
            ("edge1", "watch", "configmaps", "kube-root-ca.crt", true),
            ("edge1", "get", "persistentvolumeclaims", "web-c", true),
            ("edge1", "create", "serviceaccounts/token", "web", true),
            ("edge1", "create", "serviceaccounts/token", "admin", false),
            ("edge2", "get", "secrets", "tls", false),
            ("edge1", "get", "secrets", "other", false),
            ("edge1", "list", "secrets", "", false),
            ("edge1", "delete", "secrets", "tls", false),
            ("edge1", "list", "pods", "", false),
            ("edge1", "get", "pods", "web", true),
            ("edge2", "get", "pods", "web", false),
            ("edge2", "watch", "pods", "web", false),
            ("edge2", "get", "pods", "gone", true),
            ("edge1", "deletecollection", "pods", "", false),
        ];
        for (node, verb, resource, name, expected) in table {
            assert_eq!(
                authorizer.allows(&asks(node, verb, resource, name)),
                expected,
                "{node} {verb} {resource} {name}"
            );
        }
    }

    #[test]
    fn a_node_lists_its_own_pods_only() {
        let authorizer = authorizer();
        let lists = |selector: &str| {
            let fields = crate::api::selector::FieldSelector::parse(selector).unwrap();
            authorizer.allows(&Attributes { fields, ..asks("edge1", "list", "pods", "") })
        };
        assert!(lists("spec.nodeName=edge1") && lists("status.phase=Running,spec.nodeName=edge1"));
        assert!(!lists("spec.nodeName=edge2") && !lists("spec.nodeName!=edge1") && !lists(""));
    }

    #[test]
    fn a_node_gets_what_hangs_on_its_pods_claims() {
        let reader = FakeReader::default();
        let pod = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "nodeName": "edge1", "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "t"}],
                "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}],
            },
            "status": {"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "web-gpu"}]},
        });
        reader.put(CORE, "pods", pod);
        let claim = json!({"namespace": "default", "name": "disk"});
        reader.put(CORE, "persistentvolumes", json!({"metadata": {"name": "v"}, "spec": {"claimRef": claim}}));
        let slice = json!({"metadata": {"name": "s"}, "spec": {"nodeName": "edge1"}});
        reader.put("resource.k8s.io", "resourceslices", slice);
        let authorizer = NodeAuthorizer::new(Arc::new(reader));
        let allows = |node: &str, verb: &str, group: &str, resource: &str, name: &str| {
            authorizer.allows(&Attributes { group: group.into(), ..asks(node, verb, resource, name) })
        };
        for (node, expected) in [("edge1", true), ("edge2", false)] {
            assert_eq!(allows(node, "get", "", "persistentvolumes", "v"), expected);
            assert_eq!(allows(node, "get", "resource.k8s.io", "resourceclaims", "web-gpu"), expected);
            assert_eq!(allows(node, "update", "resource.k8s.io", "resourceslices", "s"), expected);
        }
        assert!(allows("edge2", "create", "resource.k8s.io", "resourceslices", ""));
        assert!(!allows("edge1", "get", "storage.k8s.io", "volumeattachments", "none"));
    }

    #[test]
    fn the_name_alone_makes_no_node() {
        let mut attributes = asks("edge1", "get", "secrets", "tls");
        attributes.user.groups.clear();
        assert!(!authorizer().allows(&attributes));
    }

    #[test]
    fn a_node_renews_its_own_lease_only() {
        let authorizer = authorizer();
        let mut lease = asks("edge1", "update", "leases", "edge1");
        lease.group = "coordination.k8s.io".into();
        lease.namespace = "kube-node-lease".into();
        assert!(authorizer.allows(&lease));
        lease.name = "edge2".into();
        assert!(!authorizer.allows(&lease));
    }
}
