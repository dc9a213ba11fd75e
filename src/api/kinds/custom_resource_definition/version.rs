//! Rules of one version: its name, deprecation, subresources, columns, selectable fields and schema.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinitionVersion, CustomResourceSubresourceScale, JSONSchemaProps,
    SelectableField,
};

use serde_json::json;

use super::schema;
use crate::api::{
    custom::{
        rules::field_path,
        structural::{Kind, Structural},
    },
    field::{self, Path},
    status::Cause,
    validation::name,
};

const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] = &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
const WARNING_LIMIT_BYTES: usize = 256;
const SELECTABLE_LIMIT: usize = 8;

/// Problems of a version. It `has_schema` of its own unless all versions have the same.
pub fn validate(version: &CustomResourceDefinitionVersion, has_schema: bool, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let problems = name::dns1035_label(&version.name);
    if !problems.is_empty() {
        causes.push(field::invalid(&path.child("name"), &version.name, &problems.join(",")));
    }
    causes.extend(deprecation(version, &path.child("deprecationWarning")));
    if has_schema {
        causes.extend(validate_schema(version, &path.child("schema")));
    }
    if let Some(scale) = version.subresources.as_ref().and_then(|all| all.scale.as_ref()) {
        causes.extend(scale_paths(scale, &path.child("subresources")));
    }
    for (index, one) in version.additional_printer_columns.iter().flatten().enumerate() {
        causes.extend(column(one, &path.child("additionalPrinterColumns").index(index)));
    }
    let selectable = version.selectable_fields.as_deref().unwrap_or_default();
    causes.extend(selectable_fields(selectable, root(version), &path.child("selectableFields")));
    causes
}

/// Problems of a version's schema, which is at `path`.
pub fn validate_schema(version: &CustomResourceDefinitionVersion, path: &Path) -> Vec<Cause> {
    let has_status = version.subresources.as_ref().is_some_and(|subresources| subresources.status.is_some());
    root(version).map(|root| schema::validate(root, has_status, path)).unwrap_or_default()
}

fn root(version: &CustomResourceDefinitionVersion) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

fn deprecation(version: &CustomResourceDefinitionVersion, path: &Path) -> Vec<Cause> {
    let Some(warning) = version.deprecation_warning.as_deref() else { return Vec::new() };
    let mut problems = Vec::new();
    if !version.deprecated.unwrap_or_default() {
        problems.push("can only be set for deprecated versions".to_owned());
    }
    if warning.is_empty() {
        problems.push("must not be empty string".to_owned());
    }
    if warning.len() > WARNING_LIMIT_BYTES {
        problems.push(format!("must be <= {WARNING_LIMIT_BYTES} characters long"));
    }
    if let Some((index, _)) = warning.char_indices().find(|(_, letter)| letter.is_control()) {
        problems.push(format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {index}"
        ));
    }
    field::invalid_each(path, warning, &problems)
}

fn scale_paths(scale: &CustomResourceSubresourceScale, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = (scale.spec_replicas_path.as_str(), "specReplicasPath", &[".spec."][..], ".spec");
    let status = (scale.status_replicas_path.as_str(), "statusReplicasPath", &[".status."][..], ".status");
    for (text, name, prefixes, under) in [spec, status] {
        let path = path.child("scale").child(name);
        if text.is_empty() {
            causes.push(field::required(&path, ""));
        } else {
            causes.extend(path_under(text, prefixes, under, &path));
        }
    }
    if let Some(text) = scale.label_selector_path.as_deref().filter(|text| !text.is_empty()) {
        let path = path.child("scale").child("labelSelectorPath");
        causes.extend(path_under(text, &[".spec.", ".status."], "either .spec or .status", &path));
    }
    causes
}

fn path_under(text: &str, prefixes: &[&str], under: &str, path: &Path) -> Vec<Cause> {
    let causes = json_path(text, path);
    if !causes.is_empty() || prefixes.iter().any(|prefix| text.starts_with(prefix)) {
        return causes;
    }
    vec![field::invalid(path, text, &format!("should be a json path under {under}"))]
}

fn column(column: &CustomResourceColumnDefinition, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if column.name.is_empty() {
        causes.push(field::required(&path.child("name"), ""));
    }
    let types = format!("must be one of {}", COLUMN_TYPES.join(","));
    match column.type_.as_str() {
        "" => causes.push(field::required(&path.child("type"), &types)),
        kind if !COLUMN_TYPES.contains(&kind) => causes.push(field::invalid(&path.child("type"), kind, &types)),
        _ => {}
    }
    let format = column.format.as_deref().unwrap_or_default();
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        let detail = format!("must be one of {}", COLUMN_FORMATS.join(","));
        causes.push(field::invalid(&path.child("format"), format, &detail));
    }
    let path = path.child("JSONPath");
    if column.json_path.is_empty() {
        causes.push(field::required(&path, ""));
    } else {
        causes.extend(json_path(&column.json_path, &path));
    }
    causes
}

fn selectable_fields(fields: &[SelectableField], root: Option<&JSONSchemaProps>, path: &Path) -> Vec<Cause> {
    if fields.is_empty() {
        return Vec::new();
    }
    let Some(root) = root else {
        let detail = "may only be set when `version.schema.openAPIV3Schema` is not included";
        return vec![field::invalid(path, "", detail)];
    };
    let schema = Structural::read(&json!(root));
    let (mut causes, mut seen) = (Vec::new(), Vec::new());
    for (index, one) in fields.iter().enumerate() {
        let path = path.index(index).child("jsonPath");
        let text = one.json_path.as_str();
        if text.is_empty() {
            causes.push(field::required(&path, ""));
            continue;
        }
        let (leads_to, found) = match field_path::resolve(text, &schema, false) {
            Ok(resolved) => resolved,
            Err(problem) => {
                causes.push(field::invalid(&path, text, &format!("is an invalid path: {problem}")));
                continue;
            }
        };
        if leads_to.as_str().split('.').next() == Some("metadata") {
            causes.push(field::invalid(&path, text, "must not point to fields in metadata"));
        }
        if !matches!(found.kind, Kind::Boolean | Kind::Integer | Kind::String) {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                          formats are allowed.";
            causes.push(field::invalid(&path, text, detail));
        }
        if seen.contains(&leads_to) {
            causes.push(field::duplicate(&path, text));
        } else {
            seen.push(leads_to);
        }
    }
    if seen.len() > SELECTABLE_LIMIT {
        causes.push(field::too_many(path, seen.len(), SELECTABLE_LIMIT));
    }
    causes
}

/// The JSON paths of columns and subresources begin at the object's root.
fn json_path(text: &str, path: &Path) -> Vec<Cause> {
    let balanced = text.matches('[').count() == text.matches(']').count();
    match text {
        text if !text.starts_with('.') => {
            vec![field::invalid(path, text, "must be a simple json path starting with .")]
        }
        text if !balanced || text.ends_with('.') && text != "." => {
            vec![field::invalid(path, text, "must be a json path in the dot notation")]
        }
        _ => Vec::new(),
    }
}
