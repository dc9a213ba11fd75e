//! What is wrong with an expression, and what went wrong while it was evaluated, in upstream's words.

use std::fmt;

/// One thing that is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Line, from one.
    pub line: usize,
    /// Column in characters, from zero.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Why a text is no program. Displays as upstream words it: `compilation failed: ERROR: …` with each
/// line that has a problem and a caret below it, or `must evaluate to bool but got int`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The text has syntax or type errors.
    #[error("compilation failed: {text}")]
    Issues {
        /// All issues as they are shown.
        text: String,
        /// The issues.
        issues: Vec<Issue>,
    },
    /// The result is of another type than it should be.
    #[error("must evaluate to {expected} but got {found}")]
    Output {
        /// The type it should have, or `one of [bool string]`.
        expected: String,
        /// The type it has.
        found: String,
    },
}

/// Why an evaluation has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// The expression failed: `no such key: x`, `division by zero`, or that it costs more than one
    /// expression may.
    #[error("{0}")]
    Failed(String),
    /// The [`Budget`](super::Budget) that several expressions share is used up: no other may run.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    OutOfBudget,
}
