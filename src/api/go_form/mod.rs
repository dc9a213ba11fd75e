//! Objects in the form that upstream's own structs have in JSON: refusals of an update end with what differs in
//! it (`util/diff` of apimachinery). [`structs`] knows the structs, a [`Form`] is a value as one of them, and
//! [`unified_diff`] compares two texts.

mod form;
mod structs;
mod unified_diff;

use serde::Serialize;

pub use form::Form;

/// Stands for a difference of objects that are too large to be shown.
const TOO_LARGE: &str = "the objects are too large to be compared\n";

/// What differs between two values of a Go type, such as `PodSpec` or `[]Container`: a unified diff of their forms
/// with a line feed behind each line.
pub fn difference(go_type: &'static str, old: &impl Serialize, new: &impl Serialize) -> String {
    match (Form::new(go_type, old).lines(), Form::new(go_type, new).lines()) {
        (Some(old), Some(new)) => unified_diff::unified_diff(&old, &new),
        _ => TOO_LARGE.to_owned(),
    }
}
