//! The schema of a custom resource as OpenAPI documents show it: as its definition has it, with what
//! every object has.

use serde_json::{Map, Value, json};

use super::kind::CustomKind;
use crate::api::reference::Reference;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
/// A kind that documents what every object has.
const SOME_OBJECT: &str = "io.k8s.api.core.v1.ConfigMap";
/// What every object has beside what its kind says.
const COMMON: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// How upstream describes these in an object inside another one.
const EMBEDDED_API_VERSION: &str = "apiVersion defines the versioned schema of this representation of an object. More \
     info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const EMBEDDED_KIND: &str = "kind is a string value representing the type of this object. In CamelCase. More info: \
     https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// The definition of `kind`, and those that it refers to, by name.
pub fn define(kind: &CustomKind, reference: &Reference) -> Map<String, Value> {
    let mut definitions = reference.closure([OBJECT_META]);
    let object = reference.definition(SOME_OBJECT).unwrap_or_default();
    let mut common = object["properties"].as_object().cloned().unwrap_or_default();
    common.retain(|name, _| COMMON.contains(&name.as_str()));
    definitions.insert(kind.definition_name(), document(kind, common));
    definitions
}

fn document(kind: &CustomKind, common: Map<String, Value>) -> Value {
    let (definition, version) = &kind.source;
    let parsed: Value = serde_json::from_slice(definition).unwrap_or_default();
    let pointer = format!("/spec/versions/{version}/schema/openAPIV3Schema");
    let mut schema = parsed.pointer(&pointer).cloned().unwrap_or_else(|| json!({"type": "object"}));
    let Some(fields) = schema.as_object_mut() else { return json!({"type": "object"}) };
    let mut embedded = common.clone();
    embedded["apiVersion"]["description"] = EMBEDDED_API_VERSION.into();
    embedded["kind"]["description"] = EMBEDDED_KIND.into();
    for_each_schema(fields, &mut |nested| {
        if nested.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
            nested.entry("anyOf").or_insert_with(|| json!([{"type": "integer"}, {"type": "string"}]));
        }
        if nested.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
            declare(nested, &embedded);
            let required = nested.entry("required").or_insert_with(|| json!([]));
            for name in ["kind", "apiVersion"] {
                if let Some(required) = required.as_array_mut().filter(|required| !required.contains(&name.into())) {
                    required.push(name.into());
                }
            }
        }
    });
    declare(fields, &common);
    schema
}

/// Adds what every object has, and every object inside another one.
fn declare(schema: &mut Map<String, Value>, common: &Map<String, Value>) {
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.extend(common.clone());
    }
}

/// Calls `change` with every schema inside one; how deep they nest was bounded when it was decoded.
fn for_each_schema(schema: &mut Map<String, Value>, change: &mut impl FnMut(&mut Map<String, Value>)) {
    let mut visit = |nested: &mut Value| {
        if let Some(nested) = nested.as_object_mut() {
            for_each_schema(nested, &mut *change);
            change(nested);
        }
    };
    for keyword in ["items", "additionalProperties"] {
        schema.get_mut(keyword).into_iter().for_each(&mut visit);
    }
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flatten().for_each(|(_, nested)| visit(nested));
}
