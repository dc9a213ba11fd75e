//! Rules of environment variables and where their values come from.

use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, ObjectFieldSelector, ResourceFieldSelector,
};

use super::mounts::no_backsteps;
use crate::api::{
    field::{self, Path},
    quantity::Quantity,
    status::Cause,
    validation::name,
};

const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const BYTE_DIVISORS: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Problems of `env`.
pub fn variables(variables: &[EnvVar], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, variable) in variables.iter().enumerate() {
        let path = path.index(index);
        match variable.name.as_str() {
            "" => causes.push(field::required(&path.child("name"), "")),
            text => causes.extend(field::invalid_each(&path.child("name"), text, &name::env_name(text))),
        }
        if let Some(source) = &variable.value_from {
            let has_value = variable.value.as_ref().is_some_and(|value| !value.is_empty());
            causes.extend(value_from(source, has_value, &path.child("valueFrom")));
        }
    }
    causes
}

/// Problems of `envFrom`.
pub fn sources(sources: &[EnvFromSource], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let item = path.index(index);
        if let Some(prefix) = source.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            causes.extend(field::invalid_each(&item.child("prefix"), prefix, &name::env_name(prefix)));
        }
        let references = [
            ("configMapRef", source.config_map_ref.as_ref().map(|reference| &reference.name)),
            ("secretRef", source.secret_ref.as_ref().map(|reference| &reference.name)),
        ];
        for (field_name, reference) in references {
            let path = item.child(field_name).child("name");
            match reference.map(String::as_str) {
                None => {}
                Some("") => causes.push(field::required(&path, "")),
                Some(text) => causes.extend(field::invalid_each(&path, text, &name::dns1123_subdomain(text))),
            }
        }
        match references.iter().filter(|(_, reference)| reference.is_some()).count() {
            0 => causes.push(field::invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")),
            1 => {}
            _ => causes.push(field::invalid(path, "", "may not have more than one field specified at a time")),
        }
    }
    causes
}

/// Problems of a reference to a field of the pod. `allowed` are the fields that may be named whole.
pub fn object_field(selector: &ObjectFieldSelector, allowed: &[&str], path: &Path) -> Vec<Cause> {
    let version = selector.api_version.as_deref().unwrap_or_default();
    if version.is_empty() {
        return vec![field::required(&path.child("apiVersion"), "")];
    }
    let named = selector.field_path.as_str();
    let path_field = path.child("fieldPath");
    if named.is_empty() {
        return vec![field::required(&path_field, "")];
    }
    if version != "v1" {
        let detail = format!("error converting fieldPath: unsupported pod version: {version}");
        return vec![field::invalid(&path_field, named, &detail)];
    }
    match named.strip_suffix("']").and_then(|text| text.split_once("['")) {
        Some(("metadata.annotations", key)) => {
            field::invalid_each(path, key, &name::qualified_name(&key.to_lowercase()))
        }
        Some(("metadata.labels", key)) => field::invalid_each(path, key, &name::qualified_name(key)),
        Some((whole, _)) => vec![field::invalid(path, whole, "does not support subscript")],
        None if allowed.contains(&named) => Vec::new(),
        None if is_known(named) => vec![field::unsupported(&path_field, named, allowed)],
        None => {
            let detail = format!("error converting fieldPath: field label not supported: {named}");
            vec![field::invalid(&path_field, named, &detail)]
        }
    }
}

/// Problems of a reference to a container's resources.
pub fn resource_field(selector: &ResourceFieldSelector, in_volume: bool, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let resource = selector.resource.as_str();
    let huge_pages = resource.starts_with("requests.hugepages-") || resource.starts_with("limits.hugepages-");
    if in_volume && selector.container_name.as_deref().unwrap_or_default().is_empty() {
        causes.push(field::required(&path.child("containerName"), ""));
    } else if resource.is_empty() {
        causes.push(field::required(&path.child("resource"), ""));
    } else if !RESOURCES.contains(&resource) && !huge_pages {
        causes.push(field::unsupported(&path.child("resource"), resource, RESOURCES));
    }
    causes.extend(divisor(selector, path));
    causes
}

fn value_from(source: &EnvVarSource, has_value: bool, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut count = 0;
    if let Some(selector) = &source.field_ref {
        count += 1;
        causes.extend(object_field(selector, FIELDS, &path.child("fieldRef")));
    }
    if let Some(selector) = &source.resource_field_ref {
        count += 1;
        causes.extend(resource_field(selector, false, &path.child("resourceFieldRef")));
    }
    let references = [
        ("configMapKeyRef", source.config_map_key_ref.as_ref().map(|reference| (&reference.name, &reference.key))),
        ("secretKeyRef", source.secret_key_ref.as_ref().map(|reference| (&reference.name, &reference.key))),
    ];
    for (field_name, reference) in references {
        if let Some((object, key)) = reference {
            count += 1;
            causes.extend(key_reference(object, key, &path.child(field_name)));
        }
    }
    if let Some(selector) = &source.file_key_ref {
        count += 1;
        causes.extend(file_key(selector, &path.child("fileKeyRef")));
    }
    if count == 0 {
        let detail =
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        causes.push(field::invalid(path, "", detail));
    } else if has_value {
        causes.push(field::invalid(path, "", "may not be specified when `value` is not empty"));
    } else if count > 1 {
        causes.push(field::invalid(path, "", "may not have more than one field specified at a time"));
    }
    causes
}

/// A variable in a file that a container has written (KEP-3721).
fn file_key(selector: &FileKeySelector, path: &Path) -> Vec<Cause> {
    let checked = |text: &str, problems: Vec<String>, name: &str| match text {
        "" => vec![field::required(&path.child(name), "")],
        text => field::invalid_each(&path.child(name), text, &problems),
    };
    let mut causes = checked(&selector.key, name::env_name(&selector.key), "key");
    causes.extend(checked(&selector.volume_name, name::dns1123_label(&selector.volume_name), "volumeName"));
    causes.extend(checked(&selector.path, Vec::new(), "path"));
    causes.extend(no_backsteps(&selector.path, &path.child("path")));
    causes
}

fn key_reference(object: &str, key: &str, path: &Path) -> Vec<Cause> {
    let mut causes = field::invalid_each(&path.child("name"), object, &name::dns1123_subdomain(object));
    if key.is_empty() {
        causes.push(field::required(&path.child("key"), ""));
    } else {
        causes.extend(field::invalid_each(&path.child("key"), key, &name::config_map_key(key)));
    }
    causes
}

fn divisor(selector: &ResourceFieldSelector, path: &Path) -> Vec<Cause> {
    let divisor: Quantity = selector.divisor.as_ref().and_then(|divisor| divisor.0.parse().ok()).unwrap_or_default();
    if divisor.is_zero() {
        return Vec::new();
    }
    let shown = divisor.to_string();
    let of = |allowed: &[&str], what: &str| {
        let detail = match what {
            "cpu" => "only divisor's values 1m and 1 are supported with the cpu resource".to_owned(),
            _ => format!("only divisor's values {} are supported with the {what} resource", allowed.join(", ")),
        };
        let bad = !allowed.contains(&shown.as_str());
        bad.then(|| field::invalid(&path.child("divisor"), &selector.resource, &detail)).into_iter().collect()
    };
    match selector.resource.split_once('.').map(|(_, name)| name) {
        Some("cpu") => of(&["1m", "1"], "cpu"),
        Some("memory") => of(BYTE_DIVISORS, "memory"),
        Some("ephemeral-storage") => of(BYTE_DIVISORS, "local ephemeral storage"),
        Some(name) if name.starts_with("hugepages-") => of(BYTE_DIVISORS, "hugepages"),
        _ => Vec::new(),
    }
}

/// Fields that exist, though not every place may refer to them.
fn is_known(named: &str) -> bool {
    FIELDS.contains(&named)
        || matches!(
            named,
            "metadata.annotations" | "metadata.labels" | "spec.restartPolicy" | "spec.schedulerName" | "status.phase"
        )
}
