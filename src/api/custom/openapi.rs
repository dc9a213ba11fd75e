//! The schema of a custom resource as OpenAPI documents show it: as its definition has it, with what
//! every object has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::SchemaGenerator;
use serde_json::{Value, json};

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
    let properties = fields.entry("properties").or_insert_with(|| json!({}));
    properties["apiVersion"] = json!({"type": "string", "description": "The version of the schema of this object."});
    properties["kind"] = json!({"type": "string", "description": "The kind of this object."});
    properties["metadata"] = metadata;
    schema
}
