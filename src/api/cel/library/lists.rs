//! Functions of lists: Kubernetes' own, and cel-go's `ext.Lists`, version 3.

use std::cmp::Ordering;

use super::Run;
use crate::api::cel::{
    error::Failure,
    value::{Comparison, Kind, List, Outcome, Value, compare},
};

/// Longer lists are not made.
const ITEM_LIMIT: i64 = 1_000_000;
/// How deep lists are flattened.
const DEPTH_LIMIT: i64 = 250;

macro_rules! comparable {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            "int",
            $after,
            ";",
            $before,
            "uint",
            $after,
            ";",
            $before,
            "double",
            $after,
            ";",
            $before,
            "bool",
            $after,
            ";",
            $before,
            "duration",
            $after,
            ";",
            $before,
            "timestamp",
            $after,
            ";",
            $before,
            "string",
            $after,
            ";",
            $before,
            "bytes",
            $after
        )
    };
}

const BEST: [&str; 2] = [
    "(list<int>).max() int; (list<uint>).max() uint; (list<double>).max() double; (list<bool>).max() bool; \
     (list<duration>).max() duration; (list<timestamp>).max() timestamp; (list<string>).max() string; \
     (list<bytes>).max() bytes",
    "(list<int>).min() int; (list<uint>).min() uint; (list<double>).min() double; (list<bool>).min() bool; \
     (list<duration>).min() duration; (list<timestamp>).min() timestamp; (list<string>).min() string; \
     (list<bytes>).min() bytes",
];
const SORT: &str = "(list<int>).sort() list<int>; (list<uint>).sort() list<uint>; (list<double>).sort() list<double>; \
                    (list<bool>).sort() list<bool>; (list<duration>).sort() list<duration>; \
                    (list<timestamp>).sort() list<timestamp>; (list<string>).sort() list<string>; \
                    (list<bytes>).sort() list<bytes>";

pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    (comparable!("(list<", ">).isSorted() bool"), |values| is_sorted(values[0].items()?)),
    ("(list<int>).sum() int", |values| sum(values[0].items()?, Kind::Int(0))),
    ("(list<uint>).sum() uint", |values| sum(values[0].items()?, Kind::Uint(0))),
    ("(list<double>).sum() double", |values| sum(values[0].items()?, Kind::Double(0.0))),
    ("(list<duration>).sum() duration", |values| sum(values[0].items()?, Kind::Duration(0))),
    (BEST[0], |values| best(values[0].items()?, "max", Ordering::Less)),
    (BEST[1], |values| best(values[0].items()?, "min", Ordering::Greater)),
    ("(list<A>).indexOf(A) int", |values| index_of(&values[0], &values[1], false)),
    ("(list<A>).lastIndexOf(A) int", |values| index_of(&values[0], &values[1], true)),
    ("(list<A>).slice(int, int) list<A>", |values| slice(values[0].items()?, values[1].int()?, values[2].int()?)),
    ("(list<list<A>>).flatten() list<A>", |values| flatten(values[0].items()?, 1)),
    ("(list<dyn>).flatten(int) list<dyn>", |values| flatten(values[0].items()?, values[1].int()?)),
    (SORT, |values| sort(values[0].items()?, values[0].items()?)),
    (comparable!("(list<A>).@sortByAssociatedKeys(list<", ">) list<A>"), |values| {
        sort(values[0].items()?, values[1].items()?)
    }),
    ("lists.range(int) list<int>", |values| match values[0].int()? {
        count if count > ITEM_LIMIT => Err(Failure::Limit),
        count => Ok(Value::list((0..count).map(Into::into).collect())),
    }),
    ("(list<A>).reverse() list<A>", |values| {
        let mut items = values[0].items()?.values()?;
        items.reverse();
        Ok(Value::list(items))
    }),
    ("(list<A>).distinct() list<A>", |values| distinct(values[0].items()?)),
];

fn is_sorted<'a>(list: &List<'a>) -> Outcome<'a> {
    let mut previous: Option<Value<'a>> = None;
    for item in list.iter() {
        let item = item?;
        if let Some(previous) = &previous
            && compare(previous, &item)?.is_gt()
        {
            return Ok(false.into());
        }
        previous = Some(item);
    }
    Ok(true.into())
}

fn sum<'a>(list: &List<'a>, zero: Kind<'a>) -> Outcome<'a> {
    let add = super::functions("_+_");
    let candidates: Vec<_> = add.iter().collect();
    let mut sum: Option<Value<'a>> = None;
    for item in list.iter() {
        let item = item?;
        sum = Some(match sum {
            None => item,
            Some(sum) => super::call("_+_", &candidates, &[sum, item])?,
        });
    }
    Ok(sum.unwrap_or(Value(zero)))
}

/// The item that none is better than: one is better if the best so far compares to it like that.
fn best<'a>(list: &List<'a>, name: &str, worse: Ordering) -> Outcome<'a> {
    let mut best: Option<Value<'a>> = None;
    for item in list.iter() {
        let item = item?;
        best = match best {
            Some(best) if compare(&best, &item)? != worse => Some(best),
            _ => Some(item),
        };
    }
    best.ok_or_else(|| Failure::new(format!("{name} called on empty list")))
}

fn index_of<'a>(list: &Value<'a>, wanted: &Value<'a>, last: bool) -> Outcome<'a> {
    let list = list.items()?;
    for step in 0..list.len() {
        let at = if last { list.len() - 1 - step } else { step };
        if let Some(item) = list.get(at)
            && Comparison::equal(&item?, wanted)?
        {
            return Ok(i64::try_from(at).unwrap_or(i64::MAX).into());
        }
    }
    Ok((-1).into())
}

fn slice<'a>(list: &List<'a>, start: i64, end: i64) -> Outcome<'a> {
    let refuse = |why: &str| Err(Failure::new(format!("cannot slice({start}, {end}), {why}")));
    let (Ok(from), Ok(to)) = (usize::try_from(start), usize::try_from(end)) else {
        return refuse("negative indexes not supported");
    };
    if start > end {
        return refuse("start index must be less than or equal to end index");
    }
    if to > list.len() {
        return refuse(&format!("list is length {}", list.len()));
    }
    if end - start > ITEM_LIMIT {
        return Err(Failure::Limit);
    }
    let items: Result<Vec<_>, Failure> = (from..to).filter_map(|at| list.get(at)).collect();
    items.map(Value::list)
}

fn flatten<'a>(list: &List<'a>, depth: i64) -> Outcome<'a> {
    if depth < 0 {
        return Err(Failure::new("level must be non-negative"));
    }
    let mut flat = Vec::new();
    spread(list, depth.min(DEPTH_LIMIT), &mut flat)?;
    Ok(Value::list(flat))
}

fn spread<'a>(list: &List<'a>, depth: i64, flat: &mut Vec<Value<'a>>) -> Result<(), Failure> {
    for item in list.iter() {
        match item? {
            Value(Kind::List(inner)) if depth > 0 => spread(&inner, depth - 1, flat)?,
            item => flat.push(item),
        }
        if flat.len() as u64 > ITEM_LIMIT.unsigned_abs() {
            return Err(Failure::Limit);
        }
    }
    Ok(())
}

/// The items in the order of their keys.
fn sort<'a>(list: &List<'a>, keys: &List<'a>) -> Outcome<'a> {
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = keys.values()?.into_iter().zip(list.values()?).collect();
    if pairs.windows(2).any(|two| two[0].0.kind().name() != two[1].0.kind().name()) {
        return Err(Failure::new("list elements must have the same type"));
    }
    if let [(key, _)] = pairs.as_slice() {
        compare(key, key)?;
    }
    let mut problem = None;
    pairs.sort_by(|(one, _), (other, _)| {
        compare(one, other).unwrap_or_else(|failure| {
            problem = Some(failure);
            Ordering::Equal
        })
    });
    match problem {
        Some(failure) => Err(failure),
        None => Ok(Value::list(pairs.into_iter().map(|(_, item)| item).collect())),
    }
}

fn distinct<'a>(list: &List<'a>) -> Outcome<'a> {
    let mut unique: Vec<Value<'a>> = Vec::new();
    'items: for item in list.values()? {
        for known in &unique {
            if Comparison::equal(known, &item)? {
                continue 'items;
            }
        }
        unique.push(item);
    }
    Ok(Value::list(unique))
}
