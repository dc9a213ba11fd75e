//! `jsonpatch.escapeKey`: a key as a part of a JSON pointer (RFC 6901).

use super::Run;
use crate::api::cel::value::Value;

pub(super) const FUNCTIONS: &[(&str, Run)] = &[("jsonpatch.escapeKey(string) string", |values| {
    Ok(Value::string(values[0].text()?.replace('~', "~0").replace('/', "~1")))
})];
