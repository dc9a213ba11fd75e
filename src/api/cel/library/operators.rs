//! Operators, `size`, `in` and indexing (cel-spec, "Standard definitions").

use jiff::{SignedDuration, Timestamp};

use super::Run;
use crate::api::cel::{
    error::Failure,
    library::time,
    value::{Comparison, Key, Kind, Map, Outcome, Text, Value, compare},
};

const NUMBERS: &str = "_+_(bytes, bytes) bytes; _+_(double, double) double; _+_(duration, duration) duration; \
                       _+_(duration, timestamp) timestamp; _+_(timestamp, duration) timestamp; _+_(int, int) int; \
                       _+_(list<A>, list<A>) list<A>; _+_(string, string) string; _+_(uint, uint) uint";

macro_rules! relation {
    ($name:literal) => {
        concat!(
            $name,
            "(bool, bool) bool;",
            $name,
            "(int, int) bool;",
            $name,
            "(int, double) bool;",
            $name,
            "(int, uint) bool;",
            $name,
            "(uint, uint) bool;",
            $name,
            "(uint, double) bool;",
            $name,
            "(uint, int) bool;",
            $name,
            "(double, double) bool;",
            $name,
            "(double, int) bool;",
            $name,
            "(double, uint) bool;",
            $name,
            "(string, string) bool;",
            $name,
            "(bytes, bytes) bool;",
            $name,
            "(timestamp, timestamp) bool;",
            $name,
            "(duration, duration) bool"
        )
    };
}

pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    // The evaluator knows these itself, since they do not need all their arguments.
    ("_?_:_(bool, A, A) A; _&&_(bool, bool) bool; _||_(bool, bool) bool", unreachable),
    ("_==_(A, A) bool", |values| Ok(Comparison::equal(&values[0], &values[1])?.into())),
    ("_!=_(A, A) bool", |values| Ok((!Comparison::equal(&values[0], &values[1])?).into())),
    ("@not_strictly_false(bool) bool", |values| Ok(values[0].clone())),
    ("!_(bool) bool", |values| Ok((!values[0].as_bool().ok_or_else(Failure::no_overload)?).into())),
    (NUMBERS, |values| add(&values[0], &values[1])),
    (
        "_-_(double, double) double; _-_(duration, duration) duration; _-_(int, int) int; \
         _-_(timestamp, duration) timestamp; _-_(timestamp, timestamp) duration; _-_(uint, uint) uint",
        |values| subtract(&values[0], &values[1]),
    ),
    ("_*_(double, double) double; _*_(int, int) int; _*_(uint, uint) uint", |values| multiply(&values[0], &values[1])),
    ("_/_(double, double) double; _/_(int, int) int; _/_(uint, uint) uint", |values| divide(&values[0], &values[1])),
    ("_%_(int, int) int; _%_(uint, uint) uint", |values| modulo(&values[0], &values[1])),
    ("-_(double) double; -_(int) int", |values| negate(&values[0])),
    (relation!("_<_"), |values| Ok(compare(&values[0], &values[1])?.is_lt().into())),
    (relation!("_<=_"), |values| Ok(compare(&values[0], &values[1])?.is_le().into())),
    (relation!("_>_"), |values| Ok(compare(&values[0], &values[1])?.is_gt().into())),
    (relation!("_>=_"), |values| Ok(compare(&values[0], &values[1])?.is_ge().into())),
    (
        "_[_](list<A>, int) A; _[_](map<A, B>, A) B; _[_](optional<list<A>>, int) optional<A>; \
         _[_](optional<map<A, B>>, A) optional<B>; _[?_](list<A>, int) optional<A>; \
         _[?_](optional<list<A>>, int) optional<A>; _[?_](map<A, B>, A) optional<B>; \
         _[?_](optional<map<A, B>>, A) optional<B>; _?._(dyn, string) optional<A>",
        unreachable,
    ),
    ("@in(A, list<A>) bool; @in(A, map<A, B>) bool", |values| contains(&values[0], &values[1])),
    (
        "size(bytes) int; (bytes).size() int; size(list<A>) int; (list<A>).size() int; size(map<A, B>) int; \
         (map<A, B>).size() int; size(string) int; (string).size() int",
        |values| Ok(i64::try_from(values[0].size()).unwrap_or(i64::MAX).into()),
    ),
    ("cel.@mapInsert(map<A, B>, A, B) map<A, B>", |values| insert(&values[0], &values[1], &values[2])),
    ("cel.@mapInsert(map<A, B>, map<A, B>) map<A, B>", |values| merge(&values[0], &values[1])),
];

fn unreachable<'a>(_: &[Value<'a>]) -> Outcome<'a> {
    Err(Failure::no_overload())
}

/// Whether a function is an operator.
pub(super) fn is_operator(name: &str) -> bool {
    name.contains('_') && !name.starts_with("cel.") || name == "@in" || name == "size"
}

/// The error of an operator that is not for such values.
pub(super) fn mismatch(name: &str, values: &[Value<'_>]) -> Failure {
    let known = match (name, values.first().map(|value| &value.0)) {
        ("@in" | "!_", _) => true,
        ("_+_", Some(kind)) => {
            !matches!(kind, Kind::Bool(_) | Kind::Null | Kind::Map(_) | Kind::Type(_) | Kind::Optional(_))
        }
        ("_-_", Some(kind)) => {
            matches!(kind, Kind::Int(_) | Kind::Uint(_) | Kind::Double(_) | Kind::Duration(_) | Kind::Timestamp(_))
        }
        ("_*_" | "_/_", Some(kind)) => matches!(kind, Kind::Int(_) | Kind::Uint(_) | Kind::Double(_)),
        ("_%_", Some(kind)) => matches!(kind, Kind::Int(_) | Kind::Uint(_)),
        ("_<_" | "_<=_" | "_>_" | "_>=_", Some(kind)) => !matches!(
            kind,
            Kind::Null
                | Kind::List(_)
                | Kind::Map(_)
                | Kind::Type(_)
                | Kind::Optional(_)
                | Kind::Native(_)
                | Kind::Instance(_)
        ),
        _ => false,
    };
    if known { Failure::no_overload() } else { Failure::new(format!("no such overload: {name}")) }
}

/// What decides whether a quantifier goes on: anything but `false`.
pub(in crate::api::cel) fn negated_or_true<'a>(found: Outcome<'a>) -> Outcome<'a> {
    match found {
        Ok(value) if value.as_bool().is_some() => Ok(value),
        Ok(_) | Err(Failure::Error(_)) => Ok(true.into()),
        Err(Failure::Limit) => Err(Failure::Limit),
    }
}

fn overflow(kind: &str) -> Failure {
    Failure::new(format!("{kind} overflow"))
}

fn int<'a>(value: Option<i64>) -> Outcome<'a> {
    value.map(Into::into).ok_or_else(|| overflow("integer"))
}

fn uint<'a>(value: Option<u64>) -> Outcome<'a> {
    value.map(|value| Value(Kind::Uint(value))).ok_or_else(|| overflow("unsigned integer"))
}

fn duration<'a>(nanos: Option<i64>) -> Outcome<'a> {
    nanos.map(|nanos| Value(Kind::Duration(nanos))).ok_or_else(|| overflow("duration"))
}

fn timestamp<'a>(time: Timestamp, nanos: Option<i64>) -> Outcome<'a> {
    let moved = nanos.and_then(|nanos| time.checked_add(SignedDuration::from_nanos(nanos)).ok());
    let moved = moved.filter(|time| time::is_in_range(*time));
    moved.map(|time| Value(Kind::Timestamp(time))).ok_or_else(|| overflow("timestamp"))
}

fn add<'a>(one: &Value<'a>, other: &Value<'a>) -> Outcome<'a> {
    match (&one.0, &other.0) {
        (Kind::Int(one), Kind::Int(other)) => int(one.checked_add(*other)),
        (Kind::Uint(one), Kind::Uint(other)) => uint(one.checked_add(*other)),
        (Kind::Double(one), Kind::Double(other)) => Ok(Value(Kind::Double(one + other))),
        (Kind::String(one), Kind::String(other)) => {
            Ok(Value(Kind::String(Text::Shared([&**one, other].concat().into()))))
        }
        (Kind::Bytes(one), Kind::Bytes(other)) => Ok(Value(Kind::Bytes([&**one, other].concat().into()))),
        (Kind::List(one), Kind::List(other)) => Ok(Value(Kind::List(one.join(other)?))),
        (Kind::Duration(one), Kind::Duration(other)) => duration(one.checked_add(*other)),
        (Kind::Timestamp(time), Kind::Duration(nanos)) | (Kind::Duration(nanos), Kind::Timestamp(time)) => {
            timestamp(*time, Some(*nanos))
        }
        _ => Err(Failure::no_overload()),
    }
}

fn subtract<'a>(one: &Value<'a>, other: &Value<'a>) -> Outcome<'a> {
    match (&one.0, &other.0) {
        (Kind::Int(one), Kind::Int(other)) => int(one.checked_sub(*other)),
        (Kind::Uint(one), Kind::Uint(other)) => uint(one.checked_sub(*other)),
        (Kind::Double(one), Kind::Double(other)) => Ok(Value(Kind::Double(one - other))),
        (Kind::Duration(one), Kind::Duration(other)) => duration(one.checked_sub(*other)),
        (Kind::Timestamp(time), Kind::Duration(nanos)) => timestamp(*time, nanos.checked_neg()),
        (Kind::Timestamp(one), Kind::Timestamp(other)) => {
            duration(i64::try_from(one.as_nanosecond() - other.as_nanosecond()).ok())
        }
        _ => Err(Failure::no_overload()),
    }
}

fn multiply<'a>(one: &Value<'a>, other: &Value<'a>) -> Outcome<'a> {
    match (&one.0, &other.0) {
        (Kind::Int(one), Kind::Int(other)) => int(one.checked_mul(*other)),
        (Kind::Uint(one), Kind::Uint(other)) => uint(one.checked_mul(*other)),
        (Kind::Double(one), Kind::Double(other)) => Ok(Value(Kind::Double(one * other))),
        _ => Err(Failure::no_overload()),
    }
}

fn divide<'a>(one: &Value<'a>, other: &Value<'a>) -> Outcome<'a> {
    match (&one.0, &other.0) {
        (Kind::Int(_), Kind::Int(0)) | (Kind::Uint(_), Kind::Uint(0)) => Err(Failure::new("division by zero")),
        (Kind::Int(one), Kind::Int(other)) => int(one.checked_div(*other)),
        (Kind::Uint(one), Kind::Uint(other)) => uint(one.checked_div(*other)),
        (Kind::Double(one), Kind::Double(other)) => Ok(Value(Kind::Double(one / other))),
        _ => Err(Failure::no_overload()),
    }
}

fn modulo<'a>(one: &Value<'a>, other: &Value<'a>) -> Outcome<'a> {
    match (&one.0, &other.0) {
        (Kind::Int(_), Kind::Int(0)) | (Kind::Uint(_), Kind::Uint(0)) => Err(Failure::new("modulus by zero")),
        (Kind::Int(one), Kind::Int(other)) => int(one.checked_rem(*other)),
        (Kind::Uint(one), Kind::Uint(other)) => uint(one.checked_rem(*other)),
        _ => Err(Failure::no_overload()),
    }
}

fn negate<'a>(value: &Value<'a>) -> Outcome<'a> {
    match value.0 {
        Kind::Int(value) => int(value.checked_neg()),
        Kind::Double(value) => Ok(Value(Kind::Double(-value))),
        Kind::Duration(nanos) => duration(nanos.checked_neg()),
        _ => Err(Failure::no_overload()),
    }
}

fn contains<'a>(item: &Value<'a>, container: &Value<'a>) -> Outcome<'a> {
    match &container.0 {
        Kind::List(list) => {
            for found in list.iter() {
                if Comparison::equal(item, &found?)? {
                    return Ok(true.into());
                }
            }
            Ok(false.into())
        }
        Kind::Map(map) => Ok(map.get(item)?.is_some().into()),
        _ => Err(Failure::no_overload()),
    }
}

fn insert<'a>(map: &Value<'a>, key: &Value<'a>, value: &Value<'a>) -> Outcome<'a> {
    let Kind::Map(map) = &map.0 else { return Err(Failure::no_overload()) };
    Ok(Value(Kind::Map(map.clone().inserted(key, value.clone())?)))
}

fn merge<'a>(map: &Value<'a>, other: &Value<'a>) -> Outcome<'a> {
    let (Kind::Map(map), Kind::Map(other)) = (&map.0, &other.0) else { return Err(Failure::no_overload()) };
    let mut merged: Map<'a> = map.clone();
    for key in other.keys() {
        let key: Value<'a> = Key::value(&key);
        if let Some(value) = other.get(&key)? {
            merged = merged.inserted(&key, value)?;
        }
    }
    Ok(Value(Kind::Map(merged)))
}
