//! Where the content of a claim's new volume comes from (KEP-1495): an older field, for claims and snapshots, and a newer
//! one, for anything. Each is filled in from the other.

use k8s_openapi::api::core::v1::{PersistentVolumeClaimSpec, TypedLocalObjectReference, TypedObjectReference};

use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::name,
};

/// Drops what the server does not take, and fills in one field from the other.
pub fn prepare(spec: &mut PersistentVolumeClaimSpec, old: Option<&PersistentVolumeClaimSpec>) {
    let is_elsewhere = |source: &TypedObjectReference| source.namespace.as_ref().is_some_and(|text| !text.is_empty());
    let had_reference = old.is_some_and(|old| old.data_source_ref.is_some());
    // Other namespaces' content is behind a feature gate that is off.
    if !had_reference && spec.data_source_ref.as_ref().is_some_and(is_elsewhere) {
        spec.data_source_ref = None;
    }
    let had_source = had_reference || old.is_some_and(|old| old.data_source.is_some());
    if !had_source && spec.data_source_ref.is_none() {
        spec.data_source = spec.data_source.take().filter(is_of_old_kind);
    }
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(source), None) => {
            let TypedLocalObjectReference { api_group, kind, name } = source.clone();
            spec.data_source_ref = Some(TypedObjectReference { api_group, kind, name, namespace: None });
        }
        (None, Some(source)) if !is_elsewhere(source) => {
            let TypedObjectReference { api_group, kind, name, .. } = source.clone();
            spec.data_source = Some(TypedLocalObjectReference { api_group, kind, name });
        }
        _ => {}
    }
}

fn is_of_old_kind(source: &TypedLocalObjectReference) -> bool {
    matches!(
        (source.api_group.as_deref().unwrap_or_default(), source.kind.as_str()),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}

/// Problems of where the content comes from.
pub fn validate(spec: &PersistentVolumeClaimSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(source) = &spec.data_source {
        let own = path.child("dataSource");
        causes.extend(reference(source.api_group.as_deref(), &source.kind, &source.name, &own));
    }
    if let Some(source) = &spec.data_source_ref {
        let own = path.child("dataSourceRef");
        causes.extend(reference(source.api_group.as_deref(), &source.kind, &source.name, &own));
        if let Some(text) = source.namespace.as_deref().filter(|text| !text.is_empty()) {
            causes.extend(field::invalid_each(&own.child("namespace"), text, &name::dns1123_label(text)));
        }
    }
    if let (Some(source), Some(other)) = (&spec.data_source, &spec.data_source_ref) {
        let elsewhere = other.namespace.as_ref().is_some_and(|namespace| !namespace.is_empty());
        let same = (&source.api_group, &source.kind, &source.name) == (&other.api_group, &other.kind, &other.name);
        // Upstream shows the path in the place of a value, which has no JSON.
        let nothing = serde_json::json!({});
        if elsewhere {
            let detail = "may not be specified when dataSourceRef.namespace is specified";
            causes.push(field::invalid(path, nothing, detail));
        } else if !same {
            causes.push(field::invalid(path, nothing, "must match dataSourceRef"));
        }
    }
    causes
}

fn reference(group: Option<&str>, kind: &str, name: &str, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (field_name, text) in [("name", name), ("kind", kind)] {
        if text.is_empty() {
            causes.push(field::required(&path.child(field_name), ""));
        }
    }
    let group = group.unwrap_or_default();
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        causes.push(field::invalid(path, kind, detail));
    }
    if !group.is_empty() {
        causes.extend(field::invalid_each(&path.child("apiGroup"), group, &name::dns1123_subdomain(group)));
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_is_filled_in_from_the_other() {
        let prepared = |spec: serde_json::Value| {
            let mut spec = serde_json::from_value(spec).unwrap();
            prepare(&mut spec, None);
            json!(spec)
        };
        let claim = json!({"kind": "PersistentVolumeClaim", "name": "a"});
        let both = json!({"dataSource": claim, "dataSourceRef": claim});
        assert_eq!(prepared(json!({"dataSource": claim})), both);
        assert_eq!(prepared(json!({"dataSourceRef": claim})), both);
        assert_eq!(prepared(json!({"dataSource": {"kind": "Other", "name": "a"}})), json!({}));
    }
}
