//! Validators that many kinds share, with the messages of apimachinery's `util/validation`.
//! Each takes the bare value and returns its problems as messages; callers give them a path with
//! [`crate::api::field::invalid_each`]. Rules are written out by hand: a regex engine would cost
//! more memory than all of them together.

pub mod metadata;
pub mod name;
pub mod network;
pub mod resource;
pub mod value;
pub mod webhook;

/// `must be no more than N bytes`: labels, in upstream's words.
pub fn too_long(limit_bytes: usize) -> String {
    format!("must be no more than {limit_bytes} bytes")
}

/// `must be no more than N characters`: names, in upstream's words. Bytes are counted all the same.
pub fn too_long_name(limit_bytes: usize) -> String {
    format!("must be no more than {limit_bytes} characters")
}

/// `must be non-empty`.
pub const EMPTY: &str = "must be non-empty";

/// `must be between LOW and HIGH, inclusive`.
pub fn between(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// A rule's message with its pattern and examples.
fn pattern(message: &str, pattern: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{pattern}')");
    }
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{pattern}')", examples.join(" or "))
}
