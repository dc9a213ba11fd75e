//! What a version's schema may use of OpenAPI v3 (`ValidateCustomResourceDefinitionOpenAPISchema`
//! upstream). That the schema is structural is checked after that, in [`super::structural`], and then what
//! its validation rules say, in [`super::rules`].

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, JSONSchemaPropsOrStringArray,
};
use serde_json::json;

use super::{defaults, rules, structural};
use crate::api::{
    field::{self, Path},
    status::Cause,
};

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
const LIST_TYPES: &[&str] = &["atomic", "map", "set"];
const MAP_TYPES: &[&str] = &["atomic", "granular"];
/// What may stand at the root when `/status` is validated by `properties["status"]` alone.
const STATUS_ROOT: &[&str] = &[
    "description",
    "type",
    "format",
    "title",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "required",
    "items",
    "properties",
    "externalDocs",
    "example",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

/// Problems of the schema of a version; `path` is that of its `schema`.
pub fn validate(root: &JSONSchemaProps, has_status: bool, path: &Path) -> Vec<Cause> {
    let path = path.child("openAPIV3Schema");
    let mut causes = Vec::new();
    if has_status {
        causes.extend(status_root(root, &path));
    }
    if root.nullable == Some(true) {
        causes.push(field::forbidden(&path.child("nullable"), "nullable cannot be true at the root"));
    }
    if root.additional_properties.is_some() {
        let detail = "additionalProperties cannot be used at the root";
        causes.push(field::forbidden(&path.child("additionalProperties"), detail));
    }
    causes.extend(openapi(root, &path));
    if causes.is_empty() {
        causes.extend(structural::validate(root, &path));
    }
    if causes.is_empty() {
        causes.extend(defaults::validate(root, &path));
    }
    if causes.is_empty() {
        causes.extend(rules::compiled(root, &path));
    }
    causes
}

/// The schemas directly below `schema`, each with its path.
pub fn children<'a>(schema: &'a JSONSchemaProps, path: &Path) -> Vec<(&'a JSONSchemaProps, Path)> {
    let mut found: Vec<(&JSONSchemaProps, Path)> = Vec::new();
    for (name, map) in [
        ("properties", &schema.properties),
        ("patternProperties", &schema.pattern_properties),
        ("definitions", &schema.definitions),
    ] {
        found.extend(map.iter().flatten().map(|(key, child)| (child, path.child(name).key(key))));
    }
    for (name, either) in
        [("additionalProperties", &schema.additional_properties), ("additionalItems", &schema.additional_items)]
    {
        if let Some(JSONSchemaPropsOrBool::Schema(child)) = either {
            found.push((&**child, path.child(name)));
        }
    }
    for (name, list) in [("allOf", &schema.all_of), ("anyOf", &schema.any_of), ("oneOf", &schema.one_of)] {
        found.extend(list.iter().flatten().enumerate().map(|(index, child)| (child, path.child(name).index(index))));
    }
    if let Some(not) = &schema.not {
        found.push((&**not, path.child("not")));
    }
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(child)) => found.push((&**child, path.child("items"))),
        Some(JSONSchemaPropsOrArray::Schemas(list)) => {
            found.extend(list.iter().enumerate().map(|(index, child)| (child, path.child("items").index(index))));
        }
        None => {}
    }
    for (key, either) in schema.dependencies.iter().flatten() {
        if let JSONSchemaPropsOrStringArray::Schema(child) = either {
            found.push((&**child, path.child("dependencies").key(key)));
        }
    }
    found
}

fn status_root(root: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    if let Some(kind) = root.type_.as_deref().filter(|kind| !matches!(*kind, "" | "object")) {
        let detail = "only \"object\" is allowed as the type at the root of the schema if the status subresource is \
                      enabled";
        return vec![field::invalid(&Path::new(&format!("{path}.type")), kind, detail)];
    }
    let fields = json!(root);
    let used = fields.as_object().into_iter().flatten();
    let other = used.filter(|(name, _)| !STATUS_ROOT.contains(&name.as_str())).count();
    if other == 0 {
        return Vec::new();
    }
    let detail = format!(
        "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
        STATUS_ROOT.join(" ")
    );
    vec![field::invalid(path, root, &detail)]
}

fn openapi(schema: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let mut causes = unsupported(schema, path);
    causes.extend(pattern(schema, path));
    if schema.unique_items == Some(true) {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        causes.push(field::forbidden(&path.child("uniqueItems"), detail));
    }
    let has_properties = schema.properties.as_ref().is_some_and(|properties| !properties.is_empty());
    let closes = |either: &JSONSchemaPropsOrBool| *either != JSONSchemaPropsOrBool::Bool(true);
    if has_properties && schema.additional_properties.as_ref().is_some_and(closes) {
        let detail = "additionalProperties and properties are mutual exclusive";
        causes.push(field::forbidden(&path.child("additionalProperties"), detail));
    }
    if schema.x_kubernetes_preserve_unknown_fields == Some(false) {
        let path = path.child("x-kubernetes-preserve-unknown-fields");
        causes.push(field::invalid(&path, false, "must be true or undefined"));
    }
    causes.extend(map_type(schema, path));
    causes.extend(list_type(schema, path));
    causes.extend(rules::written(schema, path));
    for (child, path) in children(schema, path) {
        causes.extend(openapi(child, &path));
    }
    causes
}

/// Parts of OpenAPI and JSON schema that custom resources do without.
fn unsupported(schema: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let given = [
        ("id", schema.id.is_some()),
        ("$ref", schema.ref_path.is_some()),
        ("additionalItems", schema.additional_items.is_some()),
        ("patternProperties", schema.pattern_properties.as_ref().is_some_and(|map| !map.is_empty())),
        ("definitions", schema.definitions.as_ref().is_some_and(|map| !map.is_empty())),
        ("dependencies", schema.dependencies.as_ref().is_some_and(|map| !map.is_empty())),
    ];
    let given = given.into_iter().filter(|(_, given)| *given);
    let mut causes: Vec<Cause> =
        given.map(|(name, _)| field::forbidden(&path.child(name), &format!("{name} is not supported"))).collect();
    match schema.type_.as_deref() {
        Some("null") => {
            let detail = "type cannot be set to null, use nullable as an alternative";
            causes.push(field::forbidden(&path.child("type"), detail));
        }
        Some(kind) if !kind.is_empty() && !TYPES.contains(&kind) => {
            causes.push(field::unsupported(&path.child("type"), kind, TYPES));
        }
        _ => {}
    }
    if let Some(JSONSchemaPropsOrArray::Schemas(_)) = &schema.items {
        causes.push(field::forbidden(&path.child("items"), "items must be a schema object and not an array"));
    }
    causes
}

fn pattern(schema: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let Some(pattern) = schema.pattern.as_deref().filter(|pattern| !pattern.is_empty()) else { return Vec::new() };
    match regex::Regex::new(pattern) {
        // A pattern that is merely large is upstream's to refuse by other means.
        Ok(_) | Err(regex::Error::CompiledTooBig(_)) => Vec::new(),
        Err(error) => {
            let detail = format!("must be a valid regular expression, but isn't: {error}");
            vec![field::invalid(&path.child("pattern"), pattern, &detail)]
        }
    }
}

fn map_type(schema: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let Some(kind) = schema.x_kubernetes_map_type.as_deref() else { return Vec::new() };
    let mut causes = Vec::new();
    if !MAP_TYPES.contains(&kind) {
        causes.push(field::unsupported(&path.child("x-kubernetes-map-type"), kind, MAP_TYPES));
    }
    causes.extend(typed(schema, "object", "must be object if x-kubernetes-map-type is specified", path));
    causes
}

/// The type of a schema that only one type makes sense of.
fn typed(schema: &JSONSchemaProps, wanted: &str, detail: &str, path: &Path) -> Option<Cause> {
    match schema.type_.as_deref().unwrap_or_default() {
        "" => Some(field::required(&path.child("type"), detail)),
        kind if kind != wanted => Some(field::invalid(&path.child("type"), kind, detail)),
        _ => None,
    }
}

fn list_type(schema: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (kind, kind_path) = (schema.x_kubernetes_list_type.as_deref(), path.child("x-kubernetes-list-type"));
    let keys = schema.x_kubernetes_list_map_keys.as_deref().unwrap_or_default();
    if let Some(kind) = kind {
        causes.extend(typed(schema, "array", "must be array if x-kubernetes-list-type is specified", path));
        if !LIST_TYPES.contains(&kind) {
            causes.push(field::unsupported(&kind_path, kind, LIST_TYPES));
        }
    }
    let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
    match kind {
        Some("map") => causes.extend(list_map(schema, keys, path)),
        Some(kind) if !keys.is_empty() => causes.push(field::invalid(&kind_path, kind, detail)),
        None if !keys.is_empty() => causes.push(field::required(&kind_path, detail)),
        _ => {}
    }
    causes
}

fn list_map(schema: &JSONSchemaProps, keys: &[String], path: &Path) -> Vec<Cause> {
    let (keys_path, items_path) = (path.child("x-kubernetes-list-map-keys"), path.child("items"));
    let mut causes = Vec::new();
    if keys.is_empty() {
        causes.push(field::required(&keys_path, "must not be empty if x-kubernetes-list-type is map"));
    }
    let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items else {
        causes.push(field::required(&items_path, "must have a schema if x-kubernetes-list-type is map"));
        return causes;
    };
    let kind = item.type_.as_deref().unwrap_or_default();
    if kind != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        causes.push(field::invalid(&items_path.child("type"), kind, detail));
    }
    for (index, key) in keys.iter().enumerate() {
        if keys[..index].contains(key) {
            causes.push(field::invalid(&keys_path, keys, "must not contain duplicate entries"));
        }
        let Some(property) = item.properties.as_ref().and_then(|properties| properties.get(key)) else {
            causes.push(field::invalid(&keys_path.index(index), key, "entries must all be names of item properties"));
            continue;
        };
        if let Some(kind @ ("array" | "object")) = property.type_.as_deref() {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            let path = items_path.child("properties").key(key).child("type");
            causes.push(field::invalid(&path, kind, detail));
        }
    }
    causes
}
