//! JSON as values.

use std::sync::Arc;

use base64::Engine as _;
use serde_json::Value as Json;

use super::{Kind, List, Map, Outcome, Text, Value};
use crate::api::cel::{error::Failure, library::time, shape::Shape, types::Type};

/// Without a schema.
pub(super) fn untyped(json: &Json) -> Value<'_> {
    Value(match json {
        Json::Null => Kind::Null,
        Json::Bool(value) => Kind::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Kind::Int(whole),
            None => Kind::Double(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Kind::String(Text::Borrowed(text)),
        Json::Array(items) => Kind::List(List::of_json(items, None)),
        Json::Object(fields) => Kind::Map(Map::Json { fields, shape: None }),
    })
}

/// With a schema.
pub(super) fn shaped<'a>(json: &'a Json, shape: &'a Shape) -> Outcome<'a> {
    if json.is_null() && shape.kind != Type::Dyn {
        return if shape.nullable {
            Ok(Value::null())
        } else {
            Err(Failure::new("invalid data, got null for schema with nullable=false"))
        };
    }
    let kind = match (&shape.kind, json) {
        (Type::Dyn, _) => return Ok(untyped(json)),
        (Type::List(_), Json::Array(items)) => Kind::List(List::of_json(items, Some(shape))),
        (Type::Map(..) | Type::Object(_), Json::Object(fields)) => Kind::Map(Map::Json { fields, shape: Some(shape) }),
        (Type::Bool, Json::Bool(value)) => Kind::Bool(*value),
        (Type::Int, Json::Number(number)) => Kind::Int(number.as_i64().ok_or_else(|| invalid(shape, json))?),
        (Type::Double, Json::Number(number)) => Kind::Double(number.as_f64().unwrap_or_default()),
        (kind, Json::String(text)) => scalar(kind, text, shape, json)?,
        _ => return Err(invalid(shape, json)),
    };
    Ok(Value(kind))
}

/// What text stands for.
fn scalar<'a>(kind: &Type, text: &'a str, shape: &Shape, json: &Json) -> Result<Kind<'a>, Failure> {
    let broken = |what: &str| Failure::new(format!("Invalid {what} {text}"));
    Ok(match kind {
        Type::String => Kind::String(Text::Borrowed(text)),
        Type::Duration => Kind::Duration(time::any_duration(text).ok_or_else(|| broken("duration"))?),
        Type::Timestamp => {
            Kind::Timestamp(time::any_timestamp(text).ok_or_else(|| broken("date-time formatted string"))?)
        }
        Type::Bytes => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text);
            Kind::Bytes(Arc::from(bytes.map_err(|_| broken("byte formatted string"))?))
        }
        _ => return Err(invalid(shape, json)),
    })
}

fn invalid(shape: &Shape, json: &Json) -> Failure {
    let found = match json {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "float64",
        Json::Number(_) => "int64",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    Failure::new(format!("invalid data, expected {}, got {found}", shape.kind.name()))
}
