//! What expressions cost, in upstream's units: [`actual`]ly, and by [`estimate`] from the bounds of schemas. Both
//! are part of the API's behaviour: they decide which rules may be written and which may go on.

pub(super) mod actual;
mod calls;
pub(super) mod estimate;
mod size;

/// What going through one character costs.
const CHARACTER: f64 = 0.1;
/// What one character of a pattern costs for each unit of the text.
const PATTERN: f64 = 0.25;
/// An authorization check: an expression may have two.
const CHECK: u64 = 350_000;
/// Creating a list.
const LIST: u64 = 10;
/// Creating a map.
const MAP: u64 = 30;
/// Creating a structure.
const STRUCTURE: u64 = 40;
