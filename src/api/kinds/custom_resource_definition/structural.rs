//! Whether a schema is structural (KEP-1979): every value's type can be told from the skeleton of
//! properties, items and additional properties alone, and what is nested in `allOf`, `anyOf`,
//! `oneOf` and `not` only narrows it. Pruning, defaulting and server-side apply rest on that.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use crate::api::{
    field::{self, Path},
    status::Cause,
};

/// Where in the skeleton a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Problems of the schema at the root of a version.
pub fn validate(root: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let mut causes = invariants(root, Level::Root, path);
    causes.extend(completeness(root, path));
    causes.sort_by_cached_key(|cause| format!("{}: {}", cause.field, cause.message));
    causes
}

fn invariants(schema: &JSONSchemaProps, level: Level, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if kind(schema) == "array" && schema.items.is_none() {
        causes.push(field::required(&path.child("items"), "must be specified"));
    }
    for (child, level, path) in skeleton(schema, path) {
        causes.extend(invariants(child, level, &path));
    }
    causes.extend(own_type(schema, level, path));
    causes.extend(extensions(schema, path));
    if level == Level::Root && schema.additional_properties.is_some() {
        let detail = "must not be used at the root";
        causes.push(field::forbidden(&path.child("additionalProperties"), detail));
    }
    if level == Level::Root || is_set(schema.x_kubernetes_embedded_resource) {
        causes.extend(metadata(schema, path));
    }
    for (nested, path) in nested(schema, path) {
        causes.extend(value_validation(nested, schema, &path));
    }
    causes
}

/// The schemas that make up the skeleton below `schema`.
fn skeleton<'a>(schema: &'a JSONSchemaProps, path: &Path) -> Vec<(&'a JSONSchemaProps, Level, Path)> {
    let mut found = Vec::new();
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        found.push((&**items, Level::Item, path.child("items")));
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        found.push((&**values, Level::Field, path.child("additionalProperties")));
    }
    let properties = schema.properties.iter().flatten();
    found.extend(properties.map(|(key, child)| (child, Level::Field, path.child("properties").key(key))));
    found
}

/// The schemas that only narrow what `schema` says.
fn nested<'a>(schema: &'a JSONSchemaProps, path: &Path) -> Vec<(&'a JSONSchemaProps, Path)> {
    let mut found = Vec::new();
    for (name, list) in [("allOf", &schema.all_of), ("anyOf", &schema.any_of), ("oneOf", &schema.one_of)] {
        let list = list.iter().flatten().enumerate();
        found.extend(list.map(|(index, child)| (child, path.child(name).index(index))));
    }
    if let Some(not) = &schema.not {
        found.push((&**not, path.child("not")));
    }
    found
}

fn own_type(schema: &JSONSchemaProps, level: Level, path: &Path) -> Option<Cause> {
    let path = path.child("type");
    match kind(schema) {
        kind if is_set(schema.x_kubernetes_embedded_resource) && kind != "object" => {
            let detail = "must be object if x-kubernetes-embedded-resource is true";
            Some(if kind.is_empty() { field::required(&path, detail) } else { field::invalid(&path, kind, detail) })
        }
        "" if is_set(schema.x_kubernetes_int_or_string) || is_set(schema.x_kubernetes_preserve_unknown_fields) => None,
        "" => Some(field::required(
            &path,
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        )),
        kind if level == Level::Root && kind != "object" => {
            Some(field::invalid(&path, kind, "must be object at the root"))
        }
        _ => None,
    }
}

fn extensions(schema: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let embedded = is_set(schema.x_kubernetes_embedded_resource);
    let open = is_set(schema.x_kubernetes_preserve_unknown_fields);
    let mut causes = Vec::new();
    if is_set(schema.x_kubernetes_int_or_string) {
        let others = [
            ("x-kubernetes-preserve-unknown-fields", open, "must be false if x-kubernetes-int-or-string is true"),
            ("x-kubernetes-embedded-resource", embedded, "must be false if x-kubernetes-int-or-string is true"),
        ];
        let others = others.into_iter().filter(|(_, set, _)| *set);
        causes.extend(others.map(|(name, _, detail)| field::invalid(&path.child(name), true, detail)));
        if !kind(schema).is_empty() {
            let detail = "must be empty if x-kubernetes-int-or-string is true";
            causes.push(field::invalid(&path.child("type"), kind(schema), detail));
        }
    }
    if embedded && schema.additional_properties.is_some() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        causes.push(field::forbidden(&path.child("additionalProperties"), detail));
    }
    if embedded && !open && schema.properties.as_ref().is_none_or(|properties| properties.is_empty()) {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                      x-kubernetes-preserve-unknown-fields";
        causes.push(field::required(&path.child("properties"), detail));
    }
    causes
}

/// `apiVersion`, `kind` and `metadata` of a whole object are the system's.
fn metadata(schema: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let Some(properties) = &schema.properties else { return Vec::new() };
    let path = path.child("properties");
    let mut causes = Vec::new();
    for (name, wanted) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
        if let Some(property) = properties.get(name).filter(|property| kind(property) != wanted) {
            let path = path.key(name).child("type");
            causes.push(field::invalid(&path, kind(property), &format!("must be {wanted}")));
        }
    }
    if let Some(metadata) = properties.get("metadata") {
        let bare = JSONSchemaProps {
            type_: metadata.type_.clone(),
            description: metadata.description.clone(),
            properties: metadata.properties.clone(),
            ..JSONSchemaProps::default()
        };
        let names = metadata.properties.iter().flatten().map(|(name, _)| name.as_str());
        if bare != *metadata || !names.into_iter().all(|name| matches!(name, "name" | "generateName")) {
            let detail =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            causes.push(field::forbidden(&path.key("metadata"), detail));
        }
    }
    causes
}

/// A nested schema says nothing that the skeleton should. Only the well-known way to write
/// "integer or string" may name types.
fn value_validation(schema: &JSONSchemaProps, outer: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let types_are_fine = is_set(outer.x_kubernetes_int_or_string) && matches!(kind(schema), "integer" | "string");
    let text = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let given = [
        ("type", text(&schema.type_) && !types_are_fine, "must be empty to be structural"),
        ("title", text(&schema.title), "must be empty to be structural"),
        ("description", text(&schema.description), "must be empty to be structural"),
        ("default", schema.default.is_some(), "must be undefined to be structural"),
        ("additionalProperties", schema.additional_properties.is_some(), "must be undefined to be structural"),
        ("nullable", is_set(schema.nullable), "must be false to be structural"),
        (
            "x-kubernetes-preserve-unknown-fields",
            is_set(schema.x_kubernetes_preserve_unknown_fields),
            "must be false to be structural",
        ),
        (
            "x-kubernetes-embedded-resource",
            is_set(schema.x_kubernetes_embedded_resource),
            "must be false to be structural",
        ),
        ("x-kubernetes-int-or-string", is_set(schema.x_kubernetes_int_or_string), "must be false to be structural"),
        ("x-kubernetes-list-type", schema.x_kubernetes_list_type.is_some(), "must be undefined to be structural"),
        ("x-kubernetes-map-type", schema.x_kubernetes_map_type.is_some(), "must be undefined to be structural"),
        (
            "x-kubernetes-validations",
            schema.x_kubernetes_validations.as_ref().is_some_and(|rules| !rules.is_empty()),
            "must be empty to be structural",
        ),
    ];
    let given = given.into_iter().filter(|(_, given, _)| *given);
    let mut causes: Vec<Cause> = given.map(|(name, _, detail)| field::forbidden(&path.child(name), detail)).collect();
    for (child, _, path) in skeleton(schema, path) {
        causes.extend(value_validation(child, &JSONSchemaProps::default(), &path));
    }
    for (child, path) in nested(schema, path) {
        causes.extend(value_validation(child, outer, &path));
    }
    causes
}

/// What nested schemas at the root speak of is in the skeleton.
fn completeness(schema: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (narrower, at) in nested(schema, path) {
        causes.extend(missing(narrower, schema, &at, path));
    }
    causes
}

fn missing(narrower: &JSONSchemaProps, schema: &JSONSchemaProps, at: &Path, path: &Path) -> Vec<Cause> {
    let because = |at: &Path| format!("because it is defined in {at}");
    let mut causes = Vec::new();
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &narrower.items {
        match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(skeleton)) => {
                causes.extend(missing(items, skeleton, &at.child("items"), &path.child("items")));
            }
            _ => causes.push(field::required(&path.child("items"), &because(&at.child("items")))),
        }
    }
    for (key, property) in narrower.properties.iter().flatten() {
        let (at, path) = (at.child("properties").key(key), path.child("properties").key(key));
        match schema.properties.as_ref().and_then(|properties| properties.get(key)) {
            Some(skeleton) => causes.extend(missing(property, skeleton, &at, &path)),
            None => causes.push(field::required(&path, &because(&at))),
        }
    }
    for (deeper, at) in nested(narrower, at) {
        causes.extend(missing(deeper, schema, &at, path));
    }
    causes
}

fn kind(schema: &JSONSchemaProps) -> &str {
    schema.type_.as_deref().unwrap_or_default()
}

fn is_set(flag: Option<bool>) -> bool {
    flag.unwrap_or_default()
}
