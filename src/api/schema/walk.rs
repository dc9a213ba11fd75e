//! The walk through a body along its schema: values are built, checked and put into canonical form
//! as the parser meets them, so that a body is gone through once, whatever its encoding.

use std::cell::{Cell, RefCell};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{Schema, Struct, Type};
use crate::api::{
    quantity::{self, Quantity},
    time,
};

/// Most values of one object: repeated YAML aliases end here.
const VALUES: usize = 1_000_000;
/// Most unknown or duplicate fields that are reported.
const REPORTED: usize = 100;

/// What is found out on the way.
#[derive(Default)]
pub(super) struct State {
    yaml: bool,
    values: Cell<usize>,
    reported: RefCell<Vec<String>>,
    failure: RefCell<Option<String>>,
}

impl State {
    /// Nothing found out yet; `yaml` says whether the words of YAML 1.1 are understood.
    pub(super) fn new(yaml: bool) -> Self {
        Self { yaml, ..Self::default() }
    }

    /// The wrong type, if there was one.
    pub(super) fn take_failure(&self) -> Option<String> {
        self.failure.take()
    }

    /// Unknown and duplicate fields.
    pub(super) fn take_reported(&self) -> Vec<String> {
        self.reported.take()
    }

    fn report(&self, problem: String) {
        let mut reported = self.reported.borrow_mut();
        if reported.len() < REPORTED && !reported.contains(&problem) {
            reported.push(problem);
        }
    }

    fn fail<E: serde::de::Error>(&self, problem: String) -> E {
        let error = E::custom(&problem);
        self.failure.replace(Some(problem));
        error
    }
}

/// The way from the root to a value; lives on the stack.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Field { parent: &'a Place<'a>, owner: &'a Struct, name: &'a str },
    Key { parent: &'a Place<'a>, key: &'a str },
    Item { parent: &'a Place<'a>, index: usize },
}

impl Place<'_> {
    /// `spec.containers[0].image`
    fn path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field { parent, name, .. } => joined(&parent.path(), name),
            Self::Key { parent, key } => joined(&parent.path(), key),
            Self::Item { parent, index } => format!("{}[{index}]", parent.path()),
        }
    }

    /// As Go names a field in type errors: `Container.spec.containers.image`.
    fn go_field(&self) -> Option<String> {
        let owner = self.owner()?.short_name();
        Some(format!("{owner}.{}", self.go_path()))
    }

    fn owner(&self) -> Option<&Struct> {
        match self {
            Self::Root => None,
            Self::Field { owner, .. } => Some(owner),
            Self::Key { parent, .. } | Self::Item { parent, .. } => parent.owner(),
        }
    }

    fn go_path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field { parent, name, .. } => joined(&parent.go_path(), name),
            Self::Key { parent, .. } | Self::Item { parent, .. } => parent.go_path(),
        }
    }
}

fn joined(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// Letters of base64 that belong together.
const BASE64_GROUP: usize = 4;

/// Decodes one value of a known type.
#[derive(Clone, Copy)]
pub(super) struct Seed<'a> {
    kind: &'a Type,
    place: Place<'a>,
    state: &'a State,
}

impl<'a> Seed<'a> {
    /// Decodes a whole object.
    pub(super) fn root(schema: &'a Schema, state: &'a State) -> Self {
        Self { kind: &schema.root, place: Place::Root, state }
    }

    fn mismatch<E: serde::de::Error>(&self, found: &str) -> E {
        let kind = self.kind.shown();
        self.state.fail(match self.place.go_field() {
            Some(field) => format!("json: cannot unmarshal {found} into Go struct field {field} of type {kind}"),
            None => format!("json: cannot unmarshal {found} into Go value of type {kind}"),
        })
    }

    fn integer<E: serde::de::Error>(&self, number: i64) -> Result<Value, E> {
        match self.kind {
            Type::Any | Type::Int64 => Ok(number.into()),
            Type::Int32 | Type::IntOrString if i32::try_from(number).is_ok() => Ok(number.into()),
            Type::Int32 | Type::IntOrString => Err(self.mismatch(&format!("number {number}"))),
            Type::Number => Ok(number.into()),
            Type::Quantity => self.quantity(&number.to_string()),
            _ => Err(self.mismatch("number")),
        }
    }

    fn text<E: serde::de::Error>(&self, text: &str) -> Result<Value, E> {
        match self.kind {
            Type::Any | Type::String | Type::IntOrString => Ok(text.into()),
            Type::Bytes => self.bytes(text),
            Type::Time => self.time(text, "2006-01-02T15:04:05Z07:00", time::format),
            Type::MicroTime => self.time(text, "2006-01-02T15:04:05.000000Z07:00", time::format_micro),
            Type::Quantity => self.quantity(text),
            Type::Boolean if self.state.yaml => {
                yaml_boolean(text).map(Value::from).ok_or_else(|| self.mismatch("string"))
            }
            Type::Int32 | Type::Int64 if self.state.yaml => {
                yaml_octal(text).map(Value::from).ok_or_else(|| self.mismatch("string"))
            }
            _ => Err(self.mismatch("string")),
        }
    }

    fn quantity<E: serde::de::Error>(&self, text: &str) -> Result<Value, E> {
        match text.parse::<Quantity>() {
            Ok(quantity) => Ok(quantity.to_string().into()),
            Err(error @ (quantity::Error::Form | quantity::Error::Suffix)) => Err(self.state.fail(error.to_string())),
        }
    }

    /// `layout` is how Go writes the form of a time.
    fn time<E: serde::de::Error>(
        &self,
        text: &str,
        layout: &str,
        format: fn(jiff::Timestamp) -> String,
    ) -> Result<Value, E> {
        if let Some(time) = time::parse(text) {
            return Ok(format(time).into());
        }
        let shown = quoted(text);
        Err(self.state.fail(format!("parsing time {shown} as \"{layout}\": cannot parse {shown} as \"2006\"")))
    }

    fn bytes<E: serde::de::Error>(&self, text: &str) -> Result<Value, E> {
        use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};
        let text: String = text.chars().filter(|next| !matches!(next, '\r' | '\n')).collect();
        match STANDARD.decode(&text) {
            Ok(_) => Ok(text.into()),
            Err(DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _)) => {
                Err(self.state.fail(format!("illegal base64 data at input byte {at}")))
            }
            // The last group of letters is not whole.
            Err(_) => {
                let at = text.len() / BASE64_GROUP * BASE64_GROUP;
                Err(self.state.fail(format!("illegal base64 data at input byte {at}")))
            }
        }
    }

    fn structure<'de, A: MapAccess<'de>>(&self, structure: &Struct, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let place = Place::Field { parent: &self.place, owner: structure, name: &name };
            let Some(field) = structure.field(&name) else {
                if structure.open {
                    let value = map.next_value_seed(Seed { kind: &Type::Any, place, state: self.state })?;
                    object.insert(name.clone(), value);
                    continue;
                }
                self.state.report(format!("unknown field \"{}\"", joined(&self.place.path(), &name)));
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value_seed(Seed { kind: &field.kind, place, state: self.state })?;
            let duplicate = if value.is_null() { object.remove(&name) } else { object.insert(name.clone(), value) };
            if duplicate.is_some() {
                self.state.report(format!("duplicate field \"{}\"", joined(&self.place.path(), &name)));
            }
        }
        Ok(Value::Object(object))
    }

    fn map<'de, A: MapAccess<'de>>(&self, values: &Type, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let place = Place::Key { parent: &self.place, key: &key };
            let value = map.next_value_seed(Seed { kind: values, place, state: self.state })?;
            if object.insert(key.clone(), zero(values, value)).is_some() {
                self.state.report(format!("duplicate field \"{}\"", joined(&self.place.path(), &key)));
            }
        }
        Ok(Value::Object(object))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.state.values.set(self.state.values.get() + 1);
        if self.state.values.get() > VALUES {
            return Err(D::Error::custom(format!("more than {VALUES} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.kind.shown())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<Value, E> {
        match self.kind {
            Type::Any | Type::Boolean => Ok(flag.into()),
            _ => Err(self.mismatch("bool")),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
        self.integer(number)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        match (i64::try_from(number), self.kind) {
            (Ok(number), _) => self.integer(number),
            (Err(_), Type::Any | Type::Number) => Ok(number.into()),
            (Err(_), Type::Quantity) => self.quantity(&number.to_string()),
            (Err(_), _) => Err(self.mismatch(&format!("number {number}"))),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        match self.kind {
            Type::Any | Type::Number => Ok(number.into()),
            Type::Quantity => self.quantity(&number.to_string()),
            Type::Int32 | Type::Int64 | Type::IntOrString => Err(self.mismatch(&format!("number {number:?}"))),
            _ => Err(self.mismatch("number")),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let kind = match self.kind {
            Type::List(items) => items,
            Type::Any => self.kind,
            _ => return Err(self.mismatch("array")),
        };
        let mut list = Vec::new();
        loop {
            let place = Place::Item { parent: &self.place, index: list.len() };
            match items.next_element_seed(Seed { kind, place, state: self.state })? {
                Some(item) => list.push(zero(kind, item)),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        match self.kind {
            Type::Struct(structure) => self.structure(structure, map),
            Type::Map(values) => self.map(values, map),
            Type::Any => self.map(self.kind, map),
            _ => Err(self.mismatch("object")),
        }
    }
}

/// What `null` means where something must stand: an empty value of the type.
fn zero(kind: &Type, value: Value) -> Value {
    match (kind, &value) {
        (Type::String | Type::Bytes, Value::Null) => Value::String(String::new()),
        (Type::Struct(_) | Type::Map(_), Value::Null) => Value::Object(Map::new()),
        (Type::Int32 | Type::Int64 | Type::Number | Type::IntOrString, Value::Null) => 0.into(),
        (Type::Boolean, Value::Null) => false.into(),
        (Type::Quantity, Value::Null) => "0".into(),
        (Type::List(_), Value::Null) => Value::Array(Vec::new()),
        _ => value,
    }
}

/// A text as errors about times show it: all but plain letters are escaped, byte by byte.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// YAML 1.1 writes file modes as `0644`.
pub fn yaml_octal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix('0'))?;
    i64::from_str_radix(digits, 8).ok()
}

/// YAML 1.1 has more words for true and false than 1.2.
pub fn yaml_boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}
