//! Match conditions: expressions that say whether a webhook or policy is asked about a request.

use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use super::super::one_of_many;
use crate::api::{
    cel::{Activation, Budget, CompileError, EvaluationError, MATCH_CONDITIONS_BUDGET, Program, Value},
    kinds::admission_registration::expressions::Compiler,
};

/// The match conditions of a webhook or policy.
#[derive(Debug)]
pub struct Conditions {
    all: Vec<Result<Program, CompileError>>,
    /// Whether it is an error if they cannot be evaluated; otherwise they do not hold then.
    fails: bool,
}

impl Conditions {
    /// Compiles conditions. What does not compile is an error once it is evaluated.
    pub fn new(conditions: &[MatchCondition], compiler: &Compiler, fails: bool) -> Self {
        let all = conditions.iter().map(|condition| compiler.condition(condition.expression.trim())).collect();
        Self { all, fails }
    }

    /// Whether all of them hold. One that does not hold counts for more than others that fail.
    pub fn hold<'a>(&'a self, activation: &Activation<'a>) -> Result<bool, String> {
        let mut budget = Budget::new(MATCH_CONDITIONS_BUDGET);
        let mut problems = Vec::new();
        for program in &self.all {
            match evaluate(program, activation, &mut budget) {
                Ok(value) if value.as_bool() == Some(false) => return Ok(false),
                Ok(_) => {}
                Err(Problem::OutOfBudget(problem)) => {
                    problems = vec![problem];
                    break;
                }
                Err(Problem::Failed(problem)) => problems.push(problem),
            }
        }
        match (problems.is_empty(), self.fails) {
            (true, _) => Ok(true),
            (false, true) => Err(one_of_many(problems)),
            (false, false) => Ok(false),
        }
    }
}

/// Why an expression has no value.
pub enum Problem {
    /// This one failed.
    Failed(String),
    /// No other may be evaluated.
    OutOfBudget(String),
}

/// Evaluates an expression, if it is one.
pub fn evaluate<'a>(
    program: &'a Result<Program, CompileError>,
    activation: &Activation<'a>,
    budget: &mut Budget,
) -> Result<Value<'a>, Problem> {
    let program = program.as_ref().map_err(|error| Problem::Failed(format!("compilation error: {error}")))?;
    program.evaluate(activation, budget).map_err(|error| match error {
        EvaluationError::OutOfBudget => Problem::OutOfBudget(error.to_string()),
        failed => Problem::Failed(format!("expression '{}' resulted in error: {failed}", program.source())),
    })
}
