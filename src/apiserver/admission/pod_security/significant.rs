//! Which updates of a pod are looked at: those that could make it what it may not be. What else can
//! be changed says nothing about security, and a pod that was admitted before keeps going.

use serde_json::Value;

use crate::{
    api::{meta, pod_resources::containers},
    apiserver::admission::pod_security::evaluate::name,
};

const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Whether images, the set of containers or seccomp annotations differ.
pub fn differs(new: &Value, old: &Value) -> bool {
    let annotation = |pod, key: &str| meta::annotation(pod, key).map(str::to_owned);
    if annotation(new, SECCOMP_POD) != annotation(old, SECCOMP_POD) {
        return true;
    }
    let changed = |container: &Value, before: &Value| {
        let key = format!("{SECCOMP_CONTAINER}{}", name(container));
        container["image"] != before["image"] || annotation(new, &key) != annotation(old, &key)
    };
    let of_list = |list| {
        let (now, before): (Vec<_>, Vec<_>) =
            (containers(&new["spec"], list).collect(), containers(&old["spec"], list).collect());
        now.len() != before.len() || now.iter().zip(before).any(|(container, before)| changed(container, before))
    };
    of_list("containers") || of_list("initContainers") || ephemeral_differ(new, old, changed)
}

fn ephemeral_differ(new: &Value, old: &Value, changed: impl Fn(&Value, &Value) -> bool) -> bool {
    containers(&new["spec"], "ephemeralContainers").any(|container| {
        let mut before = containers(&old["spec"], "ephemeralContainers");
        before.find(|before| name(before) == name(container)).is_none_or(|before| changed(container, before))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_and_added_containers_are_significant() {
        let pod = json!({"spec": {"containers": [{"name": "a", "image": "x"}]}});
        let mut labelled = pod.clone();
        labelled["metadata"]["labels"]["a"] = json!("b");
        assert!(!differs(&labelled, &pod));
        let other_image = json!({"spec": {"containers": [{"name": "a", "image": "y"}]}});
        assert!(differs(&other_image, &pod));
        let mut debugged = pod.clone();
        debugged["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "z"}]);
        assert!(differs(&debugged, &pod));
        assert!(!differs(&debugged, &debugged));
    }
}
