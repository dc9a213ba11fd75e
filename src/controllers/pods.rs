//! What controllers ask of pods: readiness, availability, activity, and in which order they go.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodCondition;

use crate::client::pod::Pod;

/// The phase, empty if there is none yet.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether the pod may still run and is not being deleted.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Whether the pod will never run again.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod's `Ready` condition is true.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Since when the pod has been ready; `None` if it is not.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let condition = condition(pod, "Ready").filter(|condition| condition.status == "True")?;
    condition.last_transition_time.as_ref().map(|time| time.0)
}

/// Whether the pod has been ready for `min_ready_seconds` at `now`.
pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    is_ready(pod)
        && (min_ready_seconds == 0
            || ready_since(pod)
                .is_some_and(|since| now.duration_since(since).as_secs() >= i64::from(min_ready_seconds)))
}

/// The node the pod is bound to; empty if it is to none.
pub fn node_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// A condition of the pod.
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_deref()?.iter().find(|condition| condition.type_ == kind)
}

/// Sorts pods so that the first ones are those best deleted: not on a node, pending, not ready,
/// cheap by annotation, crowded with siblings, ready for the shortest time, restarted most, youngest
/// (`ActivePodsWithRanks` of upstream).
pub fn sort_for_deletion(pods: &mut [Arc<Pod>]) {
    let mut siblings = HashMap::<String, usize>::new();
    for pod in pods.iter() {
        *siblings.entry(node_name(pod).to_owned()).or_insert(0) += 1;
    }
    pods.sort_by_cached_key(|pod| {
        (
            !node_name(pod).is_empty(),
            match phase(pod) {
                "Pending" => 0,
                "Unknown" => 1,
                _ => 2,
            },
            is_ready(pod),
            deletion_cost(pod),
            Reverse(siblings.get(node_name(pod)).copied().unwrap_or(0)),
            Reverse(ready_since(pod)),
            Reverse(restarts(pod)),
            Reverse(pod.metadata.creation_timestamp.as_ref().map(|time| time.0)),
        )
    });
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations
        .and_then(|annotations| annotations.get("controller.kubernetes.io/pod-deletion-cost"))
        .and_then(|cost| cost.parse().ok())
        .unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    statuses.unwrap_or_default().iter().map(|status| status.restart_count).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: &str, phase: &str, ready: bool) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name}, "spec": {"nodeName": node, "containers": []},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" },
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap()
    }

    #[test]
    fn pods_that_serve_nobody_are_deleted_first() {
        let pods = [
            pod("ready", "a", "Running", true),
            pod("crowded", "b", "Running", true),
            pod("crowded-too", "b", "Running", true),
            pod("unready", "a", "Running", false),
            pod("unbound", "", "Pending", false),
        ];
        let mut order = pods.map(Arc::new);
        sort_for_deletion(&mut order);
        let names: Vec<_> = order.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        assert_eq!(names[..2], ["unbound", "unready"]);
    }

    #[test]
    fn availability_waits_for_min_ready_seconds() {
        let pod = pod("p", "a", "Running", true);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(!is_available(&pod, 30, at("2026-01-01T00:00:29Z")));
        assert!(is_available(&pod, 30, at("2026-01-01T00:00:30Z")));
    }
}
