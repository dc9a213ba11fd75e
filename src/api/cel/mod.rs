//! The Common Expression Language as Kubernetes 1.36 speaks it: checked against types when it is
//! written, bounded in cost when it runs.
//!
//! An [`Environment`] says which variables there are and of what type. [`Program::compile`] parses and
//! checks a text against it, and [`Program::evaluate`] computes it with the values of an
//! [`Activation`], charging a [`Budget`]. Values borrow the JSON they were made of; nothing is
//! copied before something asks for it.
//!
//! The way of a text: [`lexer`] → [`parser`] (which expands the macros) → [`check`] (types, overloads) →
//! [`plan`] → [`evaluate`], and [`cost`] for the estimate that rules of custom resource definitions are held to.
//! Functions are in [`library`], one file for each of upstream's libraries.

mod activation;
mod ast;
mod authorizer;
mod budget;
mod check;
mod cost;
mod environment;
mod error;
mod escape;
mod evaluate;
mod lexer;
mod library;
mod parser;
mod plan;
mod program;
mod shape;
mod types;
mod value;

pub use activation::Activation;
pub use authorizer::{Authorizer, Decision, Identity, Question};
pub use budget::{Budget, CALL_LIMIT, MATCH_CONDITIONS_BUDGET, OBJECT_BUDGET};
pub use environment::Environment;
pub use error::{CompileError, EvaluationError, Issue};
pub use escape::escape;
pub use program::{CostEstimate, Program};
pub use shape::Shape;
pub use types::{Field, Fields, ObjectType, Opaque, Type};
pub use value::Value;

#[cfg(test)]
mod testing;
