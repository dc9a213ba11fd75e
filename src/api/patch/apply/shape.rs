//! Which parts of a value appliers own one by one, by its place in the kind's schema: fields of
//! structures and maps, items of sets and keyed lists. Everything else is owned as a whole.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::element::{self, Element};
use crate::api::schema::{Fact, ListType, MapType, Schema, Type, facts};

/// A place in a schema.
#[derive(Clone, Copy)]
pub struct Place<'s> {
    kind: &'s Type,
    fact: Fact,
}

/// How a value is owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As a whole.
    Leaf,
    /// By its fields.
    Map,
    /// By its items.
    List,
}

impl<'s> Place<'s> {
    /// The place of a whole object.
    pub fn root(schema: &'s Schema) -> Self {
        Self { kind: &schema.root, fact: facts::NONE }
    }

    /// The type there. Where a schema or something else may stand, upstream's schema says nothing.
    pub fn kind(&self) -> &'s Type {
        match self.kind {
            Type::SchemaOr(..) => &Type::Any,
            kind => kind,
        }
    }

    /// How `value` is owned there. What has no declared type is owned by its fields as far as it
    /// has fields.
    pub fn shape(&self, value: &Value) -> Shape {
        let by_type = match self.kind() {
            Type::Struct(structure) if structure.atomic && self.fact.map != Some(MapType::Granular) => Shape::Leaf,
            Type::Struct(_) | Type::Map(_) | Type::Any if self.fact.map == Some(MapType::Atomic) => Shape::Leaf,
            Type::Struct(_) | Type::Map(_) => Shape::Map,
            Type::List(_) if matches!(self.fact.list, Some(ListType::Set | ListType::Map)) => Shape::List,
            Type::Any if value.is_object() => Shape::Map,
            _ => Shape::Leaf,
        };
        match (by_type, value) {
            (Shape::Map, Value::Object(_) | Value::Null) | (Shape::List, Value::Array(_) | Value::Null) => by_type,
            _ => Shape::Leaf,
        }
    }

    /// The place of a field, and whether the schema declares it by name.
    pub fn field(&self, name: &str) -> (Self, bool) {
        let undeclared = |kind| (Self { kind, fact: facts::NONE }, false);
        match self.kind {
            Type::Struct(structure) => match structure.field(name) {
                Some(field) => (Self { kind: &field.kind, fact: field.fact }, true),
                None => undeclared(&Type::Any),
            },
            Type::Map(values) => undeclared(values),
            _ => undeclared(&Type::Any),
        }
    }

    /// The place of items.
    pub fn item(&self) -> Self {
        let kind = match self.kind {
            Type::List(items) => items,
            _ => &Type::Any,
        };
        Self { kind, fact: facts::NONE }
    }

    /// The place that `element` leads to, and whether the schema declares it by name.
    pub fn child(&self, element: &str) -> (Self, bool) {
        match element::field_name(element) {
            Some(name) => self.field(name),
            None => (self.item(), false),
        }
    }

    /// The element of an item, or why it has none.
    pub fn element(&self, item: &Value) -> Result<Element, String> {
        match self.fact.list {
            Some(ListType::Map) => element::keyed(item, self.fact.keys),
            _ => match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
                Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
                scalar => Ok(element::value(scalar)),
            },
        }
    }

    /// The elements of stored items, which need an element even if they break the rules.
    pub fn elements(&self, items: &[Value]) -> Vec<Element> {
        let element = |(place, item)| self.element(item).unwrap_or_else(|_| element::index(place));
        items.iter().enumerate().map(element).collect()
    }
}

/// The fields of an object; none of anything else.
pub fn fields(value: Option<&Value>) -> &Map<String, Value> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    value.and_then(Value::as_object).unwrap_or(&NONE)
}

/// The items of a list; none of anything else.
pub fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Whether there is nothing inside: an empty list or object, or null.
pub fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
