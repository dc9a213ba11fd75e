//! What may change in a job: how many pods run at a time, and, while it is suspended, what its pods want of nodes.

use k8s_openapi::api::{
    batch::v1::{Job, JobSpec, JobStatus},
    core::v1::{Affinity, Container, PodSpec, PodTemplateSpec},
};

use super::status::holds;
use crate::api::{
    field::{self, IMMUTABLE, Path},
    go::Form,
    kinds::label_selector,
    status::Cause,
};

const FAILURE_POLICY: &str = "batch.v1.PodFailurePolicy";
const SUCCESS_POLICY: &str = "batch.v1.SuccessPolicy";

/// Problems of a change.
pub fn validate(new: &Job, old: &Job) -> Vec<Cause> {
    let status = old.status.clone().unwrap_or_default();
    let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
    let path = Path::new("spec");
    let mut causes: Vec<Cause> = completions(&new, &old, &path.child("completions")).into_iter().collect();
    if !label_selector::equal(new.selector.as_ref(), old.selector.as_ref()) {
        let own = path.child("selector");
        causes.push(field::invalid_internal(&own, label_selector::MESSAGE, &new.selector, IMMUTABLE));
    }
    causes.extend(template(&new, &old, &status, &path.child("template")));
    causes.extend(field::immutable(&path.child("completionMode"), &new.completion_mode, &old.completion_mode));
    let (policy, before) = (&new.pod_failure_policy, &old.pod_failure_policy);
    causes.extend(field::immutable_internal(&path.child("podFailurePolicy"), FAILURE_POLICY, policy, before));
    let (limit, before) = (&new.backoff_limit_per_index, &old.backoff_limit_per_index);
    causes.extend(field::immutable(&path.child("backoffLimitPerIndex"), limit, before));
    causes.extend(field::immutable(&path.child("managedBy"), &new.managed_by, &old.managed_by));
    let (policy, before) = (&new.success_policy, &old.success_policy);
    causes.extend(field::immutable_internal(&path.child("successPolicy"), SUCCESS_POLICY, policy, before));
    causes
}

/// An indexed job grows and shrinks with its parallelism.
fn completions(new: &JobSpec, old: &JobSpec, path: &Path) -> Option<Cause> {
    if new.completion_mode.as_deref() != Some("Indexed") {
        return field::immutable(path, &new.completions, &old.completions).pop();
    }
    let (completions, parallelism) = (new.completions?, new.parallelism?);
    let apart = new.completions != old.completions && completions != parallelism;
    apart.then(|| field::invalid(path, completions, "can only be modified in tandem with spec.parallelism"))
}

/// The template of a suspended job that has no pods may change where these would run and what they would use.
fn template(new: &JobSpec, old: &JobSpec, status: &JobStatus, path: &Path) -> Vec<Cause> {
    let suspended = old.suspend == Some(true);
    let idle = (status.start_time.is_none() || holds(status, "Suspended")) && status.active.unwrap_or_default() == 0;
    if !(suspended && idle) {
        return field::immutable_internal(path, "core.v1.PodTemplateSpec", &new.template, &old.template);
    }
    let mut allowed = old.template.clone();
    take_over_scheduling(&mut allowed, &new.template);
    let (new, mut allowed) = (new.template.spec.clone().unwrap_or_default(), allowed.spec.unwrap_or_default());
    take_over_resources(&mut allowed.containers, &new.containers);
    let inits = new.init_containers.as_deref().unwrap_or_default();
    take_over_resources(allowed.init_containers.as_deref_mut().unwrap_or_default(), inits);
    if new == allowed {
        return Vec::new();
    }
    let path = path.child("spec");
    let form = Form::new("PodSpec", &new);
    match form.lines() {
        Some(_) => vec![field::invalid(&path, form, IMMUTABLE)],
        // It grows when it is written out, so what is long already is not shown.
        None => vec![field::invalid_hidden(&path, IMMUTABLE)],
    }
}

fn take_over_scheduling(to: &mut PodTemplateSpec, from: &PodTemplateSpec) {
    let (Some(to), Some(from)) = (&mut to.spec, &from.spec) else { return };
    to.affinity = affinity(to, from);
    to.node_selector.clone_from(&from.node_selector);
    to.tolerations.clone_from(&from.tolerations);
    to.scheduling_gates.clone_from(&from.scheduling_gates);
}

/// The affinity that is allowed: to nodes as it is now, to pods as it was before.
fn affinity(old: &PodSpec, new: &PodSpec) -> Option<Affinity> {
    let node = new.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
    let allowed = Affinity { node_affinity: node, ..old.affinity.clone().unwrap_or_default() };
    (new.affinity.is_some() || allowed != Affinity::default()).then_some(allowed)
}

fn take_over_resources(to: &mut [Container], from: &[Container]) {
    if to.len() == from.len() {
        for (to, from) in to.iter_mut().zip(from).filter(|(to, from)| to.name == from.name) {
            to.resources.clone_from(&from.resources);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(suspend: bool, pod: Value) -> Job {
        let spec = json!({"suspend": suspend, "completions": 1, "template": {"spec": pod}});
        serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_suspended_job_may_go_elsewhere() {
        let pod = |node: &str, image: &str| {
            json!({"nodeSelector": {"a": node}, "containers": [{"name": "c", "image": image,
                "resources": {"limits": {"cpu": node}}}]})
        };
        assert_eq!(validate(&job(true, pod("2", "i")), &job(true, pod("1", "i"))), []);
        let fields = |causes: Vec<Cause>| causes.into_iter().map(|cause| cause.field).collect::<Vec<_>>();
        assert_eq!(fields(validate(&job(true, pod("1", "j")), &job(true, pod("1", "i")))), ["spec.template.spec"]);
        assert_eq!(fields(validate(&job(false, pod("2", "i")), &job(false, pod("1", "i")))), ["spec.template"]);
    }

    #[test]
    fn affinity_to_pods_stays() {
        let pod = |affinity: Value| json!({"containers": [], "affinity": affinity});
        let node = json!({"nodeAffinity": {}});
        let near = json!({"podAffinity": {}});
        assert_eq!(validate(&job(true, pod(node.clone())), &job(true, pod(Value::Null))), []);
        assert_eq!(validate(&job(true, pod(Value::Null)), &job(true, pod(node))), []);
        assert_eq!(validate(&job(true, pod(Value::Null)), &job(true, pod(near))).len(), 1);
    }
}
