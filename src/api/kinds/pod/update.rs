//! What may change in a pod after its creation: next to nothing through the main resource, and
//! one aspect each through `/ephemeralcontainers`, `/resize` and `/status`.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, EphemeralContainer, Pod, PodSpec, PodStatus, Toleration};
use serde_json::Value;

use crate::api::{
    field::{self, Path},
    go,
    kinds::pod_template::{app_armor, scheduling},
    status::Cause,
    validation,
};

use super::{columns::is_sidecar, gated, qos};

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                         `spec.tolerations` (only additions to existing tolerations),\
                         `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Picks one of the lists of container statuses.
type Statuses = fn(&PodStatus) -> &[ContainerStatus];

/// Problems of an update of the main resource.
pub fn spec(new: &Pod, old: &Pod) -> Vec<Cause> {
    let annotations = Path::new("metadata.annotations");
    let mut causes = app_armor::annotation_changes(&new.metadata, &old.metadata, &annotations);
    // Upstream looks at the new ones once more.
    if let Some(spec) = &new.spec {
        causes.extend(app_armor::annotations(&new.metadata, spec, &annotations));
    }
    causes.extend(spec_alone(new, old));
    causes
}

fn spec_alone(new: &Pod, old: &Pod) -> Vec<Cause> {
    let (mut new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
    let path = Path::new("spec");
    if new.containers.len() != old.containers.len() {
        return vec![field::forbidden(&path.child("containers"), "pod updates may not add or remove containers")];
    }
    if length(new.init_containers.as_ref()) != length(old.init_containers.as_ref()) {
        return vec![field::forbidden(&path.child("initContainers"), "pod updates may not add or remove containers")];
    }
    let mut causes = images(&new.containers, &path.child("containers"));
    causes.extend(images(new.init_containers.as_deref().unwrap_or_default(), &path.child("initContainers")));
    match deadline(&new, &old, &path) {
        Ok(problem) => causes.extend(problem),
        Err(problem) => {
            causes.push(problem);
            return causes;
        }
    }
    causes.extend(tolerations(&new, &old, &path));
    causes.extend(scheduling_gates(&new, &old, &path));
    if old.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
        causes.extend(gated::spec(&mut new, &old, &path));
    }
    forgive(&mut new, &old);
    if new != old {
        let detail = format!(
            "pod updates may not change fields other than {UPDATABLE}\n{}",
            go::difference("PodSpec", &old, &new)
        );
        causes.push(field::forbidden(&path, &detail));
    }
    causes
}

/// Problems of an update of `/ephemeralcontainers`: they are only ever added.
pub fn ephemeral_containers(new: &Pod, old: &Pod) -> Vec<Cause> {
    let path = Path::new("spec.ephemeralContainers");
    let (new, old) = (ephemeral(new), ephemeral(old));
    let mut causes = Vec::new();
    for container in old {
        match new.iter().find(|other| other.name == container.name) {
            None => {
                let detail = format!("existing ephemeral containers {:?} may not be removed\n", container.name);
                causes.push(field::forbidden(&path, &detail));
            }
            Some(other) if other != container => {
                let difference = go::difference("EphemeralContainer", container, other);
                let detail =
                    format!("existing ephemeral containers {:?} may not be changed\n{difference}", container.name);
                causes.push(field::forbidden(&path, &detail));
            }
            Some(_) => {}
        }
    }
    causes
}

/// Problems of an update of `/resize` (KEP-1287): resources change, the QoS class does not.
pub fn resize(new: &Pod, old: &Pod) -> Vec<Cause> {
    let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
    let path = Path::new("spec");
    let mut causes = Vec::new();
    if qos::class(&new) != qos::class(&old) {
        let detail = "Pod QOS Class may not change as a result of resizing";
        causes.push(field::invalid(&path, qos::class(&new), detail));
    }
    let mut same = new.clone();
    for (container, before) in all_containers(&mut same).zip(all_containers(&mut old.clone())) {
        container.resources.clone_from(&before.resources);
        container.resize_policy.clone_from(&before.resize_policy);
    }
    if same != old {
        causes.push(field::forbidden(&path, "only cpu and memory resources are mutable"));
    }
    causes
}

/// Problems of an update of `/status`: a container that ended for good does not come back.
pub fn status(new: &Pod, old: &Pod) -> Vec<Cause> {
    let (spec, path) = (old.spec.clone().unwrap_or_default(), Path::new("status"));
    let (new, old) = (new.status.clone().unwrap_or_default(), old.status.clone().unwrap_or_default());
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    let sidecars: Vec<&str> = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| is_sidecar(container))
        .map(|container| container.name.as_str())
        .collect();
    let mut causes = Vec::new();
    if old.qos_class.is_some() {
        causes.extend(field::immutable(&path.child("qosClass"), &new.qos_class, &old.qos_class));
    }
    let lists: [(&str, Statuses, &str); 3] = [
        ("containerStatuses", |status| status.container_statuses.as_deref().unwrap_or_default(), policy),
        ("initContainerStatuses", |status| status.init_container_statuses.as_deref().unwrap_or_default(), policy),
        (
            "ephemeralContainerStatuses",
            |status| status.ephemeral_container_statuses.as_deref().unwrap_or_default(),
            "Never",
        ),
    ];
    for (name, list, policy) in lists {
        causes.extend(resurrections((list(&new), list(&old)), policy, &sidecars, &path.child(name)));
    }
    causes
}

fn resurrections(
    (new, old): (&[ContainerStatus], &[ContainerStatus]),
    policy: &str,
    sidecars: &[&str],
    path: &Path,
) -> Vec<Cause> {
    let end = |status: &ContainerStatus| {
        status.state.as_ref().and_then(|state| state.terminated.as_ref().map(|end| end.exit_code))
    };
    let mut causes = Vec::new();
    for (index, before) in old.iter().enumerate() {
        let Some(code) = end(before) else { continue };
        let restarts =
            policy == "Always" || (policy == "OnFailure" && code != 0) || sidecars.contains(&before.name.as_str());
        let back = new.iter().any(|status| status.name == before.name && end(status).is_none());
        if back && !restarts {
            let detail = "may not be transitioned to non-terminated state";
            causes.push(field::forbidden(&path.index(index).child("state"), detail));
        }
    }
    causes
}

/// Images are looked at again: they may change.
fn images(containers: &[Container], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let image = container.image.as_deref().unwrap_or_default();
        let path = path.index(index).child("image");
        if image.is_empty() {
            causes.push(field::required(&path, ""));
        }
        if image != image.trim() {
            causes.push(field::invalid(&path, image, "must not have leading or trailing whitespace"));
        }
    }
    causes
}

/// A deadline may be set or brought forward. After an error upstream looks at nothing else.
fn deadline(new: &PodSpec, old: &PodSpec, path: &Path) -> Result<Option<Cause>, Cause> {
    let path = path.child("activeDeadlineSeconds");
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            Err(field::invalid(&path, new, &validation::between(0, i32::MAX.into())))
        }
        (Some(new), Some(old)) if new > old => {
            Err(field::invalid(&path, new, "must be less than or equal to previous value"))
        }
        (None, Some(_)) => {
            Ok(Some(field::invalid(&path, Value::Null, "must not update from a positive integer to nil value")))
        }
        _ => Ok(None),
    }
}

fn tolerations(new: &PodSpec, old: &PodSpec, path: &Path) -> Vec<Cause> {
    let timeless = |toleration: &Toleration| Toleration { toleration_seconds: None, ..toleration.clone() };
    let kept = |before: &Toleration| new.tolerations.iter().flatten().any(|now| timeless(now) == timeless(before));
    if old.tolerations.iter().flatten().all(kept) {
        return scheduling::tolerations(new.tolerations.as_deref().unwrap_or_default(), &path.child("tolerations"));
    }
    let detail = "existing toleration can not be modified except its tolerationSeconds";
    vec![field::forbidden(&path.child("tolerations"), detail)]
}

fn scheduling_gates(new: &PodSpec, old: &PodSpec, path: &Path) -> Vec<Cause> {
    let known = |name: &str| old.scheduling_gates.iter().flatten().any(|gate| gate.name == name);
    let added = new.scheduling_gates.iter().flatten().enumerate().filter(|(_, gate)| !known(&gate.name));
    added
        .map(|(index, gate)| {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
            field::forbidden(&path.child("schedulingGates").index(index).child("name"), &detail)
        })
        .collect()
}

/// Undoes in `new` what may change, so that what remains different may not.
fn forgive(new: &mut PodSpec, old: &PodSpec) {
    let mut before = old.clone();
    for (container, before) in all_containers(new).zip(all_containers(&mut before)) {
        container.image.clone_from(&before.image);
    }
    new.active_deadline_seconds = old.active_deadline_seconds;
    new.tolerations.clone_from(&old.tolerations);
    new.scheduling_gates.clone_from(&old.scheduling_gates);
    if old.termination_grace_period_seconds.is_some_and(|period| period < 0)
        && new.termination_grace_period_seconds == Some(1)
    {
        new.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
}

fn all_containers(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten())
}

fn ephemeral(pod: &Pod) -> &[EphemeralContainer] {
    pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_deref()).unwrap_or_default()
}

fn length<T>(list: Option<&Vec<T>>) -> usize {
    list.map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: Value) -> Pod {
        Pod { spec: serde_json::from_value(spec).unwrap(), ..Pod::default() }
    }

    #[test]
    fn an_image_may_change_and_tolerations_may_be_added() {
        let old = pod(json!({"containers": [{"name": "a", "image": "i:1"}]}));
        let new = pod(json!({"containers": [{"name": "a", "image": "i:2"}], "tolerations": [{"operator": "Exists"}],
            "activeDeadlineSeconds": 7}));
        assert_eq!(spec(&new, &old), []);
    }

    #[test]
    fn anything_else_is_forbidden_with_the_list_of_what_is_not() {
        let old = pod(json!({"containers": [{"name": "a", "image": "i"}], "nodeSelector": {"a": "b"}}));
        let causes = spec(&pod(json!({"containers": [{"name": "a", "image": "i"}]})), &old);
        assert_eq!(causes[0].field, "spec");
        assert_eq!(
            causes[0].message,
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
             tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n\
             @@ -39,9 +39,7 @@\n  \"TerminationGracePeriodSeconds\": null,\n  \"ActiveDeadlineSeconds\": null,\n  \
             \"DNSPolicy\": \"\",\n- \"NodeSelector\": {\n-  \"a\": \"b\"\n- },\n+ \"NodeSelector\": null,\n  \
             \"ServiceAccountName\": \"\",\n  \"AutomountServiceAccountToken\": null,\n  \"NodeName\": \"\",\n"
        );
        let causes = spec(&pod(json!({"containers": []})), &old);
        assert_eq!(causes[0].message, "Forbidden: pod updates may not add or remove containers");
    }

    #[test]
    fn a_toleration_stays() {
        let old = pod(json!({"containers": [], "tolerations": [{"key": "a", "operator": "Exists"}]}));
        let causes = spec(&pod(json!({"containers": []})), &old);
        assert_eq!(
            causes[0].message,
            "Forbidden: existing toleration can not be modified except its tolerationSeconds"
        );
    }

    #[test]
    fn a_container_that_ended_for_good_does_not_come_back() {
        let with = |state: Value| {
            let mut pod = pod(json!({"containers": [{"name": "a"}], "restartPolicy": "OnFailure"}));
            pod.status = serde_json::from_value(json!({"containerStatuses": [
                {"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]}))
            .unwrap();
            pod
        };
        let failed = with(json!({"terminated": {"exitCode": 1}}));
        let done = with(json!({"terminated": {"exitCode": 0}}));
        let running = with(json!({"running": {}}));
        assert_eq!(status(&running, &failed), []);
        assert_eq!(status(&running, &done)[0].field, "status.containerStatuses[0].state");
    }

    #[test]
    fn ephemeral_containers_are_only_added() {
        let old = pod(json!({"containers": [], "ephemeralContainers": [{"name": "d", "image": "i"}]}));
        let new = pod(
            json!({"containers": [], "ephemeralContainers": [{"name": "d", "image": "i"}, {"name": "e", "image": "i"}]}),
        );
        assert_eq!(ephemeral_containers(&new, &old), []);
        assert!(ephemeral_containers(&old, &new)[0].message.contains("\"e\" may not be removed"));
    }
}
