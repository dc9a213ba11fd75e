//! Admission: what may still change or refuse a write after it was authorized and decoded.

use serde_json::Value;

use crate::{api::kind::Descriptor, apiserver::attributes::Attributes};

/// What is about to happen to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A changed object.
    Update,
    /// A deletion.
    Delete,
    /// A subresource that opens a stream (exec, attach, portforward, proxy).
    Connect,
}

/// A write under review.
pub struct Request<'a> {
    /// Who asks for what.
    pub attributes: &'a Attributes,
    /// What happens.
    pub operation: Operation,
    /// The kind of the object.
    pub kind: &'a Descriptor,
    /// The object as it is stored; `None` on create.
    pub old: Option<&'a Value>,
    /// Nothing will be stored.
    pub dry_run: bool,
}
