//! The schemas by which bodies of custom resources are decoded and merged, made of their
//! structural schema.
//!
//! Bodies are decoded loosely: whole objects have a type, name and metadata, and all else is any
//! JSON, since a wrong type in it is a problem of validation (422) and `null` may be a value.
//! Field ownership needs all types and how lists merge.

use std::sync::{Arc, LazyLock};

use super::structural::{Kind, ListKind, Structural};
use crate::api::schema::{Fact, Field, Library, ListType, MapType, Schema, Struct, Type, facts};

/// The type of every object's metadata.
static METADATA: LazyLock<Type> = LazyLock::new(|| Library::default().metadata());

/// The schema that bodies are decoded with.
pub fn loose(api_version: &str, kind: &str, definition: &str, structural: &Structural) -> Schema {
    let declared = structural.properties.iter().map(|(name, _)| plain(name, Type::Any));
    object_schema(api_version, kind, definition, declared, structural.preserves_unknown)
}

/// The schema that field ownership goes by.
pub fn typed(api_version: &str, kind: &str, definition: &str, structural: &Structural) -> Schema {
    let declared = structural.properties.iter().map(|(name, schema)| field(name, schema, definition));
    object_schema(api_version, kind, definition, declared, structural.preserves_unknown)
}

fn object_schema(
    api_version: &str,
    kind: &str,
    definition: &str,
    declared: impl Iterator<Item = Field>,
    open: bool,
) -> Schema {
    let root = Type::Struct(Arc::new(Struct::new(definition, with_identity(declared), open)));
    Schema { api_version: api_version.into(), kind: kind.into(), root }
}

/// Fields of an object: those of every object, and those that are declared beside them.
fn with_identity(declared: impl Iterator<Item = Field>) -> Vec<Field> {
    let identity =
        [plain("apiVersion", Type::String), plain("kind", Type::String), plain("metadata", METADATA.clone())];
    let names = ["apiVersion", "kind", "metadata"];
    identity.into_iter().chain(declared.filter(|field| !names.contains(&&*field.name))).collect()
}

fn plain(name: &str, kind: Type) -> Field {
    Field { name: name.into(), kind, fact: facts::NONE }
}

fn field(name: &str, schema: &Structural, definition: &str) -> Field {
    Field { name: name.into(), kind: kind_of(schema, definition), fact: fact(schema) }
}

fn kind_of(schema: &Structural, definition: &str) -> Type {
    match schema.kind {
        Kind::Boolean => Type::Boolean,
        Kind::Integer => Type::Int64,
        Kind::Number => Type::Number,
        Kind::String => Type::String,
        Kind::IntOrString => Type::IntOrString,
        Kind::Array => match &schema.items {
            Some(items) => Type::List(Arc::new(kind_of(items, definition))),
            None => Type::Any,
        },
        Kind::Object => object_type(schema, definition),
        Kind::Any => Type::Any,
    }
}

fn object_type(schema: &Structural, definition: &str) -> Type {
    if schema.properties.is_empty() && !schema.embedded {
        return schema.additional.as_ref().map_or(Type::Any, |values| Type::Map(Arc::new(kind_of(values, definition))));
    }
    let declared = schema.properties.iter().map(|(name, schema)| field(name, schema, definition));
    let fields = if schema.embedded { with_identity(declared) } else { declared.collect() };
    Type::Struct(Arc::new(Struct::new(definition, fields, schema.preserves_unknown)))
}

fn fact(schema: &Structural) -> Fact {
    let list = (schema.kind == Kind::Array).then_some(match schema.list {
        ListKind::Atomic => ListType::Atomic,
        ListKind::Set => ListType::Set,
        ListKind::Map(_) => ListType::Map,
    });
    let keys = match &schema.list {
        ListKind::Map(keys) => facts::interned_keys(keys),
        _ => &[],
    };
    Fact { list, keys, map: schema.atomic_map.then_some(MapType::Atomic), ..facts::NONE }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::schema::{FieldValidation, Wording, check};

    #[test]
    fn bodies_may_have_wrong_types_and_nulls_below_metadata() {
        let structural = Structural::read(&json!({"properties": {"spec": {"type": "object"}}}));
        let schema = loose("g/v1", "Foo", "g.v1.Foo", &structural);
        let body = json!({"apiVersion": "g/v1", "kind": "Foo", "metadata": {"name": "a", "x": 1}, "spec": {"a": null},
                          "other": 1});
        let (object, problems) = check(body, &schema, FieldValidation::Warn, Wording::Decoder).unwrap();
        assert_eq!(object["spec"], json!({"a": null}));
        assert_eq!(problems, ["unknown field \"metadata.x\"", "unknown field \"other\""]);
        assert!(check(json!({"metadata": 1}), &schema, FieldValidation::Warn, Wording::Decoder).is_err());
    }

    #[test]
    fn lists_keep_their_keys() {
        let structural = Structural::read(&json!({"properties": {"spec": {"type": "object", "properties": {
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
                      "items": {"type": "object", "properties": {"port": {"type": "integer"}}}},
        }}}}));
        let schema = typed("g/v1", "Foo", "g.v1.Foo", &structural);
        let Type::Struct(root) = &schema.root else { panic!() };
        let Type::Struct(spec) = &root.field("spec").unwrap().kind else { panic!() };
        let ports = spec.field("ports").unwrap();
        assert_eq!((ports.fact.list, ports.fact.keys), (Some(ListType::Map), &["port"][..]));
        assert!(std::ptr::eq(facts::interned_keys(&["port".into()]), ports.fact.keys));
    }
}
