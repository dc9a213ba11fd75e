//! Patches: what a PATCH request makes of an object. JSON patch and JSON merge patch know nothing
//! of kinds; a strategic merge patch goes by the kind's schema. Custom resources take the first
//! two only.
//!
//! A patched object is a tree like any decoded body: check it with [`crate::api::schema::check`].

pub mod apply;
pub mod json;
pub mod merge;
pub mod strategic;

use serde_json::Value;

use crate::api::{
    Status,
    field::{self, Path},
    go,
    schema::{self, LIMIT_BYTES, Schema},
    status::Reason,
};

/// How a patch is written: the content type of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// `application/json-patch+json` (RFC 6902)
    Json,
    /// `application/merge-patch+json` (RFC 7386)
    Merge,
    /// `application/strategic-merge-patch+json`
    Strategic,
    /// `application/apply-patch+yaml`: server-side apply, which [`apply()`] does not do: see the module
    /// of that name.
    Apply,
}

/// The content types of [`PatchType`], in its order.
pub const CONTENT_TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// Those that custom resources take: no merge key is known of their lists, so that a strategic merge
/// would not know what belongs together.
pub const CUSTOM_CONTENT_TYPES: [&str; 3] = [CONTENT_TYPES[0], CONTENT_TYPES[1], CONTENT_TYPES[3]];

/// The content types of patches that a kind takes.
pub fn content_types(custom: bool) -> &'static [&'static str] {
    if custom { &CUSTOM_CONTENT_TYPES } else { &CONTENT_TYPES }
}

impl PatchType {
    /// The type that a `Content-Type` header names; parameters such as a charset are ignored.
    pub fn from_content_type(header: &str) -> Option<Self> {
        let media_type = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let all = [Self::Json, Self::Merge, Self::Strategic, Self::Apply];
        CONTENT_TYPES.iter().position(|known| *known == media_type).map(|at| all[at])
    }
}

/// The object that `patch` makes of `object`. Not for [`PatchType::Apply`].
///
/// Fails with 400 for a malformed patch, 413 for one that is too large, 415 for an apply patch, and
/// 422 for a JSON patch that does not fit the object.
pub fn apply(kind: PatchType, object: Value, patch: &[u8], schema: &Schema) -> Result<Value, Status> {
    if patch.len() > LIMIT_BYTES {
        let message = format!("Request entity too large: limit is {LIMIT_BYTES}");
        return Err(Status::new(Reason::RequestEntityTooLarge, message));
    }
    match kind {
        PatchType::Json => apply_json(object, patch),
        PatchType::Merge => {
            let patch = parse_object(patch, "error decoding patch: ")?;
            Ok(merge::apply(object, patch))
        }
        PatchType::Strategic => {
            let patch = parse_object(patch, "")?;
            strategic::apply(object, patch, &schema.root).map_err(|error| error.status())
        }
        PatchType::Apply => {
            Err(Status::new(Reason::UnsupportedMediaType, "apply patches are merged by field ownership, not here"))
        }
    }
}

fn apply_json(object: Value, patch: &[u8]) -> Result<Value, Status> {
    let operations = json::parse(patch).map_err(|error| match error {
        json::Error::TooMany { .. } => Status::new(Reason::RequestEntityTooLarge, error.to_string()),
        json::Error::Malformed(_) => Status::bad_request(format!("error decoding patch: {error}")),
        _ => does_not_fit(),
    })?;
    json::apply(object, &operations).map_err(|_| does_not_fit())
}

/// Upstream does not say what does not fit in a JSON patch.
fn does_not_fit() -> Status {
    let message = "the server rejected our request due to an error in our request";
    Status { reason: Reason::Invalid, message: message.into(), details: Some(Box::default()) }
}

/// The answer to a patch that makes no object of its kind: `shown` is what it makes of an object, as JSON, `problem`
/// what is wrong with that. Of a strategic merge patch, the patch itself is shown.
pub fn makes_nothing(kind: PatchType, patch: &[u8], shown: String, problem: &str) -> Status {
    let shown = match (kind, serde_json::from_slice(patch)) {
        (PatchType::Strategic, Ok(patch)) => go::printed(&patch),
        _ => shown,
    };
    Status::invalid("", "", "", vec![field::invalid(&Path::new("patch"), shown, problem)])
}

fn parse_object(patch: &[u8], prefix: &str) -> Result<Value, Status> {
    let refuse = |why: String| Status::bad_request(format!("{prefix}{why}"));
    let patch = parse(patch).map_err(refuse)?;
    if patch.is_object() { Ok(patch) } else { Err(refuse(cannot_unmarshal(&patch, "map[string]interface {}"))) }
}

/// A patch as a tree, or what is wrong with it, in the words of Go's decoder.
fn parse(patch: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(patch).map_err(|error| schema::json_error(patch, &error))
}

/// A patch that is JSON, but of another type.
fn cannot_unmarshal(patch: &Value, wanted: &str) -> String {
    let given = schema::go_kind(patch);
    format!("json: cannot unmarshal {given} into Go value of type {wanted}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::schema::Type;

    #[test]
    fn patches_that_cannot_be_read_or_do_not_fit_are_refused_in_upstreams_words() {
        let schema = Schema { api_version: "v1".into(), kind: "A".into(), root: Type::Any };
        let refused = |kind, patch: &str| {
            let status = apply(kind, json!({"a": 1}), patch.as_bytes(), &schema).unwrap_err();
            (status.code(), status.message)
        };
        let rejected = (422, "the server rejected our request due to an error in our request".to_owned());
        for operation in [r#"{"op":"frob","path":"/a"}"#, r#"{"op":"test","path":"/a","value":2}"#, r#"{"path":"/a"}"#]
        {
            assert_eq!(refused(PatchType::Json, &format!("[{operation}]")), rejected, "{operation}");
        }
        let end = "unexpected end of JSON input";
        assert_eq!(refused(PatchType::Json, "[{"), (400, format!("error decoding patch: {end}")));
        assert_eq!(refused(PatchType::Strategic, "{"), (400, end.to_owned()));
        assert_eq!(
            refused(PatchType::Merge, "[]").1,
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        );
    }

    #[test]
    fn content_types_may_have_parameters() {
        let header = "application/merge-patch+json; charset=utf-8";
        assert_eq!(PatchType::from_content_type(header), Some(PatchType::Merge));
        assert_eq!(PatchType::from_content_type("application/json"), None);
    }
}
