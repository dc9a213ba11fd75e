//! What a LimitRange says for containers that say nothing.

use serde_json::{Map, Value, json};

use crate::api::meta;

/// Annotation that tells what was filled in.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Fills in requests and limits of the pod's containers, and notes which.
pub fn apply(range: &Value, pod: &mut Value) {
    let (requests, limits) = (collect(range, "defaultRequest"), collect(range, "default"));
    let mut notes = Vec::new();
    for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            // Limits are looked at first: they are no reason for a request any more.
            let set_limits = fill(container, "limits", &limits);
            let set_requests = fill(container, "requests", &requests);
            let note = |set: Vec<String>, side: &str| format!("{} {side} for {what} {name}", set.join(", "));
            notes.extend(Some(set_requests).filter(|set| !set.is_empty()).map(|set| note(set, "request")));
            notes.extend(Some(set_limits).filter(|set| !set.is_empty()).map(|set| note(set, "limit")));
        }
    }
    if !notes.is_empty() {
        annotate(pod, &notes);
    }
}

/// The defaults of all items for containers; later ones win.
fn collect(range: &Value, field: &str) -> Map<String, Value> {
    let items = range["spec"]["limits"].as_array().into_iter().flatten();
    let defaults = items.filter(|item| item["type"] == "Container").filter_map(|item| item[field].as_object());
    defaults.flatten().map(|(name, amount)| (name.clone(), amount.clone())).collect()
}

/// Adds what is missing from one of a container's lists; gives the names, sorted.
fn fill(container: &mut Value, side: &str, defaults: &Map<String, Value>) -> Vec<String> {
    let missing: Vec<_> =
        defaults.iter().filter(|(name, _)| container["resources"][side].get(name).is_none()).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    if !container["resources"].is_object() {
        container["resources"] = json!({});
    }
    if !container["resources"][side].is_object() {
        container["resources"][side] = json!({});
    }
    let mut names = Vec::with_capacity(missing.len());
    for (name, amount) in missing {
        container["resources"][side][name] = amount.clone();
        names.push(name.clone());
    }
    names.sort_unstable();
    names
}

fn annotate(pod: &mut Value, notes: &[String]) {
    let note = format!("LimitRanger plugin set: {}", notes.join("; "));
    let mut annotations: Map<String, Value> =
        meta::annotations(pod).map(|(key, value)| (key.to_owned(), value.into())).collect();
    annotations.insert(ANNOTATION.to_owned(), note.into());
    meta::set(pod, "annotations", annotations);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_says_stays_and_the_rest_is_noted() {
        let range = json!({"spec": {"limits": [
            {"type": "Pod", "default": {"cpu": "9"}},
            {"type": "Container", "default": {"memory": "1Gi", "cpu": "2"}, "defaultRequest": {"cpu": "1"}}]}});
        let mut pod = json!({"spec": {
            "containers": [{"name": "a"}, {"name": "b", "resources": {"requests": {"cpu": "5"}, "limits": {"cpu": "6", "memory": "7"}}}],
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}]}});
        apply(&range, &mut pod);
        let resources = |list: &str, index: usize| pod["spec"][list][index]["resources"].clone();
        assert_eq!(
            resources("containers", 0),
            json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}})
        );
        assert_eq!(resources("containers", 1)["limits"], json!({"cpu": "6", "memory": "7"}));
        assert_eq!(
            meta::annotation(&pod, ANNOTATION),
            Some(
                "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; \
                 memory limit for init container i"
            )
        );
    }

    #[test]
    fn a_pod_that_says_everything_is_left_alone() {
        let range = json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "2"}}]}});
        let before = json!({"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}}]}});
        let mut pod = before.clone();
        apply(&range, &mut pod);
        assert_eq!(pod, before);
    }
}
