//! What an update is checked for. Upstream's validation of an update looks at much of the object several times, and
//! says each time what it finds: `details.causes` of the answer are a fact that clients see.

/// One of the checks that a kind makes of an update, after those of metadata that every update passes
/// (`validateCommonFields` of apiserver's `registry/rest`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateCheck {
    /// All of the new metadata (`ValidateObjectMeta`).
    Metadata,
    /// The change of metadata (`ValidateObjectMetaUpdate`).
    MetadataChange,
    /// The rest of the new object ([`super::kind::Kind::validate_again`]).
    Object,
    /// The change of the rest ([`super::kind::Kind::validate_update`]).
    Change,
}

use UpdateCheck::{Change, Metadata, MetadataChange, Object};

/// The new object as if it were created, then the change.
pub const WHOLE_THEN_CHANGE: &[UpdateCheck] = &[Metadata, Object, MetadataChange, Change];
/// The change, then the new object as if it were created.
pub const CHANGE_THEN_WHOLE: &[UpdateCheck] = &[MetadataChange, Change, Metadata, Object];
/// The change of metadata alone, then the rest of the object and its change.
pub const CHANGE_THEN_OBJECT: &[UpdateCheck] = &[MetadataChange, Object, Change];
/// The new object as if it were created, and what about it may not change.
pub const WHOLE: &[UpdateCheck] = &[Metadata, Object, Change];
/// Nothing of metadata beyond what every kind checks.
pub const OBJECT: &[UpdateCheck] = &[Object, Change];
