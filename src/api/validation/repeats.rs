//! How often a kind's own validation checks metadata that is checked for every kind already, and whether it knows
//! more of finalizers. Clients see each cause as often as it was found.

use serde_json::Value;

use super::metadata;
use crate::api::{
    kind::{NameRule, Scope},
    status::Cause,
};

/// What a kind repeats when it validates an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeats {
    /// How often it checks the new object's metadata.
    object: usize,
    /// How often it checks the change of metadata.
    change: usize,
}

const fn repeats(object: usize, change: usize) -> Repeats {
    Repeats { object, change }
}

/// What a kind repeats (`ValidateUpdate` of its strategy upstream).
pub fn of(group: &str, kind: &str) -> Repeats {
    match (group, kind) {
        ("", "Event") | ("policy", _) => repeats(0, 0),
        ("", "PersistentVolume") => repeats(2, 0),
        ("", "LimitRange")
        | ("admissionregistration.k8s.io" | "discovery.k8s.io" | "flowcontrol.apiserver.k8s.io", _)
        | ("storage.k8s.io", "CSINode" | "VolumeAttachment") => repeats(1, 0),
        ("", "PodTemplate" | "ReplicationController" | "ResourceQuota" | "Service")
        | ("apps", "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet")
        | ("apiextensions.k8s.io" | "autoscaling" | "coordination.k8s.io" | "events.k8s.io" | "scheduling.k8s.io", _)
        | ("networking.k8s.io", "NetworkPolicy" | "ServiceCIDR")
        | ("resource.k8s.io", "ResourceSlice")
        | ("storage.k8s.io", "CSIDriver") => repeats(0, 1),
        _ => repeats(1, 1),
    }
}

/// Whether finalizers must be the system's or somebody's own (upstream's core validation).
pub fn qualifies_finalizers(group: &str, kind: &str) -> bool {
    let liberal = [
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "coordination.k8s.io",
        "node.k8s.io",
        "policy",
    ];
    !liberal.contains(&group) && (group, kind) != ("", "Event")
}

impl Repeats {
    /// What is found once more in the new object.
    pub fn object(self, new: &Value, scope: Scope, rule: NameRule, qualifies: bool) -> Vec<Cause> {
        let mut found = metadata::validate(new, scope, rule);
        found.extend(qualifies.then(|| metadata::qualified_finalizers(new)).unwrap_or_default());
        std::iter::repeat_n(found, self.object).flatten().collect()
    }

    /// What is found once more in the change.
    pub fn change(self, new: &Value, old: &Value, qualifies: bool) -> Vec<Cause> {
        let mut found = metadata::validate_update(new, old);
        found.extend(qualifies.then(|| metadata::qualified_finalizers(new)).unwrap_or_default());
        std::iter::repeat_n(found, self.change).flatten().collect()
    }
}
