//! Types of expressions.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::shape::Shape;
use crate::api::schema;

/// The type of an expression or value. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Known at run time alone; goes wherever any other type goes.
    Dyn,
    /// The type of what has an error already, so that it is reported once.
    Error,
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A signed 64-bit integer.
    Int,
    /// An unsigned 64-bit integer.
    Uint,
    /// A 64-bit floating-point number.
    Double,
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// A point in time.
    Timestamp,
    /// A span of time.
    Duration,
    /// Items of one type.
    List(Arc<Type>),
    /// Keys and values of one type each.
    Map(Arc<Type>, Arc<Type>),
    /// Declared fields.
    Object(Arc<ObjectType>),
    /// A value of this type or none.
    Optional(Arc<Type>),
    /// The type of a type.
    Type(Arc<Type>),
    /// One of Kubernetes' own types, which only functions look into.
    Opaque(Opaque),
    /// A type yet to be found out, by its number; never the type of a finished program.
    Param(u32),
}

/// Kubernetes' own types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opaque {
    /// `url(…)`
    Url,
    /// `ip(…)`
    Ip,
    /// `cidr(…)`
    Cidr,
    /// `quantity(…)`
    Quantity,
    /// `semver(…)`
    Semver,
    /// `format.named(…)`
    Format,
    /// The variable `authorizer`.
    Authorizer,
    /// `authorizer.path(…)`
    PathCheck,
    /// `authorizer.group(…)`
    GroupCheck,
    /// `authorizer.group(…).resource(…)`
    ResourceCheck,
    /// `….check(…)`
    Decision,
}

/// A structure with declared fields. Two are the same type if they have the same name.
#[derive(Debug)]
pub struct ObjectType {
    /// Name, such as `kubernetes.AdmissionRequest`.
    pub name: Box<str>,
    /// Its fields.
    pub fields: Fields,
}

/// The fields of an [`ObjectType`].
#[derive(Debug)]
pub enum Fields {
    /// By the names that expressions use, which are [escaped](super::escape).
    Declared(BTreeMap<Box<str>, Field>),
    /// Those of a built-in type, made when they are asked for: such types may contain themselves.
    BuiltIn(Arc<schema::Struct>),
    /// Any, of any type (`Object{…}` of mutating policies).
    Any,
    /// Those of `JSONPatch{…}`.
    JsonPatch,
}

/// A field of an [`ObjectType`].
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name in JSON.
    pub property: Box<str>,
    /// Its type and bounds.
    pub shape: Shape,
}

impl Type {
    /// `list(…)`
    pub fn list(items: Self) -> Self {
        Self::List(Arc::new(items))
    }

    /// `map(…, …)`
    pub fn map(keys: Self, values: Self) -> Self {
        Self::Map(Arc::new(keys), Arc::new(values))
    }

    /// `optional_type(…)`
    pub fn optional(value: Self) -> Self {
        Self::Optional(Arc::new(value))
    }

    /// A structure `name` of these fields, whose names in JSON are those in expressions.
    pub fn object<'f>(name: &str, fields: impl IntoIterator<Item = (&'f str, Self)>) -> Self {
        let field = |(name, kind): (&str, Self)| (name.into(), Field { property: name.into(), shape: kind.into() });
        let fields = Fields::Declared(fields.into_iter().map(field).collect());
        Self::Object(Arc::new(ObjectType { name: name.into(), fields }))
    }

    /// The name of the type alone, as `string(type(x))` is at run time.
    pub fn name(&self) -> &str {
        match self {
            Self::Dyn => "dyn",
            Self::Error => "!error!",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Duration => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Object(object) => &object.name,
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Opaque(opaque) => opaque.name(),
            Self::Param(_) => "_var",
        }
    }

    /// The types it is made of.
    pub(super) fn parts(&self) -> [Option<&Self>; 2] {
        match self {
            Self::List(part) | Self::Optional(part) | Self::Type(part) => [Some(part), None],
            Self::Map(key, value) => [Some(key), Some(value)],
            _ => [None, None],
        }
    }

    /// Whether anything may be of the type, or it has an error already.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// Whether values have one size, which is known without them.
    pub(super) fn is_scalar(&self) -> bool {
        match self {
            Self::Bool | Self::Double | Self::Duration | Self::Int | Self::Timestamp | Self::Uint => true,
            Self::Optional(value) => value.is_scalar(),
            _ => false,
        }
    }
}

/// The type as compile errors show it: `map(string, int)`.
impl fmt::Display for Type {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => return out.write_str("null"),
            Self::Timestamp => return out.write_str("timestamp"),
            Self::Duration => return out.write_str("duration"),
            Self::Param(number) => return write!(out, "_var{number}"),
            _ => out.write_str(self.name())?,
        }
        match self.parts() {
            [Some(one), Some(other)] => write!(out, "({one}, {other})"),
            [Some(one), None] => write!(out, "({one})"),
            _ => Ok(()),
        }
    }
}

impl Opaque {
    /// The name that messages use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Url => "kubernetes.URL",
            Self::Ip => "net.IP",
            Self::Cidr => "net.CIDR",
            Self::Quantity => "kubernetes.Quantity",
            Self::Semver => "kubernetes.Semver",
            Self::Format => "kubernetes.NamedFormat",
            Self::Authorizer => "kubernetes.authorization.Authorizer",
            Self::PathCheck => "kubernetes.authorization.PathCheck",
            Self::GroupCheck => "kubernetes.authorization.GroupCheck",
            Self::ResourceCheck => "kubernetes.authorization.ResourceCheck",
            Self::Decision => "kubernetes.authorization.Decision",
        }
    }
}

impl ObjectType {
    /// The field that expressions call `name`.
    pub fn field(&self, name: &str) -> Option<Field> {
        let of = |kind: Type| Some(Field { property: name.into(), shape: kind.into() });
        match &self.fields {
            Fields::Declared(fields) => fields.get(name).cloned(),
            Fields::BuiltIn(structure) => Shape::of_field(structure, name),
            Fields::Any => of(Type::Dyn),
            Fields::JsonPatch => match name {
                "op" | "path" | "from" => of(Type::String),
                "value" => of(Type::Dyn),
                _ => None,
            },
        }
    }
}

impl PartialEq for ObjectType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for ObjectType {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_shown_as_upstream_does() {
        let kind = Type::map(Type::String, Type::list(Type::optional(Type::Timestamp)));
        assert_eq!(kind.to_string(), "map(string, list(optional_type(timestamp)))");
        assert_eq!(Type::Null.to_string(), "null");
        assert_eq!(Type::Null.name(), "null_type");
        assert_eq!(Type::Opaque(Opaque::Ip).to_string(), "net.IP");
    }

    #[test]
    fn structures_are_the_same_by_name() {
        let one = Type::object("a.B", [("x", Type::Int)]);
        assert_eq!(one, Type::object("a.B", []));
        assert_ne!(one, Type::object("a.C", [("x", Type::Int)]));
    }
}
