//! The objects themselves: read from the embedded YAML, with what follows from them added.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::kind::Descriptor,
    apiserver::{aggregator::registration, authz::rbac::GROUP, bootstrap::Authorities, discovery::priority},
    pki::server::PROXY_USER,
};

/// Name prefix of the roles that controllers have.
const CONTROLLER_PREFIX: &str = "system:controller:";

const NAMESPACES: &str = include_str!("../../../embedded/bootstrap/namespaces.yaml");
const CLUSTER_ROLES: &str = include_str!("../../../embedded/bootstrap/cluster-roles.yaml");
const CONTROLLER_ROLES: &str = include_str!("../../../embedded/bootstrap/controller-roles.yaml");
const CLUSTER_ROLE_BINDINGS: &str = include_str!("../../../embedded/bootstrap/cluster-role-bindings.yaml");
const PRIORITY_LEVELS: &str = include_str!("../../../embedded/bootstrap/priority-levels.yaml");
const FLOW_SCHEMAS: &str = include_str!("../../../embedded/bootstrap/flow-schemas.yaml");
const ROLES: &str = include_str!("../../../embedded/bootstrap/roles.yaml");

pub fn namespaces() -> Vec<Value> {
    documents(NAMESPACES)
}

pub fn cluster_roles() -> Vec<Value> {
    documents(CLUSTER_ROLES).into_iter().chain(documents(CONTROLLER_ROLES)).map(mark).collect()
}

pub fn cluster_role_bindings() -> Vec<Value> {
    let listed = documents(CLUSTER_ROLE_BINDINGS);
    let derived = documents(CONTROLLER_ROLES).into_iter().filter_map(|role| controller_binding(&role));
    listed.into_iter().chain(derived).map(mark).collect()
}

pub fn roles() -> Vec<Value> {
    namespaced("Role")
}

pub fn role_bindings() -> Vec<Value> {
    namespaced("RoleBinding")
}

/// Priority levels of requests.
pub fn priority_levels() -> Vec<Value> {
    documents(PRIORITY_LEVELS).into_iter().map(mark_flow).collect()
}

/// Which requests belong to which level.
pub fn flow_schemas() -> Vec<Value> {
    documents(FLOW_SCHEMAS).into_iter().map(mark_flow).collect()
}

/// An API service for each version of each group that this server serves itself: what
/// `kubectl get apiservices` lists, and what clients order groups by.
pub fn api_services(kinds: &[Descriptor]) -> Vec<Value> {
    let served: BTreeSet<(&str, &str)> = kinds.iter().map(|kind| (&*kind.group, &*kind.version)).collect();
    let served = served.into_iter().filter(|(group, _)| *group != priority::REGISTRATION_GROUP);
    served.map(|(group, version)| registration::local(group, version, registration::ON_START)).collect()
}

/// `kube-system/extension-apiserver-authentication`: how an aggregated API server verifies clients
/// and the proxy in front of it (Kubernetes documentation, "Configure the Aggregation Layer").
pub fn extension_authentication(authorities: Authorities<'_>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {
            "client-ca-file": authorities.client,
            "requestheader-client-ca-file": authorities.request_header,
            "requestheader-allowed-names": format!("[{PROXY_USER:?}]"),
            "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
            "requestheader-group-headers": r#"["X-Remote-Group"]"#,
            "requestheader-uid-headers": r#"["X-Remote-Uid"]"#,
            "requestheader-username-headers": r#"["X-Remote-User"]"#,
        },
    })
}

fn namespaced(kind: &str) -> Vec<Value> {
    documents(ROLES).into_iter().filter(|object| object["kind"] == kind).map(mark).collect()
}

fn controller_binding(role: &Value) -> Option<Value> {
    let name = role["metadata"]["name"].as_str()?;
    let account = name.strip_prefix(CONTROLLER_PREFIX)?;
    Some(json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "kube-system"}],
    }))
}

/// Labels a default RBAC object as such and lets it be kept up to date.
fn mark(mut object: Value) -> Value {
    object["metadata"]["labels"]["kubernetes.io/bootstrapping"] = "rbac-defaults".into();
    object["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "true".into();
    object
}

/// Marks a default object of priority and fairness as the server's own.
fn mark_flow(mut object: Value) -> Value {
    object["metadata"]["annotations"]["apf.kubernetes.io/autoupdate-spec"] = "true".into();
    object
}

fn documents(yaml: &str) -> Vec<Value> {
    let parse = |document| Value::deserialize(document).expect("embedded files are valid YAML, which a test checks");
    serde_yaml::Deserializer::from_str(yaml).map(parse).filter(|document| !document.is_null()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::kinds, apiserver::authz::Rule};

    #[test]
    fn embedded_objects_are_complete_and_unique() {
        for objects in [namespaces(), cluster_roles(), cluster_role_bindings(), roles(), role_bindings()] {
            assert!(!objects.is_empty());
            let names = objects.iter().map(|object| &object["metadata"]);
            let mut names: Vec<(&str, &str)> = names
                .map(|names| (names["namespace"].as_str().unwrap_or_default(), names["name"].as_str().unwrap()))
                .collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }

    #[test]
    fn flow_control_and_api_services_are_valid_objects() {
        let kinds = kinds::all();
        for object in priority_levels().into_iter().chain(flow_schemas()).chain(api_services(&kinds)) {
            let kind = kinds.iter().find(|kind| object["kind"] == *kind.kind).unwrap();
            let decoded = kind.strategy.prepare_for_create(object).unwrap();
            assert_eq!(kind.strategy.validate(&decoded), [], "{}", decoded["metadata"]["name"]);
        }
        let levels = priority_levels();
        for schema in flow_schemas() {
            let level = &schema["spec"]["priorityLevelConfiguration"]["name"];
            assert!(levels.iter().any(|one| one["metadata"]["name"] == *level), "{level}");
        }
    }

    #[test]
    fn every_rule_is_well_formed() {
        for role in cluster_roles().into_iter().chain(roles()) {
            let rules: Vec<Rule> = serde_json::from_value(role["rules"].clone()).unwrap_or_default();
            assert!(!rules.is_empty() || role["aggregationRule"].is_object(), "{}", role["metadata"]["name"]);
            for rule in rules {
                assert!(!rule.verbs.is_empty());
                assert_ne!(rule.resources.is_empty(), rule.non_resource_urls.is_empty(), "{rule:?}");
                assert_eq!(rule.resources.is_empty(), rule.api_groups.is_empty(), "{rule:?}");
            }
        }
    }

    #[test]
    fn every_binding_refers_to_a_role_that_is_there() {
        let roles = cluster_roles();
        for binding in cluster_role_bindings() {
            assert!(roles.iter().any(|role| role["metadata"]["name"] == binding["roleRef"]["name"]), "{binding}");
        }
    }
}
