//! What tests of expressions have in common.

use serde_json::Value as Json;

use super::{Activation, Budget, CompileError, Environment, Program, Type, Value};

/// The environment of [`evaluate`]: `object`, of no known type.
pub(super) fn environment() -> Environment {
    Environment::new().with("object", Type::Dyn).with_patch_types()
}

/// The result as JSON, or the error.
pub(super) fn evaluate(source: &str, object: &Json) -> Result<Json, String> {
    let program = Program::compile(source, &environment(), &[]).map_err(|error| error.to_string())?;
    let mut activation = Activation::new();
    activation.bind("object", Value::from(object));
    let found = program.evaluate(&activation, &mut Budget::new(u64::MAX));
    found.and_then(|value| value.to_json()).map_err(|error| error.to_string())
}

/// Sees that every expression is true, or that it fails as is said after ` !! `.
pub(super) fn hold(expressions: &[&str]) {
    let mut problems = Vec::new();
    for expression in expressions {
        let (source, expected) = expression.split_once(" !! ").unwrap_or((expression, ""));
        match evaluate(source, &Json::Null) {
            Ok(Json::Bool(true)) if expected.is_empty() => {}
            Err(message) if !expected.is_empty() && message.contains(expected) => {}
            found => problems.push(format!("{expression}\n    {found:?}")),
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// Why a text does not compile.
pub(super) fn refused(source: &str, environment: &Environment) -> String {
    match Program::compile(source, environment, &[]) {
        Ok(program) => format!("compiles to {}", program.output()),
        Err(CompileError::Issues { issues, .. }) => {
            issues.iter().map(|issue| issue.message.clone()).collect::<Vec<_>>().join("; ")
        }
        Err(error) => error.to_string(),
    }
}
