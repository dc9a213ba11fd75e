//! The version 2 document in its protobuf form (`openapi.v2.Document` of the gnostic project, by
//! whose field numbers the messages here go). kubectl before 1.27 reads no other. Only what the
//! JSON document has is written: the rest of the format's fields are never set.

use serde_json::{Map, Value};

/// Media types of the form, in the spellings that clients have used.
const MEDIA_TYPES: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

/// The media type of the answer: the newer spelling, because `@` is not legal in a header's value
/// and clients that sent it would fail to read it back.
pub const MEDIA_TYPE: &str = MEDIA_TYPES[1];

/// Whether an `Accept` header prefers the protobuf form over JSON.
pub fn is_preferred(accept: &str) -> bool {
    for media_type in accept.split(',') {
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if MEDIA_TYPES.contains(&media_type) {
            return true;
        }
        if matches!(media_type, "application/json" | "application/*" | "*/*") {
            return false;
        }
    }
    false
}

/// The version 2 document `value` as protobuf.
pub(super) fn encode(value: &Value) -> Vec<u8> {
    let mut document = Message::default();
    document.text(1, &value["swagger"]);
    document.message(2, |info| {
        info.text(1, &value["info"]["title"]);
        info.text(2, &value["info"]["version"]);
    });
    document.message(8, |paths| named(paths, 2, &value["paths"], path_item));
    document.message(9, |definitions| named(definitions, 1, &value["definitions"], schema));
    if value["parameters"].is_object() {
        document.message(10, |parameters| named(parameters, 1, &value["parameters"], parameter));
    }
    for requirement in value["security"].as_array().into_iter().flatten() {
        document.message(12, |security| named(security, 1, requirement, |scopes, value| scopes.texts(1, value)));
    }
    if value["securityDefinitions"].is_object() {
        document.message(13, |schemes| named(schemes, 1, &value["securityDefinitions"], security_scheme));
    }
    document.0
}

/// Protobuf's wire format: fields of bytes, each with its number and length, and booleans.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.number(u64::from(field) << 3 | 2);
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A text, unless it is missing.
    fn text(&mut self, field: u32, value: &Value) {
        if let Some(text) = value.as_str() {
            self.bytes(field, text.as_bytes());
        }
    }

    /// All texts of a list.
    fn texts(&mut self, field: u32, list: &Value) {
        list.as_array().into_iter().flatten().for_each(|value| self.text(field, value));
    }

    /// A flag, unless it is false.
    fn flag(&mut self, field: u32, value: &Value) {
        if value.as_bool() == Some(true) {
            self.number(u64::from(field) << 3);
            self.0.push(1);
        }
    }

    fn message(&mut self, field: u32, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// `x-…` fields, each as a text of YAML; JSON is YAML.
    fn extensions(&mut self, field: u32, fields: &Value) {
        for (name, value) in members(fields).filter(|(name, _)| name.starts_with("x-")) {
            self.message(field, |named| {
                named.bytes(1, name.as_bytes());
                named.message(2, |any| any.bytes(2, value.to_string().as_bytes()));
            });
        }
    }
}

/// A map is written as pairs of name and value.
fn named(out: &mut Message, field: u32, map: &Value, fill: fn(&mut Message, &Value)) {
    for (name, value) in members(map) {
        out.message(field, |pair| {
            pair.bytes(1, name.as_bytes());
            pair.message(2, |inner| fill(inner, value));
        });
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn schema(out: &mut Message, value: &Value) {
    out.text(1, &value["$ref"]);
    out.text(2, &value["format"]);
    out.text(4, &value["description"]);
    out.texts(19, &value["required"]);
    for one in value["enum"].as_array().into_iter().flatten() {
        out.message(20, |any| any.bytes(2, one.to_string().as_bytes()));
    }
    if value["additionalProperties"].is_object() {
        out.message(21, |either| either.message(1, |inner| schema(inner, &value["additionalProperties"])));
    }
    if value["type"].is_string() {
        out.message(22, |list| list.text(1, &value["type"]));
    }
    if value["items"].is_object() {
        out.message(23, |list| list.message(1, |inner| schema(inner, &value["items"])));
    }
    if value["properties"].is_object() {
        out.message(25, |properties| named(properties, 1, &value["properties"], schema));
    }
    out.extensions(31, value);
}

fn path_item(out: &mut Message, value: &Value) {
    for (field, method) in
        [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (6, "options"), (7, "head"), (8, "patch")]
    {
        if value[method].is_object() {
            out.message(field, |inner| operation(inner, &value[method]));
        }
    }
    parameters(out, 9, &value["parameters"]);
}

fn operation(out: &mut Message, value: &Value) {
    out.texts(1, &value["tags"]);
    out.text(3, &value["description"]);
    out.text(5, &value["operationId"]);
    out.texts(6, &value["produces"]);
    out.texts(7, &value["consumes"]);
    parameters(out, 8, &value["parameters"]);
    out.message(9, |responses| {
        named(responses, 1, &value["responses"], |either, value| either.message(1, |inner| response(inner, value)));
    });
    out.texts(10, &value["schemes"]);
    out.extensions(13, value);
}

fn response(out: &mut Message, value: &Value) {
    out.text(1, &value["description"]);
    if value["schema"].is_object() {
        out.message(2, |either| either.message(1, |inner| schema(inner, &value["schema"])));
    }
}

fn parameters(out: &mut Message, field: u32, list: &Value) {
    for value in list.as_array().into_iter().flatten() {
        if value["$ref"].is_string() {
            out.message(field, |item| item.message(2, |reference| reference.text(1, &value["$ref"])));
        } else {
            out.message(field, |item| item.message(1, |either| parameter(either, value)));
        }
    }
}

/// A key in a header or in the query, which is all that is known here.
fn security_scheme(out: &mut Message, value: &Value) {
    out.message(2, |key| {
        for (number, field) in [(1, "type"), (2, "name"), (3, "in"), (4, "description")] {
            key.text(number, &value[field]);
        }
    });
}

fn parameter(out: &mut Message, value: &Value) {
    match value["in"].as_str() {
        Some("body") => out.message(1, |body| {
            body.text(2, &value["name"]);
            body.text(3, &value["in"]);
            body.flag(4, &value["required"]);
            body.message(5, |inner| schema(inner, &value["schema"]));
        }),
        // A parameter in the query may be given without a value, which shifts the numbers of what follows.
        place => {
            let (form, kind, unique) = if place == Some("query") { (3, 6, 20) } else { (4, 5, 19) };
            out.message(2, |either| {
                either.message(form, |inner| {
                    inner.flag(1, &value["required"]);
                    inner.text(2, &value["in"]);
                    inner.text(3, &value["description"]);
                    inner.text(4, &value["name"]);
                    inner.text(kind, &value["type"]);
                    inner.flag(unique, &value["uniqueItems"]);
                });
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_have_their_numbers_and_lengths() {
        let mut message = Message::default();
        message.text(1, &json!("ab"));
        message.text(31, &json!("c"));
        message.flag(16, &json!(true));
        assert_eq!(message.0, [0x0a, 2, b'a', b'b', 0xfa, 0x01, 1, b'c', 0x80, 0x01, 1]);
    }

    #[test]
    fn a_definition_is_a_named_schema() {
        let bytes = encode(&json!({"swagger": "2.0", "definitions": {"A": {"type": "object"}}}));
        // field 9: { field 1: { field 1: "A", field 2: { field 22: { field 1: "object" } } } }
        let schema = [&[0xb2, 0x01, 8, 0x0a, 6][..], b"object"].concat();
        let pair = [&[0x0a, 1, b'A', 0x12, schema.len() as u8][..], &schema].concat();
        let list = [&[0x0a, pair.len() as u8][..], &pair].concat();
        let tail = [&[0x4a, list.len() as u8][..], &list].concat();
        assert!(bytes.ends_with(&tail), "{bytes:x?}");
    }

    #[test]
    fn old_kubectl_prefers_it() {
        assert!(is_preferred(MEDIA_TYPES[0]) && is_preferred(MEDIA_TYPES[1]));
        assert!(!is_preferred("application/json, */*") && !is_preferred(""));
    }
}
