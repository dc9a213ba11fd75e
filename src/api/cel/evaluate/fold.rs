//! Loops of macros, and what they do to their accumulators, which nobody else has and which are therefore
//! changed in place.

use super::{ACCESS, Evaluator, Slot};
use crate::api::cel::{
    error::Failure,
    plan::{Loop, Node},
    value::{Key, Kind, List, Map, Outcome, Value},
};

/// What a call costs that has no cost of its own.
const CALL: u64 = 1;

impl<'p, 'a> Evaluator<'p, 'a> {
    pub(super) fn fold(&mut self, fold: &'p Loop) -> Outcome<'a> {
        let range = self.evaluate(&fold.range)?;
        let place = self.stack.len();
        self.stack.push(Slot::Lazy(&fold.start));
        let ran = self.run(fold, &range, place);
        self.stack.truncate(place + 1);
        let result = match ran {
            Ok(()) => self.evaluate(&fold.result),
            Err(failure) => Err(failure),
        };
        self.stack.truncate(place);
        result
    }

    fn run(&mut self, fold: &'p Loop, range: &Value<'a>, place: usize) -> Result<(), Failure> {
        match &range.0 {
            Kind::List(list) => {
                for at in 0..list.len() {
                    let Some(item) = list.get(at) else { break };
                    let item = item?;
                    let at = Value::from(i64::try_from(at).unwrap_or(i64::MAX));
                    let variables = if fold.two { [Some(at), Some(item)] } else { [Some(item), None] };
                    if !self.turn(fold, place, variables)? {
                        break;
                    }
                }
                Ok(())
            }
            Kind::Map(map) => {
                for key in map.keys() {
                    let key = Key::value(&key);
                    let value = if fold.two { Some(map.get(&key)?.unwrap_or_else(Value::null)) } else { None };
                    if !self.turn(fold, place, [Some(key), value])? {
                        break;
                    }
                }
                Ok(())
            }
            _ => Err(Failure::new(format!("got '{}', expected iterable type", range.kind().name()))),
        }
    }

    /// One turn; false if the loop is at its end.
    fn turn(&mut self, fold: &'p Loop, place: usize, variables: [Option<Value<'a>>; 2]) -> Result<bool, Failure> {
        self.stack.truncate(place + 1);
        self.stack.extend(variables.into_iter().flatten().map(|value| Slot::Ready(Ok(value))));
        match self.evaluate(&fold.condition) {
            Ok(value) if value.as_bool() == Some(false) => return Ok(false),
            Err(Failure::Limit) => return Err(Failure::Limit),
            _ => {}
        }
        let found = self.evaluate(&fold.step);
        if let Err(Failure::Limit) = found {
            return Err(Failure::Limit);
        }
        self.stack[place] = Slot::Ready(found);
        Ok(true)
    }

    /// Takes an accumulator from its place; the loop puts the next one there.
    fn take(&mut self, place: usize) -> Outcome<'a> {
        self.spend(ACCESS)?;
        let slot = std::mem::replace(&mut self.stack[place], Slot::Ready(Err(Failure::no_overload())));
        match slot {
            Slot::Ready(found) => found,
            Slot::Lazy(start) => self.evaluate(start),
        }
    }

    pub(super) fn extend(&mut self, place: usize, items: &'p Node) -> Outcome<'a> {
        let items = self.evaluate(items);
        let accumulated = self.take(place)?;
        let Kind::List(items) = items?.0 else { return Err(Failure::no_overload()) };
        self.spend(CALL)?;
        let Kind::List(mut list) = accumulated.0 else { return Err(Failure::no_overload()) };
        list = match items.len() {
            1 => list.pushed(items.get(0).ok_or_else(Failure::no_overload)??)?,
            _ => List::join(&list, &items)?,
        };
        Ok(Value(Kind::List(list)))
    }

    pub(super) fn insert(&mut self, place: usize, key: &'p Node, value: &'p Node) -> Outcome<'a> {
        let (key, value) = (self.evaluate(key), self.evaluate(value));
        let accumulated = self.take(place)?;
        let (key, value) = (key?, value?);
        self.spend(CALL)?;
        Ok(Value(Kind::Map(map_of(accumulated)?.inserted(&key, value)?)))
    }

    pub(super) fn merge(&mut self, place: usize, entries: &'p Node) -> Outcome<'a> {
        let entries = self.evaluate(entries);
        let accumulated = self.take(place)?;
        let (entries, mut map) = (map_of(entries?)?, map_of(accumulated)?);
        self.spend(CALL)?;
        for key in entries.keys() {
            let key = key.value();
            if let Some(value) = entries.get(&key)? {
                map = map.inserted(&key, value)?;
            }
        }
        Ok(Value(Kind::Map(map)))
    }
}

fn map_of(value: Value<'_>) -> Result<Map<'_>, Failure> {
    match value.0 {
        Kind::Map(map) => Ok(map),
        _ => Err(Failure::no_overload()),
    }
}
