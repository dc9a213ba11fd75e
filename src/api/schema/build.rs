//! From schemars documents to compact schemas.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value};

use super::{Field, Schema, Struct, Type, facts};
use crate::api::kind::Descriptor;

/// Builds schemas and shares what they have in common.
#[derive(Default)]
pub struct Library {
    shared: Mutex<Shared>,
}

impl Library {
    /// The schema of a kind, built on every call: keep the result.
    pub fn schema(&self, descriptor: &Descriptor) -> Schema {
        let api_version = descriptor.api_version();
        self.build(&api_version, &descriptor.kind, |generator| descriptor.strategy.schema(generator))
    }

    /// A type alone.
    pub fn type_of<T: schemars::JsonSchema>(&self) -> Type {
        self.build("", "", SchemaGenerator::subschema_for::<T>).root
    }

    /// The schema of a type without a descriptor.
    #[cfg(test)]
    pub fn schema_of<T: schemars::JsonSchema>(&self, api_version: &str, kind: &str) -> Schema {
        self.build(api_version, kind, SchemaGenerator::subschema_for::<T>)
    }

    fn build(
        &self,
        api_version: &str,
        kind: &str,
        generate: impl FnOnce(&mut SchemaGenerator) -> schemars::Schema,
    ) -> Schema {
        let mut generator = SchemaSettings::draft07().into_generator();
        let root = generate(&mut generator).to_value();
        let definitions = generator.take_definitions(false);
        let root = Builder { shared: &mut self.shared.lock(), definitions: &definitions }.convert(&root);
        Schema { api_version: api_version.into(), kind: kind.into(), root }
    }
}

#[derive(Default)]
struct Shared {
    structs: HashMap<Box<str>, Arc<Struct>>,
    names: HashSet<Arc<str>>,
}

impl Shared {
    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.names.insert(name.clone());
        name
    }
}

struct Builder<'a> {
    shared: &'a mut Shared,
    definitions: &'a Map<String, Value>,
}

impl Builder<'_> {
    fn convert(&mut self, schema: &Value) -> Type {
        if let Some(definition) = referred(schema) {
            return self.refer(definition);
        }
        if schema.get("x-kubernetes-int-or-string").is_some() {
            return Type::IntOrString;
        }
        let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
        match (schema.get("type").and_then(Value::as_str).unwrap_or_default(), format) {
            ("boolean", _) => Type::Boolean,
            ("integer", "int32") => Type::Int32,
            ("integer", _) => Type::Int64,
            ("number", _) => Type::Number,
            ("string", "byte") => Type::Bytes,
            ("string", "date-time") => Type::Time,
            ("string", _) => Type::String,
            ("array", _) => Type::List(Arc::new(schema.get("items").map_or(Type::Any, |items| self.convert(items)))),
            ("object", _) => match schema.get("additionalProperties") {
                Some(values @ Value::Object(_)) => Type::Map(Arc::new(self.convert(values))),
                _ => Type::Any,
            },
            _ => Type::Any,
        }
    }

    fn refer(&mut self, definition: &str) -> Type {
        match facts::short(definition) {
            "io.k8s.apimachinery.pkg.api.resource.Quantity" => return Type::Quantity,
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => return Type::IntOrString,
            "meta.v1.Time" => return Type::Time,
            "meta.v1.MicroTime" => return Type::MicroTime,
            _ => {}
        }
        if let Some(known) = self.shared.structs.get(definition) {
            return Type::Struct(known.clone());
        }
        let Some(schema) = self.definitions.get(definition) else { return Type::Any };
        match schema.get("properties").and_then(Value::as_object) {
            Some(properties) if !properties.is_empty() => self.define(definition, properties),
            _ => self.convert(schema),
        }
    }

    fn define(&mut self, definition: &str, properties: &Map<String, Value>) -> Type {
        let structure = Arc::new(Struct {
            definition: definition.into(),
            atomic: facts::is_atomic_struct(definition),
            open: false,
            fields: OnceLock::new(),
        });
        self.shared.structs.insert(definition.into(), structure.clone());
        let mut fields: Vec<Field> = properties
            .iter()
            .map(|(name, schema)| Field {
                kind: self.convert(schema),
                fact: facts::of(definition, name),
                name: self.shared.name(name),
            })
            .collect();
        fields.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        structure.fields.set(fields.into()).expect("defined once, under the library's lock");
        Type::Struct(structure)
    }
}

/// The definition that a schema is a reference to.
fn referred(schema: &Value) -> Option<&str> {
    let pointer = match schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
        Some([only]) => only.get("$ref"),
        _ => schema.get("$ref"),
    };
    pointer.and_then(Value::as_str).and_then(|pointer| pointer.rsplit('/').next())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};

    use super::*;
    use crate::api::schema::PatchStrategy;

    fn at<'a>(root: &'a Type, path: &str) -> &'a Field {
        let (mut found, mut here) = (None, root);
        for name in path.split('.') {
            let field = here.as_struct().and_then(|structure| structure.field(name)).unwrap();
            here = match &field.kind {
                Type::List(items) => items,
                other => other,
            };
            found = Some(field);
        }
        found.unwrap()
    }

    #[test]
    fn a_pod_has_its_types_and_facts() {
        let schema = Library::default().schema_of::<Pod>("v1", "Pod");
        let containers = at(&schema.root, "spec.containers");
        assert_eq!(containers.fact.patch, PatchStrategy::Merge);
        assert!(matches!(at(&schema.root, "spec.containers.ports.containerPort").kind, Type::Int32));
        assert!(matches!(at(&schema.root, "spec.containers.livenessProbe.httpGet.port").kind, Type::IntOrString));
        assert!(matches!(at(&schema.root, "metadata.creationTimestamp").kind, Type::Time));
        assert!(
            matches!(&at(&schema.root, "metadata.labels").kind, Type::Map(values) if matches!(**values, Type::String))
        );
        let Type::Map(limits) = &at(&schema.root, "spec.containers.resources.limits").kind else { panic!() };
        assert!(matches!(**limits, Type::Quantity));
    }

    #[test]
    fn kinds_share_their_definitions() {
        let library = Library::default();
        let pod = library.schema_of::<Pod>("v1", "Pod");
        let deployment = library.schema_of::<Deployment>("apps/v1", "Deployment");
        let (Type::Struct(a), Type::Struct(b)) =
            (&at(&pod.root, "spec").kind, &at(&deployment.root, "spec.template.spec").kind)
        else {
            panic!()
        };
        assert!(Arc::ptr_eq(a, b));
    }

    #[test]
    fn every_kind_has_a_schema_that_takes_what_it_gives() {
        let library = Library::default();
        for kind in crate::api::kinds::all() {
            let schema = library.schema(&kind);
            assert!(schema.root.as_struct().is_some_and(|root| root.field("metadata").is_some()), "{}", kind.kind);
            let object = kind.strategy.decode(serde_json::json!({"metadata": {"name": "a"}})).unwrap();
            let (_, warnings) = crate::api::schema::check(object.into_value(), &schema, Default::default()).unwrap();
            assert!(warnings.is_empty(), "{}: {warnings:?}", kind.kind);
        }
    }
}
