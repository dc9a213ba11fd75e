//! Definitions: schemars documents in the shape that Kubernetes clients expect, with group, version
//! and kind, and with merge facts as extensions.

use k8s_openapi::{
    api::{authentication::v1::TokenRequest, autoscaling::v1::Scale, core::v1::Binding, policy::v1::Eviction},
    apimachinery::pkg::apis::meta::v1 as metav1,
};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::Dialect;
use crate::{
    api::{
        kind::Descriptor,
        schema::{Fact, ListType, MapType, PatchStrategy, facts},
    },
    apiserver::discovery::subresource,
};

/// Name of the definition of patches.
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
/// Name of the definition of the options of a deletion.
pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
/// Name of the definition of the answer to a deletion.
pub(super) const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const CORE_V1: &str = "io.k8s.api.core.v1.";
/// Types of core/v1 whose `name` may be left out.
const NAMELESS: [&str; 8] = [
    "ConfigMapEnvSource",
    "ConfigMapKeySelector",
    "ConfigMapProjection",
    "ConfigMapVolumeSource",
    "LocalObjectReference",
    "SecretEnvSource",
    "SecretKeySelector",
    "SecretProjection",
];
/// Where the generator puts definitions.
const GENERATED: &str = "#/definitions/";

/// Every definition that `kinds` and their subresources need, by name.
pub(super) fn all(kinds: &[&Descriptor], dialect: Dialect) -> Map<String, Value> {
    let mut generator = SchemaSettings::draft07().into_generator();
    let mut kind_names = Vec::new();
    for kind in kinds {
        if let Some(name) = referred(&kind.strategy.schema(&mut generator).to_value()) {
            kind_names.push((name, gvk(&kind.group, &kind.version, &kind.kind), *kind));
        }
    }
    add::<metav1::DeleteOptions>(&mut generator);
    add::<metav1::Status>(&mut generator);
    add::<metav1::ListMeta>(&mut generator);
    let mut bodies = add_bodies(kinds, &mut generator);
    let mut definitions = generator.take_definitions(false);
    for (name, definition) in &mut definitions {
        shape(name, definition, dialect);
    }
    definitions.insert(PATCH.into(), json!({"type": "object", "description": "A patch of an object's content."}));
    for (name, gvk, kind) in kind_names {
        if kind.verbs.contains(&"list") {
            definitions.insert(format!("{name}List"), list(&name, kind, dialect));
        }
        bodies.push((name, gvk));
    }
    for (name, gvk) in bodies {
        if let Some(definition) = definitions.get_mut(&name) {
            definition["x-kubernetes-group-version-kind"] = json!([gvk]);
        }
    }
    definitions
}

/// The name of a kind's definition.
pub(super) fn name_of(kind: &Descriptor) -> String {
    let mut generator = SchemaSettings::draft07().into_generator();
    referred(&kind.strategy.schema(&mut generator).to_value()).unwrap_or_default()
}

/// The name of the definition of what a subresource takes and gives, where that is an object of
/// another kind than the resource's.
pub(super) fn body_name(kind: &str) -> Option<String> {
    let name = match kind {
        "Scale" => Scale::schema_name(),
        "Eviction" => Eviction::schema_name(),
        "TokenRequest" => TokenRequest::schema_name(),
        "Binding" => Binding::schema_name(),
        _ => return None,
    };
    Some(name.into_owned())
}

/// `{group, version, kind}`
pub(super) fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    generator.subschema_for::<T>();
}

fn add_bodies(kinds: &[&Descriptor], generator: &mut SchemaGenerator) -> Vec<(String, Value)> {
    let mut bodies = Vec::new();
    for kind in kinds {
        for name in kind.subresources {
            let facts = subresource::facts(kind, *name);
            match facts.kind {
                "Scale" => add::<Scale>(generator),
                "Eviction" => add::<Eviction>(generator),
                "TokenRequest" => add::<TokenRequest>(generator),
                "Binding" => add::<Binding>(generator),
                _ => {}
            }
            if let Some(name) = body_name(facts.kind) {
                bodies.push((name, gvk(facts.group, facts.version, facts.kind)));
            }
        }
    }
    bodies
}

fn referred(schema: &Value) -> Option<String> {
    schema.get("$ref").and_then(Value::as_str).and_then(|pointer| pointer.rsplit('/').next()).map(str::to_owned)
}

fn shape(name: &str, definition: &mut Value, dialect: Dialect) {
    if let Some(fields) = definition.as_object_mut() {
        match (name, dialect) {
            (QUANTITY, Dialect::V2) => scalar(fields, &[("type", json!("string"))]),
            (QUANTITY, Dialect::V3) => scalar(fields, &[("oneOf", json!([{"type": "string"}, {"type": "number"}]))]),
            (INT_OR_STRING, Dialect::V2) => {
                scalar(fields, &[("type", json!("string")), ("format", json!("int-or-string"))]);
            }
            (INT_OR_STRING, Dialect::V3) => {
                let either = json!([{"type": "integer"}, {"type": "string"}]);
                scalar(fields, &[("format", json!("int-or-string")), ("oneOf", either)]);
            }
            _ => {}
        }
    }
    rewrite_references(definition, dialect);
    if dialect == Dialect::V2 {
        match open_object(definition) {
            Some(open) => *definition = open,
            None => simplify(definition),
        }
    }
    relax(name, definition);
    if facts::is_atomic_struct(name) {
        definition["x-kubernetes-map-type"] = "atomic".into();
    }
    let properties = definition.get_mut("properties").and_then(Value::as_object_mut);
    for (field, property) in properties.into_iter().flatten() {
        extend(property, &facts::of(name, field));
    }
}

/// Takes fields from `required` that are so in the Rust type alone, where a missing one is an empty
/// one: metadata of all but core events, and names that refer to nothing.
fn relax(name: &str, definition: &mut Value) {
    let Some(required) = definition.get_mut("required").and_then(Value::as_array_mut) else { return };
    let kind = name.strip_prefix(CORE_V1).unwrap_or_default();
    required.retain(|field| match field.as_str() {
        Some("metadata") => kind == "Event",
        Some("name") => !NAMELESS.contains(&kind),
        _ => true,
    });
    if required.is_empty() {
        definition.as_object_mut().and_then(|fields| fields.remove("required"));
    }
}

fn scalar(fields: &mut Map<String, Value>, new: &[(&str, Value)]) {
    fields.remove("x-kubernetes-int-or-string");
    fields.extend(new.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
}

/// Points references at where definitions are; version 3 allows nothing beside a reference, so
/// one with a description is wrapped.
fn rewrite_references(value: &mut Value, dialect: Dialect) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite_references(item, dialect)),
        Value::Object(fields) => {
            let definition =
                fields.get("$ref").and_then(Value::as_str).and_then(|pointer| pointer.strip_prefix(GENERATED));
            if let Some(reference) = definition.map(|name| dialect.reference(name)) {
                let alone = fields.len() == 1;
                if dialect == Dialect::V2 || alone {
                    fields.insert("$ref".into(), reference["$ref"].clone());
                } else {
                    fields.remove("$ref");
                    fields.insert("allOf".into(), json!([reference]));
                }
                return;
            }
            fields.values_mut().for_each(|field| rewrite_references(field, dialect));
        }
        _ => {}
    }
}

/// Version 2 knows no alternatives; `null`, defaults, and fields beside unknown ones confuse the
/// clients that still read it (rules of upstream's `ToStructuralOpenAPIV2`).
fn simplify(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    let holds = |fields: &Map<String, Value>, keyword| fields.get(keyword).is_some_and(|value| value == true);
    let (nullable, open) = (holds(fields, "nullable"), holds(fields, "x-kubernetes-preserve-unknown-fields"));
    if nullable || open {
        fields.remove("items");
        fields.remove("properties");
    }
    let untyped = match fields.get("type").and_then(Value::as_str) {
        Some("array") => nullable || !fields.contains_key("items"),
        Some("object") => nullable || open,
        _ => nullable,
    };
    if untyped {
        fields.remove("type");
    }
    require_what_cannot_be_null(fields);
    for keyword in ["allOf", "anyOf", "oneOf", "not", "nullable", "default"] {
        fields.remove(keyword);
    }
    for nested in ["items", "additionalProperties"] {
        fields.get_mut(nested).into_iter().for_each(simplify);
    }
    let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flatten().for_each(|(_, property)| simplify(property));
}

/// To be required, a field must have a value that version 2 can tell.
fn require_what_cannot_be_null(fields: &mut Map<String, Value>) {
    let Some(Value::Array(mut required)) = fields.remove("required") else { return };
    let properties = fields.get("properties");
    required.retain(|name| {
        let property = properties.zip(name.as_str()).and_then(|(properties, name)| properties.get(name));
        property.is_none_or(|property| property["nullable"] != true)
    });
    if !required.is_empty() {
        fields.insert("required".into(), required.into());
    }
}

/// An object that keeps unknown fields has none in version 2, or kubectl would refuse the others.
fn open_object(definition: &Value) -> Option<Value> {
    (definition["x-kubernetes-preserve-unknown-fields"] == true).then(|| json!({"type": "object"}))
}

fn extend(property: &mut Value, fact: &Fact) {
    if let Some(list) = fact.list {
        property["x-kubernetes-list-type"] = match list {
            ListType::Atomic => "atomic",
            ListType::Set => "set",
            ListType::Map => "map",
        }
        .into();
    }
    if let Some(map) = fact.map {
        property["x-kubernetes-map-type"] = if map == MapType::Atomic { "atomic" } else { "granular" }.into();
    }
    if !fact.keys.is_empty() {
        property["x-kubernetes-list-map-keys"] = json!(fact.keys);
    }
    if let Some(key) = fact.merge_key {
        property["x-kubernetes-patch-merge-key"] = key.into();
    }
    let strategy = match (fact.patch, fact.retain_keys) {
        (PatchStrategy::Default, false) => return,
        (PatchStrategy::Default, true) => "retainKeys",
        (PatchStrategy::Merge, false) => "merge",
        (PatchStrategy::Merge, true) => "merge,retainKeys",
        (PatchStrategy::Replace, _) => "replace",
    };
    property["x-kubernetes-patch-strategy"] = strategy.into();
}

fn list(item: &str, kind: &Descriptor, dialect: Dialect) -> Value {
    let list_kind = format!("{}List", kind.kind);
    json!({
        "type": "object",
        "description": format!("{list_kind} is a list of {}.", kind.plural),
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The version of this representation of the list."},
            "kind": {"type": "string", "description": "The kind of this list."},
            "metadata": dialect.reference(LIST_META),
            "items": {"type": "array", "description": "The objects.", "items": dialect.reference(item)},
        },
        "x-kubernetes-group-version-kind": [gvk(&kind.group, &kind.version, &list_kind)],
    })
}
