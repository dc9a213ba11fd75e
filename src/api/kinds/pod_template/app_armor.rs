//! AppArmor profiles, which pods name in fields and, as before 1.30, in annotations per container (KEP-24). A new
//! pod's fields follow its annotations, so that nodes read fields alone.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::core::v1::{AppArmorProfile, Container, Pod, PodSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use super::containers;
use crate::api::{
    codec,
    field::{self, Path},
    meta,
    status::Cause,
};

const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
const UNCONFINED: &str = "unconfined";
const RUNTIME_DEFAULT: &str = "runtime/default";
const LOCALHOST: &str = "localhost/";
const TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
const PROFILE_LIMIT_BYTES: usize = 4095;

/// Makes fields of what the annotations of a new pod say.
pub fn apply(pod: &mut Pod) {
    let meta = &pod.metadata;
    let Some(spec) = pod.spec.as_mut().filter(|spec| is_annotated(meta) && !is_windows(spec)) else { return };
    let of_pod = of_pod(spec).cloned();
    let inits = spec.init_containers.iter_mut().flatten();
    let regular = inits.chain(&mut spec.containers).map(|container| (&container.name, &mut container.security_context));
    let ephemeral = spec.ephemeral_containers.iter_mut().flatten();
    let ephemeral = ephemeral.map(|container| (&container.name, &mut container.security_context));
    for (name, context) in regular.chain(ephemeral) {
        let own = context.as_ref().and_then(|context| context.app_armor_profile.as_ref());
        let named = annotation(meta, name).filter(|_| own.is_none()).and_then(profile);
        if named.is_some() && named != of_pod {
            context.get_or_insert_default().app_armor_profile = named;
        }
    }
}

/// Warnings about annotations of a new pod, as it was sent.
pub fn warnings(pod: &Value) -> Vec<String> {
    let annotations = meta::metadata(pod).and_then(|all| all.get("annotations")).and_then(Value::as_object);
    if !annotations.is_some_and(|all| all.keys().any(|key| key.starts_with(ANNOTATION))) {
        return Vec::new();
    }
    let pod: Pod = codec::decode(pod).unwrap_or_default();
    let Some(spec) = pod.spec.as_ref().filter(|spec| !is_windows(spec)) else { return Vec::new() };
    let path = Path::default();
    let all = containers::with_paths(spec, &path);
    let mut warnings: Vec<String> =
        all.iter().filter_map(|(_, container)| warning(spec, &pod.metadata, container, &path)).collect();
    // Containers of one name, which validation refuses, are warned of once.
    warnings.dedup();
    warnings
}

/// The warning about a container whose annotation no field repeats, at the `path` of its pod or template.
pub fn warning(spec: &PodSpec, meta: &ObjectMeta, container: &Container, path: &Path) -> Option<String> {
    let annotation = annotation(meta, &container.name)?;
    let of_pod = of_pod(spec);
    if of_container(container).is_some() || (of_pod.is_some() && of_pod == profile(annotation).as_ref()) {
        return None;
    }
    let path = path.child("metadata").child("annotations").key(&format!("{ANNOTATION}{}", container.name));
    Some(format!("{path}: deprecated since v1.30; use the \"appArmorProfile\" field instead"))
}

/// Problems of annotations at `path`.
pub fn annotations(meta: &ObjectMeta, spec: &PodSpec, path: &Path) -> Vec<Cause> {
    if !is_annotated(meta) {
        return Vec::new();
    }
    let all = containers::with_paths(spec, path);
    let names: BTreeSet<&str> = all.iter().map(|(_, container)| container.name.as_str()).collect();
    let mut causes = Vec::new();
    for (key, value) in meta.annotations.iter().flatten() {
        let Some(container) = key.strip_prefix(ANNOTATION) else { continue };
        let path = path.key(key);
        if !names.contains(container) {
            causes.push(field::invalid(&path, container, "container not found"));
        }
        if !matches!(value.as_str(), "" | RUNTIME_DEFAULT | UNCONFINED) && !value.starts_with(LOCALHOST) {
            causes.push(field::invalid(&path, value, &format!("invalid AppArmor profile name: {value:?}")));
        }
    }
    causes
}

/// Problems of annotations of a new pod that change or were not there.
pub fn annotation_changes(new: &ObjectMeta, old: &ObjectMeta, path: &Path) -> Vec<Cause> {
    let value = |meta: &ObjectMeta, key: &str| meta.annotations.as_ref().and_then(|all| all.get(key).cloned());
    let all = |meta: &ObjectMeta| -> Vec<String> {
        let keys = meta.annotations.iter().flatten().map(|(key, _)| key);
        keys.filter(|key| key.starts_with(ANNOTATION)).cloned().collect()
    };
    let changed = all(old).into_iter().filter(|key| value(new, key) != value(old, key));
    let changed = changed.map(|key| (key, "may not remove or update AppArmor annotations"));
    let added = all(new).into_iter().filter(|key| value(old, key).is_none());
    let added = added.map(|key| (key, "may not add AppArmor annotations"));
    changed.chain(added).map(|(key, detail)| field::forbidden(&path.key(&key), detail)).collect()
}

/// Problems of fields at the spec's `path` that say otherwise than annotations do.
pub fn contradictions(meta: &ObjectMeta, spec: &PodSpec, path: &Path) -> Vec<Cause> {
    if !is_annotated(meta) || is_windows(spec) {
        return Vec::new();
    }
    let mut causes = Vec::new();
    for (path, container) in containers::with_paths(spec, path) {
        let Some(annotation) = annotation(meta, &container.name) else { continue };
        let Some(own) = of_container(&container).or_else(|| of_pod(spec)) else { continue };
        let path = path.child("securityContext").child("appArmorProfile");
        let same_type = match own.type_.as_str() {
            "Unconfined" => annotation == UNCONFINED,
            "RuntimeDefault" => annotation == RUNTIME_DEFAULT,
            "Localhost" => annotation.starts_with(LOCALHOST),
            _ => true,
        };
        if !same_type {
            let detail = "apparmor type in annotation and field must match";
            causes.push(field::forbidden(&path.child("type"), detail));
        } else if own.type_ == "Localhost" && annotation.strip_prefix(LOCALHOST) != own.localhost_profile.as_deref() {
            let detail = "apparmor profile in annotation and field must match";
            causes.push(field::forbidden(&path.child("localhostProfile"), detail));
        }
    }
    causes
}

/// Problems of a profile in a field.
pub fn validate(profile: &AppArmorProfile, path: &Path) -> Vec<Cause> {
    let local = path.child("localhostProfile");
    let missing = "must be set when AppArmor type is Localhost";
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", None | Some("")) => vec![field::required(&local, missing)],
        ("Localhost", Some(name)) => {
            let padded =
                (name != name.trim()).then(|| field::invalid(&local, name, "must not be padded with whitespace"));
            let long = (name.len() > PROFILE_LIMIT_BYTES).then(|| field::too_long(&local, PROFILE_LIMIT_BYTES));
            padded.into_iter().chain(long).collect()
        }
        ("", _) => vec![field::required(&path.child("type"), "type is required when appArmorProfile is set")],
        (kind, _) if !TYPES.contains(&kind) => vec![field::unsupported(&path.child("type"), kind, TYPES)],
        (_, Some(name)) => vec![field::invalid(&local, name, "can only be set when AppArmor type is Localhost")],
        (_, None) => Vec::new(),
    }
}

/// The profile that an annotation's value stands for.
fn profile(annotation: &str) -> Option<AppArmorProfile> {
    let of = |kind: &str, name: Option<&str>| AppArmorProfile {
        type_: kind.to_owned(),
        localhost_profile: name.map(str::to_owned),
    };
    match annotation {
        UNCONFINED => Some(of("Unconfined", None)),
        RUNTIME_DEFAULT => Some(of("RuntimeDefault", None)),
        text => {
            let name = text.strip_prefix(LOCALHOST)?;
            let profile = of("Localhost", Some(name));
            validate(&profile, &Path::default()).is_empty().then_some(profile)
        }
    }
}

fn annotation<'a>(meta: &'a ObjectMeta, container: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(&format!("{ANNOTATION}{container}")).map(String::as_str)
}

fn is_annotated(meta: &ObjectMeta) -> bool {
    meta.annotations.iter().flatten().any(|(key, _)| key.starts_with(ANNOTATION))
}

fn is_windows(spec: &PodSpec) -> bool {
    spec.os.as_ref().is_some_and(|os| os.name == "windows")
}

fn of_pod(spec: &PodSpec) -> Option<&AppArmorProfile> {
    spec.security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref())
}

fn of_container(container: &Container) -> Option<&AppArmorProfile> {
    container.security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn annotated(value: &str, spec: Value) -> Value {
        json!({"metadata": {"annotations": {(format!("{ANNOTATION}a")): value}}, "spec": spec})
    }

    #[test]
    fn an_annotation_becomes_a_field_and_is_warned_of() {
        let sent = annotated("localhost/p", json!({"containers": [{"name": "a"}, {"name": "b"}]}));
        assert_eq!(warnings(&sent).len(), 1);
        let mut pod: Pod = serde_json::from_value(sent).unwrap();
        apply(&mut pod);
        let spec = json!(pod.spec);
        let profile = json!({"type": "Localhost", "localhostProfile": "p"});
        assert_eq!(spec["containers"][0]["securityContext"]["appArmorProfile"], profile);
        assert_eq!(spec["containers"][1].get("securityContext"), None);
        assert_eq!(warnings(&json!(pod)), [""; 0]);
        assert_eq!(contradictions(&pod.metadata, pod.spec.as_ref().unwrap(), &Path::default()), []);
    }

    #[test]
    fn an_annotation_agrees_with_fields_and_containers() {
        let context = json!({"appArmorProfile": {"type": "Unconfined"}});
        let sent = annotated("runtime/default", json!({"containers": [{"name": "b", "securityContext": context}]}));
        let pod: Pod = serde_json::from_value(sent).unwrap();
        let spec = pod.spec.unwrap();
        let causes = annotations(&pod.metadata, &spec, &Path::new("metadata.annotations"));
        assert_eq!(causes[0].message, "Invalid value: \"a\": container not found");
        let sent = annotated("runtime/default", json!({"containers": [{"name": "a", "securityContext": context}]}));
        let pod: Pod = serde_json::from_value(sent).unwrap();
        let causes = contradictions(&pod.metadata, pod.spec.as_ref().unwrap(), &Path::new("spec"));
        assert_eq!(causes[0].field, "spec.containers[0].securityContext.appArmorProfile.type");
    }
}
