//! A compiled expression.

use super::{
    Activation, Budget, CompileError, Environment, EvaluationError, Type, Value,
    ast::{Expr, Kind},
    check::check,
    cost::estimate::estimate,
    error::issues,
    evaluate::Evaluator,
    parser::parse,
    plan::{Node, plan},
};

/// An expression that was parsed and checked.
#[derive(Debug)]
pub struct Program {
    source: Box<str>,
    output: Type,
    cost: CostEstimate,
    /// The variables it names, sorted.
    variables: Box<[Box<str>]>,
    node: Node,
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
        let mut parsed = parse(source).map_err(|problems| issues(source, problems))?;
        let facts = check(&mut parsed, environment).map_err(|problems| issues(source, problems))?;
        let output = facts.of(&parsed.root).clone();
        if !expected.is_empty() && !expected.contains(&output) {
            return Err(unexpected(&output, expected));
        }
        let node = plan(&parsed.root, &facts).map_err(CompileError::Constant)?;
        let cost = estimate(&parsed.root, &facts, environment);
        let mut variables = Vec::new();
        collect(&parsed.root, &mut variables);
        variables.sort();
        variables.dedup();
        let cost = CostEstimate { min: cost.min, max: cost.max };
        Ok(Self { source: source.into(), output, cost, variables: variables.into(), node })
    }

    /// The type of the result.
    pub fn output(&self) -> &Type {
        &self.output
    }

    /// The text, as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the text names a variable (or one of its fields, if the name has dots).
    pub fn uses(&self, variable: &str) -> bool {
        self.variables.binary_search_by(|known| (**known).cmp(variable)).is_ok()
    }

    /// What an evaluation may cost, by the shapes of the variables.
    pub fn estimated_cost(&self) -> CostEstimate {
        self.cost
    }

    /// Computes the result. What that costs, the `variables` it used first included, is taken from the
    /// budget, whether it succeeds or not.
    pub fn evaluate<'a>(&self, activation: &Activation<'a>, budget: &mut Budget) -> Result<Value<'a>, EvaluationError> {
        let mut evaluator = Evaluator::new(activation, budget.left(), 0);
        let found = evaluator.evaluate(&self.node);
        let (spent, on_variables) = evaluator.spent();
        if !budget.take(spent.saturating_add(on_variables)) {
            return Err(EvaluationError::OutOfBudget);
        }
        found.map_err(Into::into)
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }
}

fn unexpected(output: &Type, expected: &[Type]) -> CompileError {
    // Among several, null goes by the name of its type.
    let shown = |one: &Type| if *one == Type::Null { one.name().to_owned() } else { one.to_string() };
    let names: Vec<String> = expected.iter().map(shown).collect();
    let expected = match names.as_slice() {
        [one] => one.clone(),
        all => format!("one of [{}]", all.join(" ")),
    };
    CompileError::Output { expected, found: output.to_string() }
}

/// The names that a checked tree uses.
fn collect(expr: &Expr, names: &mut Vec<Box<str>>) {
    if let Kind::Ident(name) = &expr.kind {
        names.push(name.clone());
    }
    expr.children().into_iter().for_each(|child| collect(child, names));
}

#[cfg(test)]
mod tests;
