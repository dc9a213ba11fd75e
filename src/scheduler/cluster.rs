//! The scheduler's picture of the cluster: every node with the pods on it, those included that it
//! has just placed and whose binding the API has not shown yet ("assumed").

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Node;

use crate::{
    client::{ObjectKey, pod::Pod},
    scheduler::{
        pod::{PodInfo, is_finished},
        resources::Amounts,
    },
};

/// A node and what is on it.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// The node's name.
    pub name: String,
    /// The node itself; `None` while only pods are known that claim to be on it.
    pub node: Option<Arc<Node>>,
    /// What may be requested on it in all.
    pub allocatable: Amounts,
    /// How many pods may be on it.
    pub pod_limit: i64,
    /// Sum of requests.
    pub requested: Amounts,
    /// Sum of assumed requests.
    pub assumed: Amounts,
    /// Pods on it.
    pub pods: HashMap<ObjectKey, Arc<PodInfo>>,
}

impl NodeInfo {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            node: None,
            allocatable: Amounts::default(),
            pod_limit: 0,
            requested: Amounts::default(),
            assumed: Amounts::default(),
            pods: HashMap::new(),
        }
    }

    fn set_node(&mut self, node: Arc<Node>) {
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        self.allocatable = Amounts::of(allocatable.into_iter().flatten());
        self.pod_limit = self.allocatable.others.get("pods").copied().unwrap_or(0);
        self.node = Some(node);
    }

    fn add(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.assumed.add(&pod.assumed);
        self.pods.insert(pod.key.clone(), pod);
    }

    fn remove(&mut self, key: &ObjectKey) {
        if let Some(pod) = self.pods.remove(key) {
            self.requested.subtract(&pod.requests);
            self.assumed.subtract(&pod.assumed);
        }
    }
}

/// All nodes and the place of every bound pod.
#[derive(Debug, Default)]
pub struct Cluster {
    nodes: BTreeMap<String, NodeInfo>,
    places: HashMap<ObjectKey, String>,
}

impl Cluster {
    /// Nodes that exist, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(|node| node.node.is_some())
    }

    /// Takes in a node as it is now.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        self.nodes.entry(name.clone()).or_insert_with(|| NodeInfo::new(&name)).set_node(node);
    }

    /// Forgets a node. Pods that claim to be on it stay until they are gone themselves.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(info) = self.nodes.get_mut(name) {
            info.node = None;
            if info.pods.is_empty() {
                self.nodes.remove(name);
            }
        }
    }

    /// Takes in a pod as it is now: it counts on its node while it is bound and not finished.
    pub fn set_pod(&mut self, pod: &Arc<Pod>) {
        let info = PodInfo::new(pod.clone());
        self.remove_pod(&info.key);
        if let Some(node) = info.node().filter(|_| !is_finished(pod)).map(str::to_owned) {
            self.place(&node, Arc::new(info));
        }
    }

    /// Forgets a pod.
    pub fn remove_pod(&mut self, key: &ObjectKey) {
        let Some(node) = self.places.remove(key) else { return };
        if let Some(info) = self.nodes.get_mut(&node) {
            info.remove(key);
            if info.node.is_none() && info.pods.is_empty() {
                self.nodes.remove(&node);
            }
        }
    }

    /// Counts `pod` on `node` ahead of its binding.
    pub fn place(&mut self, node: &str, pod: Arc<PodInfo>) {
        self.places.insert(pod.key.clone(), node.to_owned());
        self.nodes.entry(node.to_owned()).or_insert_with(|| NodeInfo::new(node)).add(pod);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: &str, phase: &str) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(serde_json::json!({
                "metadata": {"namespace": "d", "name": name},
                "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
                "status": {"phase": phase},
            }))
            .unwrap(),
        )
    }

    #[test]
    fn a_finished_or_removed_pod_gives_back_what_it_held() {
        let mut cluster = Cluster::default();
        cluster.set_node(Arc::new(serde_json::from_value(serde_json::json!({"metadata": {"name": "n"}})).unwrap()));
        cluster.set_pod(&pod("a", "n", "Running"));
        cluster.set_pod(&pod("b", "n", "Running"));
        cluster.set_pod(&pod("b", "n", "Running"));
        let held = |cluster: &Cluster| cluster.nodes().next().unwrap().requested.milli_cpu;
        assert_eq!(held(&cluster), 2000);
        cluster.set_pod(&pod("a", "n", "Succeeded"));
        assert_eq!(held(&cluster), 1000);
        cluster.remove_pod(&ObjectKey::new("d", "b"));
        assert_eq!(held(&cluster), 0);
    }

    #[test]
    fn pods_seen_before_their_node_are_counted_once_it_comes() {
        let mut cluster = Cluster::default();
        cluster.set_pod(&pod("a", "n", "Running"));
        assert_eq!(cluster.nodes().count(), 0);
        cluster.set_node(Arc::new(serde_json::from_value(serde_json::json!({"metadata": {"name": "n"}})).unwrap()));
        assert_eq!(cluster.nodes().next().unwrap().pods.len(), 1);
    }
}
