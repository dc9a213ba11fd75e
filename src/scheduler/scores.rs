//! Scores: how good a node is for a pod, compared with the other nodes that can run it. Each score
//! is 0 to 100 and has kube-scheduler's default weight.

use std::collections::BTreeMap;

use crate::scheduler::{
    cluster::NodeInfo,
    filters::{preferred_weight, untolerated_preferences},
    pod::PodInfo,
};

/// The best score.
const MAX: i64 = 100;
/// Weight of spreading pods of one owner over nodes (PodTopologySpread's).
const SPREAD_WEIGHT: i64 = 2;
/// Weight of preferred node affinity.
const AFFINITY_WEIGHT: i64 = 2;
/// Weight of untolerated PreferNoSchedule taints.
const TAINT_WEIGHT: i64 = 3;
/// Weight of having the image already.
const IMAGE_WEIGHT: i64 = 1;

/// The total score of each of `nodes`, in their order.
pub fn total(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
    let affinity = normalized(nodes.iter().map(|node| preferred_weight(pod, node)).collect(), false);
    let taints = normalized(
        nodes.iter().map(|node| i64::try_from(untolerated_preferences(pod, node)).unwrap_or(i64::MAX)).collect(),
        true,
    );
    let spread = normalized(nodes.iter().map(|node| siblings(pod, node)).collect(), true);
    nodes
        .iter()
        .enumerate()
        .map(|(index, node)| {
            least_allocated(pod, node)
                + balanced(pod, node)
                + IMAGE_WEIGHT * image_locality(pod, node)
                + AFFINITY_WEIGHT * affinity[index]
                + TAINT_WEIGHT * taints[index]
                + SPREAD_WEIGHT * spread[index]
        })
        .collect()
}

/// Stretches raw values to 0..=100; with `reversed`, the lowest raw value is the best.
fn normalized(raw: Vec<i64>, reversed: bool) -> Vec<i64> {
    let most = raw.iter().copied().max().unwrap_or(0);
    raw.into_iter()
        .map(|value| {
            let share = if most == 0 { 0 } else { value * MAX / most };
            if reversed { MAX - share } else { share }
        })
        .collect()
}

/// NodeResourcesFit with LeastAllocated: the mean share of CPU and memory that stays free.
fn least_allocated(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let free = |allocatable: i64, used: i64| {
        if allocatable <= 0 || used > allocatable { 0 } else { (allocatable - used) * MAX / allocatable }
    };
    let cpu = free(node.allocatable.milli_cpu, node.assumed.milli_cpu + pod.assumed.milli_cpu);
    let memory = free(node.allocatable.memory_bytes, node.assumed.memory_bytes + pod.assumed.memory_bytes);
    (cpu + memory) / 2
}

/// NodeResourcesBalancedAllocation: how close the used shares of CPU and memory are to each other.
fn balanced(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let share = |allocatable: i64, used: i64| {
        if allocatable <= 0 { MAX } else { (used.saturating_mul(MAX) / allocatable).min(MAX) }
    };
    let cpu = share(node.allocatable.milli_cpu, node.requested.milli_cpu + pod.requests.milli_cpu);
    let memory = share(node.allocatable.memory_bytes, node.requested.memory_bytes + pod.requests.memory_bytes);
    MAX - (cpu - memory).abs() / 2
}

/// ImageLocality: the share of the pod's images that the node reports to have.
fn image_locality(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let present: Vec<&str> = node
        .node
        .iter()
        .filter_map(|node| node.status.as_ref()?.images.as_deref())
        .flatten()
        .flat_map(|image| image.names.iter().flatten())
        .map(String::as_str)
        .collect();
    let containers = pod.pod.spec.as_ref().map(|spec| &*spec.containers).unwrap_or_default();
    let images: Vec<&str> = containers.iter().filter_map(|container| container.image.as_deref()).collect();
    if images.is_empty() {
        return 0;
    }
    let here = images.iter().filter(|image| present.contains(image)).count();
    i64::try_from(here * 100 / images.len()).unwrap_or(MAX)
}

/// Pods of the same controller that are already on the node.
fn siblings(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let Some(owner) = controller_uid(pod) else { return 0 };
    let count = node
        .pods
        .values()
        .filter(|other| other.key.namespace == pod.key.namespace && controller_uid(other) == Some(owner))
        .count();
    i64::try_from(count).unwrap_or(i64::MAX / MAX)
}

fn controller_uid(pod: &PodInfo) -> Option<&str> {
    let owners = pod.pod.metadata.owner_references.as_deref()?;
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

/// How often each reason occurs, for the event of a pod that fits nowhere.
pub fn tally(reasons: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_insert(0) += 1;
    }
    counts
}
