//! What pods and the templates of workloads share: defaults and rules of the pod's spec. The rules
//! are split by what they are about; this file has those of the spec itself, and what holds for
//! pods or for templates alone.

pub mod app_armor;
pub mod claims;
pub mod containers;
pub mod defaults;
pub mod disabled;
pub mod dns;
pub mod env;
pub mod image;
mod legacy_volumes;
pub mod mounts;
pub mod pod_level;
pub mod probe;
mod projected;
pub mod resources;
pub mod scheduling;
pub mod security;
mod volume_warnings;
pub mod volumes;
pub mod warnings;
mod windows;

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodTemplateSpec, Volume};

use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::{metadata, name, value},
};

const RESTART_POLICIES: &[&str] = &["Always", "OnFailure", "Never"];
const PREEMPTION_POLICIES: &[&str] = &["PreemptLowerPriority", "Never"];
const OPERATING_SYSTEMS: &[&str] = &["linux", "windows"];

/// Problems of a pod's spec and of the annotations that belong to it.
pub fn pod(pod: &Pod) -> Vec<Cause> {
    let path = Path::new("spec");
    let Some(spec) = &pod.spec else { return vec![field::required(&path.child("containers"), "")] };
    let mut causes = app_armor::annotations(&pod.metadata, spec, &Path::new("metadata.annotations"));
    causes.extend(self::spec(spec, Owner::Pod(pod.metadata.name.as_deref()), &path));
    causes.extend(only_in_pods(spec, &path));
    causes
}

/// Further problems of a new pod.
pub fn new_pod(pod: &Pod) -> Vec<Cause> {
    let path = Path::new("spec");
    let Some(spec) = &pod.spec else { return Vec::new() };
    let mut causes = Vec::new();
    if spec.ephemeral_containers.as_ref().is_some_and(|containers| !containers.is_empty()) {
        causes.push(field::forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
    }
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    if gated && spec.node_name.as_ref().is_some_and(|node| !node.is_empty()) {
        let detail = "cannot be set until all schedulingGates have been cleared";
        causes.push(field::forbidden(&path.child("nodeName"), detail));
    }
    causes.extend(app_armor::contradictions(&pod.metadata, spec, &path));
    causes
}

/// Problems of a workload's template at `path`.
pub fn template(template: &PodTemplateSpec, path: &Path) -> Vec<Cause> {
    let mut causes = metadata(template, path);
    let Some(spec) = &template.spec else { return causes };
    let meta = template.metadata.clone().unwrap_or_default();
    let path = path.child("spec");
    causes.extend(self::spec(spec, Owner::Template, &path));
    causes.extend(app_armor::contradictions(&meta, spec, &path));
    if spec.ephemeral_containers.as_ref().is_some_and(|containers| !containers.is_empty()) {
        let detail = "ephemeral containers not allowed in pod template";
        causes.push(field::forbidden(&path.child("ephemeralContainers"), detail));
    }
    causes
}

/// Problems of labels and annotations of a workload's template at `path`.
pub fn metadata(template: &PodTemplateSpec, path: &Path) -> Vec<Cause> {
    let Some(meta) = &template.metadata else { return Vec::new() };
    let pairs = meta.labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut causes = metadata::labels(pairs, &path.child("labels"));
    let pairs = meta.annotations.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    causes.extend(metadata::annotations(pairs, &path.child("annotations")));
    if let Some(spec) = &template.spec {
        causes.extend(app_armor::annotations(meta, spec, &path.child("annotations")));
    }
    causes
}

/// A word out of a list, which must be there.
pub fn chosen(value: Option<&str>, supported: &[&str], path: &Path) -> Vec<Cause> {
    match value.unwrap_or_default() {
        "" => vec![field::required(path, "")],
        value if !supported.contains(&value) => vec![field::unsupported(path, value, supported)],
        _ => Vec::new(),
    }
}

/// Whose spec it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner<'a> {
    /// A pod's, which may have a name already.
    Pod(Option<&'a str>),
    /// A template's.
    Template,
}

fn spec(spec: &PodSpec, owner: Owner<'_>, path: &Path) -> Vec<Cause> {
    let pod = if let Owner::Pod(name) = owner { name } else { None };
    let volumes::Checked { mut causes, sound } = volumes::check(spec, pod, &path.child("volumes"));
    causes.extend(claims::validate(spec, path));
    causes.extend(containers::validate(&with_volumes(spec, &sound), path));
    causes.extend(pod_level::validate(spec, path));
    causes.extend(host_network_ports(spec, owner != Owner::Template, path));
    causes.extend(chosen(spec.restart_policy.as_deref(), RESTART_POLICIES, &path.child("restartPolicy")));
    causes.extend(dns::validate(spec, path));
    causes.extend(security::pod(spec, path));
    causes.extend(scheduling::validate(spec, path));
    causes.extend(names(spec, path));
    causes.extend(numbers(spec, path));
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let path = path.child("readinessGates").index(index).child("conditionType");
        causes.extend(field::invalid_each(&path, &gate.condition_type, &name::qualified_name(&gate.condition_type)));
    }
    if let Some(policy) = spec.preemption_policy.as_deref() {
        causes.extend(chosen(Some(policy), PREEMPTION_POLICIES, &path.child("preemptionPolicy")));
    }
    if let Some(os) = &spec.os {
        causes.extend(operating_system(&os.name, &path.child("os")));
    }
    causes.extend(resources::list(spec.overhead.as_ref(), &path.child("overhead")));
    causes
}

/// The spec with the volumes alone that have no problems: others cannot be mounted, as far as errors go.
fn with_volumes<'a>(spec: &'a PodSpec, sound: &[&Volume]) -> Cow<'a, PodSpec> {
    if spec.volumes.as_ref().is_none_or(|all| all.len() == sound.len()) {
        return Cow::Borrowed(spec);
    }
    let volumes = sound.iter().copied().cloned().collect();
    Cow::Owned(PodSpec { volumes: Some(volumes), ..spec.clone() })
}

fn operating_system(name: &str, path: &Path) -> Option<Cause> {
    match name {
        "" => Some(field::required(&path.child("name"), "")),
        name => field::one_of(path, name, OPERATING_SYSTEMS),
    }
}

fn names(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    type Rule = fn(&str) -> Vec<String>;
    let subdomain: Rule = name::dns1123_subdomain;
    let label: Rule = name::dns1123_label;
    let names = [
        ("serviceAccountName", &spec.service_account_name, subdomain),
        ("nodeName", &spec.node_name, subdomain),
        ("hostname", &spec.hostname, label),
        ("subdomain", &spec.subdomain, label),
        ("priorityClassName", &spec.priority_class_name, subdomain),
        ("runtimeClassName", &spec.runtime_class_name, subdomain),
    ];
    let given = names.into_iter().filter_map(|(field_name, text, rule)| {
        let text = text.as_deref().filter(|text| !text.is_empty())?;
        Some(field::invalid_each(&path.child(field_name), text, &rule(text)))
    });
    given.flatten().collect()
}

fn numbers(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(seconds) = spec.active_deadline_seconds {
        let problems = value::in_range(seconds, 1, i32::MAX.into());
        causes.extend(field::invalid_each(&path.child("activeDeadlineSeconds"), seconds, &problems));
    }
    causes
}

/// On the host's network a port is the host's: the two numbers cannot differ. A template may leave
/// the host's open, since it is filled in when the pod is created.
fn host_network_ports(spec: &PodSpec, is_pod: bool, path: &Path) -> Vec<Cause> {
    if spec.host_network != Some(true) {
        return Vec::new();
    }
    let mut causes = Vec::new();
    for (index, container) in spec.containers.iter().enumerate() {
        for (number, port) in container.ports.iter().flatten().enumerate() {
            let host = port.host_port.unwrap_or_default();
            if (is_pod || host != 0) && host != port.container_port {
                let path = path.child("containers").index(index).child("ports").index(number).child("hostPort");
                causes.push(field::invalid(&path, host, "must match `containerPort` when `hostNetwork` is true"));
            }
        }
    }
    causes
}

/// What older templates get away with, but pods do not.
fn only_in_pods(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let lists = [("containers", Some(&spec.containers)), ("initContainers", spec.init_containers.as_ref())];
    for (name, list) in lists {
        for (index, container) in list.into_iter().flatten().enumerate() {
            let image = container.image.as_deref().unwrap_or_default();
            if image != image.trim() {
                let path = path.child(name).index(index).child("image");
                causes.push(field::invalid(&path, image, "must not have leading or trailing whitespace"));
            }
        }
    }
    causes
}

#[cfg(test)]
mod tests;
