//! The protobuf form of built-in kinds (Kubernetes API concepts, "Protobuf encoding"), in which
//! typed Go clients, kubectl's `create` among them, send what they write and ask for what they read.
//!
//! Objects are turned into JSON and back along the table in [`facts`], so that everything behind
//! this module sees one form only, and no code is generated per message. A decoded object
//! is what a Go client would have sent as JSON: Go's protobuf writes zeroes where its JSON leaves
//! fields out, and those are left out here.

mod decode;
mod encode;
mod envelope;
pub mod facts;
mod list;
mod special;
mod wire;
mod zero;

pub use decode::{Object, decode};
pub use encode::{encode, put_object};
pub use list::{items, list, watch_event};
pub use zero::{blank, settle, unset};

/// Whether objects of a kind have this form. Custom resources do not.
pub fn is_known(api_version: &str, kind: &str) -> bool {
    facts::messages().of_kind(api_version, kind).is_some()
}

/// Media type of the form.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Why bytes are no object, or an object has no protobuf form.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first bytes are not those of the envelope.
    #[error("provided data does not appear to be a protobuf message, expected prefix {:?}", envelope::MAGIC)]
    Magic,
    /// The bytes end within a value.
    #[error("unexpected end of the protobuf message")]
    Truncated,
    /// A number of more than 64 bits, or field number 0.
    #[error("illegal number in the protobuf message")]
    Number,
    /// A field is encoded in a way that its type does not have.
    #[error("protobuf field {field} has an unexpected wire type")]
    WireType {
        /// Number of the field.
        field: u32,
    },
    /// Text that is not UTF-8.
    #[error("protobuf text is not valid UTF-8")]
    Text,
    /// Messages within messages without end.
    #[error("protobuf messages are nested more than {0} deep")]
    Depth(usize),
    /// Too many values for one object.
    #[error("the protobuf message has more than {0} values")]
    Values(usize),
    /// A time that no calendar has.
    #[error("protobuf time of {seconds} seconds is out of range")]
    Time {
        /// Seconds since 1970.
        seconds: i64,
    },
    /// An object, or one in it, that is not JSON.
    #[error("object is not JSON")]
    Json(#[source] serde_json::Error),
    /// The envelope says that its content is compressed or in another form.
    #[error("content of type \"{content_type}\", encoded as \"{encoding}\", cannot be read from a protobuf message")]
    Content {
        /// `contentType` of the envelope.
        content_type: String,
        /// `contentEncoding` of the envelope.
        encoding: String,
    },
    /// No such kind has a protobuf form.
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\"")]
    Kind {
        /// The version, such as `apps/v1`.
        api_version: String,
        /// The kind.
        kind: String,
    },
}

#[cfg(test)]
mod tests;
