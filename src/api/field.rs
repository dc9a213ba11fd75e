//! Problems of single fields, in the words that Kubernetes clients and their users know
//! (`field.ErrorList` of apimachinery). Every builder gives one [`Cause`]; a kind's validation is
//! a list of them.

use std::fmt;

use serde::Serialize;

use crate::api::{go, status::Cause};

/// Where a field is: `spec.containers[0].env[name]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// A path that begins with `name`; an empty name is the root of the object.
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The field `name` below this one.
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::new(name) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// The list item at `index`.
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The map entry (or keyed list item) called `key`.
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// `Required value`, with a detail unless it is empty.
pub fn required(path: &Path, detail: &str) -> Cause {
    cause(path, "FieldValueRequired", with_detail("Required value".into(), detail))
}

/// `Invalid value: "x": detail`.
pub fn invalid(path: &Path, value: impl Serialize, detail: &str) -> Cause {
    cause(path, "FieldValueInvalid", with_detail(format!("Invalid value: {}", shown(value)), detail))
}

/// [`invalid`], the value being shown as upstream's internal type of a message, such as `core.v1.PodSpec`.
pub fn invalid_internal(path: &Path, message: &'static str, value: impl Serialize, detail: &str) -> Cause {
    let value = serde_json::to_value(value).unwrap_or_default();
    let shown = go::internal(message, &value);
    cause(path, "FieldValueInvalid", with_detail(format!("Invalid value: {shown}"), detail))
}

/// [`invalid`], the value being `shown` already.
pub fn invalid_shown(path: &Path, shown: &str, detail: &str) -> Cause {
    cause(path, "FieldValueInvalid", with_detail(format!("Invalid value: {shown}"), detail))
}

/// [`duplicate`], the value being shown as by [`invalid_internal`].
pub fn duplicate_internal(path: &Path, message: &'static str, value: impl Serialize) -> Cause {
    let value = serde_json::to_value(value).unwrap_or_default();
    cause(path, "FieldValueDuplicate", format!("Duplicate value: {}", go::internal(message, &value)))
}

/// `Duplicate value: "x"`.
pub fn duplicate(path: &Path, value: impl Serialize) -> Cause {
    cause(path, "FieldValueDuplicate", format!("Duplicate value: {}", shown(value)))
}

/// `Invalid value: detail`, for a value that is too large to be shown.
pub fn invalid_hidden(path: &Path, detail: &str) -> Cause {
    cause(path, "FieldValueInvalid", with_detail("Invalid value".into(), detail))
}

/// `Duplicate value`, for a value that is too large to be shown.
pub fn duplicate_hidden(path: &Path) -> Cause {
    cause(path, "FieldValueDuplicate", "Duplicate value".into())
}

/// `Unsupported value: "x": supported values: "a", "b"`; the values are shown in the
/// order given, which is upstream's.
pub fn unsupported(path: &Path, value: impl Serialize, supported: &[&str]) -> Cause {
    let quoted: Vec<String> = supported.iter().map(shown).collect();
    let detail = if quoted.is_empty() { String::new() } else { format!("supported values: {}", quoted.join(", ")) };
    cause(path, "FieldValueNotSupported", with_detail(format!("Unsupported value: {}", shown(value)), &detail))
}

/// [`unsupported`], the value being shown as by [`invalid_internal`].
pub fn unsupported_internal(path: &Path, message: &'static str, value: impl Serialize, supported: &[&str]) -> Cause {
    let quoted: Vec<String> = supported.iter().map(shown).collect();
    let value = serde_json::to_value(value).unwrap_or_default();
    let detail = format!("supported values: {}", quoted.join(", "));
    let shown = go::internal(message, &value);
    cause(path, "FieldValueNotSupported", format!("Unsupported value: {shown}: {detail}"))
}

/// [`unsupported`], unless the value is a supported one.
pub fn one_of(path: &Path, value: &str, supported: &[&str]) -> Option<Cause> {
    (!supported.contains(&value)).then(|| unsupported(path, value, supported))
}

/// `Forbidden: detail`.
pub fn forbidden(path: &Path, detail: &str) -> Cause {
    cause(path, "FieldValueForbidden", with_detail("Forbidden".into(), detail))
}

/// `Too long: may not be more than N bytes`.
pub fn too_long(path: &Path, limit_bytes: usize) -> Cause {
    cause(path, "FieldValueTooLong", format!("Too long: may not be more than {limit_bytes} bytes"))
}

/// `Too many: N: must have at most M items`.
pub fn too_many(path: &Path, actual: usize, limit: usize) -> Cause {
    let items = if limit == 1 { "item" } else { "items" };
    cause(path, "FieldValueTooMany", format!("Too many: {actual}: must have at most {limit} {items}"))
}

/// `Not found: "x"`.
pub fn not_found(path: &Path, value: impl Serialize) -> Cause {
    cause(path, "FieldValueNotFound", format!("Not found: {}", shown(value)))
}

/// `Internal error: detail`: the server's fault, not the object's.
pub fn internal(path: &Path, detail: impl fmt::Display) -> Cause {
    cause(path, "InternalError", format!("Internal error: {detail}"))
}

/// One `Invalid value` per message, as the validators of [`crate::api::validation`] return them.
pub fn invalid_each(path: &Path, value: impl Serialize, messages: &[String]) -> Vec<Cause> {
    messages.iter().map(|message| invalid(path, &value, message)).collect()
}

/// Upstream's message for a field that must keep its value.
pub const IMMUTABLE: &str = "field is immutable";

/// `Invalid value: …: field is immutable`, unless both are equal.
pub fn immutable<T: Serialize + PartialEq>(path: &Path, new: &T, old: &T) -> Vec<Cause> {
    if new == old { Vec::new() } else { vec![invalid(path, new, IMMUTABLE)] }
}

/// [`immutable`], the value being shown as by [`invalid_internal`].
pub fn immutable_internal<T: Serialize + PartialEq>(
    path: &Path,
    message: &'static str,
    new: &T,
    old: &T,
) -> Vec<Cause> {
    if new == old { Vec::new() } else { vec![invalid_internal(path, message, new, IMMUTABLE)] }
}

fn cause(path: &Path, reason: &str, message: String) -> Cause {
    Cause { reason: reason.into(), message, field: path.as_str().into(), is_tolerated: false }
}

fn with_detail(message: String, detail: &str) -> String {
    if detail.is_empty() { message } else { format!("{message}: {detail}") }
}

/// Values are shown as JSON: strings quoted, numbers bare, structures whole.
fn shown(value: impl Serialize) -> String {
    let shown = serde_json::to_string(&value).unwrap_or_else(|_| "?".into());
    // Go writes all but texts as they could stand in HTML.
    if shown.starts_with('"') || !shown.contains(['<', '>', '&']) {
        return shown;
    }
    shown.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_upstream_writes_them() {
        let path = Path::new("spec").child("containers").index(0).child("env").key("A");
        assert_eq!(path.as_str(), "spec.containers[0].env[A]");
    }

    #[test]
    fn messages_have_upstreams_wording() {
        let path = Path::new("spec.x");
        assert_eq!(required(&path, "").message, "Required value");
        assert_eq!(required(&path, "must be there").message, "Required value: must be there");
        assert_eq!(invalid(&path, "a", "no").message, "Invalid value: \"a\": no");
        assert_eq!(invalid(&path, 7, "no").message, "Invalid value: 7: no");
        assert_eq!(
            unsupported(&path, "x", &["b", "a"]).message,
            "Unsupported value: \"x\": supported values: \"b\", \"a\""
        );
        assert_eq!(forbidden(&path, "why").message, "Forbidden: why");
        assert_eq!(too_long(&path, 63).message, "Too long: may not be more than 63 bytes");
        assert_eq!(not_found(&path, "v").message, "Not found: \"v\"");
        assert_eq!(duplicate(&path, "v").message, "Duplicate value: \"v\"");
    }

    #[test]
    fn an_equal_field_is_not_an_immutability_error() {
        let path = Path::new("spec");
        assert!(immutable(&path, &1, &1).is_empty());
        assert_eq!(immutable(&path, &2, &1)[0].message, "Invalid value: 2: field is immutable");
    }
}
