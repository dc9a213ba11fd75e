//! From protobuf to the JSON tree of an object. Depth and number of values are bounded, and the
//! bytes are the caller's, whose length is.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::{
    Error, envelope,
    facts::{self, Field, Instead, Kind, Message, Shape},
    special,
    wire::{self, Part, Reader},
};

/// Messages within messages, at most.
const DEPTH: usize = 64;
/// Values of one object, at most.
const VALUES: usize = 1_000_000;

/// A decoded object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// `apps/v1`
    pub api_version: String,
    /// `Deployment`
    pub kind: String,
    /// The object as JSON has it, `apiVersion` and `kind` included.
    pub value: Value,
}

/// Decodes an object in its envelope, as the kind that the envelope names.
pub fn decode(bytes: &[u8]) -> Result<Object, Error> {
    Walk { values: 0 }.object(bytes, 0)
}

/// One decoding.
struct Walk {
    values: usize,
}

impl Walk {
    fn object(&mut self, bytes: &[u8], depth: usize) -> Result<Object, Error> {
        let envelope = envelope::open(bytes)?;
        let (api_version, kind) = (envelope.api_version.to_owned(), envelope.kind.to_owned());
        let Some(message) = facts::messages().of_kind(&api_version, &kind) else {
            return Err(Error::Kind { api_version, kind });
        };
        let mut object = Map::new();
        object.insert("apiVersion".into(), api_version.as_str().into());
        object.insert("kind".into(), kind.as_str().into());
        self.message(envelope.raw, message, depth, &mut object)?;
        Ok(Object { api_version, kind, value: Value::Object(object) })
    }

    /// Adds the fields of a message to `object`.
    fn message(
        &mut self,
        bytes: &[u8],
        message: &Message,
        depth: usize,
        object: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(Error::Depth(DEPTH));
        }
        let mut reader = Reader::new(bytes);
        while let Some((number, part)) = reader.next()? {
            // Fields of newer versions are unknown here, and dropped as upstream drops them.
            if let Some(field) = message.field(number) {
                self.field(part, field, depth, object)?;
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        part: Part<'_>,
        field: &Field,
        depth: usize,
        object: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        match (field.shape, field.kind) {
            (Shape::Inline, Kind::Message(place)) => {
                self.message(part.bytes(field.number)?, facts::messages().at(place), depth + 1, object)
            }
            (Shape::List, _) => {
                let Value::Array(items) = entry(object, field.name, Value::Array(Vec::new())) else { return Ok(()) };
                self.items(part, field, depth, items)
            }
            (Shape::Map, _) => {
                let Value::Object(entries) = entry(object, field.name, Value::Object(Map::new())) else {
                    return Ok(());
                };
                self.entry(part.bytes(field.number)?, field, depth, entries)
            }
            (_, Kind::Message(place)) => {
                self.count()?;
                // A message that occurs twice is merged, as the encoding's rules demand.
                let Value::Object(inner) = entry(object, field.name, Value::Object(Map::new())) else { return Ok(()) };
                self.message(part.bytes(field.number)?, facts::messages().at(place), depth + 1, inner)
            }
            (_, kind) => {
                let value = self.value(part, field.number, kind, depth)?;
                // What may stand in the place of a schema is held by pointer.
                let keeps_zero = field.keeps_zero || matches!(kind, Kind::SchemaOr(..));
                if value.is_null() || (!keeps_zero && is_zero(&value)) {
                    object.remove(field.name);
                } else {
                    object.insert(field.name.to_owned(), value);
                }
                Ok(())
            }
        }
    }

    /// One item, or packed scalars.
    fn items(&mut self, part: Part<'_>, field: &Field, depth: usize, items: &mut Vec<Value>) -> Result<(), Error> {
        match (part, field.kind) {
            (Part::Bytes(bytes), Kind::Boolean | Kind::Int32 | Kind::Int64) => {
                let mut reader = Reader::new(bytes);
                while !reader.is_at_end() {
                    let part = Part::Varint(reader.varint()?);
                    items.push(self.value(part, field.number, field.kind, depth)?);
                }
            }
            (Part::Bytes(bytes), Kind::Double) => {
                let mut reader = Reader::new(bytes);
                while !reader.is_at_end() {
                    let part = Part::Fixed64(reader.fixed64()?);
                    items.push(self.value(part, field.number, field.kind, depth)?);
                }
            }
            (part, kind) => items.push(self.value(part, field.number, kind, depth)?),
        }
        Ok(())
    }

    /// One entry of a map: a message of key and value.
    fn entry(
        &mut self,
        bytes: &[u8],
        field: &Field,
        depth: usize,
        entries: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        let [key, value, _] = wire::first_three(bytes)?;
        let key = key.map_or(Ok(""), |key| key.text(field.number))?;
        let unset = match field.kind {
            Kind::Boolean | Kind::Int32 | Kind::Int64 => Part::Varint(0),
            Kind::Double => Part::Fixed64(0),
            _ => Part::Bytes(&[]),
        };
        let value = self.value(value.unwrap_or(unset), field.number, field.kind, depth)?;
        entries.insert(key.to_owned(), value);
        Ok(())
    }

    fn value(&mut self, part: Part<'_>, number: u32, kind: Kind, depth: usize) -> Result<Value, Error> {
        self.count()?;
        Ok(match kind {
            Kind::Boolean => (part.integer(number)? != 0).into(),
            // Longer numbers lose their upper bits, by the encoding's rules.
            Kind::Int32 => (part.integer(number)? as i32).into(),
            Kind::Int64 => part.integer(number)?.into(),
            Kind::Double => match part {
                Part::Fixed64(bits) => f64::from_bits(bits).into(),
                _ => return Err(Error::WireType { field: number }),
            },
            Kind::Text => part.text(number)?.into(),
            Kind::Bytes => STANDARD.encode(part.bytes(number)?).into(),
            Kind::Time | Kind::MicroTime | Kind::Quantity | Kind::IntOrString => {
                special::decode(kind, part.bytes(number)?)?
            }
            Kind::Raw | Kind::Fields => {
                let [raw, ..] = wire::first_three(part.bytes(number)?)?;
                self.embedded(raw.map_or(Ok(&[][..]), |raw| raw.bytes(1))?, depth)?
            }
            Kind::Texts => self.items_of(part.bytes(number)?, 1, Kind::Text, depth)?,
            Kind::SchemaOr(instead, place) => self.schema_or(part.bytes(number)?, instead, place, depth)?,
            Kind::Message(place) => {
                let mut object = Map::new();
                self.message(part.bytes(number)?, facts::messages().at(place), depth + 1, &mut object)?;
                Value::Object(object)
            }
        })
    }

    /// An object of any kind: JSON, or protobuf in an envelope of its own.
    fn embedded(&mut self, raw: &[u8], depth: usize) -> Result<Value, Error> {
        if raw.is_empty() {
            return Ok(Value::Null);
        }
        if raw.starts_with(&envelope::MAGIC) {
            return self.object(raw, depth + 1).map(|object| object.value);
        }
        serde_json::from_slice(raw).map_err(Error::Json)
    }

    /// All items of the list in field `wanted`.
    fn items_of(&mut self, bytes: &[u8], wanted: u32, kind: Kind, depth: usize) -> Result<Value, Error> {
        let mut items = Vec::new();
        let mut reader = Reader::new(bytes);
        while let Some((number, part)) = reader.next()? {
            if number == wanted {
                items.push(self.value(part, number, kind, depth)?);
            }
        }
        Ok(Value::Array(items))
    }

    /// A schema if there is one, else what stands in its place.
    fn schema_or(&mut self, bytes: &[u8], instead: Instead, place: u16, depth: usize) -> Result<Value, Error> {
        let [first, second, _] = wire::first_three(bytes)?;
        let schema = if instead == Instead::Boolean { second } else { first };
        match (schema, instead) {
            (Some(schema), _) => self.value(schema, 1, Kind::Message(place), depth),
            (None, Instead::Boolean) => Ok((wire::integer(first, 1)? != 0).into()),
            (None, Instead::Schemas) => self.items_of(bytes, 2, Kind::Message(place), depth),
            (None, Instead::Texts) => self.items_of(bytes, 2, Kind::Text, depth),
        }
    }

    fn count(&mut self) -> Result<(), Error> {
        self.values += 1;
        if self.values > VALUES { Err(Error::Values(VALUES)) } else { Ok(()) }
    }
}

/// The value of a field, which is `empty` when it is met for the first time.
fn entry<'a>(object: &'a mut Map<String, Value>, name: &str, empty: Value) -> &'a mut Value {
    if !object.contains_key(name) {
        object.insert(name.to_owned(), empty);
    }
    &mut object[name]
}

/// What Go's JSON leaves out of fields that are marked to be.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
