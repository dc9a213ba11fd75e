//! Types whose JSON is not what their messages say: times, quantities, numbers or texts, and
//! embedded objects.

use serde_json::Value;

use super::{
    Error,
    facts::Kind,
    wire::{self, integer, text},
};
use crate::api::time;

/// Seconds of Go's zero time, the first second of year 1.
const GO_ZERO_SECONDS: i64 = -62_135_596_800;

/// The JSON of a time, quantity, or number or text; null if it is not set.
pub(super) fn decode(kind: Kind, bytes: &[u8]) -> Result<Value, Error> {
    let [first, second, third] = wire::first_three(bytes)?;
    match kind {
        Kind::Time => timestamp(integer(first, 1)?, 0, time::format),
        Kind::MicroTime => timestamp(integer(first, 1)?, integer(second, 2)?, time::format_micro),
        Kind::IntOrString if integer(first, 1)? == 0 => Ok((integer(second, 2)? as i32).into()),
        Kind::IntOrString => Ok(text(third, 3)?.into()),
        Kind::Quantity => {
            let quantity = text(first, 1)?;
            Ok(if quantity.is_empty() { Value::Null } else { quantity.into() })
        }
        _ => Ok(Value::Null),
    }
}

/// Writes a time, quantity, or number or text as field `field`; nothing if `text` is none.
pub(super) fn put_text(out: &mut Vec<u8>, field: u32, kind: Kind, text: &str) {
    match kind {
        Kind::Time | Kind::MicroTime => {
            let Some(time) = time::parse(text) else { return };
            wire::put_message(out, field, |out| {
                wire::put_integer(out, 1, time.as_second());
                wire::put_integer(out, 2, time.subsec_nanosecond().into());
            });
        }
        Kind::Quantity => wire::put_message(out, field, |out| wire::put_bytes(out, 1, text.as_bytes())),
        Kind::IntOrString => wire::put_message(out, field, |out| {
            wire::put_integer(out, 1, 1);
            wire::put_integer(out, 2, 0);
            wire::put_bytes(out, 3, text.as_bytes());
        }),
        _ => {}
    }
}

/// Likewise for a number.
pub(super) fn put_number(out: &mut Vec<u8>, field: u32, kind: Kind, number: i64) {
    match kind {
        Kind::Quantity => put_text(out, field, kind, &number.to_string()),
        Kind::IntOrString => wire::put_message(out, field, |out| {
            wire::put_integer(out, 1, 0);
            wire::put_integer(out, 2, number);
            wire::put_bytes(out, 3, b"");
        }),
        _ => {}
    }
}

fn timestamp(seconds: i64, nanos: i64, format: fn(jiff::Timestamp) -> String) -> Result<Value, Error> {
    if (seconds == 0 && nanos == 0) || seconds == GO_ZERO_SECONDS {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(nanos).map_err(|_| Error::Time { seconds })?;
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| Error::Time { seconds })?;
    Ok(format(time).into())
}
