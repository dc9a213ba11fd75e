//! Definitions: those of the reference in the shape that Kubernetes clients expect, with group, version
//! and kind, and with merge facts as extensions.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::{Map, Value, json};

use super::{
    Dialect,
    facts::{Facts, ListFacts, Scope},
};
use crate::{
    api::{
        custom,
        kind::Descriptor,
        protobuf,
        reference::{REFERENCE, Reference},
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
/// Name of the definition of what a watch sends.
pub(super) const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const JSON: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";
/// What upstream's documents refer to for more about lists.
const CONVENTIONS: &str = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";
/// The one kind that kinds of another group consist of.
const CLAIM: &str = "io.k8s.api.core.v1.PersistentVolumeClaim";
const CORE_EVENT: &str = "io.k8s.api.core.v1.Event";
/// Kinds that the core group has for what is not an object.
const CORE_KINDS: [&str; 5] = ["APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "Status"];
/// What requests and answers of every kind consist of, in [`META`].
const COMMON: [&str; 9] = [
    "APIGroup",
    "APIGroupList",
    "APIResourceList",
    "APIVersions",
    "DeleteOptions",
    "ListMeta",
    "Patch",
    "Status",
    "WatchEvent",
];
const INFO: &str = "io.k8s.apimachinery.pkg.version.Info";

/// Definitions that kinds need.
pub(super) struct Definitions {
    /// By name.
    pub(super) all: Map<String, Value>,
    /// The names of the kinds' own ones, in the order of the kinds.
    pub(super) kinds: Vec<String>,
}

/// Every definition that `kinds`, their subresources and discovery need in a document of `scope`.
pub(super) fn of(kinds: &[&Descriptor], dialect: Dialect, scope: Scope<'_>) -> Definitions {
    let reference = Reference::read();
    let names: Vec<String> = kinds.iter().map(|kind| name_of(kind)).collect();
    let mut bodies = bodies(kinds);
    let common = COMMON.iter().map(|name| format!("{META}{name}")).chain([INFO.to_owned()]);
    let wanted: Vec<String> =
        names.iter().cloned().chain(bodies.iter().map(|body| body.0.clone())).chain(common).collect();
    let mut all = reference.closure(wanted.iter().map(String::as_str));
    for custom in kinds.iter().filter_map(|kind| kind.strategy.custom()) {
        all.extend(custom::openapi::define(custom, &reference));
    }
    let facts = Facts::read();
    for (name, definition) in &mut all {
        shape(name, definition, dialect, &facts);
    }
    for (name, kind) in names.iter().zip(kinds) {
        if kind.verbs.contains(&"list") {
            let list = list(name, kind, dialect, &all, facts.list(name));
            all.insert(format!("{name}List"), list);
        }
        tell_selectable_fields(&mut all, name, kind);
        bodies.push((name.clone(), gvk(&kind.group, &kind.version, &kind.kind)));
    }
    for (name, gvk) in bodies {
        if let Some(definition) = all.get_mut(&name) {
            definition["x-kubernetes-group-version-kind"] = json!([gvk]);
        }
    }
    for name in CORE_KINDS {
        if let Some(definition) = all.get_mut(&format!("{META}{name}")) {
            definition["x-kubernetes-group-version-kind"] = json!([gvk("", "v1", name)]);
        }
    }
    if let Some(claim) = all.get_mut(CLAIM) {
        claim["x-kubernetes-group-version-kind"] = json!([gvk("", "v1", "PersistentVolumeClaim")]);
    }
    for name in ["DeleteOptions", "WatchEvent"] {
        if let Some(definition) = all.get_mut(&format!("{META}{name}")) {
            definition["x-kubernetes-group-version-kind"] = facts.everywhere(name, scope);
        }
    }
    Definitions { all, kinds: names }
}

/// Removes the definitions that none of `values` leads to.
pub(super) fn prune<'a>(definitions: &mut Map<String, Value>, values: impl Iterator<Item = &'a Value>) {
    let mut used = BTreeSet::new();
    let mut waiting = Vec::new();
    values.for_each(|value| references(value, &mut waiting));
    while let Some(name) = waiting.pop() {
        if let (Some(definition), true) = (definitions.get(&name), used.insert(name)) {
            references(definition, &mut waiting);
        }
    }
    definitions.retain(|name, _| used.contains(name));
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let pointer = fields.get("$ref").and_then(Value::as_str);
            let prefixes = [Dialect::V2.definitions(), Dialect::V3.definitions()];
            let name = pointer.and_then(|pointer| prefixes.iter().find_map(|prefix| pointer.strip_prefix(prefix)));
            found.extend(name.map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// The name of the definition of what a subresource takes and gives, where that is an object of
/// another kind than the resource's.
pub(super) fn body_name(kind: &str) -> Option<String> {
    let name = match kind {
        "Scale" => "io.k8s.api.autoscaling.v1.Scale",
        "Eviction" => "io.k8s.api.policy.v1.Eviction",
        "TokenRequest" => "io.k8s.api.authentication.v1.TokenRequest",
        "Binding" => "io.k8s.api.core.v1.Binding",
        _ => return None,
    };
    Some(name.to_owned())
}

/// `{group, version, kind}`
pub(super) fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

/// What `field` of [`DELETE_OPTIONS`] is for. Parameters of the same name are for the same.
pub(super) fn option_description(field: &str) -> &'static str {
    static PROPERTIES: LazyLock<Value> = LazyLock::new(|| {
        let mut options = Reference::read().definition(DELETE_OPTIONS).unwrap_or_default();
        options["properties"].take()
    });
    PROPERTIES[field]["description"].as_str().unwrap_or_default()
}

/// The name of a kind's definition.
fn name_of(kind: &Descriptor) -> String {
    match kind.strategy.custom() {
        Some(custom) => custom.definition_name(),
        None => {
            let message = protobuf::facts::messages().of_kind(&kind.api_version(), &kind.kind);
            message.map(|message| facts::long(message.name)).unwrap_or_default()
        }
    }
}

/// The definitions of what subresources of `kinds` take and give, with what they are.
fn bodies(kinds: &[&Descriptor]) -> Vec<(String, Value)> {
    let subresources =
        kinds.iter().flat_map(|kind| kind.subresources.iter().map(|name| subresource::facts(kind, *name)));
    let body =
        |facts: subresource::Facts<'_>| Some((body_name(facts.kind)?, gvk(facts.group, facts.version, facts.kind)));
    subresources.filter_map(body).collect()
}

fn shape(name: &str, definition: &mut Value, dialect: Dialect, facts: &Facts) {
    if name == WATCH_EVENT {
        move_description(definition, "object");
    }
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
            (JSON, _) => _ = fields.remove("type"),
            _ if name.starts_with(JSON) => _ = fields.remove("oneOf"),
            _ => {}
        }
    }
    relax(name, definition);
    facts.complete(name, definition, dialect);
    rewrite_references(definition, dialect);
    if dialect == Dialect::V2 {
        match open_object(definition) {
            Some(open) => *definition = open,
            None => simplify(definition),
        }
    }
    if facts::is_atomic_struct(name) {
        definition["x-kubernetes-map-type"] = "atomic".into();
    }
    let properties = definition.get_mut("properties").and_then(Value::as_object_mut);
    for (field, property) in properties.into_iter().flatten() {
        extend(property, &facts::of(name, field));
    }
}

/// The second paragraph of a description is about `field`.
fn move_description(definition: &mut Value, field: &str) {
    let text = definition["description"].as_str().unwrap_or_default().to_owned();
    if let Some((about, of_field)) = text.split_once("\n\n") {
        definition["description"] = about.into();
        definition["properties"][field]["description"] = of_field.trim_end().into();
    }
}

/// Metadata is required in the Rust type alone, where none is an empty one; core events are an exception.
fn relax(name: &str, definition: &mut Value) {
    let Some(required) = definition.get_mut("required").and_then(Value::as_array_mut) else { return };
    required.retain(|field| field != "metadata" || name == CORE_EVENT);
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
pub(super) fn rewrite_references(value: &mut Value, dialect: Dialect) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite_references(item, dialect)),
        Value::Object(fields) => {
            let definition =
                fields.get("$ref").and_then(Value::as_str).and_then(|pointer| pointer.strip_prefix(REFERENCE));
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
    if open && holds(fields, "x-kubernetes-embedded-resource") {
        fields.remove("required");
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

/// The list of a kind. What all lists have is described as [`STATUS`] describes it, which is in `known`.
fn list(
    item: &str,
    kind: &Descriptor,
    dialect: Dialect,
    known: &Map<String, Value>,
    facts: Option<ListFacts>,
) -> Value {
    let list_kind = format!("{}List", kind.kind);
    let of_status = |field: &str| known.get(STATUS).map_or(Value::Null, |status| status["properties"][field].clone());
    let mut metadata = json!({"$ref": format!("{REFERENCE}{LIST_META}")});
    let facts = match facts {
        Some(facts) => {
            if dialect == Dialect::V3 {
                metadata["default"] = json!({});
            }
            if !facts.metadata.is_empty() {
                metadata["description"] = facts.metadata.into();
            }
            (facts.description.to_owned(), facts.items.to_owned())
        }
        None => {
            metadata["description"] = of_status("metadata")["description"].take();
            let items = format!("List of {}. More info: {CONVENTIONS}", kind.plural);
            (format!("{list_kind} is a list of {}", kind.kind), items)
        }
    };
    rewrite_references(&mut metadata, dialect);
    json!({
        "type": "object",
        "description": facts.0,
        "required": ["items"],
        "properties": {
            "apiVersion": of_status("apiVersion"),
            "kind": of_status("kind"),
            "metadata": metadata,
            "items": {"type": "array", "description": facts.1, "items": dialect.reference(item)},
        },
        "x-kubernetes-group-version-kind": [gvk(&kind.group, &kind.version, &list_kind)],
    })
}

/// Tells in the definitions of a custom kind which of its fields selectors may name.
fn tell_selectable_fields(all: &mut Map<String, Value>, name: &str, kind: &Descriptor) {
    let Some(custom) = kind.strategy.custom().filter(|custom| !custom.selectable.is_empty()) else { return };
    let fields: Value = custom.selectable.iter().map(|field| json!({"fieldPath": *field.name})).collect();
    for name in [name.to_owned(), format!("{name}List")] {
        if let Some(definition) = all.get_mut(&name) {
            definition["x-kubernetes-selectable-fields"] = fields.clone();
        }
    }
}
