//! Between untyped objects and the types of k8s-openapi, each way in one place: every type's code
//! is compiled once per (de)serializer that it meets, which made most of the executable's size
//! when there were five of them.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// What is wrong with an object.
pub type Error = serde_json::Error;

/// The typed form of an untyped value.
pub fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, Error> {
    T::deserialize(value)
}

/// The untyped form of a typed value.
pub fn encode<T: Serialize>(typed: &T) -> Result<Value, Error> {
    serde_json::to_value(typed)
}
