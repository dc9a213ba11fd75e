//! Types of values with what schemas say of their size (upstream's `SchemaDeclType`).

use std::{collections::BTreeMap, sync::Arc};

use super::{
    escape::escape,
    types::{Field, Fields, ObjectType, Type},
};
use crate::api::{
    custom::structural::{Kind, ListKind, Structural},
    schema,
};

/// The largest request, in bytes, which bounds what schemas do not.
const REQUEST_BYTES: u64 = 3 * 1024 * 1024;
/// Bytes of `2006-01-02` with its quotation marks.
const DATE_BYTES: u64 = 12;
/// Bytes of the longest time of day and date, and of the longest duration, quoted.
const TIME_BYTES: u64 = 32;

/// A type, and how large values of it may be.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The type.
    pub kind: Type,
    /// How a list is compared and joined.
    pub list: ListKind,
    /// Whether `null` is a value.
    pub nullable: bool,
    /// The most bytes, items or entries; `None` if nothing is known.
    pub(super) most: Option<u64>,
    /// The fewest bytes of it as JSON.
    least_bytes: u64,
    /// The shape of items or values.
    items: Option<Arc<Shape>>,
}

/// A type of which nothing more is known.
impl From<Type> for Shape {
    fn from(kind: Type) -> Self {
        Self { kind, list: ListKind::Atomic, nullable: false, most: None, least_bytes: 1, items: None }
    }
}

impl Shape {
    /// The shape of what a structural schema describes; `None` if expressions cannot see it. `root` says
    /// that it is a whole resource, which always has `apiVersion`, `kind` and the names in `metadata`.
    /// `name` is what its type is called; the types of fields are called by the way to them.
    pub fn of_structural(schema: &Structural, name: &str, root: bool) -> Option<Self> {
        if schema.kind == Kind::IntOrString {
            let most = Some(length(schema).map_or(REQUEST_BYTES - 2, |length| length.saturating_mul(4)));
            return Some(Self { most, nullable: schema.nullable, ..Type::Dyn.into() });
        }
        let mut shape = match schema.kind {
            Kind::Array => array(schema, name)?,
            Kind::Object => object(schema, name, root)?,
            Kind::Any | Kind::IntOrString if root => object(schema, name, root)?,
            Kind::Any | Kind::IntOrString => return None,
            Kind::String => text(schema),
            Kind::Boolean => sized(Type::Bool, 4, None),
            Kind::Number => Type::Double.into(),
            Kind::Integer => Type::Int.into(),
        };
        shape.nullable = schema.nullable;
        Some(shape)
    }

    /// The shape of a built-in kind (for checking policies against the kinds they match).
    pub fn of_kind(schema: &schema::Schema) -> Self {
        built_in(&schema.root)
    }

    /// The shape of a field of a built-in structure.
    pub(super) fn of_field(structure: &Arc<schema::Struct>, name: &str) -> Option<Field> {
        let found = structure.fields().iter().find(|field| escape(&field.name).as_deref() == Some(name))?;
        Some(Field { property: found.name.as_ref().into(), shape: built_in(&found.kind) })
    }

    /// Whether it is of a whole number or text.
    pub(super) fn is_int_or_string(&self) -> bool {
        self.kind == Type::Dyn && self.most.is_some()
    }

    /// The fewest bytes that a value takes as JSON.
    pub fn least_bytes(&self) -> u64 {
        self.least_bytes
    }

    /// The shape of items or values.
    pub fn items(&self) -> Option<&Self> {
        self.items.as_deref()
    }
}

fn sized(kind: Type, least_bytes: u64, most: Option<u64>) -> Shape {
    Shape { most, least_bytes, ..kind.into() }
}

fn array(schema: &Structural, name: &str) -> Option<Shape> {
    let items = schema.items.as_deref()?;
    let items = Shape::of_structural(items, &format!("{name}.@idx"), items.embedded)?;
    let declared = schema.rules.as_ref().and_then(|rules| rules.items.max);
    let most = declared.unwrap_or((REQUEST_BYTES - 2) / (items.least_bytes + 1));
    let kind = Type::list(items.kind.clone());
    Some(Shape { list: schema.list.clone(), items: Some(Arc::new(items)), ..sized(kind, 2, Some(most)) })
}

fn object(schema: &Structural, name: &str, root: bool) -> Option<Shape> {
    if let Some(values) = &schema.additional {
        let values = Shape::of_structural(values, &format!("{name}.@elem"), values.embedded)?;
        let declared = schema.rules.as_ref().and_then(|rules| rules.properties.max);
        let most = declared.unwrap_or((REQUEST_BYTES - 2) / (values.least_bytes + 6));
        let kind = Type::map(Type::String, values.kind.clone());
        return Some(Shape { items: Some(Arc::new(values)), ..sized(kind, 2, Some(most)) });
    }
    let required: &[Box<str>] = schema.rules.as_ref().map(|rules| &*rules.required).unwrap_or_default();
    let (mut fields, mut least_bytes) = (BTreeMap::new(), 2);
    for (property, declared) in &schema.properties {
        let escaped = escape(property);
        let path = format!("{name}.{}", escaped.as_deref().unwrap_or(property));
        let Some(shape) = Shape::of_structural(declared, &path, declared.embedded) else { continue };
        if required.contains(property) && declared.default.is_none() {
            least_bytes += property.len() as u64 + shape.least_bytes + 4;
        }
        if let Some(escaped) = escaped {
            fields.insert(escaped.into(), Field { property: property.clone(), shape });
        }
    }
    if root || schema.embedded {
        add_identity(&mut fields, name);
    }
    let kind = Type::Object(Arc::new(ObjectType { name: name.into(), fields: Fields::Declared(fields) }));
    Some(sized(kind, least_bytes, None))
}

/// `apiVersion`, `kind`, `metadata.name` and `metadata.generateName` of a whole resource, which expressions
/// see whatever the schema says.
fn add_identity(fields: &mut BTreeMap<Box<str>, Field>, name: &str) {
    let field = |property: &str, shape: Shape| (Box::from(property), Field { property: property.into(), shape });
    let text = || sized(Type::String, 2, Some(REQUEST_BYTES - 2));
    let names: BTreeMap<_, _> = ["generateName", "name"].map(|name| field(name, text())).into();
    let complete = |metadata: &Field| match &metadata.shape.kind {
        Type::Object(object) => names.keys().all(|name| object.field(name).is_some()),
        _ => false,
    };
    if fields.get("metadata").is_some_and(complete) && fields.contains_key("kind") && fields.contains_key("apiVersion")
    {
        return;
    }
    let metadata = ObjectType { name: format!("{name}.metadata").into(), fields: Fields::Declared(names) };
    let metadata = sized(Type::Object(Arc::new(metadata)), 2, None);
    fields.extend([field("apiVersion", text()), field("kind", text()), field("metadata", metadata)]);
}

fn text(schema: &Structural) -> Shape {
    let format = schema.rules.as_ref().and_then(|rules| rules.format.as_deref()).unwrap_or_default();
    let length = length(schema);
    match format {
        "byte" => sized(Type::Bytes, 2, Some(length.unwrap_or(REQUEST_BYTES - 2))),
        "duration" => sized(Type::Duration, 3, Some(TIME_BYTES)),
        "date" => sized(Type::Timestamp, DATE_BYTES, Some(DATE_BYTES)),
        "date-time" => sized(Type::Timestamp, 21, Some(TIME_BYTES)),
        _ => {
            let most = match length {
                // Lengths are in characters, sizes in bytes.
                Some(length) => length.saturating_mul(4),
                None => longest(schema).unwrap_or(REQUEST_BYTES - 2),
            };
            sized(Type::String, 2, Some(most))
        }
    }
}

fn length(schema: &Structural) -> Option<u64> {
    schema.rules.as_ref()?.length.max
}

/// The length of the longest value there is, if all are listed.
fn longest(schema: &Structural) -> Option<u64> {
    let allowed = &schema.rules.as_ref()?.allowed;
    let lengths = allowed.iter().filter_map(|value| value.as_str()).map(|text| text.len() as u64);
    (!allowed.is_empty()).then(|| lengths.max().unwrap_or_default())
}

fn built_in(kind: &schema::Type) -> Shape {
    let of = |inner: &schema::Type, join: fn(Type) -> Type| {
        let items = built_in(inner);
        Shape { items: Some(Arc::new(items.clone())), ..join(items.kind).into() }
    };
    match kind {
        schema::Type::Any | schema::Type::IntOrString | schema::Type::SchemaOr(..) => Type::Dyn.into(),
        schema::Type::Boolean => Type::Bool.into(),
        schema::Type::Int32 | schema::Type::Int64 => Type::Int.into(),
        schema::Type::Number => Type::Double.into(),
        schema::Type::String | schema::Type::Quantity => Type::String.into(),
        schema::Type::Bytes => Type::Bytes.into(),
        schema::Type::Time | schema::Type::MicroTime => Type::Timestamp.into(),
        schema::Type::Map(values) => of(values, |values| Type::map(Type::String, values)),
        schema::Type::List(items) => of(items, Type::list),
        schema::Type::Struct(structure) => {
            let fields = Fields::BuiltIn(structure.clone());
            Type::Object(Arc::new(ObjectType { name: structure.definition.clone(), fields })).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shape(schema: serde_json::Value, root: bool) -> Option<Shape> {
        Shape::of_structural(&Structural::read(&schema), "selfType", root)
    }

    fn field(shape: &Shape, name: &str) -> Option<Field> {
        let Type::Object(object) = &shape.kind else { panic!("no object") };
        object.field(name)
    }

    #[test]
    fn what_a_schema_knows_is_seen() {
        let shape = shape(
            json!({"type": "object", "required": ["a"], "properties": {
                "a": {"type": "string", "maxLength": 10},
                "b-c": {"type": "array", "maxItems": 5, "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
                "any": {"x-kubernetes-preserve-unknown-fields": true},
                "either": {"x-kubernetes-int-or-string": true},
                "when": {"type": "string", "format": "date-time"},
                "map": {"type": "object", "additionalProperties": {"type": "boolean"}},
                "$bad": {"type": "string"},
            }}),
            true,
        )
        .unwrap();
        let kind = |name: &str| field(&shape, name).map(|field| (field.shape.kind.to_string(), field.shape.most));
        assert_eq!(kind("a"), Some(("string".into(), Some(40))));
        assert_eq!(kind("b__dash__c"), Some(("list(selfType.b__dash__c.@idx)".into(), Some(5))));
        assert_eq!(kind("either"), Some(("dyn".into(), Some(REQUEST_BYTES - 2))));
        assert_eq!(kind("when"), Some(("timestamp".into(), Some(32))));
        assert_eq!(kind("map"), Some(("map(string, bool)".into(), Some((REQUEST_BYTES - 2) / 10))));
        assert!(kind("any").is_none() && kind("$bad").is_none());
        let metadata = field(&shape, "metadata").unwrap();
        assert!(field(&metadata.shape, "name").is_some() && field(&metadata.shape, "labels").is_none());
    }

    #[test]
    fn items_that_cannot_be_seen_hide_their_list() {
        let hidden = json!({"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": true}});
        assert!(shape(hidden, false).is_none());
    }
}
