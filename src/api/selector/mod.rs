//! Selectors: which objects a list, a watch or a controller means. Labels are selected by text
//! (`app=web,tier in (a,b),!old`) or by a LabelSelector object, fields by text only.

pub mod field;
pub mod label;
mod lexer;

pub use field::FieldSelector;
pub use label::LabelSelector;

/// A selector that could not be read, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A requirement is malformed, or its key or values are no labels.
    #[error("unable to parse requirement: {0}")]
    Requirement(String),
    /// Something between requirements is malformed.
    #[error("{0}")]
    Form(String),
    /// `operator` of a LabelSelector expression is unknown.
    #[error("\"{0}\" is not a valid label selector operator")]
    Operator(String),
    /// A field selector's term has no operator.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Term {
        /// The whole selector.
        selector: String,
        /// The term.
        term: String,
    },
    /// A backslash stands before something that needs none, or at the end.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// The selector is longer than is reasonable.
    #[error("selector is longer than {limit_bytes} bytes")]
    TooLong {
        /// The limit.
        limit_bytes: usize,
    },
}

/// Longest selector that is read.
const LIMIT_BYTES: usize = 64 * 1024;

fn check_length(text: &str) -> Result<(), Error> {
    if text.len() > LIMIT_BYTES { Err(Error::TooLong { limit_bytes: LIMIT_BYTES }) } else { Ok(()) }
}
