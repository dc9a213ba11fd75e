//! Compact schemas of built-in kinds, from the table of their messages.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;

use super::{Field, MapType, Schema, Struct, Type, facts};
use crate::api::{
    kind::Descriptor,
    protobuf::facts::{self as table, Kind, Message, Shape, messages},
};

/// Messages of schemas of custom resources: what they hold raw is owned by its fields.
const SCHEMAS: &str = "apiextensions.";

/// Builds schemas and shares what they have in common.
#[derive(Default)]
pub struct Library {
    shared: Mutex<Shared>,
}

impl Library {
    /// The schema of a built-in kind, built on every call: keep the result.
    pub fn schema(&self, descriptor: &Descriptor) -> Schema {
        self.schema_of(&descriptor.api_version(), &descriptor.kind)
    }

    /// The schema of the built-in kind of that name.
    pub fn schema_of(&self, api_version: &str, kind: &str) -> Schema {
        let message = messages().of_kind(api_version, kind);
        let root = message.map_or(Type::Any, |message| self.shared.lock().refer(message, true));
        Schema { api_version: api_version.into(), kind: kind.into(), root }
    }

    /// The type of every object's metadata.
    pub fn metadata(&self) -> Type {
        let message = messages().of_kind("meta.k8s.io/v1", "ObjectMeta");
        message.map_or(Type::Any, |message| self.shared.lock().refer(message, false))
    }
}

#[derive(Default)]
struct Shared {
    structs: HashMap<&'static str, Arc<Struct>>,
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

    /// The structure of a message. That of an object, as opposed to that of a part of one, says what
    /// it is: messages leave that out, for their envelope has it.
    fn refer(&mut self, message: &'static Message, is_whole: bool) -> Type {
        if let Some(known) = self.structs.get(message.name) {
            return Type::Struct(known.clone());
        }
        let structure = Arc::new(Struct {
            definition: message.name.into(),
            atomic: facts::is_atomic_struct(message.name),
            open: false,
            fields: OnceLock::new(),
        });
        self.structs.insert(message.name, structure.clone());
        let mut fields: Vec<Field> =
            message.fields_by_name().map(|(name, field)| self.field(message.name, name, field)).collect();
        if is_whole || messages().is_object(message) {
            let names = ["apiVersion", "kind"].map(|name| self.name(name));
            fields.extend(names.map(|name| Field { name, kind: Type::String, fact: facts::NONE }));
        }
        fields.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        structure.fields.set(fields.into()).expect("defined once, under the library's lock");
        Type::Struct(structure)
    }

    fn field(&mut self, owner: &str, name: &str, field: &table::Field) -> Field {
        let inner = self.convert(field.kind);
        let kind = match field.shape {
            Shape::List => Type::List(inner.into()),
            Shape::Map => Type::Map(inner.into()),
            Shape::One | Shape::Inline => inner,
        };
        let mut fact = facts::of(owner, name);
        // Whatever stands in a raw extension is somebody's as a whole.
        if field.kind == Kind::Raw && field.shape == Shape::One && !owner.starts_with(SCHEMAS) {
            fact.map = Some(MapType::Atomic);
        }
        Field { kind, fact, name: self.name(name) }
    }

    fn convert(&mut self, kind: Kind) -> Type {
        match kind {
            Kind::Boolean => Type::Boolean,
            Kind::Int32 => Type::Int32,
            Kind::Int64 => Type::Int64,
            Kind::Double => Type::Number,
            Kind::Text => Type::String,
            Kind::Bytes => Type::Bytes,
            Kind::Time => Type::Time,
            Kind::MicroTime => Type::MicroTime,
            Kind::Quantity => Type::Quantity,
            Kind::IntOrString => Type::IntOrString,
            Kind::Raw | Kind::Fields => Type::Any,
            Kind::SchemaOr(instead, place) => Type::SchemaOr(instead, self.refer(messages().at(place), false).into()),
            Kind::Texts => Type::List(Type::String.into()),
            Kind::Message(place) => self.refer(messages().at(place), false),
        }
    }
}

#[cfg(test)]
mod tests {
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
        let schema = Library::default().schema_of("v1", "Pod");
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
        let pod = library.schema_of("v1", "Pod");
        let deployment = library.schema_of("apps/v1", "Deployment");
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
            let (_, warnings) =
                crate::api::schema::check(object.into_value(), &schema, Default::default(), Default::default())
                    .unwrap();
            assert!(warnings.is_empty(), "{}: {warnings:?}", kind.kind);
        }
    }
}
