//! What to send to the API when a pod's status has changed: only what differs, as a strategic
//! merge patch, so that conditions which others own are left alone.

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use serde_json::{Map, Value, json};

/// The patch that turns the status which the API has into `wanted`; `None` if there is nothing
/// to do. It names the pod's UID, so that it never lands on a successor of the same name.
pub fn patch(pod: &Pod, wanted: &PodStatus) -> Option<Value> {
    let current = pod.status.clone().unwrap_or_default();
    let (old, new) = (fields(&current), fields(wanted));
    let mut changes = Map::new();
    for (key, value) in &new {
        if key != "conditions" && old.get(key) != Some(value) {
            changes.insert(key.clone(), replacement(key, value, old.get(key)));
        }
    }
    for key in old.keys().filter(|key| key.as_str() != "conditions" && !new.contains_key(*key)) {
        changes.insert(key.clone(), Value::Null);
    }
    let conditions = changed_conditions(&current, wanted);
    if !conditions.is_empty() {
        changes.insert("conditions".into(), json!(conditions));
    }
    (!changes.is_empty()).then(|| json!({"metadata": {"uid": pod.metadata.uid}, "status": changes}))
}

/// Addresses are lists that merge by key: the old ones must be said to go.
fn replacement(key: &str, value: &Value, old: Option<&Value>) -> Value {
    match (key, value, old) {
        ("podIPs" | "hostIPs", Value::Array(items), Some(Value::Array(before))) if !before.is_empty() => {
            let directive = json!({"$patch": "replace"});
            Value::Array(items.iter().cloned().chain([directive]).collect())
        }
        _ => value.clone(),
    }
}

fn changed_conditions(current: &PodStatus, wanted: &PodStatus) -> Vec<Value> {
    let old = current.conditions.as_deref().unwrap_or_default();
    let changed = wanted.conditions.iter().flatten().filter(|condition| !old.contains(condition));
    changed
        .map(|condition| {
            let before = old.iter().find(|before| before.type_ == condition.type_);
            condition_patch(before, condition)
        })
        .collect()
}

/// Conditions merge by type, field by field: a reason or message that is no more must be said to go.
fn condition_patch(before: Option<&PodCondition>, wanted: &PodCondition) -> Value {
    let mut fields = json!(wanted);
    if let (Some(Value::Object(before)), Some(fields)) = (before.map(|before| json!(before)), fields.as_object_mut()) {
        for key in before.keys() {
            fields.entry(key).or_insert(Value::Null);
        }
    }
    fields
}

fn fields(status: &PodStatus) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "status": status})).unwrap()
    }

    #[test]
    fn sends_only_what_differs() {
        let pod = pod(json!({"phase": "Pending", "qosClass": "BestEffort", "conditions": [
            {"type": "Ready", "status": "False"}, {"type": "Mine", "status": "True"}]}));
        let mut wanted = pod.status.clone().unwrap();
        assert_eq!(patch(&pod, &wanted), None);
        wanted.phase = Some("Running".into());
        wanted.conditions.as_mut().unwrap()[0].status = "True".into();
        assert_eq!(
            patch(&pod, &wanted).unwrap(),
            json!({"metadata": {"uid": "u"}, "status": {"phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}]}})
        );
    }

    #[test]
    fn replaces_addresses_that_merge_by_key() {
        let pod = pod(json!({"podIPs": [{"ip": "10.42.0.2"}]}));
        let wanted: PodStatus = serde_json::from_value(json!({"podIPs": [{"ip": "10.42.0.9"}]})).unwrap();
        let patch = patch(&pod, &wanted).unwrap();
        assert_eq!(patch["status"]["podIPs"], json!([{"ip": "10.42.0.9"}, {"$patch": "replace"}]));
    }

    #[test]
    fn removes_the_reason_and_message_of_a_condition_that_is_met() {
        let pod = pod(json!({"conditions": [
            {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "unready"}]}));
        let wanted: PodStatus =
            serde_json::from_value(json!({"conditions": [{"type": "Ready", "status": "True"}]})).unwrap();
        assert_eq!(
            patch(&pod, &wanted).unwrap()["status"]["conditions"],
            json!([{"type": "Ready", "status": "True", "reason": null, "message": null}])
        );
    }
}
