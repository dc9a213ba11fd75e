//! Values as JSON, as upstream's conversion to `google.protobuf.Value` writes them: times and bytes are
//! text, and so are integers that a `double` cannot hold.

use base64::Engine as _;
use serde_json::{Map as Object, Value as Json};

use super::{Key, Kind, Map, Value};
use crate::api::cel::{error::Failure, library::time};

/// Integers of this size and more are text.
const SAFE_INTEGERS: u64 = 1 << 53;

pub(super) fn write(value: &Value<'_>) -> Result<Json, Failure> {
    Ok(match &value.0 {
        Kind::Null => Json::Null,
        Kind::Bool(value) => Json::Bool(*value),
        Kind::Int(value) if value.unsigned_abs() < SAFE_INTEGERS => (*value).into(),
        Kind::Int(value) => value.to_string().into(),
        Kind::Uint(value) if *value < SAFE_INTEGERS => (*value).into(),
        Kind::Uint(value) => value.to_string().into(),
        Kind::Double(value) => double(*value),
        Kind::String(text) => text.to_string().into(),
        Kind::Bytes(bytes) => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
        Kind::Timestamp(timestamp) => time::write_timestamp(*timestamp).into(),
        Kind::Duration(nanos) => time::write_duration(*nanos).into(),
        Kind::List(list) => {
            let items = list.values()?;
            Json::Array(items.iter().map(write).collect::<Result<_, _>>()?)
        }
        Kind::Map(Map::Json { fields, .. }) => Json::Object((*fields).clone()),
        Kind::Map(Map::Entries { entries, .. }) => {
            let mut object = Object::new();
            for (key, value) in entries.iter() {
                object.insert(name(key), write(value)?);
            }
            Json::Object(object)
        }
        Kind::Instance(instance) => {
            let mut object = Object::new();
            for (field, value) in &instance.fields {
                object.insert(field.to_string(), write(value)?);
            }
            Json::Object(object)
        }
        Kind::Optional(Some(inner)) => write(inner)?,
        Kind::Optional(None) => Json::Null,
        Kind::Type(_) | Kind::Native(_) | Kind::Variables => {
            return Err(Failure::new(format!("type conversion error from '{}' to JSON", value.kind().name())));
        }
    })
}

/// A double that is a whole number is written as one.
fn double(value: f64) -> Json {
    if !value.is_finite() {
        let text = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        return text.into();
    }
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "whole and in range")]
    if value.fract() == 0.0 && value.abs() < SAFE_INTEGERS as f64 { (value as i64).into() } else { value.into() }
}

fn name(key: &Key<'_>) -> String {
    key.value().shown()
}

/// Collects the structures in a value whose type is not named as the path to them is.
pub(super) fn check_paths<'v>(value: &'v Value<'_>, path: &mut Vec<&'v str>, wrong: &mut Vec<String>) {
    match &value.0 {
        // The path of a patch's value is in its `path`: any structure may begin there.
        Kind::Instance(patch) if &*patch.name == "JSONPatch" => {
            for (_, value) in &patch.fields {
                if let Kind::Instance(made) = &value.0 {
                    check_paths(value, &mut vec![&made.name], wrong);
                }
            }
        }
        Kind::Instance(instance) => {
            let expected = path.join(".");
            if *instance.name != *expected {
                let name = &instance.name;
                wrong.push(format!(
                    "unexpected type name \"{name}\", expected \"{expected}\", which matches field name path from root \
                     Object type"
                ));
            }
            for (field, value) in &instance.fields {
                path.push(field);
                check_paths(value, path, wrong);
                path.pop();
            }
        }
        Kind::List(list) => {
            for at in 0..list.len() {
                if let Some(Some(item)) = list.made(at) {
                    check_paths(item, path, wrong);
                }
            }
        }
        Kind::Map(Map::Entries { entries, .. }) => entries.values().for_each(|value| check_paths(value, path, wrong)),
        Kind::Optional(Some(inner)) => check_paths(inner, path, wrong),
        _ => {}
    }
}
