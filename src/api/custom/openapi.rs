//! The schema of a custom resource as OpenAPI documents show it: as its definition has it, with what
//! every object has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::kind::CustomKind;

/// Adds the definition of `kind` to a generator, and gives a reference to it.
pub fn define(kind: &CustomKind, generator: &mut SchemaGenerator) -> schemars::Schema {
    let metadata = generator.subschema_for::<ObjectMeta>().to_value();
    let name = kind.definition_name();
    generator.definitions_mut().insert(name.clone(), document(kind, metadata));
    schemars::Schema::new_ref(format!("#/definitions/{name}"))
}

fn document(kind: &CustomKind, metadata: Value) -> Value {
    let (definition, version) = &kind.source;
    let parsed: Value = serde_json::from_slice(definition).unwrap_or_default();
    let pointer = format!("/spec/versions/{version}/schema/openAPIV3Schema");
    let mut schema = parsed.pointer(&pointer).cloned().unwrap_or_else(|| json!({"type": "object"}));
    let Some(fields) = schema.as_object_mut() else { return json!({"type": "object"}) };
    for_each_schema(fields, &mut |nested| {
        if nested.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
            declare_identity(nested, &metadata);
            let required = nested.entry("required").or_insert_with(|| json!([]));
            for name in ["kind", "apiVersion"] {
                if let Some(required) = required.as_array_mut().filter(|required| !required.contains(&name.into())) {
                    required.push(name.into());
                }
            }
        }
    });
    declare_identity(fields, &metadata);
    schema
}

/// What every object has, and every object inside another one.
fn declare_identity(schema: &mut Map<String, Value>, metadata: &Value) {
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    properties["apiVersion"] = json!({"type": "string", "description": "APIVersion defines the schema of this object: its group and version."});
    properties["kind"] =
        json!({"type": "string", "description": "Kind names the resource that this object is of, in CamelCase."});
    properties["metadata"] = metadata.clone();
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
