//! Rules of a definition's spec: group, names, scope, and its versions as a whole.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinitionNames, CustomResourceDefinitionSpec, CustomResourceDefinitionVersion,
};

use serde_json::{Value, json};

use super::{conversion, version};
use crate::api::{
    field::{self, Path},
    go,
    kinds::pod_template::chosen,
    status::Cause,
    validation::name,
};

const SCOPES: &[&str] = &["Cluster", "Namespaced"];

/// Problems of a spec.
pub fn validate(spec: &CustomResourceDefinitionSpec, path: &Path) -> Vec<Cause> {
    let mut causes = group(&spec.group, &path.child("group"));
    causes.extend(chosen(Some(&spec.scope), SCOPES, &path.child("scope")));
    if spec.preserve_unknown_fields == Some(true) {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema \
                      instead";
        causes.push(field::invalid(&path.child("preserveUnknownFields"), true, detail));
    }
    causes.extend(versions(spec, &path.child("versions")));
    // The name of the first version is that of the definition too.
    if let Some(first) = spec.versions.first().filter(|first| !first.name.is_empty()) {
        causes.extend(label(&first.name, &path.child("version")));
    }
    // A schema that all versions have is told of as the definition's.
    if let Some(first) = spec.versions.first().filter(|_| is_same(&spec.versions, |version| &version.schema)) {
        causes.extend(version::validate_schema(first, &path.child("validation")));
    }
    causes.extend(names(&spec.names, &path.child("names")));
    causes.extend(required_names(&spec.names, &path.child("names")));
    causes.extend(conversion::validate(spec.conversion.as_ref(), &path.child("conversion")));
    causes
}

/// Problems of a change. What objects are stored under stays as it is.
pub fn validate_update(
    new: &CustomResourceDefinitionSpec,
    old: &CustomResourceDefinitionSpec,
    established: bool,
    path: &Path,
) -> Vec<Cause> {
    let mut causes = Vec::new();
    if established {
        causes.extend(field::immutable(&path.child("scope"), &new.scope, &old.scope));
        causes.extend(field::immutable(&path.child("names").child("kind"), &new.names.kind, &old.names.kind));
    }
    causes.extend(field::immutable(&path.child("group"), &new.group, &old.group));
    causes.extend(field::immutable(&path.child("names").child("plural"), &new.names.plural, &old.names.plural));
    causes
}

/// Problems of names, as a spec wishes or a status accepts them.
pub fn names(names: &CustomResourceDefinitionNames, path: &Path) -> Vec<Cause> {
    let singular = names.singular.as_deref().unwrap_or_default();
    let list_kind = names.list_kind.as_deref().unwrap_or_default();
    // That a name is missing is said once.
    let mut causes = Vec::new();
    if !names.plural.is_empty() {
        causes.extend(label(&names.plural, &path.child("plural")));
    }
    if !singular.is_empty() {
        causes.extend(label(singular, &path.child("singular")));
    }
    if !names.kind.is_empty() {
        causes.extend(camel_case(&names.kind, &path.child("kind")));
    }
    if !list_kind.is_empty() {
        causes.extend(camel_case(list_kind, &path.child("listKind")));
    }
    for (list, field) in [(&names.short_names, "shortNames"), (&names.categories, "categories")] {
        for (index, text) in list.iter().flatten().enumerate() {
            causes.extend(label(text, &path.child(field).index(index)));
        }
    }
    if !names.kind.is_empty() && names.kind == list_kind {
        causes.push(field::invalid(&path.child("listKind"), list_kind, "kind and listKind may not be the same"));
    }
    causes
}

fn group(group: &str, path: &Path) -> Vec<Cause> {
    if group.is_empty() {
        return vec![field::required(path, "")];
    }
    let problems = name::dns1123_subdomain(group);
    if !problems.is_empty() {
        return vec![field::invalid(path, group, &problems.join(","))];
    }
    if group.contains('.') {
        return Vec::new();
    }
    vec![field::invalid(path, group, "should be a domain with at least one dot")]
}

fn versions(spec: &CustomResourceDefinitionSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, one) in spec.versions.iter().enumerate() {
        let schema = one.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        if schema.is_none() {
            let path = path.index(index).child("schema").child("openAPIV3Schema");
            causes.push(field::required(&path, ""));
        }
    }
    let has_schema = !is_same(&spec.versions, |version| &version.schema);
    for (index, one) in spec.versions.iter().enumerate() {
        causes.extend(version::validate(one, has_schema, &path.index(index)));
    }
    let invalid = |detail: &str| {
        let shown = go::internal_field("apiextensions.v1.CustomResourceDefinitionSpec", "versions", &shown(spec));
        field::invalid_shown(path, &shown, detail)
    };
    let distinct: BTreeSet<&str> = spec.versions.iter().map(|version| version.name.as_str()).collect();
    if distinct.len() != spec.versions.len() {
        causes.push(invalid("must contain unique version names"));
    }
    if spec.versions.iter().filter(|version| version.storage).count() != 1 {
        causes.push(invalid("must have exactly one version marked as storage version"));
    }
    causes
}

/// Whether all versions say the same in a field.
fn is_same<T: PartialEq>(
    versions: &[CustomResourceDefinitionVersion],
    field: impl Fn(&CustomResourceDefinitionVersion) -> &T,
) -> bool {
    versions.windows(2).all(|pair| field(&pair[0]) == field(&pair[1]))
}

/// The versions, without what they all say: that is the definition's.
fn shown(spec: &CustomResourceDefinitionSpec) -> Value {
    let all = &spec.versions;
    let mut versions = all.clone();
    let same = [
        is_same(all, |version| &version.schema),
        is_same(all, |version| &version.subresources),
        is_same(all, |version| &version.additional_printer_columns),
        is_same(all, |version| &version.selectable_fields),
    ];
    for version in &mut versions {
        version.schema = version.schema.take().filter(|_| !same[0]);
        version.subresources = version.subresources.take().filter(|_| !same[1]);
        version.additional_printer_columns = version.additional_printer_columns.take().filter(|_| !same[2]);
        version.selectable_fields = version.selectable_fields.take().filter(|_| !same[3]);
    }
    if versions.is_empty() { Value::Null } else { json!(versions) }
}

fn required_names(names: &CustomResourceDefinitionNames, path: &Path) -> Vec<Cause> {
    let all = [
        ("plural", Some(&names.plural)),
        ("singular", names.singular.as_ref()),
        ("kind", Some(&names.kind)),
        ("listKind", names.list_kind.as_ref()),
    ];
    let missing = all.into_iter().filter(|(_, value)| value.is_none_or(String::is_empty));
    missing.map(|(field, _)| field::required(&path.child(field), "")).collect()
}

fn label(text: &str, path: &Path) -> Vec<Cause> {
    let problems = name::dns1035_label(text);
    if problems.is_empty() { Vec::new() } else { vec![field::invalid(path, text, &problems.join(","))] }
}

fn camel_case(text: &str, path: &Path) -> Vec<Cause> {
    let problems = name::dns1035_label(&text.to_lowercase());
    if problems.is_empty() {
        return Vec::new();
    }
    let detail = format!("may have mixed case, but should otherwise match: {}", problems.join(","));
    vec![field::invalid(path, text, &detail)]
}
