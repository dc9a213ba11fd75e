//! Computes values. Every step is charged as upstream charges it, and calls whose arguments say what they
//! cost are charged before they run.

mod fold;
mod path;

use std::{collections::BTreeMap, sync::Arc};

use super::{
    activation::{Activation, Defined},
    budget::CALL_LIMIT,
    cost,
    error::{EvaluationError, Failure},
    library,
    plan::{Call, Node},
    value::{Comparison, Instance, Key, Kind, Map, Outcome, Value},
};

/// How many nodes may be open at once, those of `variables` that are in use included.
const DEPTH_LIMIT: u32 = 500;
/// How deep the value of one of the `variables` may be nested.
const NESTING_LIMIT: u32 = 100;
/// What an access costs.
const ACCESS: u64 = 1;
const LIST: u64 = 10;
const MAP: u64 = 30;
const STRUCTURE: u64 = 40;

/// What is on the stack: accumulators, and the variables of macros.
#[derive(Debug)]
enum Slot<'p, 'a> {
    /// Computed when it is first needed.
    Lazy(&'p Node),
    Ready(Outcome<'a>),
}

/// One evaluation.
pub(super) struct Evaluator<'p, 'a> {
    activation: &'p Activation<'a>,
    stack: Vec<Slot<'p, 'a>>,
    spent: u64,
    /// What the `variables` that were computed on the way cost.
    spent_on_variables: u64,
    /// What may be spent on them.
    left: u64,
    depth: u32,
}

impl<'p, 'a: 'p> Evaluator<'p, 'a> {
    /// Begins at a depth, with what is left of the budget.
    pub fn new(activation: &'p Activation<'a>, left: u64, depth: u32) -> Self {
        Self { activation, stack: Vec::new(), spent: 0, spent_on_variables: 0, left, depth }
    }

    /// What was spent on the expression, and on `variables`.
    pub fn spent(&self) -> (u64, u64) {
        (self.spent, self.spent_on_variables)
    }

    fn spend(&mut self, cost: u64) -> Result<(), Failure> {
        self.spent = self.spent.saturating_add(cost);
        if self.spent > CALL_LIMIT { Err(Failure::Limit) } else { Ok(()) }
    }

    /// The value of a node.
    pub fn evaluate(&mut self, node: &'p Node) -> Outcome<'a> {
        if let Node::Constant(value) = node {
            return Ok(value.clone());
        }
        if self.depth >= DEPTH_LIMIT {
            return Err(Failure::new("expression is nested too deeply"));
        }
        self.depth += 1;
        let found = self.node(node);
        self.depth -= 1;
        found
    }

    fn node(&mut self, node: &'p Node) -> Outcome<'a> {
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Path(path) => self.path(path),
            Node::And(both) => self.logic(both, false),
            Node::Or(both) => self.logic(both, true),
            Node::Call(call) => self.call(call),
            Node::Pattern(call, pattern, run) => {
                let arguments = self.arguments(call)?;
                self.charge(call, &arguments)?;
                run(pattern, &arguments)
            }
            Node::Lenient(inner) => {
                let found = self.evaluate(inner);
                self.spend(1)?;
                library::negated_or_true(found)
            }
            Node::Default { optional, other, unwrap } => {
                let found = self.evaluate(optional)?;
                match &found.0 {
                    Kind::Optional(None) => self.evaluate(other),
                    Kind::Optional(Some(inner)) if *unwrap => Ok((**inner).clone()),
                    _ => Ok(found),
                }
            }
            Node::OneOf(item, constants) => {
                let item = self.evaluate(item)?;
                for constant in constants {
                    if Comparison::equal(&item, constant)? {
                        return Ok(true.into());
                    }
                }
                Ok(false.into())
            }
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Structure { name, fields } => self.structure(name, fields),
            Node::Fold(fold) => self.fold(fold),
            Node::Extend { place, items } => self.extend(*place, items),
            Node::Insert { place, key, value } => self.insert(*place, key, value),
            Node::Merge { place, entries } => self.merge(*place, entries),
        }
    }

    /// `&&` and `||`: one operand may decide, whatever the other one is.
    fn logic(&mut self, both: &'p [Node; 2], decisive: bool) -> Outcome<'a> {
        let mut failure = None;
        for operand in both {
            match self.evaluate(operand) {
                Ok(value) => match value.as_bool() {
                    Some(found) if found == decisive => return Ok(value),
                    Some(_) => {}
                    None => failure = failure.or_else(|| Some(Failure::no_overload())),
                },
                Err(Failure::Limit) => return Err(Failure::Limit),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or_else(|| Ok((!decisive).into()), Err)
    }

    fn call(&mut self, call: &'p Call) -> Outcome<'a> {
        let arguments = self.arguments(call)?;
        self.charge(call, &arguments)?;
        let result = library::call(&call.function, &call.overloads, &arguments)?;
        if let Some(cost) = cost::actual::after(&call.function, &result) {
            self.spend(cost)?;
        }
        Ok(result)
    }

    fn arguments(&mut self, call: &'p Call) -> Result<Vec<Value<'a>>, Failure> {
        call.arguments.iter().map(|argument| self.evaluate(argument)).collect()
    }

    fn charge(&mut self, call: &Call, arguments: &[Value<'a>]) -> Result<(), Failure> {
        let exact = match call.overloads.as_slice() {
            [overload] => Some(*overload),
            _ => None,
        };
        self.spend(cost::actual::before(&call.function, exact, arguments))
    }

    fn list(&mut self, items: &'p [(Node, bool)]) -> Outcome<'a> {
        let mut values = Vec::with_capacity(items.len());
        for (item, optional) in items {
            let value = self.evaluate(item)?;
            let refuse = |value: &Value<'_>| {
                format!("cannot initialize optional list element from non-optional value {}", value.shown())
            };
            values.extend(present(value, *optional, refuse)?);
        }
        self.spend(LIST)?;
        Ok(Value::list(values))
    }

    fn map(&mut self, entries: &'p [(Node, Node, bool)]) -> Outcome<'a> {
        let mut map = BTreeMap::new();
        for (key, value, optional) in entries {
            let (key, value) = (self.evaluate(key)?, self.evaluate(value)?);
            let refuse = |value: &Value<'_>| {
                let (key, value) = (key.shown(), value.shown());
                format!("cannot initialize optional entry '{key}' from non-optional value {value}")
            };
            if let Some(value) = present(value, *optional, refuse)? {
                let unsupported = || Failure::new(format!("unsupported key type: {}", key.kind().name()));
                map.insert(Key::of(&key).ok_or_else(unsupported)?, value);
            }
        }
        self.spend(MAP)?;
        Ok(Value(Kind::Map(Map::new(map))))
    }

    fn structure(&mut self, name: &str, fields: &'p [(Box<str>, Node, bool)]) -> Outcome<'a> {
        let mut values: Vec<(Box<str>, Value<'a>)> = Vec::with_capacity(fields.len());
        for (field, value, optional) in fields {
            let value = self.evaluate(value)?;
            let refuse = |value: &Value<'_>| {
                format!("cannot initialize optional entry '{field}' from non-optional value {}", value.shown())
            };
            values.retain(|(known, _)| known != field);
            values.extend(present(value, *optional, refuse)?.map(|value| (field.clone(), value)));
        }
        self.spend(STRUCTURE)?;
        if name == "JSONPatch"
            && let Some((field, _)) =
                values.iter().find(|(field, value)| &**field != "value" && value.as_str().is_none())
        {
            return Err(Failure::new(format!("unexpected type for JSONPatchType '{field}' field")));
        }
        let nesting = 1 + values.iter().map(|(_, value)| value.nesting()).max().unwrap_or_default();
        Ok(Value(Kind::Instance(Arc::new(Instance { name: name.into(), fields: values, nesting }))))
    }

    /// The value of `variables.<name>`, computed when it is first used.
    fn variable(&mut self, name: &str) -> Result<Option<Value<'a>>, Failure> {
        let Some(defined) = self.activation.defined(name) else { return Ok(None) };
        if defined.value.get().is_none() {
            let computed = self.compute(defined)?;
            // It may have been computed on the way already, to the same.
            _ = defined.value.set(computed);
        }
        match defined.value.get() {
            Some(Ok(value)) => Ok(Some(value.clone())),
            Some(Err(error)) => Err(Failure::new(format!("composited variable {name:?} fails to evaluate: {error}"))),
            None => Ok(None),
        }
    }

    fn compute(&mut self, defined: &Defined<'a>) -> Result<Result<Value<'a>, EvaluationError>, Failure> {
        let name = defined.name;
        let wrap = |error| Failure::new(format!("composited variable {name:?} fails to compile: {error}"));
        let program = defined.program.map_err(wrap)?;
        let mut evaluator = Evaluator::new(self.activation, self.left, self.depth);
        let found = evaluator.evaluate(program.node());
        let (spent, on_variables) = evaluator.spent();
        let cost = spent.saturating_add(on_variables);
        self.spent_on_variables = self.spent_on_variables.saturating_add(cost);
        self.left = self.left.saturating_sub(cost);
        if self.left == 0 {
            return Err(Failure::Limit);
        }
        Ok(match found {
            Ok(value) if value.nesting() > NESTING_LIMIT => {
                Err(EvaluationError::Failed("value is nested too deeply".into()))
            }
            found => found.map_err(Into::into),
        })
    }
}

/// A value, or what is in it if it is optional.
fn present<'a>(
    value: Value<'a>,
    optional: bool,
    refuse: impl Fn(&Value<'_>) -> String,
) -> Result<Option<Value<'a>>, Failure> {
    match &value.0 {
        _ if !optional => Ok(Some(value)),
        Kind::Optional(inner) => Ok(inner.as_deref().cloned()),
        _ => Err(Failure::new(refuse(&value))),
    }
}

#[cfg(test)]
mod tests;
