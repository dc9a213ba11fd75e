//! Values of expressions.

use std::marker::PhantomData;

use serde_json::Value as Json;

use super::{Authorizer, EvaluationError, Question, Shape, Type};

/// A value, which may borrow the JSON it stands for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Value<'a> {
    of: PhantomData<&'a ()>,
}

/// JSON without a schema: numbers are `int` or `double`, times are text.
impl<'a> From<&'a Json> for Value<'a> {
    fn from(json: &'a Json) -> Self {
        todo!()
    }
}

impl<'a> Value<'a> {
    /// JSON with a schema, which tells timestamps, durations and bytes from text, objects from maps,
    /// and how lists are compared and joined.
    pub fn shaped(json: &'a Json, shape: &'a Shape) -> Self {
        todo!()
    }

    /// `null`
    pub fn null() -> Self {
        todo!()
    }

    /// The value of the variable `authorizer`.
    pub fn authorizer(authorizer: &'a dyn Authorizer) -> Self {
        todo!()
    }

    /// The value of `authorizer.requestResource`: the question without its verb.
    pub fn resource_check(authorizer: &'a dyn Authorizer, resource: Question) -> Self {
        todo!()
    }

    /// The type of the value.
    pub fn kind(&self) -> Type {
        todo!()
    }

    /// The value, if it is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        todo!()
    }

    /// The text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        todo!()
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        todo!()
    }

    /// The JSON that the value stands for. Optional values without a value disappear from lists and
    /// maps; an error if it or a part of it has no JSON form.
    pub fn to_json(&self) -> Result<Json, EvaluationError> {
        todo!()
    }

    /// The name of the type of each `Object…{}` in the value must be the path to it, or this is an error
    /// that says which is not (`ApplyConfiguration` of mutating policies).
    pub fn check_object_paths(&self) -> Result<(), EvaluationError> {
        todo!()
    }
}
