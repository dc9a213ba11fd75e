//! Types of values with what schemas say of their size.

use std::sync::Arc;

use super::{ObjectType, Type};
use crate::api::{custom::structural::Structural, schema};

/// A type, and how large values of it may be.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The type.
    pub kind: Type,
}

impl Shape {
    /// The shape of what a structural schema describes; `None` if expressions cannot see it. `root` says
    /// that it is a whole resource, which always has `apiVersion`, `kind` and the names in `metadata`.
    /// `name` names its object types in messages.
    pub fn of_structural(schema: &Structural, name: &str, root: bool) -> Option<Self> {
        todo!()
    }

    /// The shape of a built-in kind (for checking policies against the kinds they match).
    pub fn of_kind(schema: &schema::Schema) -> Self {
        todo!()
    }
}

/// A type of which nothing more is known.
impl From<Type> for Shape {
    fn from(kind: Type) -> Self {
        Self { kind }
    }
}

/// Makes a type with declared fields, such as that of the variable `request`.
impl ObjectType {
    /// A type `name` with these fields.
    pub fn new<'f>(name: &str, fields: impl IntoIterator<Item = (&'f str, Type)>) -> Arc<Self> {
        todo!()
    }
}
