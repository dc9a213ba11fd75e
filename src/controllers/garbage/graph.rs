//! Who owns whom: every object the garbage collector watches, by UID, with its owners and, the other
//! way round, its dependents. Pure.

use std::collections::{HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// Finalizer of an object whose dependents are to be left behind.
pub const ORPHAN: &str = "orphan";
/// Finalizer of an object that waits for its dependents to go first.
pub const FOREGROUND: &str = "foregroundDeletion";

/// An object.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Index of its resource in the collector's list.
    pub resource: usize,
    /// Namespace, or empty.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// It is being deleted.
    pub deleting: bool,
    /// Its finalizers.
    pub finalizers: Vec<String>,
}

impl Node {
    /// Whether it is being deleted and waits for its dependents to go.
    pub fn waits_for_dependents(&self) -> bool {
        self.deleting && self.finalizers.iter().any(|name| name == FOREGROUND)
    }

    /// Whether it is being deleted and its dependents are to be left behind.
    pub fn orphans_dependents(&self) -> bool {
        self.deleting && self.finalizers.iter().any(|name| name == ORPHAN)
    }
}

/// The graph.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<String, Node>,
    dependents: HashMap<String, HashSet<String>>,
}

impl Graph {
    /// An object as it is known.
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// UIDs of all objects that name `uid` as an owner.
    pub fn dependents(&self, uid: &str) -> Vec<String> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// UIDs of all objects with an owner that is not known.
    pub fn of_unknown_owners(&self) -> Vec<String> {
        let unknown = self.dependents.iter().filter(|(owner, _)| !self.nodes.contains_key(*owner));
        unknown.flat_map(|(_, dependents)| dependents.iter().cloned()).collect()
    }

    /// UIDs of all objects of a resource.
    pub fn of_resource(&self, resource: usize) -> Vec<String> {
        self.nodes.iter().filter(|(_, node)| node.resource == resource).map(|(uid, _)| uid.clone()).collect()
    }

    /// Takes in an object as it is now; returns the UIDs to be looked at because of it.
    pub fn set(&mut self, resource: usize, metadata: &ObjectMeta) -> Vec<String> {
        let Some(uid) = metadata.uid.clone() else { return Vec::new() };
        let node = Node {
            resource,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            owners: metadata.owner_references.clone().unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            finalizers: metadata.finalizers.clone().unwrap_or_default(),
        };
        let before = self.nodes.insert(uid.clone(), node.clone());
        if before.as_ref() == Some(&node) {
            return Vec::new();
        }
        let old_owners = before.map(|before| before.owners).unwrap_or_default();
        self.unlink(&uid, &old_owners);
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
        }
        let mut affected = vec![uid];
        // An owner that waits for its dependents may have one less to wait for.
        affected.extend(old_owners.into_iter().map(|owner| owner.uid).filter(|owner| self.waits(owner)));
        affected
    }

    /// Forgets an object that is gone; returns the UIDs to be looked at because of it.
    pub fn remove(&mut self, uid: &str) -> Vec<String> {
        let Some(node) = self.nodes.remove(uid) else { return Vec::new() };
        self.unlink(uid, &node.owners);
        let mut affected = self.dependents(uid);
        affected.extend(node.owners.into_iter().map(|owner| owner.uid).filter(|owner| self.waits(owner)));
        affected
    }

    /// UIDs of dependents that a foreground deletion of `uid` waits for.
    pub fn blocking_dependents(&self, uid: &str) -> Vec<String> {
        let blocks = |dependent: &String| {
            self.nodes.get(dependent).is_some_and(|node| {
                node.owners.iter().any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
            })
        };
        self.dependents(uid).into_iter().filter(blocks).collect()
    }

    fn waits(&self, uid: &str) -> bool {
        self.nodes.get(uid).is_some_and(Node::waits_for_dependents)
    }

    fn unlink(&mut self, uid: &str, owners: &[OwnerReference]) {
        for owner in owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(uid: &str, owner: Option<&str>, finalizers: &[&str]) -> ObjectMeta {
        let owners: Vec<_> = owner
            .map(|uid| json!({"apiVersion": "v1", "kind": "X", "name": "o", "uid": uid, "blockOwnerDeletion": true}))
            .into_iter()
            .collect();
        let deleting = (!finalizers.is_empty()).then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({"uid": uid, "name": uid, "ownerReferences": owners, "finalizers": finalizers,
            "deletionTimestamp": deleting}))
        .unwrap()
    }

    #[test]
    fn dependents_of_what_was_never_seen_are_found() {
        let mut graph = Graph::default();
        graph.set(0, &metadata("child", Some("owner"), &[]));
        assert_eq!(graph.of_unknown_owners(), ["child"]);
        graph.set(0, &metadata("owner", None, &[]));
        assert!(graph.of_unknown_owners().is_empty());
    }

    #[test]
    fn a_removed_owner_brings_its_dependents_up() {
        let mut graph = Graph::default();
        graph.set(0, &metadata("owner", None, &[]));
        graph.set(0, &metadata("child", Some("owner"), &[]));
        assert_eq!(graph.remove("owner"), ["child"]);
    }

    #[test]
    fn a_waiting_owner_is_looked_at_when_a_dependent_goes() {
        let mut graph = Graph::default();
        graph.set(0, &metadata("owner", None, &[FOREGROUND]));
        graph.set(0, &metadata("child", Some("owner"), &[]));
        assert_eq!(graph.blocking_dependents("owner"), ["child"]);
        assert_eq!(graph.remove("child"), ["owner"]);
        assert!(graph.blocking_dependents("owner").is_empty());
    }

    #[test]
    fn an_unchanged_object_is_no_work() {
        let mut graph = Graph::default();
        assert_eq!(graph.set(0, &metadata("a", None, &[])), ["a"]);
        assert!(graph.set(0, &metadata("a", None, &[])).is_empty());
    }
}
