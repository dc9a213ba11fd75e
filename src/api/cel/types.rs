//! Types of expressions.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::shape::Shape;

/// The type of an expression or value. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Known at run time alone; goes wherever any other type goes.
    Dyn,
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A signed 64-bit integer.
    Int,
    /// An unsigned 64-bit integer.
    Uint,
    /// A 64-bit floating-point number.
    Double,
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// A point in time.
    Timestamp,
    /// A span of time.
    Duration,
    /// Items of one type.
    List(Arc<Type>),
    /// Keys and values of one type each.
    Map(Arc<Type>, Arc<Type>),
    /// Declared fields.
    Object(Arc<ObjectType>),
    /// A value of this type or none.
    Optional(Arc<Type>),
    /// The type of a type.
    Type(Arc<Type>),
    /// One of Kubernetes' own types, which only functions look into.
    Opaque(Opaque),
    /// A type yet to be found out, by its number; never the type of a finished program.
    Param(u32),
}

/// Kubernetes' own types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opaque {
    /// `url(…)`
    Url,
    /// `ip(…)`
    Ip,
    /// `cidr(…)`
    Cidr,
    /// `quantity(…)`
    Quantity,
    /// `semver(…)`
    Semver,
    /// `format.named(…)`
    Format,
    /// The variable `authorizer`.
    Authorizer,
    /// `authorizer.path(…)`
    PathCheck,
    /// `authorizer.group(…)`
    GroupCheck,
    /// `authorizer.group(…).resource(…)`
    ResourceCheck,
    /// `….check(…)`
    Decision,
}

/// A structure with declared fields. Two are the same type if they have the same name.
#[derive(Debug)]
pub struct ObjectType {
    /// Name, such as `kubernetes.AdmissionRequest`.
    pub name: Box<str>,
    /// Fields by the names that expressions use, which are [escaped](super::escape).
    pub fields: BTreeMap<Box<str>, Field>,
}

/// A field of an [`ObjectType`].
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name in JSON.
    pub property: Box<str>,
    /// Its type and bounds.
    pub shape: Shape,
}
