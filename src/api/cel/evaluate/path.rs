//! Selections: `a.b[0].?c`, `has(a.b)`, and choices, which selections may be made of. As upstream has it, a
//! choice costs nothing itself, and the variable that it comes to costs nothing either.

use super::{ACCESS, Evaluator, Slot};
use crate::api::cel::{
    error::Failure,
    plan::{Node, Path, Root, Step},
    value::{Kind, Outcome, Value},
};

impl<'p, 'a> Evaluator<'p, 'a> {
    pub(super) fn path(&mut self, path: &'p Path) -> Outcome<'a> {
        let found = self.unobserved(path)?;
        if !path.test && !matches!(path.root, Root::Choice(_)) {
            self.spend(ACCESS)?;
        }
        Ok(found)
    }

    /// The value of a path without what upstream charges for looking at it.
    fn unobserved(&mut self, path: &'p Path) -> Outcome<'a> {
        let root = match &path.root {
            Root::Variable(name) => self.named(name)?,
            Root::Local(place) => self.local(*place)?,
            Root::Value(node) => self.evaluate(node)?,
            Root::Choice(three) => self.choice(three)?,
        };
        self.select(root, path)
    }

    fn named(&mut self, name: &str) -> Outcome<'a> {
        let missing = || Failure::new(format!("no such attribute(s): {name}"));
        self.activation.value(name).ok_or_else(missing)
    }

    fn choice(&mut self, [condition, yes, no]: &'p [Node; 3]) -> Outcome<'a> {
        let condition = self.evaluate(condition)?;
        let chosen = if condition.as_bool().ok_or_else(Failure::no_overload)? { yes } else { no };
        match chosen {
            Node::Path(path) if !path.test => self.unobserved(path),
            node => self.evaluate(node),
        }
    }

    /// The variable of a macro.
    fn local(&mut self, place: usize) -> Outcome<'a> {
        if let Some(Slot::Lazy(start)) = self.stack.get(place) {
            let start = *start;
            // What is above was not there where it is written.
            let above = self.stack.split_off(place + 1);
            self.stack.pop();
            let found = self.evaluate(start);
            self.stack.truncate(place);
            self.stack.push(Slot::Ready(found));
            self.stack.extend(above);
        }
        match self.stack.get(place) {
            Some(Slot::Ready(found)) => found.clone(),
            _ => Err(Failure::new("no such attribute(s)")),
        }
    }

    fn select(&mut self, root: Value<'a>, path: &'p Path) -> Outcome<'a> {
        let (mut value, mut optional) = match root.0 {
            Kind::Optional(inner) if !path.steps.is_empty() => match inner {
                None if path.test => return Ok(false.into()),
                None => return Ok(Value::none()),
                Some(inner) => ((*inner).clone(), true),
            },
            _ => (root, false),
        };
        for (at, step) in path.steps.iter().enumerate() {
            let test = path.test && at + 1 == path.steps.len();
            optional |= step.optional;
            let key = self.key(step)?;
            match self.step(&value, &key, optional || test)? {
                found if test => {
                    self.spend(ACCESS)?;
                    return Ok(found.is_some().into());
                }
                Some(found) => {
                    self.spend(ACCESS)?;
                    value = found;
                }
                None if path.test => return Ok(false.into()),
                None => return Ok(Value::none()),
            }
        }
        Ok(if optional { Value::some(value) } else { value })
    }

    fn key(&mut self, step: &'p Step) -> Outcome<'a> {
        match &step.key {
            Node::Path(path) if !path.test => self.unobserved(path),
            node => self.evaluate(node),
        }
    }

    /// What is under a key. `None` if there is nothing and that may be; an error otherwise.
    fn step(&mut self, value: &Value<'a>, key: &Value<'a>, may_miss: bool) -> Result<Option<Value<'a>>, Failure> {
        let missing = |what: &str| Failure::new(format!("{what}: {}", key.shown()));
        let (found, what) = match &value.0 {
            Kind::Map(map) => (map.get(key)?, "no such key"),
            Kind::List(list) => {
                let index = index(key)?;
                (usize::try_from(index).ok().and_then(|index| list.get(index)).transpose()?, "index out of bounds")
            }
            Kind::Variables => (self.variable(key.as_str().unwrap_or_default())?, "no such key"),
            Kind::Instance(instance) => {
                let name = key.as_str().unwrap_or_default();
                let found = instance.fields.iter().find(|(field, _)| &**field == name);
                (found.map(|(_, value)| value.clone()), "no such key")
            }
            _ => (None, "no such key"),
        };
        match found {
            None if !may_miss => Err(missing(what)),
            found => Ok(found),
        }
    }
}

/// A place in a list; a whole `double` is one.
fn index(key: &Value<'_>) -> Result<i64, Failure> {
    match &key.0 {
        Kind::Int(index) => Ok(*index),
        Kind::Uint(index) => Ok(i64::try_from(*index).unwrap_or(i64::MAX)),
        #[expect(clippy::cast_possible_truncation, reason = "whole; what is out of range is no index anyway")]
        Kind::Double(index) if index.fract() == 0.0 => Ok(*index as i64),
        _ => Err(Failure::new(format!("unsupported index type '{}' in list", key.kind().name()))),
    }
}
