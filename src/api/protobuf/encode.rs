//! From the JSON of an object to protobuf. JSON is read once from front to back and never becomes a
//! tree: lists of thousands of objects are encoded from the bytes that the watch cache holds.
//! Values that do not fit their field's type are left out: whatever is shown to a client was
//! checked when it was written.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, value::RawValue};

use super::{
    Error, envelope,
    facts::{self, Field, Instead, Kind, Message, Shape, Spot},
    special, wire,
};

/// Encodes an object in its envelope. Fails for kinds that have no protobuf form.
pub fn encode(api_version: &str, kind: &str, value: &Value) -> Result<Vec<u8>, Error> {
    let message = message(api_version, kind)?;
    let mut out = Vec::new();
    let fill = |out: &mut Vec<u8>| Fields { message, out }.deserialize(value);
    envelope::seal(&mut out, api_version, kind, fill).map_err(Error::Json)?;
    Ok(out)
}

/// Appends an object, of which `json` is the encoded form, in its envelope.
pub fn put_object(out: &mut Vec<u8>, api_version: &str, kind: &str, json: &[u8]) -> Result<(), Error> {
    let message = message(api_version, kind)?;
    envelope::seal(out, api_version, kind, |out| put_content(out, message, json))
}

/// Appends the content of an object's message, of which `json` is the encoded form.
pub(super) fn put_content(out: &mut Vec<u8>, message: &Message, json: &[u8]) -> Result<(), Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    Fields { message, out }.deserialize(&mut reader).map_err(Error::Json)
}

/// The message of a kind.
pub(super) fn message(api_version: &str, kind: &str) -> Result<&'static Message, Error> {
    let message = facts::messages().of_kind(api_version, kind);
    message.ok_or_else(|| Error::Kind { api_version: api_version.to_owned(), kind: kind.to_owned() })
}

/// Reads a JSON object, and writes its fields.
struct Fields<'a> {
    message: &'a Message,
    out: &'a mut Vec<u8>,
}

/// Reads the name of a JSON field, and finds it near a place.
struct Name<'a>(&'a Message, usize);

/// Reads what JSON has under a field's name, and writes it: once, or as often as the field's shape says.
struct All<'a> {
    field: Field,
    out: &'a mut Vec<u8>,
}

/// Reads one JSON value, and writes it as the field `number`.
struct One<'a> {
    number: u32,
    kind: Kind,
    out: &'a mut Vec<u8>,
}

/// Contents of inline messages, by the numbers on the way to them. JSON has their fields among
/// those of their owner, in any order.
type Inline<'a> = Vec<(&'a [u32], Vec<u8>)>;

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "an object of type {}", self.message.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { message, out } = self;
        let (mut inline, mut next) = (Inline::new(), 0);
        while let Some(found) = map.next_key_seed(Name(message, next))? {
            next = found.map_or(next, |(place, _)| place + 1);
            match found.map(|(_, spot)| spot) {
                Some(Spot { way, field }) if way.is_empty() => map.next_value_seed(All { field: *field, out })?,
                Some(Spot { way, field }) => {
                    map.next_value_seed(All { field: *field, out: content(&mut inline, way) })?;
                }
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        put_inline(out, message, &mut Vec::new(), &inline);
        Ok(())
    }
}

fn content<'a, 'b>(inline: &'b mut Inline<'a>, way: &'a [u32]) -> &'b mut Vec<u8> {
    let at = inline.iter().position(|(other, _)| *other == way).unwrap_or_else(|| {
        inline.push((way, Vec::new()));
        inline.len() - 1
    });
    &mut inline[at].1
}

/// Inline messages are never missing, as Go has none that can be.
fn put_inline(out: &mut Vec<u8>, message: &Message, way: &mut Vec<u32>, inline: &Inline<'_>) {
    for field in message.fields.iter().filter(|field| field.shape == Shape::Inline) {
        let Kind::Message(place) = field.kind else { continue };
        way.push(field.number);
        wire::put_message(out, field.number, |out| {
            if let Some((_, content)) = inline.iter().find(|(other, _)| other == way) {
                out.extend_from_slice(content);
            }
            put_inline(out, facts::messages().at(place), way, inline);
        });
        way.pop();
    }
}

impl<'de, 'a> DeserializeSeed<'de> for Name<'a> {
    type Value = Option<(usize, &'a Spot)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Name<'a> {
    type Value = Option<(usize, &'a Spot)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.spot_near(name, self.1))
    }
}

impl<'de> DeserializeSeed<'de> for All<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.field.shape {
            Shape::One | Shape::Inline => {
                One { number: self.field.number, kind: self.field.kind, out: self.out }.deserialize(deserializer)
            }
            Shape::List | Shape::Map => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for All<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "items of {}", self.field.name)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Field { number, kind, .. } = self.field;
        while items.next_element_seed(One { number, kind, out: &mut *self.out })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Field { number, kind, .. } = self.field;
        while let Some(key) = entries.next_key::<String>()? {
            wire::put_message(self.out, number, |out| {
                wire::put_bytes(out, 1, key.as_bytes());
                entries.next_value_seed(One { number: 2, kind, out })
            })?;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !matches!(self.kind, Kind::Raw | Kind::Fields) {
            return deserializer.deserialize_any(self);
        }
        let raw = <Box<RawValue>>::deserialize(deserializer)?;
        if raw.get() != "null" {
            wire::put_message(self.out, self.number, |out| wire::put_bytes(out, 1, raw.get().as_bytes()));
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<(), E> {
        match self.kind {
            Kind::Boolean => wire::put_integer(self.out, self.number, flag.into()),
            Kind::SchemaOr(Instead::Boolean, _) => {
                wire::put_message(self.out, self.number, |out| wire::put_integer(out, 1, flag.into()));
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        match self.kind {
            Kind::Int32 | Kind::Int64 => wire::put_integer(self.out, self.number, number),
            Kind::Double => wire::put_double(self.out, self.number, number as f64),
            kind => special::put_number(self.out, self.number, kind, number),
        }
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => self.visit_f64(number as f64),
        }
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        if self.kind == Kind::Double {
            wire::put_double(self.out, self.number, number);
        }
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        match self.kind {
            Kind::Text => wire::put_bytes(self.out, self.number, text.as_bytes()),
            Kind::Bytes => {
                if let Ok(bytes) = STANDARD.decode(text) {
                    wire::put_bytes(self.out, self.number, &bytes);
                }
            }
            kind => special::put_text(self.out, self.number, kind, text),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let (number, kind) = match self.kind {
            Kind::Texts => (1, Kind::Text),
            Kind::SchemaOr(Instead::Texts, _) => (2, Kind::Text),
            Kind::SchemaOr(Instead::Schemas, place) => (2, Kind::Message(place)),
            _ => return IgnoredAny.visit_seq(items).map(drop),
        };
        wire::put_message(self.out, self.number, |out| {
            while items.next_element_seed(One { number, kind, out: &mut *out })?.is_some() {}
            Ok(())
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        match self.kind {
            Kind::Message(place) => {
                let message = facts::messages().at(place);
                wire::put_message(self.out, self.number, |out| Fields { message, out }.visit_map(map))
            }
            Kind::SchemaOr(instead, place) => wire::put_message(self.out, self.number, |out| {
                let number = if instead == Instead::Boolean { 2 } else { 1 };
                if instead == Instead::Boolean {
                    // A schema is asked only where something is allowed at all.
                    wire::put_integer(out, 1, 1);
                }
                One { number, kind: Kind::Message(place), out }.visit_map(map)
            }),
            _ => IgnoredAny.visit_map(map).map(drop),
        }
    }
}
