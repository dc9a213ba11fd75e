//! Optional values (cel-go's `OptionalTypes`). Selection by `?` and the functions that need not look at their
//! last argument are the evaluator's.

use super::Run;
use crate::api::cel::{
    error::Failure,
    value::{Kind, Outcome, Value},
};

pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    ("optional.of(A) optional<A>", |values| Ok(Value::some(values[0].clone()))),
    ("optional.ofNonZeroValue(A) optional<A>", |values| {
        Ok(if values[0].is_zero() { Value::none() } else { Value::some(values[0].clone()) })
    }),
    ("optional.none() optional<A>", |_| Ok(Value::none())),
    ("(optional<A>).value() A", |values| inner(&values[0])?.ok_or_else(|| Failure::new("optional.none() dereference"))),
    ("(optional<A>).hasValue() bool", |values| Ok(inner(&values[0])?.is_some().into())),
    ("(optional<A>).or(optional<A>) optional<A>", |values| {
        Ok(values[usize::from(inner(&values[0])?.is_none())].clone())
    }),
    ("(optional<A>).orValue(A) A", |values| Ok(inner(&values[0])?.unwrap_or_else(|| values[1].clone()))),
    ("(list<A>).first() optional<A>", |values| at(&values[0], 0)),
    ("(list<A>).last() optional<A>", |values| at(&values[0], values[0].items()?.len().saturating_sub(1))),
    ("optional.unwrap(list<optional<A>>) list<A>; (list<optional<A>>).unwrapOpt() list<A>", |values| {
        let items = values[0].items()?.values()?;
        let inner: Result<Vec<_>, Failure> = items.iter().map(inner).collect();
        Ok(Value::list(inner?.into_iter().flatten().collect()))
    }),
];

fn inner<'a>(value: &Value<'a>) -> Result<Option<Value<'a>>, Failure> {
    match &value.0 {
        Kind::Optional(inner) => Ok(inner.as_deref().cloned()),
        _ => Err(Failure::new(format!("value {} is not optional", value.shown()))),
    }
}

fn at<'a>(list: &Value<'a>, at: usize) -> Outcome<'a> {
    Ok(list.items()?.get(at).transpose()?.map_or_else(Value::none, Value::some))
}
