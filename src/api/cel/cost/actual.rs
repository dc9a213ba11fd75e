//! What a call costs, by its arguments.

use super::{CHARACTER, CHECK, LIST, PATTERN, STRUCTURE, size::scale};
use crate::api::cel::{
    budget::CALL_LIMIT,
    library::{Overload, native::Native},
    types::Type,
    value::{Kind, Value},
};

/// What a call costs before it runs. `exact` is the function that was found when the expression was checked;
/// without it, since arguments are dynamic, most functions cost one.
pub(in crate::api::cel) fn before(function: &str, exact: Option<&Overload>, values: &[Value<'_>]) -> u64 {
    let size = |at: usize| values.get(at).map_or(1, Value::size);
    if let Some(cost) = exact.and_then(|overload| of_list(overload, values)) {
        return cost;
    }
    match function {
        "check" => CHECK,
        "fieldSelector" | "labelSelector" => selector(size(1)),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            let mut left = CALL_LIMIT + 1;
            values.first().map_or(0, |value| traversal(value, &mut left))
        }
        "url"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "jsonpatch.escapeKey"
        | "cidr"
        | "isIP"
        | "isCIDR"
        | "quantity"
        | "isQuantity"
        | "semver"
        | "isSemver" => scale(size(0), CHARACTER),
        "replace" | "split" | "ip.isCanonical" => scale(size(0), 2.0 * CHARACTER),
        // Charged by its result.
        "join" => 0,
        "find" | "findAll" => matching(size(0), size(1)),
        "ip" => match values.first().map(|value| &value.0) {
            Some(Kind::Native(Native::Cidr(_))) => 1,
            _ => scale(size(0), CHARACTER),
        },
        "containsIP" => scale(2 * size(0), CHARACTER) + parsed(values),
        "containsCIDR" => scale(2 * size(0), CHARACTER) + scale(size(0), CHARACTER) + 1 + parsed(values),
        "validate" => match values.first().map(|value| &value.0) {
            Some(Kind::Native(Native::Format(format))) => matching(size(1), format.pattern_length),
            _ => 1,
        },
        "_==_" if matches!(values[0].0, Kind::Native(_)) => 1,
        "_==_" | "_!=_" => scale(size(0).min(size(1)), CHARACTER),
        _ => exact.map_or(1, |overload| by_overload(overload, &size)),
    }
}

/// What a call costs once its result is known.
pub(in crate::api::cel) fn after(function: &str, result: &Value<'_>) -> Option<u64> {
    (function == "join").then(|| scale(result.size(), 2.0 * CHARACTER))
}

/// Functions that cost by the size of their arguments only if these are known to be of the right type.
fn by_overload(overload: &Overload, size: &impl Fn(usize) -> u64) -> u64 {
    let textual = matches!(overload.first(), Type::String | Type::Bytes);
    match &*overload.function {
        "startsWith" | "endsWith" | "format" | "strings.quote" => scale(size(0), CHARACTER),
        "bytes" if *overload.first() == Type::String => scale(size(0), CHARACTER),
        "string" if *overload.first() == Type::Bytes => scale(size(0), CHARACTER),
        "@in" if matches!(overload.arguments[1], Type::List(_)) => size(1),
        "_<_" | "_<=_" | "_>_" | "_>=_" if textual => scale(size(0).min(size(1)), CHARACTER),
        "_+_" if textual => scale(size(0) + size(1), CHARACTER),
        "matches" if overload.member => matching(size(0), size(1)),
        "contains" => scale(size(0), CHARACTER).saturating_mul(scale(size(1), CHARACTER)),
        _ => 1,
    }
}

/// Functions of lists that make lists, and of lists as sets.
fn of_list(overload: &Overload, values: &[Value<'_>]) -> Option<u64> {
    let size = |at: usize| values.get(at).map_or(1, Value::size);
    let allocated = |size: u64, factor: f64| truncated(size, factor).saturating_add(1 + LIST);
    Some(match &*overload.function {
        "sets.contains" | "sets.intersects" => 1 + size(0).saturating_mul(size(1)),
        "sets.equivalent" => 1 + size(0).saturating_mul(size(1)).saturating_mul(2),
        "slice" => match (&values[1].0, &values[2].0) {
            (Kind::Int(start), Kind::Int(end)) => {
                allocated(u64::try_from(end.saturating_sub(*start)).unwrap_or_default().min(size(0)), 1.0)
            }
            _ => allocated(0, 1.0),
        },
        "lists.range" => match values[0].0 {
            Kind::Int(count) => allocated(u64::try_from(count).unwrap_or_default(), 1.0),
            _ => allocated(0, 1.0),
        },
        "reverse" => allocated(size(0), 1.0),
        "flatten" => match values.get(1).map(|value| &value.0) {
            #[expect(clippy::cast_precision_loss, reason = "upstream's depth is a double too")]
            Some(Kind::Int(depth)) => allocated(size(0), *depth as f64),
            _ => allocated(size(0), 1.0),
        },
        "distinct" | "sort" => self_compared(&values[0]),
        "@sortByAssociatedKeys" => self_compared(&values[1]),
        _ => return None,
    })
}

fn self_compared(list: &Value<'_>) -> u64 {
    let first = match &list.0 {
        Kind::List(list) => list.get(0),
        _ => None,
    };
    let textual = matches!(first, Some(Ok(Value(Kind::String(_) | Kind::Bytes(_)))));
    let factor = if textual { 2.0 + CHARACTER } else { 2.0 };
    truncated(list.size().saturating_mul(list.size()), factor).saturating_add(1 + LIST)
}

/// What a text costs that is read before it is looked for.
fn parsed(values: &[Value<'_>]) -> u64 {
    values.get(1).and_then(Value::as_str).map_or(0, |text| scale(text.chars().count() as u64, CHARACTER))
}

/// Matching a text of a length with a pattern of a length.
fn matching(text: u64, pattern: u64) -> u64 {
    scale(text.saturating_add(1), CHARACTER).saturating_mul(scale(pattern, PATTERN))
}

/// Reading a selector of a length into its requirements.
fn selector(length: u64) -> u64 {
    let requirements = scale(length, 0.5);
    LIST + scale(length, CHARACTER) + requirements.saturating_mul(LIST + STRUCTURE)
}

/// Going through all of a value, up to what is left.
fn traversal(value: &Value<'_>, left: &mut u64) -> u64 {
    let cost = match &value.0 {
        Kind::String(text) => truncated(text.len() as u64, CHARACTER),
        Kind::Bytes(bytes) => truncated(bytes.len() as u64, CHARACTER),
        Kind::List(list) => {
            let mut cost = 0u64;
            for item in list.iter() {
                cost = cost.saturating_add(item.map_or(1, |item| traversal(&item, left)));
                *left = left.saturating_sub(1);
                if *left == 0 {
                    return CALL_LIMIT + 1;
                }
            }
            return cost;
        }
        Kind::Map(map) => {
            let entry = |key: &Value<'_>, left: &mut u64| {
                let value = map.get(key).ok().flatten().map_or(0, |value| traversal(&value, left));
                traversal(key, left).saturating_add(value)
            };
            return map.keys().iter().map(|key| entry(&key.value(), left)).fold(0, u64::saturating_add);
        }
        _ => 1,
    };
    *left = left.saturating_sub(cost);
    cost
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "costs are never negative, and what does not fit saturates"
)]
fn truncated(size: u64, factor: f64) -> u64 {
    (size as f64 * factor) as u64
}
