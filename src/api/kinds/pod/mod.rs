//! Pods: containers that live and die together on one node.

pub mod columns;
mod gated;
mod label_keys;
pub mod qos;
mod shown;
mod status;
pub mod update;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Pod, PodCondition, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::Value;

use super::{names, pod_template, status::keep_metadata};
use crate::api::{
    codec,
    kind::{Column, Generation, Kind, Names, Subresource},
    status::Cause,
};

/// `v1.Pod`
pub struct PodKind;

impl Kind for PodKind {
    type Object = Pod;
    const NAMES: Names = Names {
        short_names: &["po"],
        categories: &["all"],
        subresources: &[
            Subresource::Status,
            Subresource::Custom("attach"),
            Subresource::Custom("binding"),
            Subresource::Part("ephemeralcontainers"),
            Subresource::Custom("eviction"),
            Subresource::Custom("exec"),
            Subresource::Custom("log"),
            Subresource::Custom("portforward"),
            Subresource::Custom("proxy"),
            Subresource::Part("resize"),
        ],
        ..names::namespaced(names::CORE, "Pod", "pods", "pod")
    };
    const GENERATION: Generation = Generation::Spec;
    const FIELDS: &'static [&'static str] = &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ];
    const COLUMNS: &'static [Column] = columns::COLUMNS;

    fn default(pod: &mut Pod) {
        pod_template::defaults::pod(pod);
        if let Some(status) = &mut pod.status {
            status::settle_addresses(status);
        }
    }

    fn prepare_for_create(pod: &mut Pod) {
        let created = pod.metadata.creation_timestamp.clone();
        let spec = pod.spec.get_or_insert_default();
        pod.status = Some(PodStatus {
            phase: Some("Pending".to_owned()),
            qos_class: Some(qos::class(spec).to_owned()),
            conditions: spec.scheduling_gates.as_ref().filter(|gates| !gates.is_empty()).map(|_| vec![gated(created)]),
            ..PodStatus::default()
        });
        pod_template::disabled::drop(spec, None);
        label_keys::apply(pod);
        pod_template::app_armor::apply(pod);
    }

    fn prepare_for_update(new: &mut Pod, old: &Pod) {
        if let Some(spec) = &mut new.spec {
            pod_template::disabled::drop(spec, old.spec.as_ref());
        }
    }

    fn prepare_for_status_update(new: &mut Pod, old: &Pod) {
        let before = old.status.as_ref().and_then(|status| status.qos_class.clone());
        let status = new.status.get_or_insert_default();
        if status.qos_class.as_deref().unwrap_or_default().is_empty() {
            status.qos_class = before;
        }
        if let Some(old) = &old.status {
            status::keep_generations(status, old);
        }
    }

    /// Each part changes its own aspect of the spec, and leaves the rest as it is.
    fn prepare_for_part_update(part: &str, new: &mut Pod, old: &Pod) {
        let wanted = std::mem::replace(new, Pod { metadata: new.metadata.clone(), ..old.clone() });
        let (Some(spec), Some(wanted)) = (new.spec.as_mut(), wanted.spec) else { return };
        match part {
            "ephemeralcontainers" => spec.ephemeral_containers = wanted.ephemeral_containers,
            _ => *spec = wanted,
        }
        keep_metadata(&mut new.metadata, &old.metadata);
    }

    fn validate(pod: &Pod) -> Vec<Cause> {
        let mut causes = pod_template::pod(pod);
        causes.extend(pod_template::new_pod(pod));
        causes
    }

    fn validate_again(new: &Pod, _: &Pod) -> Vec<Cause> {
        pod_template::pod(new)
    }

    fn warnings_as_sent(object: &Value) -> Vec<String> {
        pod_template::app_armor::warnings(object)
    }

    /// Upstream does not look at pods that change: few are written by people, and all of them often.
    fn warnings(new: &Pod, old: Option<&Pod>) -> Vec<String> {
        if old.is_some() {
            return Vec::new();
        }
        let name = new.metadata.name.as_deref();
        let own = pod_template::warnings::name_for_hosts(name, "the Pod's hostname");
        own.into_iter().chain(pod_template::warnings::pod(new)).collect()
    }

    fn validate_update(new: &Pod, old: &Pod) -> Vec<Cause> {
        update::spec(new, old)
    }

    fn validate_status_update(new: &Pod, old: &Pod) -> Vec<Cause> {
        let mut causes = status::validate(new, old);
        causes.extend(update::status(new, old));
        causes
    }

    fn validate_part_update(part: &str, new: &Pod, old: &Pod) -> Vec<Cause> {
        match part {
            "ephemeralcontainers" => update::ephemeral_containers(new, old),
            _ => update::resize(new, old),
        }
    }

    fn field_values(pod: &Pod) -> Vec<String> {
        let spec = pod.spec.clone().unwrap_or_default();
        let status = pod.status.clone().unwrap_or_default();
        let text = Option::unwrap_or_default;
        vec![
            text(spec.node_name),
            text(spec.restart_policy),
            text(spec.scheduler_name),
            text(spec.service_account_name),
            spec.host_network.unwrap_or_default().to_string(),
            text(status.phase),
            text(status.pod_ip),
            text(status.nominated_node_name),
        ]
    }

    fn cells(pod: &Pod, now: Timestamp) -> Vec<Value> {
        let shown = codec::encode(pod).and_then(|pod| codec::decode(&pod)).unwrap_or_default();
        columns::cells(&shown, now)
    }

    fn row(json: &[u8], now: Timestamp) -> Option<Vec<Value>> {
        serde_json::from_slice(json).ok().map(|shown| columns::cells(&shown, now))
    }

    /// A pod that no kubelet has seen, or that is done, has nobody to wait for.
    fn grace_period_seconds(pod: &Pod) -> Option<u64> {
        let spec = pod.spec.clone().unwrap_or_default();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if spec.node_name.is_none_or(|node| node.is_empty()) || matches!(phase, Some("Succeeded" | "Failed")) {
            return Some(0);
        }
        let period =
            spec.termination_grace_period_seconds.unwrap_or(pod_template::defaults::TERMINATION_GRACE_PERIOD_SECONDS);
        Some(u64::try_from(period).unwrap_or(1))
    }
}

/// A pod with scheduling gates says from its creation why it is not scheduled (KEP-3521).
fn gated(since: Option<Time>) -> PodCondition {
    PodCondition {
        last_transition_time: since,
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("SchedulingGated".to_owned()),
        message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
        ..PodCondition::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn a_new_pod_is_pending_with_its_class() {
        let strategy = descriptor::<PodKind>().strategy;
        let pod = json!({"metadata": {"name": "a", "namespace": "b"},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]},
            "status": {"phase": "Running"}});
        let pod = strategy.prepare_for_create(pod).unwrap();
        assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "Guaranteed"}));
        assert_eq!(pod["metadata"]["generation"], 1);
    }

    #[test]
    fn only_a_bound_pod_is_given_time() {
        let strategy = descriptor::<PodKind>().strategy;
        let pod = |node: &str| {
            strategy
                .decode(json!({"spec": {"containers": [], "nodeName": node, "terminationGracePeriodSeconds": 7}}))
                .unwrap()
        };
        assert_eq!(strategy.grace_period_seconds(&pod("")), Some(0));
        assert_eq!(strategy.grace_period_seconds(&pod("n")), Some(7));
    }
}
