//! Timestamps and durations: how they are read and written, and what they are made of.

use jiff::{
    Timestamp, Zoned,
    tz::{Offset, TimeZone},
};

use super::Run;
use crate::api::{
    cel::{
        error::Failure,
        value::{Kind, Outcome, Value},
    },
    time,
};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// The first second of the year one.
const FIRST_SECOND: i64 = -62_135_596_800;

macro_rules! part {
    ($name:literal) => {
        concat!("(timestamp).", $name, "() int; (timestamp).", $name, "(string) int")
    };
}

pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    (part!("getFullYear"), |values| part(values, |time| time.year().into())),
    (part!("getMonth"), |values| part(values, |time| i64::from(time.month()) - 1)),
    (part!("getDayOfYear"), |values| part(values, |time| i64::from(time.day_of_year()) - 1)),
    (part!("getDayOfMonth"), |values| part(values, |time| i64::from(time.day()) - 1)),
    (part!("getDate"), |values| part(values, |time| time.day().into())),
    (part!("getDayOfWeek"), |values| part(values, |time| time.weekday().to_sunday_zero_offset().into())),
    (part!("getHours"), |values| part(values, |time| time.hour().into())),
    (part!("getMinutes"), |values| part(values, |time| time.minute().into())),
    (part!("getSeconds"), |values| part(values, |time| time.second().into())),
    (part!("getMilliseconds"), |values| part(values, |time| time.millisecond().into())),
    ("(duration).getHours() int", |values| units(values, HOUR)),
    ("(duration).getMinutes() int", |values| units(values, MINUTE)),
    ("(duration).getSeconds() int", |values| units(values, SECOND)),
    ("(duration).getMilliseconds() int", |values| units(values, SECOND / 1000)),
];

fn units<'a>(values: &[Value<'a>], unit: i64) -> Outcome<'a> {
    match values[0].0 {
        Kind::Duration(nanos) => Ok((nanos / unit).into()),
        _ => Err(Failure::no_overload()),
    }
}

/// A part of a time, in UTC or in the zone that is given.
fn part<'a>(values: &[Value<'a>], read: fn(&Zoned) -> i64) -> Outcome<'a> {
    let Kind::Timestamp(time) = values[0].0 else { return Err(Failure::no_overload()) };
    let zone = match values.get(1) {
        Some(name) => zone(name.text()?)?,
        None => TimeZone::UTC,
    };
    Ok(read(&time.to_zoned(zone)).into())
}

/// `Europe/Berlin`, or an offset such as `-08:00`.
fn zone(name: &str) -> Result<TimeZone, Failure> {
    let unknown = || Failure::new(format!("unknown time zone {name}"));
    let Some((hours, minutes)) = name.split_once(':') else {
        return match name {
            "" | "UTC" => Ok(TimeZone::UTC),
            _ => TimeZone::get(name).map_err(|_| unknown()),
        };
    };
    let (hours, minutes): (i32, i32) = match (hours.parse(), minutes.parse()) {
        (Ok(hours), Ok(minutes)) => (hours, minutes),
        _ => return Err(unknown()),
    };
    if hours.abs() > 24 || minutes.abs() > 60 {
        return Err(unknown());
    }
    let minutes = if name.starts_with('-') { hours * 60 - minutes } else { hours * 60 + minutes };
    Offset::from_seconds(minutes * 60).map(TimeZone::fixed).map_err(|_| unknown())
}

/// Whether expressions can have the time: from the year one on.
pub(in crate::api::cel) fn is_in_range(time: Timestamp) -> bool {
    time.as_second() >= FIRST_SECOND
}

/// A time as RFC 3339 with as many digits of a fraction as it has.
pub(in crate::api::cel) fn write_timestamp(time: Timestamp) -> String {
    time.to_string()
}

/// A duration in seconds: `1.5s`.
pub(in crate::api::cel) fn write_duration(nanos: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "upstream's seconds are a double too")]
    let seconds = (nanos / SECOND) as f64 + (nanos % SECOND) as f64 / 1e9;
    format!("{seconds}s")
}

/// A duration as Go writes them: `1h2m3.5s`, `-300ms`, `0`.
pub(in crate::api::cel) fn parse_duration(text: &str) -> Option<i64> {
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0i128;
    while !rest.is_empty() {
        let end = rest.find(|next: char| !next.is_ascii_digit() && next != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|next: char| next.is_ascii_digit() || next == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        sum = sum.checked_add(amount(number, nanos_of(unit)?)?)?;
        rest = after;
    }
    i64::try_from(if negative { -sum } else { sum }).ok()
}

fn nanos_of(unit: &str) -> Option<i64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    })
}

/// `1.5` of a unit, in nanoseconds.
fn amount(number: &str, unit: i64) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() > 19 {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = &fraction[..fraction.len().min(18)];
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let places = 10i128.pow(u32::try_from(fraction.len()).ok()?);
    Some(whole * i128::from(unit) + part * i128::from(unit) / places)
}

/// A duration as schemas allow it: as [`parse_duration`] reads it, or `3 days` and the like.
pub(in crate::api::cel) fn any_duration(text: &str) -> Option<i64> {
    if let Some(nanos) = parse_duration(text) {
        return Some(nanos);
    }
    let end = text.find(|next: char| !next.is_ascii_digit())?;
    let unit = match text[end..].trim() {
        "ns" | "nano" => 1,
        "us" | "µs" | "micro" => 1000,
        "ms" | "milli" => SECOND / 1000,
        "s" | "sec" => SECOND,
        "m" | "min" => MINUTE,
        "h" | "hr" | "hour" => HOUR,
        "d" | "day" | "days" => 24 * HOUR,
        "w" | "wk" | "week" | "weeks" => 7 * 24 * HOUR,
        _ => return None,
    };
    text[..end].parse::<i64>().ok()?.checked_mul(unit)
}

/// A time or a date, which is its first second.
pub(in crate::api::cel) fn any_timestamp(text: &str) -> Option<Timestamp> {
    if text.len() == 10 {
        let date: jiff::civil::Date = text.parse().ok()?;
        return date.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp());
    }
    time::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("1h2m3.5s", Some(3_723_500_000_000)),
            ("-1.5ms", Some(-1_500_000)),
            (".5s", Some(500_000_000)),
            ("1µs", Some(1000)),
            ("", None),
            ("1", None),
            ("s", None),
            ("1d", None),
            ("9999999999h", None),
        ] {
            assert_eq!(parse_duration(text), nanos, "{text}");
        }
        assert_eq!(any_duration("2 days"), Some(48 * HOUR));
        assert_eq!(write_duration(3_723_500_000_000), "3723.5s");
    }
}
