//! Rules of `metadata` that hold for every kind (apimachinery's `ValidateObjectMeta` and
//! `ValidateObjectMetaUpdate`).

use serde_json::Value;

use super::name;
use crate::api::{
    field::{self, Path},
    kind::{NameRule, Scope},
    meta,
    status::Cause,
};

/// Most bytes of all annotations, keys and values.
pub const ANNOTATIONS_LIMIT_BYTES: usize = 256 * 1024;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", ORPHAN, FOREGROUND];
/// Groups whose kinds upstream validates without the finalizers of its core.
pub const LIBERAL_GROUPS: [&str; 5] = [
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
];
/// Fields that keep their value for the life of an object.
const IMMUTABLE: [&str; 6] =
    ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];

/// Every problem of an object's metadata.
pub fn validate(object: &Value, scope: Scope, rule: NameRule) -> Vec<Cause> {
    let path = Path::new("metadata");
    let mut causes = names(object, rule, &path);
    causes.extend(namespace(object, scope, &path));
    if meta::generation(object) < 0 {
        causes.push(field::invalid(&path.child("generation"), meta::generation(object), super::value::NEGATIVE));
    }
    causes.extend(described(object, &path));
    causes.extend(finalizers(object, &path.child("finalizers")));
    causes
}

/// Finalizers that are neither the system's nor somebody's own. Not every kind refuses them: see [`repeats`].
pub fn qualified_finalizers(object: &Value) -> Vec<Cause> {
    let path = Path::new("metadata").child("finalizers");
    let detail = "name is neither a standard finalizer name nor is it fully qualified";
    let given = meta::finalizers(object).into_iter().enumerate();
    let bare = given.filter(|(_, name)| !name.contains('/') && !STANDARD_FINALIZERS.contains(name));
    bare.map(|(index, name)| field::invalid(&path.index(index), name, detail)).collect()
}

/// Every problem of a change of metadata. What an object is called may change at any time and is looked at again.
pub fn validate_update(new: &Value, old: &Value) -> Vec<Cause> {
    let path = Path::new("metadata");
    let mut causes: Vec<Cause> = new_finalizers(new, old, &path.child("finalizers")).into_iter().collect();
    if meta::generation(new) < meta::generation(old) {
        causes.push(field::invalid(&path.child("generation"), meta::generation(new), "must not be decremented"));
    }
    for immutable in IMMUTABLE {
        let value = |object: &Value| meta::metadata(object).and_then(|all| all.get(immutable).cloned());
        causes.extend(field::immutable(&path.child(immutable), &value(new), &value(old)));
    }
    causes.extend(described(new, &path));
    causes
}

/// Problems of labels, annotations and owners.
fn described(object: &Value, path: &Path) -> Vec<Cause> {
    let mut causes = labels(meta::labels(object), &path.child("labels"));
    causes.extend(annotations(meta::annotations(object), &path.child("annotations")));
    causes.extend(owner_references(object, &path.child("ownerReferences")));
    causes
}

/// Labels: of metadata, of a pod template, of a selector.
pub fn labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in labels {
        causes.extend(field::invalid_each(path, key, &name::qualified_name(key)));
        causes.extend(field::invalid_each(path, value, &name::label_value(value)));
    }
    causes
}

/// Annotations: of metadata or of a pod template. Keys are compared in lower case.
pub fn annotations<'a>(annotations: impl Iterator<Item = (&'a str, &'a str)>, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut size_bytes = 0;
    for (key, value) in annotations {
        size_bytes += key.len() + value.len();
        causes.extend(field::invalid_each(path, key, &name::qualified_name(&key.to_lowercase())));
    }
    if size_bytes > ANNOTATIONS_LIMIT_BYTES {
        causes.push(field::too_long(path, ANNOTATIONS_LIMIT_BYTES));
    }
    causes
}

fn names(object: &Value, rule: NameRule, path: &Path) -> Vec<Cause> {
    let (generate, name) = (meta::generate_name(object), meta::name(object));
    let mut causes = Vec::new();
    if !generate.is_empty() {
        causes.extend(field::invalid_each(&path.child("generateName"), generate, &rule.check_prefix(generate)));
    }
    if name.is_empty() && rule == NameRule::Any {
        return causes;
    }
    if name.is_empty() {
        causes.push(field::required(&path.child("name"), "name or generateName is required"));
    } else {
        causes.extend(field::invalid_each(&path.child("name"), name, &rule.check(name)));
    }
    causes
}

fn namespace(object: &Value, scope: Scope, path: &Path) -> Vec<Cause> {
    let (path, namespace) = (path.child("namespace"), meta::namespace(object));
    match scope {
        Scope::Cluster if namespace.is_empty() => Vec::new(),
        Scope::Cluster => vec![field::forbidden(&path, "not allowed on this type")],
        Scope::Namespaced if namespace.is_empty() => vec![field::required(&path, "")],
        Scope::Namespaced => field::invalid_each(&path, namespace, &name::dns1123_label(namespace)),
    }
}

fn owner_references(object: &Value, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut controller: Option<&str> = None;
    for owner in meta::owner_references(object) {
        let version = owner.api_version.rsplit('/').next().unwrap_or_default();
        let checks = [
            ("apiVersion", owner.api_version, version.is_empty(), "version must not be empty"),
            ("kind", owner.kind, owner.kind.is_empty(), "must not be empty"),
            ("name", owner.name, owner.name.is_empty(), "must not be empty"),
            ("uid", owner.uid, owner.uid.is_empty(), "must not be empty"),
        ];
        for (child, value, bad, detail) in checks {
            if bad {
                causes.push(field::invalid(&path.child(child), value, detail));
            }
        }
        if owner.kind == "Event" && matches!(owner.api_version, "v1" | "events.k8s.io/v1") {
            let detail = format!("{}, Kind=Event is disallowed from being an owner", owner.api_version);
            causes.push(field::invalid(path, object["metadata"]["ownerReferences"].clone(), &detail));
        }
        if owner.controller {
            causes.extend(controller.map(|first| second_controller(object, first, owner.name, path)));
            controller = Some(owner.name);
        }
    }
    causes
}

fn second_controller(object: &Value, first: &str, second: &str, path: &Path) -> Cause {
    let detail = format!(
        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
    );
    field::invalid(path, object["metadata"]["ownerReferences"].clone(), &detail)
}

fn finalizers(object: &Value, path: &Path) -> Vec<Cause> {
    let finalizers = meta::finalizers(object);
    let mut causes = Vec::new();
    for finalizer in &finalizers {
        causes.extend(field::invalid_each(path, finalizer, &name::qualified_name(finalizer)));
    }
    if finalizers.contains(&ORPHAN) && finalizers.contains(&FOREGROUND) {
        let detail = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        causes.push(field::invalid(path, &finalizers, &detail));
    }
    causes
}

fn new_finalizers(new: &Value, old: &Value, path: &Path) -> Option<Cause> {
    meta::deletion_timestamp(old)?;
    let before = meta::finalizers(old);
    let mut added: Vec<&str> = meta::finalizers(new).into_iter().filter(|name| !before.contains(name)).collect();
    added.sort_unstable();
    let listed: Vec<String> = added.iter().map(|name| format!("\"{name}\"")).collect();
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        listed.join(", ")
    );
    (!added.is_empty()).then(|| field::forbidden(path, &detail))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn messages(causes: &[Cause]) -> Vec<String> {
        causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn a_name_and_a_namespace_are_required() {
        let causes = validate(&json!({"metadata": {}}), Scope::Namespaced, NameRule::Subdomain);
        assert_eq!(
            messages(&causes),
            ["metadata.name: Required value: name or generateName is required", "metadata.namespace: Required value"]
        );
    }

    #[test]
    fn a_cluster_wide_object_has_no_namespace() {
        let object = json!({"metadata": {"name": "a", "namespace": "b"}});
        let causes = validate(&object, Scope::Cluster, NameRule::Subdomain);
        assert_eq!(messages(&causes), ["metadata.namespace: Forbidden: not allowed on this type"]);
    }

    #[test]
    fn annotations_are_bounded() {
        let object = json!({"metadata": {"name": "a", "annotations": {"k": "v".repeat(ANNOTATIONS_LIMIT_BYTES)}}});
        let causes = validate(&object, Scope::Cluster, NameRule::Subdomain);
        assert_eq!(messages(&causes), ["metadata.annotations: Too long: may not be more than 262144 bytes"]);
    }

    #[test]
    fn finalizers_belong_to_somebody() {
        let object = json!({"metadata": {"finalizers": ["kubernetes", "a.b/c", "mine"]}});
        assert_eq!(
            messages(&qualified_finalizers(&object)),
            ["metadata.finalizers[2]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it \
              fully qualified"]
        );
    }

    #[test]
    fn identity_does_not_change() {
        let old = json!({"metadata": {"name": "a", "uid": "1"}});
        let new = json!({"metadata": {"name": "a", "uid": "2"}});
        let causes = validate_update(&new, &old);
        assert_eq!(messages(&causes), ["metadata.uid: Invalid value: \"2\": field is immutable"]);
    }

    #[test]
    fn a_deleted_object_gets_no_new_finalizer() {
        let at = "2026-01-01T00:00:00Z";
        let old = json!({"metadata": {"deletionTimestamp": at, "finalizers": ["a.b/c"]}});
        let new = json!({"metadata": {"deletionTimestamp": at, "finalizers": ["a.b/c", "a.b/d"]}});
        let causes = validate_update(&new, &old);
        assert!(causes[0].message.ends_with("found new finalizers []string{\"a.b/d\"}"), "{causes:?}");
        assert!(validate_update(&old, &new).is_empty());
    }
}
