//! Lists as sets (cel-go's `ext.Sets`).

use super::Run;
use crate::api::cel::{
    error::Failure,
    value::{Comparison, List, Value},
};

pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    ("sets.contains(list<A>, list<A>) bool", |values| Ok(contains(values[0].items()?, values[1].items()?)?.into())),
    ("sets.equivalent(list<A>, list<A>) bool", |values| {
        let (one, other) = (values[0].items()?, values[1].items()?);
        Ok((contains(one, other)? && contains(other, one)?).into())
    }),
    ("sets.intersects(list<A>, list<A>) bool", |values| {
        let other = values[1].items()?;
        for item in values[0].items()?.iter() {
            if has(other, &item?)? {
                return Ok(true.into());
            }
        }
        Ok(false.into())
    }),
];

fn contains(list: &List<'_>, all: &List<'_>) -> Result<bool, Failure> {
    for item in all.iter() {
        if !has(list, &item?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has(list: &List<'_>, item: &Value<'_>) -> Result<bool, Failure> {
    for found in list.iter() {
        if Comparison::equal(&found?, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}
