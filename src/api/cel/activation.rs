//! The values that an expression is evaluated with.

use std::cell::OnceCell;

use super::{CompileError, EvaluationError, Program, Value, value::Kind};

/// Values of an environment's variables, for one evaluation or for many in a row.
#[derive(Debug, Default)]
pub struct Activation<'a> {
    values: Vec<(&'a str, Value<'a>)>,
    defined: Vec<Defined<'a>>,
}

/// An expression that has a name, evaluated when it is first used.
#[derive(Debug)]
pub(super) struct Defined<'a> {
    pub name: &'a str,
    pub program: Result<&'a Program, &'a CompileError>,
    pub value: OnceCell<Result<Value<'a>, EvaluationError>>,
}

impl<'a> Activation<'a> {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a variable its value: `activation.bind("object", Value::from(&object))`. An unbound variable
    /// is an error once it is used.
    pub fn bind(&mut self, name: &'a str, value: Value<'a>) {
        self.values.retain(|(known, _)| *known != name);
        self.values.push((name, value));
    }

    /// Says how `variables.<name>` is computed. It is evaluated with this activation when it is first
    /// used, once; what it costs is taken from the budget of the evaluation that used it. One
    /// that did not compile is an error at its use.
    pub fn define(&mut self, name: &'a str, program: Result<&'a Program, &'a CompileError>) {
        self.defined.push(Defined { name, program, value: OnceCell::new() });
    }

    pub(super) fn value(&self, name: &str) -> Option<Value<'a>> {
        if name == super::environment::VARIABLES {
            return Some(Value(Kind::Variables));
        }
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    pub(super) fn defined(&self, name: &str) -> Option<&Defined<'a>> {
        self.defined.iter().find(|defined| defined.name == name)
    }
}
