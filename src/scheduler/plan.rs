//! The decision: which node a pod goes to, or why it goes to none. Pure.

use crate::scheduler::{cluster::Cluster, cluster::NodeInfo, filters, pod::PodInfo, scores};

/// Where a pod goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// To this node.
    Bind(String),
    /// Nowhere, for now; the message says why in kube-scheduler's words.
    Unschedulable(String),
}

/// Decides for `pod`. `turn` breaks ties, so that equal nodes take turns.
pub fn decide(pod: &PodInfo, cluster: &Cluster, turn: usize) -> Decision {
    let mut feasible = Vec::new();
    let mut objections = Vec::new();
    let mut count = 0;
    for node in cluster.nodes() {
        count += 1;
        let reasons = filters::objections(pod, node);
        if reasons.is_empty() {
            feasible.push(node);
        } else {
            objections.extend(reasons);
        }
    }
    match best(pod, &feasible, turn) {
        Some(node) => Decision::Bind(node.name.clone()),
        None => Decision::Unschedulable(explain(count, objections)),
    }
}

fn best<'a>(pod: &PodInfo, feasible: &[&'a NodeInfo], turn: usize) -> Option<&'a NodeInfo> {
    if let [only] = feasible {
        return Some(only);
    }
    let totals = scores::total(pod, feasible);
    let most = totals.iter().max()?;
    let ties: Vec<&NodeInfo> =
        feasible.iter().zip(&totals).filter(|(_, total)| *total == most).map(|(node, _)| *node).collect();
    ties.get(turn % ties.len()).copied()
}

fn explain(nodes: usize, objections: Vec<String>) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".into();
    }
    let mut reasons: Vec<String> =
        scores::tally(objections).into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    reasons.sort();
    format!("0/{nodes} nodes are available: {}.", reasons.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn cluster(nodes: &[Value]) -> Cluster {
        let mut cluster = Cluster::default();
        for node in nodes {
            cluster.set_node(Arc::new(serde_json::from_value(node.clone()).unwrap()));
        }
        cluster
    }

    fn node(name: &str, cpu: &str) -> Value {
        json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
               "status": {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "10"}}})
    }

    fn pod(spec: Value) -> PodInfo {
        let pod = json!({"metadata": {"namespace": "d", "name": "p"}, "spec": spec});
        PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap()))
    }

    fn requesting(cpu: &str) -> PodInfo {
        pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}))
    }

    #[test]
    fn picks_the_emptier_node() {
        let mut cluster = cluster(&[node("a", "1"), node("b", "1")]);
        cluster.place("a", Arc::new(requesting("500m")));
        assert_eq!(decide(&requesting("100m"), &cluster, 0), Decision::Bind("b".into()));
    }

    #[test]
    fn says_why_no_node_fits_in_upstreams_words() {
        let mut tainted = node("t", "8");
        tainted["spec"] = json!({"taints": [{"key": "a", "effect": "NoSchedule"}]});
        let cluster = cluster(&[node("a", "1"), node("b", "1"), tainted]);
        let expected = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu.";
        assert_eq!(decide(&requesting("2"), &cluster, 0), Decision::Unschedulable(expected.into()));
    }

    #[test]
    fn equal_nodes_take_turns() {
        let cluster = cluster(&[node("a", "1"), node("b", "1")]);
        let picks: Vec<_> = (0..2).map(|turn| decide(&requesting("1m"), &cluster, turn)).collect();
        assert_eq!(picks, [Decision::Bind("a".into()), Decision::Bind("b".into())]);
    }

    #[test]
    fn selector_affinity_and_ports_are_respected() {
        let cluster = cluster(&[node("a", "1"), node("b", "1")]);
        let selecting = pod(json!({"nodeSelector": {"kubernetes.io/hostname": "b"}, "containers": []}));
        assert_eq!(decide(&selecting, &cluster, 0), Decision::Bind("b".into()));
        let nowhere = pod(json!({"containers": [], "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["a", "b"]}]}]}}}}));
        let expected = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.";
        assert_eq!(decide(&nowhere, &cluster, 0), Decision::Unschedulable(expected.into()));
    }

    #[test]
    fn a_cluster_without_nodes_says_so() {
        let expected = Decision::Unschedulable("no nodes available to schedule pods".into());
        assert_eq!(decide(&requesting("1"), &Cluster::default(), 0), expected);
    }
}
