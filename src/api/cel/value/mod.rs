//! Values of expressions. They borrow the JSON they stand for, and read it when it is looked into.

mod equality;
mod json;
mod list;
mod map;
mod read;

use std::{ops::Deref, sync::Arc};

use jiff::Timestamp;
use serde_json::Value as Json;

use super::{
    authorizer::{Authorizer, Check, Question},
    error::{EvaluationError, Failure},
    library::native::Native,
    shape::Shape,
    types::{Opaque, Type},
};

pub(super) use equality::{Comparison, compare};
pub(super) use list::List;
pub(super) use map::{Key, Map};

/// What a part of an expression comes to.
pub(super) type Outcome<'a> = Result<Value<'a>, Failure>;

/// A value, which may borrow the JSON it stands for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Value<'a>(pub(super) Kind<'a>);

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Kind<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Arc<[u8]>),
    Timestamp(Timestamp),
    /// In nanoseconds.
    Duration(i64),
    List(List<'a>),
    Map(Map<'a>),
    /// `Object{…}` or `JSONPatch{…}`
    Instance(Arc<Instance<'a>>),
    Type(Type),
    Optional(Option<Arc<Value<'a>>>),
    Native(Native<'a>),
    /// The variable `variables`.
    Variables,
}

/// Text, borrowed or shared.
#[derive(Debug, Clone)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

/// A structure that an expression made.
#[derive(Debug)]
pub(super) struct Instance<'a> {
    /// Its type.
    pub name: Box<str>,
    /// The fields it was given.
    pub fields: Vec<(Box<str>, Value<'a>)>,
    /// How deep its fields are nested.
    pub nesting: u32,
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

/// JSON without a schema: numbers are `int` or `double`, times are text.
impl<'a> From<&'a Json> for Value<'a> {
    fn from(json: &'a Json) -> Self {
        read::untyped(json)
    }
}

impl<'a> Value<'a> {
    /// JSON with a schema, which tells timestamps, durations and bytes from text, objects from maps,
    /// and how lists are compared and joined. An error if it is not what the schema says.
    pub fn shaped(json: &'a Json, shape: &'a Shape) -> Result<Self, EvaluationError> {
        read::shaped(json, shape).map_err(Into::into)
    }

    /// `null`
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// A value that may be none (`optional.of(…)`, `optional.none()`).
    pub fn optional(value: Option<Self>) -> Self {
        value.map_or_else(Self::none, Self::some)
    }

    /// The value of the variable `authorizer`.
    pub fn authorizer(authorizer: &'a dyn Authorizer) -> Self {
        Self(Kind::Native(Native::Check(Opaque::Authorizer, Arc::new(Check::new(authorizer, Question::default())))))
    }

    /// The value of `authorizer.requestResource`: the question without its verb.
    pub fn resource_check(authorizer: &'a dyn Authorizer, resource: Question) -> Self {
        Self(Kind::Native(Native::Check(Opaque::ResourceCheck, Arc::new(Check::new(authorizer, resource)))))
    }

    /// The type of the value. Those of items, keys and values are dynamic.
    pub fn kind(&self) -> Type {
        match &self.0 {
            Kind::Null => Type::Null,
            Kind::Bool(_) => Type::Bool,
            Kind::Int(_) => Type::Int,
            Kind::Uint(_) => Type::Uint,
            Kind::Double(_) => Type::Double,
            Kind::String(_) => Type::String,
            Kind::Bytes(_) => Type::Bytes,
            Kind::Timestamp(_) => Type::Timestamp,
            Kind::Duration(_) => Type::Duration,
            Kind::List(_) => Type::list(Type::Dyn),
            Kind::Map(_) | Kind::Variables => Type::map(Type::Dyn, Type::Dyn),
            Kind::Instance(instance) => Type::object(&instance.name, []),
            Kind::Type(_) => Type::Type(Arc::new(Type::Dyn)),
            Kind::Optional(_) => Type::optional(Type::Dyn),
            Kind::Native(native) => Type::Opaque(native.kind()),
        }
    }

    /// The value, if it is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self.0 {
            Kind::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.0, Kind::Null)
    }

    /// The JSON that the value stands for; an error if it or a part of it has no JSON form.
    pub fn to_json(&self) -> Result<Json, EvaluationError> {
        json::write(self).map_err(Into::into)
    }

    /// The type of each `Object…{}` in the value must be named as the path to it, or this is an error
    /// that says which is not (`applyConfiguration` of mutating policies). In a `JSONPatch{}` it must be so
    /// below the value.
    pub fn check_object_paths(&self) -> Result<(), EvaluationError> {
        let mut wrong = Vec::new();
        json::check_paths(self, &mut vec!["Object"], &mut wrong);
        if wrong.is_empty() { Ok(()) } else { Err(EvaluationError::Failed(wrong.join("\n"))) }
    }

    pub(super) fn string(text: impl Into<Arc<str>>) -> Self {
        Self(Kind::String(Text::Shared(text.into())))
    }

    pub(super) fn list(items: Vec<Self>) -> Self {
        Self(Kind::List(List::from(items)))
    }

    pub(super) fn strings(texts: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        Self::list(texts.into_iter().map(Self::string).collect())
    }

    pub(super) fn some(value: Self) -> Self {
        Self(Kind::Optional(Some(Arc::new(value))))
    }

    pub(super) fn none() -> Self {
        Self(Kind::Optional(None))
    }

    /// How large it is to the cost of functions: characters, bytes, items, entries; otherwise one.
    pub(super) fn size(&self) -> u64 {
        let size = match &self.0 {
            Kind::String(text) => text.chars().count(),
            Kind::Bytes(bytes) => bytes.len(),
            Kind::List(list) => list.len(),
            Kind::Map(map) => map.len(),
            Kind::Optional(Some(inner)) => return inner.size(),
            Kind::Native(native) => native.size(),
            _ => 1,
        };
        size as u64
    }

    /// How deep what expressions made is nested in it.
    pub(super) fn nesting(&self) -> u32 {
        match &self.0 {
            Kind::List(list) => list.nesting(),
            Kind::Map(map) => map.nesting(),
            Kind::Optional(Some(inner)) => 1 + inner.nesting(),
            Kind::Instance(instance) => instance.nesting,
            _ => 1,
        }
    }

    /// Whether it is what its type has for nothing (`optional.ofNonZeroValue`).
    pub(super) fn is_zero(&self) -> bool {
        match &self.0 {
            Kind::Null => true,
            Kind::Bool(value) => !value,
            Kind::Int(value) => *value == 0,
            Kind::Uint(value) => *value == 0,
            Kind::Double(value) => *value == 0.0,
            Kind::String(text) => text.is_empty(),
            Kind::Bytes(bytes) => bytes.is_empty(),
            Kind::Duration(nanos) => *nanos == 0,
            // Upstream's zero time is that of the year one.
            Kind::Timestamp(time) => time.as_second() == -62_135_596_800 && time.subsec_nanosecond() == 0,
            Kind::List(list) => list.len() == 0,
            Kind::Map(map) => map.len() == 0,
            Kind::Instance(instance) => instance.fields.is_empty(),
            Kind::Optional(inner) => inner.as_ref().is_none_or(|inner| inner.is_zero()),
            Kind::Type(_) | Kind::Native(_) | Kind::Variables => false,
        }
    }

    /// As messages show it: text without quotes.
    pub(super) fn shown(&self) -> String {
        match &self.0 {
            Kind::Null => "null".into(),
            Kind::Bool(value) => value.to_string(),
            Kind::Int(value) => value.to_string(),
            Kind::Uint(value) => value.to_string(),
            Kind::Double(value) => value.to_string(),
            Kind::String(text) => text.to_string(),
            _ => self.kind().name().to_owned(),
        }
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self(Kind::Bool(value))
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self(Kind::Int(value))
    }
}

#[cfg(test)]
mod tests;
