//! Validation rules of custom resources: expressions in CEL beside the parts of a schema that they
//! are about (KEP-2876). [`Rules`] is what a schema's rules are compiled into, once per definition;
//! [`validate`] holds an object against them.

mod evaluate;
pub mod field_path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;

use super::structural::Structural;
use crate::api::cel::{CompileError, Environment, Program, Shape, Type};

pub use evaluate::{validate, validate_at};

/// The value that a rule is about.
const SELF: &str = "self";
/// What it was before an update.
const OLD_SELF: &str = "oldSelf";
/// What object types are called in messages about them.
const TYPE_NAME: &str = "selfType";

/// The rules of a schema and of everything below it.
#[derive(Debug)]
pub struct Rules {
    shape: Option<Shape>,
    own: Box<[Rule]>,
    items: Option<Box<Rules>>,
    additional: Option<Box<Rules>>,
    properties: Box<[(Box<str>, Rules)]>,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// As it is written.
    pub source: ValidationRule,
    /// What must hold, or why it is no rule.
    pub program: Result<Program, String>,
    /// How the message is made, if there is an expression for that, or why it is none.
    pub message: Option<Result<Program, String>>,
    /// The field that a problem is reported at, below the value that the rule is about.
    pub field: Option<String>,
}

impl Rules {
    /// Compiles the rules of a schema, which is that of a whole resource if it is the `root`. `None` if
    /// there are none.
    pub fn compile(schema: &Structural, root: bool) -> Option<Self> {
        let below = |schema: &Structural| Self::compile(schema, schema.embedded);
        let boxed = |schema: &Option<Box<Structural>>| schema.as_deref().and_then(below).map(Box::new);
        let properties = schema.properties.iter();
        let mut rules = Self {
            shape: None,
            own: Box::default(),
            items: boxed(&schema.items),
            additional: boxed(&schema.additional),
            properties: properties.filter_map(|(name, schema)| Some((name.clone(), below(schema)?))).collect(),
        };
        if !schema.validations().is_empty() {
            rules.shape = shape_of(schema, root);
            let compile = |shape| schema.validations().iter().map(|rule| Rule::compile(rule, shape, schema)).collect();
            rules.own = rules.shape.as_ref().map(compile).unwrap_or_default();
        }
        let nothing = rules.own.is_empty() && rules.items.is_none() && rules.additional.is_none();
        (!nothing || !rules.properties.is_empty()).then_some(rules)
    }

    fn property(&self, name: &str) -> Option<&Self> {
        let at = self.properties.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.properties[at].1)
    }
}

impl Rule {
    /// Compiles a rule about values of a shape, which is that of `schema`.
    pub fn compile(rule: &ValidationRule, shape: &Shape, schema: &Structural) -> Self {
        let environment = environment(shape, rule.optional_old_self == Some(true));
        let program = Program::compile(&rule.rule, &environment, &[Type::Bool]);
        let message = rule.message_expression.as_deref().filter(|text| !text.is_empty());
        let field = rule.field_path.as_deref().filter(|path| !path.is_empty());
        Self {
            source: rule.clone(),
            program: program.map_err(|error| match error {
                CompileError::Output { .. } => "cel expression must evaluate to a bool".to_owned(),
                issues => issues.to_string(),
            }),
            message: message.map(|text| {
                Program::compile(text, &environment, &[Type::String]).map_err(|error| match error {
                    CompileError::Output { .. } => "messageExpression must evaluate to a string".to_owned(),
                    issues => format!("messageExpression {issues}"),
                })
            }),
            field: field.and_then(|path| Some(field_path::resolve(path, schema, true).ok()?.0.to_string())),
        }
    }

    /// Whether the rule is about a change.
    pub fn is_transition(&self) -> bool {
        self.program.as_ref().is_ok_and(|program| program.uses(OLD_SELF))
    }
}

/// The shape of values that rules of a schema are about.
pub fn shape_of(schema: &Structural, root: bool) -> Option<Shape> {
    Shape::of_structural(schema, TYPE_NAME, root)
}

fn environment(shape: &Shape, optional: bool) -> Environment {
    let environment = Environment::new().with_shape(SELF, shape.clone());
    if optional {
        environment.with(OLD_SELF, Type::optional(shape.kind.clone()))
    } else {
        environment.with_shape(OLD_SELF, shape.clone())
    }
}

#[cfg(test)]
mod tests;
