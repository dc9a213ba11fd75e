//! A compiled expression.

use super::{Activation, Budget, CompileError, Environment, EvaluationError, Type, Value};

/// An expression that was parsed and checked.
#[derive(Debug)]
pub struct Program {
    output: Type,
}

/// What an expression costs at least and at most, by the bounds of its variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostEstimate {
    /// At least.
    pub min: u64,
    /// At most.
    pub max: u64,
}

impl Program {
    /// Parses and checks a text. Its result must be of one of the `expected` types exactly (`dyn` is
    /// no `bool`); any will do if there are none.
    pub fn compile(source: &str, environment: &Environment, expected: &[Type]) -> Result<Self, CompileError> {
        todo!()
    }

    /// The type of the result.
    pub fn output(&self) -> &Type {
        &self.output
    }

    /// The text, as it was written.
    pub fn source(&self) -> &str {
        todo!()
    }

    /// Whether the text uses a variable that the environment declared.
    pub fn uses(&self, variable: &str) -> bool {
        todo!()
    }

    /// What an evaluation may cost, by the shapes of the variables.
    pub fn estimated_cost(&self) -> CostEstimate {
        todo!()
    }

    /// Computes the result. What that costs, the `variables` it used first included, is taken from the
    /// budget, whether it succeeds or not.
    pub fn evaluate<'a>(
        &'a self,
        activation: &Activation<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvaluationError> {
        todo!()
    }
}
