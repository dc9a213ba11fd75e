//! Quantities of resources: `quantity('1Gi').isLessThan(quantity('2Gi'))`.

use super::{Run, native::Native};
use crate::api::{
    cel::{
        error::Failure,
        value::{Kind, Outcome, Value},
    },
    quantity::{Format, Quantity},
};

pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    ("quantity(string) quantity", |values| {
        let parsed: Result<Quantity, _> = values[0].text()?.parse();
        Ok(Native::Quantity(parsed.map_err(|error| Failure::new(error.to_string()))?).into())
    }),
    ("isQuantity(string) bool", |values| Ok(values[0].text()?.parse::<Quantity>().is_ok().into())),
    ("sign(quantity) int", |values| Ok((quantity(&values[0])?.cmp(&Quantity::default()) as i64).into())),
    ("(quantity).isGreaterThan(quantity) bool", |values| Ok((quantity(&values[0])? > quantity(&values[1])?).into())),
    ("(quantity).isLessThan(quantity) bool", |values| Ok((quantity(&values[0])? < quantity(&values[1])?).into())),
    ("(quantity).compareTo(quantity) int", |values| {
        Ok((quantity(&values[0])?.cmp(&quantity(&values[1])?) as i64).into())
    }),
    ("(quantity).asApproximateFloat() double", |values| Ok(Value(Kind::Double(quantity(&values[0])?.approximate())))),
    ("(quantity).asInteger() int", |values| {
        let whole = quantity(&values[0])?.whole();
        whole.map(Into::into).ok_or_else(|| Failure::new("cannot convert value to integer"))
    }),
    ("(quantity).isInteger() bool", |values| Ok(quantity(&values[0])?.whole().is_some().into())),
    ("(quantity).add(quantity) quantity; (quantity).add(int) quantity", |values| {
        joined(values, |one, other| one + other)
    }),
    ("(quantity).sub(quantity) quantity; (quantity).sub(int) quantity", |values| {
        joined(values, |one, other| one - other)
    }),
];

fn quantity(value: &Value<'_>) -> Result<Quantity, Failure> {
    match value.native()? {
        Native::Quantity(quantity) => Ok(*quantity),
        _ => Err(Failure::no_overload()),
    }
}

fn joined<'a>(values: &[Value<'a>], join: fn(Quantity, Quantity) -> Quantity) -> Outcome<'a> {
    let other = match values[1].0 {
        Kind::Int(whole) => Quantity::new(whole, Format::DecimalExponent),
        _ => quantity(&values[1])?,
    };
    Ok(Native::Quantity(join(quantity(&values[0])?, other)).into())
}
