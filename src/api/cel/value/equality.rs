//! Which values are the same, and which come first.

use std::cmp::Ordering;

use super::{Instance, Kind, List, Map, Value};
use crate::api::{cel::error::Failure, custom::structural::ListKind};

/// How many values one comparison may look at: nesting makes it more than its cost says.
const WORK_LIMIT: usize = 10_000_000;
/// How deep it may go.
const DEPTH_LIMIT: usize = 500;

/// One comparison of two values.
pub(in crate::api::cel) struct Comparison {
    work: usize,
    depth: usize,
}

impl Comparison {
    /// Whether two values are the same. Numbers are by what they are worth; values of different types differ.
    pub fn equal(one: &Value<'_>, other: &Value<'_>) -> Result<bool, Failure> {
        Self { work: 0, depth: 0 }.same(one, other)
    }

    fn same(&mut self, one: &Value<'_>, other: &Value<'_>) -> Result<bool, Failure> {
        self.work += 1;
        if self.work > WORK_LIMIT || self.depth > DEPTH_LIMIT {
            return Err(Failure::Limit);
        }
        self.depth += 1;
        let same = self.decide(one, other);
        self.depth -= 1;
        same
    }

    fn decide(&mut self, one: &Value<'_>, other: &Value<'_>) -> Result<bool, Failure> {
        Ok(match (&one.0, &other.0) {
            (Kind::Null, Kind::Null) | (Kind::Variables, Kind::Variables) => true,
            (Kind::Bool(one), Kind::Bool(other)) => one == other,
            (Kind::String(one), Kind::String(other)) => **one == **other,
            (Kind::Bytes(one), Kind::Bytes(other)) => one == other,
            (Kind::Timestamp(one), Kind::Timestamp(other)) => one == other,
            (Kind::Duration(one), Kind::Duration(other)) => one == other,
            (Kind::Type(one), Kind::Type(other)) => one.name() == other.name(),
            (Kind::Native(one), Kind::Native(other)) => one.same(other),
            (Kind::List(one), Kind::List(other)) => self.lists(one, other)?,
            (Kind::Map(one), Kind::Map(other)) => self.maps(one, other)?,
            (Kind::Instance(one), Kind::Instance(other)) => self.instances(one, other)?,
            (Kind::Optional(one), Kind::Optional(other)) => match (one, other) {
                (Some(one), Some(other)) => self.same(one, other)?,
                (one, other) => one.is_none() && other.is_none(),
            },
            _ => numbers(one, other) == Some(Ordering::Equal),
        })
    }

    fn lists(&mut self, one: &List<'_>, other: &List<'_>) -> Result<bool, Failure> {
        if one.len() != other.len() {
            return Ok(false);
        }
        match one.list_kind() {
            ListKind::Atomic => {
                for (one, other) in one.iter().zip(other.iter()) {
                    if !self.same(&one?, &other?)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            kind => match one.pairs(other)? {
                None => Ok(false),
                Some(_) if *kind == ListKind::Set => Ok(true),
                Some(pairs) => {
                    for (one, other) in pairs {
                        if !self.same(&one, &other)? {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                }
            },
        }
    }

    fn maps(&mut self, one: &Map<'_>, other: &Map<'_>) -> Result<bool, Failure> {
        if one.len() != other.len() {
            return Ok(false);
        }
        for key in one.keys() {
            let key = key.value();
            match (one.get(&key)?, other.get(&key)?) {
                (Some(one), Some(other)) if self.same(&one, &other)? => {}
                (None, None) => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    fn instances(&mut self, one: &Instance<'_>, other: &Instance<'_>) -> Result<bool, Failure> {
        if one.name != other.name || one.fields.len() != other.fields.len() {
            return Ok(false);
        }
        for (name, value) in &one.fields {
            let Some((_, found)) = other.fields.iter().find(|(known, _)| known == name) else { return Ok(false) };
            if !self.same(value, found)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Which of two values comes first (`<` and its like).
pub(in crate::api::cel) fn compare(one: &Value<'_>, other: &Value<'_>) -> Result<Ordering, Failure> {
    let nan = |value: &Value<'_>| matches!(value.0, Kind::Double(number) if number.is_nan());
    Ok(match (&one.0, &other.0) {
        (Kind::Bool(one), Kind::Bool(other)) => one.cmp(other),
        (Kind::String(one), Kind::String(other)) => (**one).cmp(other),
        (Kind::Bytes(one), Kind::Bytes(other)) => one.cmp(other),
        (Kind::Timestamp(one), Kind::Timestamp(other)) => one.cmp(other),
        (Kind::Duration(one), Kind::Duration(other)) => one.cmp(other),
        _ if nan(one) || nan(other) => return Err(Failure::new("NaN values cannot be ordered")),
        _ => numbers(one, other).ok_or_else(Failure::no_overload)?,
    })
}

/// The order of two numbers by what they are worth; `None` if one is none.
fn numbers(one: &Value<'_>, other: &Value<'_>) -> Option<Ordering> {
    Some(match (&one.0, &other.0) {
        (Kind::Double(one), Kind::Double(other)) => one.partial_cmp(other)?,
        (Kind::Double(one), _) => against(*one, whole(other)?)?,
        (_, Kind::Double(other)) => against(*other, whole(one)?)?.reverse(),
        _ => whole(one)?.cmp(&whole(other)?),
    })
}

fn whole(value: &Value<'_>) -> Option<i128> {
    match value.0 {
        Kind::Int(value) => Some(value.into()),
        Kind::Uint(value) => Some(value.into()),
        _ => None,
    }
}

/// The order of a double and an integer of 64 bits.
fn against(double: f64, integer: i128) -> Option<Ordering> {
    #[expect(clippy::cast_possible_truncation, reason = "what is out of range saturates, and is out of 64 bits too")]
    let floor = double.floor() as i128;
    let fraction = double > double.floor();
    (!double.is_nan()).then(|| floor.cmp(&integer).then(if fraction { Ordering::Greater } else { Ordering::Equal }))
}
