//! Events: what happened to an object, for people. `v1` and `events.k8s.io/v1` are two shapes of
//! the same stored objects, as upstream has it: objects are stored in the core shape under the
//! core resource, and [`convert`] turns one into the other at the door of the newer API.

pub mod convert;
pub mod core;
pub mod regarding;
mod validation;
