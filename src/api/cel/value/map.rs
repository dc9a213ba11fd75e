//! Maps: JSON, or entries.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use serde_json::Value as Json;

use super::{Kind, Text, Value, read};
use crate::api::cel::{
    error::Failure,
    shape::Shape,
    types::{Fields, ObjectType, Type},
};

type Object = serde_json::Map<String, Json>;

/// A map. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::api::cel) enum Map<'a> {
    Json { fields: &'a Object, shape: Option<&'a Shape> },
    Entries { entries: Arc<BTreeMap<Key<'a>, Value<'a>>>, nesting: u32 },
}

/// A key. Integers are the same key whether they are signed or not.
#[derive(Debug, Clone)]
pub(in crate::api::cel) enum Key<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(Text<'a>),
}

impl<'a> Key<'a> {
    /// The key that a value is; a whole `double` is an integer.
    pub fn of(value: &Value<'a>) -> Option<Self> {
        match &value.0 {
            Kind::Bool(value) => Some(Self::Bool(*value)),
            Kind::Int(value) => Some(Self::Int(*value)),
            Kind::Uint(value) => Some(Self::Uint(*value)),
            Kind::String(text) => Some(Self::String(text.clone())),
            Kind::Double(value) if value.fract() == 0.0 && value.abs() < 9e18 =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "whole and in range, as was just seen")]
                Some(Self::Int(*value as i64))
            }
            _ => None,
        }
    }

    pub fn value(&self) -> Value<'a> {
        Value(match self {
            Self::Bool(value) => Kind::Bool(*value),
            Self::Int(value) => Kind::Int(*value),
            Self::Uint(value) => Kind::Uint(*value),
            Self::String(text) => Kind::String(text.clone()),
        })
    }

    fn rank(&self) -> (u8, i128) {
        match self {
            Self::Bool(value) => (0, i128::from(*value)),
            Self::Int(value) => (1, i128::from(*value)),
            Self::Uint(value) => (1, i128::from(*value)),
            Self::String(_) => (2, 0),
        }
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::String(one), Self::String(other)) => (**one).cmp(other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key<'_> {}

impl<'a> Map<'a> {
    pub fn new(entries: BTreeMap<Key<'a>, Value<'a>>) -> Self {
        let nesting = 1 + entries.values().map(Value::nesting).max().unwrap_or_default();
        Self::Entries { entries: Arc::new(entries), nesting }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Json { fields, .. } => fields.len(),
            Self::Entries { entries, .. } => entries.len(),
        }
    }

    /// How deep what expressions made is nested in it.
    pub fn nesting(&self) -> u32 {
        match self {
            Self::Json { .. } => 1,
            Self::Entries { nesting, .. } => *nesting,
        }
    }

    /// The value of a key. Objects do not have what is `null` or not declared.
    pub fn get(&self, key: &Value<'a>) -> Result<Option<Value<'a>>, Failure> {
        match self {
            Self::Entries { entries, .. } => {
                let key = Key::of(key).ok_or_else(|| unsupported(key))?;
                Ok(entries.get(&key).cloned())
            }
            Self::Json { shape: Some(_), .. } => {
                let name = key.as_str().ok_or_else(Failure::no_overload)?;
                self.field(name)
            }
            Self::Json { fields, shape: None } => match &key.0 {
                Kind::String(name) => Ok(fields.get(&**name).map(read::untyped)),
                Kind::Bool(_) | Kind::Int(_) | Kind::Uint(_) | Kind::Double(_) => Ok(None),
                _ => Err(unsupported(key)),
            },
        }
    }

    /// The value of a key that is text.
    pub fn field(&self, name: &str) -> Result<Option<Value<'a>>, Failure> {
        match self {
            Self::Entries { entries, .. } => Ok(entries.get(&Key::String(Text::Shared(name.into()))).cloned()),
            Self::Json { fields, shape: None } => Ok(fields.get(name).map(read::untyped)),
            Self::Json { fields, shape: Some(shape) } => match (&shape.kind, fields.get(name), shape.items()) {
                (Type::Object(object), ..) => typed_field(fields, object, name),
                (_, Some(value), Some(values)) => read::shaped(value, values).map(Some),
                _ => Ok(None),
            },
        }
    }

    /// The value of a property by its name in JSON.
    pub fn property(&self, name: &str) -> Result<Option<Value<'a>>, Failure> {
        match (self, crate::api::cel::escape(name)) {
            (Self::Json { shape: Some(Shape { kind: Type::Object(_), .. }), .. }, Some(escaped)) => {
                self.field(&escaped)
            }
            _ => self.field(name),
        }
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Vec<Key<'a>> {
        match self {
            Self::Entries { entries, .. } => entries.keys().cloned().collect(),
            Self::Json { fields, shape } => match shape {
                Some(Shape { kind: Type::Object(object), .. }) => declared(fields, object),
                _ => fields.keys().map(|key| Key::String(Text::Borrowed(key))).collect(),
            },
        }
    }

    /// The map with another entry. Nobody else should have the map, or it is copied.
    pub fn inserted(self, key: &Value<'a>, value: Value<'a>) -> Result<Self, Failure> {
        let Some(key) = Key::of(key) else { return Err(unsupported(key)) };
        let Self::Entries { mut entries, nesting } = self else { return Err(Failure::no_overload()) };
        if entries.contains_key(&key) {
            return Err(Failure::new(format!("insert failed: key {} already exists", key.value().shown())));
        }
        let nesting = nesting.max(1 + value.nesting());
        Arc::make_mut(&mut entries).insert(key, value);
        Ok(Self::Entries { entries, nesting })
    }
}

fn typed_field<'a>(fields: &'a Object, object: &'a ObjectType, name: &str) -> Result<Option<Value<'a>>, Failure> {
    let Fields::Declared(declared) = &object.fields else { return Ok(fields.get(name).map(read::untyped)) };
    let Some(field) = declared.get(name) else { return Ok(None) };
    match fields.get(&*field.property) {
        None | Some(Json::Null) => Ok(None),
        Some(value) => read::shaped(value, &field.shape).map(Some),
    }
}

fn declared<'a>(fields: &'a Object, object: &'a ObjectType) -> Vec<Key<'a>> {
    let Fields::Declared(declared) = &object.fields else {
        return fields.keys().map(|key| Key::String(Text::Borrowed(key))).collect();
    };
    let present = declared.iter().filter(|(_, field)| fields.contains_key(&*field.property));
    present.map(|(name, _)| Key::String(Text::Borrowed(name))).collect()
}

fn unsupported(key: &Value<'_>) -> Failure {
    Failure::new(format!("unsupported key type: {}", key.kind().name()))
}
