//! From the JSON tree of an object to protobuf. Values that do not fit their field's type are left
//! out: whatever is shown to a client was checked when it was written.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::{
    Error, envelope,
    facts::{self, Field, Kind, Message, Shape},
    special, wire,
};

/// Encodes an object in its envelope. Fails for kinds that have no protobuf form.
pub fn encode(api_version: &str, kind: &str, value: &Value) -> Result<Vec<u8>, Error> {
    let Some(message) = facts::messages().of_kind(api_version, kind) else {
        return Err(Error::Kind { api_version: api_version.to_owned(), kind: kind.to_owned() });
    };
    Ok(envelope::seal(api_version, kind, |out| {
        if let Value::Object(object) = value {
            put_fields(out, message, object);
        }
    }))
}

fn put_fields(out: &mut Vec<u8>, message: &Message, object: &Map<String, Value>) {
    for field in &message.fields {
        match (field.shape, field.kind, object.get(field.name)) {
            (Shape::Inline, Kind::Message(place), _) => {
                wire::put_message(out, field.number, |out| put_fields(out, facts::messages().at(place), object));
            }
            (Shape::One, kind, Some(value)) => put(out, field.number, kind, value),
            (Shape::List, kind, Some(Value::Array(items))) => {
                items.iter().for_each(|item| put(out, field.number, kind, item));
            }
            (Shape::Map, _, Some(Value::Object(entries))) => put_entries(out, field, entries),
            _ => {}
        }
    }
}

fn put_entries(out: &mut Vec<u8>, field: &Field, entries: &Map<String, Value>) {
    for (key, value) in entries {
        wire::put_message(out, field.number, |out| {
            wire::put_bytes(out, 1, key.as_bytes());
            put(out, 2, field.kind, value);
        });
    }
}

fn put(out: &mut Vec<u8>, number: u32, kind: Kind, value: &Value) {
    match (kind, value) {
        (Kind::Boolean, Value::Bool(flag)) => wire::put_integer(out, number, (*flag).into()),
        (Kind::Int32 | Kind::Int64, Value::Number(integer)) => {
            if let Some(integer) = integer.as_i64() {
                wire::put_integer(out, number, integer);
            }
        }
        (Kind::Double, Value::Number(double)) => {
            wire::put_double(out, number, double.as_f64().unwrap_or_default());
        }
        (Kind::Text, Value::String(text)) => wire::put_bytes(out, number, text.as_bytes()),
        (Kind::Bytes, Value::String(text)) => {
            if let Ok(bytes) = STANDARD.decode(text) {
                wire::put_bytes(out, number, &bytes);
            }
        }
        (Kind::Time | Kind::MicroTime | Kind::Quantity | Kind::IntOrString, value) => {
            special::encode(out, number, kind, value);
        }
        (Kind::Raw | Kind::Fields, value) if !value.is_null() => {
            wire::put_message(out, number, |out| wire::put_bytes(out, 1, value.to_string().as_bytes()));
        }
        (Kind::Texts, Value::Array(items)) => wire::put_message(out, number, |out| {
            items.iter().for_each(|item| put(out, 1, Kind::Text, item));
        }),
        (Kind::Message(place), Value::Object(object)) => {
            wire::put_message(out, number, |out| put_fields(out, facts::messages().at(place), object));
        }
        _ => {}
    }
}
