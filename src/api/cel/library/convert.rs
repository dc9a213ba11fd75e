//! Conversions between types: `int(…)`, `string(…)`, `type(…)`.

use std::sync::Arc;

use super::{Run, native::Native, time};
use crate::api::cel::{
    error::Failure,
    types::Type,
    value::{Kind, Outcome, Value},
};

pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    ("type(A) type<A>", |values| Ok(Value(Kind::Type(values[0].kind())))),
    ("dyn(A) dyn", |values| Ok(values[0].clone())),
    ("bool(bool) bool; bool(string) bool", |values| to_bool(&values[0])),
    ("bytes(bytes) bytes; bytes(string) bytes", |values| to_bytes(&values[0])),
    ("double(double) double; double(int) double; double(string) double; double(uint) double", |values| {
        to_double(&values[0])
    }),
    ("duration(duration) duration; duration(int) duration; duration(string) duration", |values| {
        to_duration(&values[0])
    }),
    (
        "int(int) int; int(double) int; int(duration) int; int(string) int; int(timestamp) int; int(uint) int",
        |values| to_int(&values[0]),
    ),
    (
        "string(string) string; string(bool) string; string(bytes) string; string(double) string; \
         string(duration) string; string(int) string; string(timestamp) string; string(uint) string; \
         string(ip) string; string(cidr) string",
        |values| to_string(&values[0]),
    ),
    ("timestamp(timestamp) timestamp; timestamp(int) timestamp; timestamp(string) timestamp", |values| {
        to_timestamp(&values[0])
    }),
    ("uint(uint) uint; uint(double) uint; uint(int) uint; uint(string) uint", |values| to_uint(&values[0])),
];

fn wrong(value: &Value<'_>, wanted: &Type) -> Failure {
    Failure::new(format!("type conversion error from '{}' to '{}'", value.kind().name(), wanted.name()))
}

fn to_bool<'a>(value: &Value<'a>) -> Outcome<'a> {
    match &value.0 {
        Kind::Bool(_) => Ok(value.clone()),
        Kind::String(text) => match &**text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true.into()),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false.into()),
            _ => Err(wrong(value, &Type::Bool)),
        },
        _ => Err(wrong(value, &Type::Bool)),
    }
}

fn to_bytes<'a>(value: &Value<'a>) -> Outcome<'a> {
    match &value.0 {
        Kind::Bytes(_) => Ok(value.clone()),
        Kind::String(text) => Ok(Value(Kind::Bytes(text.as_bytes().into()))),
        _ => Err(wrong(value, &Type::Bytes)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "large integers become the nearest double")]
fn to_double<'a>(value: &Value<'a>) -> Outcome<'a> {
    let double = match &value.0 {
        Kind::Double(_) => return Ok(value.clone()),
        Kind::Int(value) => Some(*value as f64),
        Kind::Uint(value) => Some(*value as f64),
        Kind::String(text) => text.parse().ok(),
        _ => None,
    };
    double.map(|double| Value(Kind::Double(double))).ok_or_else(|| wrong(value, &Type::Double))
}

fn to_duration<'a>(value: &Value<'a>) -> Outcome<'a> {
    match &value.0 {
        Kind::Duration(_) => Ok(value.clone()),
        Kind::String(text) => {
            let nanos = time::parse_duration(text).ok_or_else(|| wrong(value, &Type::Duration))?;
            Ok(Value(Kind::Duration(nanos)))
        }
        _ => Err(wrong(value, &Type::Duration)),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range was just checked")]
fn to_int<'a>(value: &Value<'a>) -> Outcome<'a> {
    Ok(Value(Kind::Int(match &value.0 {
        Kind::Int(value) => *value,
        Kind::Uint(value) => i64::try_from(*value).map_err(|_| Failure::new("integer overflow"))?,
        Kind::Double(value) if value.abs() < 9_223_372_036_854_775_807.0 => *value as i64,
        Kind::Double(_) => return Err(Failure::new("integer overflow")),
        Kind::Duration(nanos) => *nanos,
        Kind::Timestamp(time) => time.as_nanosecond().div_euclid(1_000_000_000) as i64,
        Kind::String(text) => go_integer(text).ok_or_else(|| wrong(value, &Type::Int))?,
        _ => return Err(wrong(value, &Type::Int)),
    })))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was just checked")]
fn to_uint<'a>(value: &Value<'a>) -> Outcome<'a> {
    let overflow = || Failure::new("unsigned integer overflow");
    Ok(Value(Kind::Uint(match &value.0 {
        Kind::Uint(value) => *value,
        Kind::Int(value) => u64::try_from(*value).map_err(|_| overflow())?,
        Kind::Double(value) if *value >= 0.0 && *value < 18_446_744_073_709_551_615.0 => *value as u64,
        Kind::Double(_) => return Err(overflow()),
        Kind::String(text) if !text.starts_with('+') => text.parse().map_err(|_| wrong(value, &Type::Uint))?,
        _ => return Err(wrong(value, &Type::Uint)),
    })))
}

fn go_integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn to_string<'a>(value: &Value<'a>) -> Outcome<'a> {
    text_of(value).map(Value::string)
}

/// A value as text, if it can be.
pub(super) fn text_of(value: &Value<'_>) -> Result<Arc<str>, Failure> {
    Ok(match &value.0 {
        Kind::String(text) => (**text).into(),
        Kind::Bool(value) => value.to_string().into(),
        Kind::Int(value) => value.to_string().into(),
        Kind::Uint(value) => value.to_string().into(),
        Kind::Double(value) => double_text(*value).into(),
        Kind::Duration(nanos) => time::write_duration(*nanos).into(),
        Kind::Timestamp(time) => time::write_timestamp(*time).into(),
        Kind::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => return Err(Failure::new("invalid UTF-8 in bytes, cannot convert to string")),
        },
        Kind::Native(Native::Ip(address)) => address.to_string().into(),
        Kind::Native(Native::Cidr(cidr)) => cidr.to_string().into(),
        Kind::Type(kind) => kind.name().into(),
        _ => return Err(wrong(value, &Type::String)),
    })
}

/// A double as Go's `%g` writes it: with an exponent if it is small or large.
pub(super) fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if value == 0.0 || (-4..6).contains(&exponent) {
        return value.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn to_timestamp<'a>(value: &Value<'a>) -> Outcome<'a> {
    let time = match &value.0 {
        Kind::Timestamp(_) => return Ok(value.clone()),
        Kind::Int(seconds) => jiff::Timestamp::from_second(*seconds).ok(),
        Kind::String(text) => match crate::api::time::parse(text) {
            Some(time) => Some(time),
            None => return Err(wrong(value, &Type::Timestamp)),
        },
        _ => return Err(wrong(value, &Type::Timestamp)),
    };
    let time = time.filter(|time| time::is_in_range(*time)).ok_or_else(|| Failure::new("timestamp overflow"))?;
    Ok(Value(Kind::Timestamp(time)))
}
