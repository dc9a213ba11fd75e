//! The walk through a body along its schema: values are built, checked and put into canonical form
//! as the parser meets them, so that a body is gone through once, whatever its encoding.

use std::cell::{Cell, RefCell};

use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{
    Schema, Struct, Type,
    place::{Place, joined},
};
use crate::api::{
    protobuf::facts::Instead,
    quantity::{self, Quantity},
    time,
};

/// Most values of one object: repeated YAML aliases end here.
const VALUES: usize = 1_000_000;
/// Most unknown or duplicate fields that are reported.
const REPORTED: usize = 100;

/// In whose words a wrong type is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wording {
    /// Those of Go's JSON decoder.
    #[default]
    Decoder,
    /// Those of upstream's conversion of a tree, which strategic merge patches go through.
    Conversion,
}

/// What is found out on the way.
#[derive(Default)]
pub(super) struct State {
    yaml: bool,
    wording: Wording,
    /// Whether nobody hears of unknown and duplicate fields here.
    quiet: Cell<bool>,
    values: Cell<usize>,
    reported: RefCell<Vec<String>>,
    failure: RefCell<Option<String>>,
}

impl State {
    /// Nothing found out yet; `yaml` says whether the words of YAML 1.1 are understood.
    pub(super) fn new(yaml: bool) -> Self {
        Self { yaml, ..Self::default() }
    }

    /// Nothing found out yet of a tree.
    pub(super) fn of_tree(wording: Wording) -> Self {
        Self { wording, ..Self::default() }
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
        if !self.quiet.get() && reported.len() < REPORTED && !reported.contains(&problem) {
            reported.push(problem);
        }
    }

    fn fail<E: serde::de::Error>(&self, problem: String) -> E {
        let error = E::custom(&problem);
        self.failure.replace(Some(problem));
        error
    }
}

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
        self.state.fail(match (self.kind, self.state.wording) {
            (Type::Quantity, _) => quantity::Error::Form.to_string(),
            (Type::SchemaOr(..), _) => "boolean or JSON schema expected".into(),
            (_, Wording::Decoder) => format!("json: cannot unmarshal {found} into {}", self.place.go_target(self.kind)),
            (_, Wording::Conversion) => self.inconvertible(found),
        })
    }

    fn inconvertible(&self, found: &str) -> String {
        let source = match found {
            "array" => "slice",
            "object" => "map",
            "bool" | "string" => found,
            number if number.contains('.') => "float64",
            _ => "int64",
        };
        match self.kind {
            Type::Map(_) => format!("cannot restore map from {source}"),
            Type::List(_) | Type::Bytes => format!("cannot restore slice from {source}"),
            Type::Struct(_) => format!("cannot restore struct from: {source}"),
            Type::Time | Type::MicroTime | Type::IntOrString => {
                format!("json: cannot unmarshal {found} into Go value of type {}", self.kind.decoded_as())
            }
            // Go can make text of numbers, and whole numbers of others, but this conversion does not.
            Type::String if source == "int64" => format!("cannot convert int64 to {}", self.place.go_name(self.kind)),
            Type::Int32 | Type::Int64 if source == "float64" => {
                format!("cannot convert float64 to {}", self.kind.shown())
            }
            _ => format!("unrecognized type: {}", self.kind.shown()),
        }
    }

    fn integer<E: serde::de::Error>(&self, number: i64) -> Result<Value, E> {
        match self.kind {
            Type::Any | Type::Int64 => Ok(number.into()),
            Type::Int32 | Type::IntOrString if i32::try_from(number).is_ok() => Ok(number.into()),
            Type::Int32 | Type::IntOrString => Err(self.mismatch(&format!("number {number}"))),
            Type::Number => Ok(number.into()),
            Type::Quantity => self.quantity(&number.to_string()),
            _ => self.instead("number"),
        }
    }

    /// A scalar where none can be. What may be a schema or a list is nothing then.
    fn instead<E: serde::de::Error>(&self, found: &str) -> Result<Value, E> {
        match self.kind {
            Type::SchemaOr(Instead::Schemas | Instead::Texts, _) => Ok(Value::Null),
            _ => Err(self.mismatch(found)),
        }
    }

    fn text<E: serde::de::Error>(&self, text: &str) -> Result<Value, E> {
        match self.kind {
            Type::Any | Type::String | Type::IntOrString => Ok(text.into()),
            Type::Bytes => self.bytes(text),
            Type::Time => self.time(text, time::format, "2006-01-02T15:04:05Z07:00"),
            Type::MicroTime => self.time(text, time::format_micro, "2006-01-02T15:04:05.000000Z07:00"),
            Type::Quantity => self.quantity(text),
            Type::Boolean if self.state.yaml => {
                yaml_boolean(text).map(Value::from).ok_or_else(|| self.mismatch("string"))
            }
            Type::Int32 | Type::Int64 if self.state.yaml => {
                yaml_octal(text).map(Value::from).ok_or_else(|| self.mismatch("string"))
            }
            _ => self.instead("string"),
        }
    }

    fn quantity<E: serde::de::Error>(&self, text: &str) -> Result<Value, E> {
        match text.parse::<Quantity>() {
            Ok(quantity) => Ok(quantity.to_string().into()),
            Err(error @ (quantity::Error::Form | quantity::Error::Suffix)) => Err(self.state.fail(error.to_string())),
        }
    }

    fn time<E: serde::de::Error>(
        &self,
        text: &str,
        format: fn(jiff::Timestamp) -> String,
        layout: &str,
    ) -> Result<Value, E> {
        if let Some(time) = time::parse(text) {
            return Ok(format(time).into());
        }
        let shown = time::quoted(text);
        Err(self.state.fail(format!("parsing time {shown} as \"{layout}\": cannot parse {shown} as \"2006\"")))
    }

    fn bytes<E: serde::de::Error>(&self, text: &str) -> Result<Value, E> {
        let text: String = text.chars().filter(|next| !matches!(next, '\r' | '\n')).collect();
        match STANDARD.decode(&text) {
            Ok(_) => Ok(text.into()),
            Err(DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _)) => {
                Err(self.state.fail(format!("illegal base64 data at input byte {at}")))
            }
            // Go points at the end where padding is amiss, and at the last group where there is none at all.
            Err(_) => {
                let at = if text.contains('=') { text.len() } else { text.len() / 4 * 4 };
                Err(self.state.fail(format!("illegal base64 data at input byte {at}")))
            }
        }
    }

    /// Bytes may be written as a list of numbers, too.
    fn numbers<'de, A: SeqAccess<'de>>(&self, mut items: A) -> Result<Value, A::Error> {
        let mut bytes = Vec::new();
        loop {
            let place = Place::Item { parent: &self.place, index: bytes.len() };
            match items.next_element_seed(Seed { kind: &Type::Int32, place, state: self.state })? {
                Some(item) => {
                    let byte = item.as_u64().and_then(|number| u8::try_from(number).ok());
                    bytes.push(byte.ok_or_else(|| self.mismatch("array"))?);
                }
                None => return Ok(STANDARD.encode(bytes).into()),
            }
        }
    }

    fn list<'de, A: SeqAccess<'de>>(&self, kind: &Type, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let place = Place::Item { parent: &self.place, index: list.len() };
            match items.next_element_seed(Seed { kind, place, state: self.state })? {
                Some(item) => list.push(zero(kind, item)),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    /// Upstream does not hear of unknown fields where something else than a schema may be.
    fn quietly<T>(&self, decode: impl FnOnce() -> T) -> T {
        let before = self.state.quiet.replace(true);
        let decoded = decode();
        self.state.quiet.set(before);
        decoded
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
            Type::Any | Type::Boolean | Type::SchemaOr(Instead::Boolean, _) => Ok(flag.into()),
            _ => self.instead("bool"),
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
            (Err(_), Type::Int32 | Type::Int64 | Type::IntOrString) => Err(self.mismatch(&format!("number {number}"))),
            (Err(_), _) => self.instead("number"),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        match self.kind {
            Type::Any | Type::Number => Ok(number.into()),
            Type::Quantity => self.quantity(&number.to_string()),
            Type::Int32 | Type::Int64 | Type::IntOrString => Err(self.mismatch(&format!("number {number:?}"))),
            _ => self.instead("number"),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Value, A::Error> {
        match self.kind {
            Type::List(kind) => self.list(kind, items),
            Type::Any => self.list(self.kind, items),
            Type::Bytes if self.state.wording == Wording::Decoder => self.numbers(items),
            Type::SchemaOr(Instead::Schemas, schema) => self.quietly(|| self.list(schema, items)),
            Type::SchemaOr(Instead::Texts, _) => self.quietly(|| self.list(&Type::String, items)),
            _ => Err(self.mismatch("array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        match self.kind {
            Type::Struct(structure) => self.structure(structure, map),
            Type::Map(values) => self.map(values, map),
            Type::Any => self.map(self.kind, map),
            Type::SchemaOr(_, schema) => self.quietly(|| Seed { kind: schema, ..self }.visit_map(map)),
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
