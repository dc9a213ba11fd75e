//! What a version's schema may use of OpenAPI v3 (`ValidateCustomResourceDefinitionOpenAPISchema`
//! upstream). That the schema is structural is checked after that, in [`super::structural`], and then what
//! its validation rules say, in [`super::rules`].

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, JSONSchemaPropsOrStringArray,
};
use serde_json::json;

use super::{defaults, rules, structural};
use crate::api::{
    field::{self, Path},
    go,
    status::Cause,
};

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
const LIST_TYPES: &[&str] = &["atomic", "set", "map"];
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
    let is_read = is_readable(root);
    let mut problems = Vec::new();
    if is_read {
        problems = structural::validate(root, &path);
        if problems.is_empty() {
            problems = defaults::validate(root, &path);
        }
    }
    let is_structural = is_read && problems.is_empty();
    causes.extend(problems);
    let problems = openapi(root, &path);
    if is_structural && problems.is_empty() {
        causes.extend(rules::compiled(root, &path));
    }
    causes.extend(problems);
    causes
}

/// Whether a schema has only what a structural one can hold.
fn is_readable(schema: &JSONSchemaProps) -> bool {
    let is_open = schema.x_kubernetes_preserve_unknown_fields != Some(false);
    let has_one = !matches!(&schema.items, Some(JSONSchemaPropsOrArray::Schemas(list)) if !list.is_empty());
    is_open
        && has_one
        && !unsupported(schema).any(|(_, given)| given)
        && children(schema, &Path::default()).into_iter().all(|(child, _)| is_readable(child))
}

/// The schemas directly below `schema`, each with its path.
pub fn children<'a>(schema: &'a JSONSchemaProps, path: &Path) -> Vec<(&'a JSONSchemaProps, Path)> {
    let mut found: Vec<(&JSONSchemaProps, Path)> = Vec::new();
    let map = |name: &str, map: &'a Option<BTreeMap<String, JSONSchemaProps>>| {
        map.iter().flatten().map(|(key, child)| (child, path.child(name).key(key))).collect::<Vec<_>>()
    };
    let one = |name: &str, either: &'a Option<JSONSchemaPropsOrBool>| match either {
        Some(JSONSchemaPropsOrBool::Schema(child)) => Some((&**child, path.child(name))),
        _ => None,
    };
    found.extend(one("additionalProperties", &schema.additional_properties));
    found.extend(map("properties", &schema.properties));
    found.extend(map("patternProperties", &schema.pattern_properties));
    found.extend(one("additionalItems", &schema.additional_items));
    if let Some(not) = &schema.not {
        found.push((&**not, path.child("not")));
    }
    for (name, list) in [("allOf", &schema.all_of), ("oneOf", &schema.one_of), ("anyOf", &schema.any_of)] {
        found.extend(list.iter().flatten().enumerate().map(|(index, child)| (child, path.child(name).index(index))));
    }
    found.extend(map("definitions", &schema.definitions));
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
    vec![field::invalid_internal(path, "apiextensions.v1.JSONSchemaProps", root, &detail)]
}

fn openapi(schema: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let mut causes = own_type(schema, path);
    let given = unsupported(schema).filter(|(_, given)| *given);
    causes.extend(given.map(|(name, _)| field::forbidden(&path.child(name), &format!("{name} is not supported"))));
    causes.extend(pattern(schema, path));
    if let Some(JSONSchemaPropsOrArray::Schemas(list)) = &schema.items
        && !list.is_empty()
    {
        causes.push(field::forbidden(&path.child("items"), "items must be a schema object and not an array"));
    }
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
    for (child, path) in children(schema, path) {
        causes.extend(openapi(child, &path));
    }
    if schema.x_kubernetes_preserve_unknown_fields == Some(false) {
        let path = path.child("x-kubernetes-preserve-unknown-fields");
        causes.push(field::invalid(&path, false, "must be true or undefined"));
    }
    causes.extend(map_type(schema, path));
    causes.extend(list_type(schema, path));
    causes.extend(keyed_items(schema, path));
    causes.extend(rules::written(schema, path));
    causes
}

/// Parts of OpenAPI and JSON schema that custom resources do without, and whether they are there.
fn unsupported(schema: &JSONSchemaProps) -> impl Iterator<Item = (&'static str, bool)> {
    let given = [
        ("id", schema.id.is_some()),
        ("$ref", schema.ref_path.is_some()),
        ("additionalItems", schema.additional_items.is_some()),
        ("patternProperties", schema.pattern_properties.as_ref().is_some_and(|map| !map.is_empty())),
        ("definitions", schema.definitions.as_ref().is_some_and(|map| !map.is_empty())),
        ("dependencies", schema.dependencies.as_ref().is_some_and(|map| !map.is_empty())),
    ];
    given.into_iter()
}

fn own_type(schema: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let path = path.child("type");
    match schema.type_.as_deref().unwrap_or_default() {
        "null" => vec![field::forbidden(&path, "type cannot be set to null, use nullable as an alternative")],
        kind if !kind.is_empty() && !TYPES.contains(&kind) => vec![field::unsupported(&path, kind, TYPES)],
        _ => Vec::new(),
    }
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
    let wrong = typed(schema, "object", "must be object if x-kubernetes-map-type is specified", path);
    let mut causes: Vec<Cause> = wrong.into_iter().collect();
    if !MAP_TYPES.contains(&kind) {
        causes.push(field::unsupported(&path.child("x-kubernetes-map-type"), kind, MAP_TYPES));
    }
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
        let wrong = typed(schema, "array", "must be array if x-kubernetes-list-type is specified", path);
        let is_array = wrong.is_none();
        causes.extend(wrong);
        if is_array && !LIST_TYPES.contains(&kind) {
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
    let item = match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => item,
        Some(JSONSchemaPropsOrArray::Schemas(list)) => {
            let detail = "must only have a single schema if x-kubernetes-list-type is map";
            let shown = go::internal_field("apiextensions.v1.JSONSchemaProps", "items", &json!(list));
            causes.push(field::invalid_shown(&items_path, &shown, detail));
            return causes;
        }
        None => {
            causes.push(field::required(&items_path, "must have a schema if x-kubernetes-list-type is map"));
            return causes;
        }
    };
    let kind = item.type_.as_deref().unwrap_or_default();
    if kind != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        causes.push(field::invalid(&items_path.child("type"), kind, detail));
        return causes;
    }
    for (index, key) in keys.iter().enumerate() {
        match item.properties.as_ref().and_then(|properties| properties.get(key)) {
            Some(property) if matches!(property.type_.as_deref(), Some("array" | "object")) => {
                let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                let path = items_path.child("properties").key(key).child("type");
                causes.push(field::invalid(&path, kind, detail));
            }
            Some(_) => {}
            None => causes.push(field::invalid(&keys_path, keys, "entries must all be names of item properties")),
        }
        if keys[..index].contains(key) {
            causes.push(field::invalid(&keys_path, keys, "must not contain duplicate entries"));
        }
    }
    causes
}

/// Items that are told apart by what is in them have that in them.
fn keyed_items(schema: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items else { return Vec::new() };
    let Some(kind @ ("set" | "map")) = schema.x_kubernetes_list_type.as_deref() else { return Vec::new() };
    let path = path.child("items");
    let mut causes = Vec::new();
    if item.nullable == Some(true) {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {kind}");
        causes.push(field::forbidden(&path.child("nullable"), &detail));
    }
    let keys = schema.x_kubernetes_list_map_keys.as_deref().filter(|_| kind == "map").unwrap_or_default();
    for key in keys {
        let Some(property) = item.properties.as_ref().and_then(|properties| properties.get(key)) else { continue };
        let path = path.child("properties").key(key);
        let is_required = item.required.as_ref().is_some_and(|required| required.contains(key));
        let because = "this property is in x-kubernetes-list-map-keys, so it";
        if !is_required && property.default.is_none() {
            let detail = format!("{because} must have a default or be a required property");
            causes.push(field::required(&path.child("default"), &detail));
        }
        if property.nullable == Some(true) {
            causes.push(field::forbidden(&path.child("nullable"), &format!("{because} cannot be nullable")));
        }
    }
    causes
}
