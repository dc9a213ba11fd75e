//! Values as upstream shows them in messages: Go writes the fields of a type in the order in which they are
//! declared, which is that of their numbers in the wire form.
//!
//! What validation quotes are upstream's [`internal`] types. They have no JSON names, so that Go writes each
//! field by its own name, and fields without a value as well. [`structs`] knows those of pods and volumes, whose order
//! is another one, and a [`Form`] is a value as one of them. Refusals of an update end with what differs in it
//! ([`unified_diff`]; `util/diff` of apimachinery).

mod form;
mod internal;
mod structs;
mod unified_diff;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::protobuf::facts::{self, Field, Kind, Message, Shape};

pub use form::Form;
pub use internal::{internal, internal_field};

/// Stands for a difference of objects that are too large to be shown.
const TOO_LARGE: &str = "the objects are too large to be compared\n";

/// `value`, of a kind, as JSON with its fields in Go's order. What differs from `before` is in the order of its
/// names: a JSON patch or merge patch has made another document of it.
pub fn patched(api_version: &str, kind: &str, value: &Value, before: &Value) -> String {
    let mut out = String::new();
    put_patched(&mut out, facts::messages().of_kind(api_version, kind), value, before);
    out
}

/// As Go's `%v` prints what JSON was decoded to.
pub fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(printed).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let entries: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name}:{}", printed(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

/// What differs between two values of a Go type, such as `PodSpec` or `[]Container`: a unified diff of their forms
/// with a line feed behind each line.
pub fn difference(go_type: &'static str, old: &impl Serialize, new: &impl Serialize) -> String {
    match (Form::new(go_type, old).lines(), Form::new(go_type, new).lines()) {
        (Some(old), Some(new)) => unified_diff::unified_diff(&old, &new),
        _ => TOO_LARGE.to_owned(),
    }
}

fn put_patched(out: &mut String, message: Option<&Message>, value: &Value, before: &Value) {
    match value {
        Value::Object(fields) if value != before => put_entries(out, fields.iter(), |out, name, value| {
            let field = message.and_then(|message| message.spot(name)).map(|spot| spot.field);
            match (field.map(|field| (field.shape, field.kind)), &before[name]) {
                (Some((Shape::One, Kind::Message(place))), before) => {
                    put_patched(out, Some(facts::messages().at(place)), value, before);
                }
                (_, before) if value == before => put_field(out, field, value),
                (_, before) => put_patched(out, None, value, before),
            }
        }),
        _ => put_ordered(out, message, value),
    }
}

fn put_ordered(out: &mut String, message: Option<&Message>, value: &Value) {
    let (Some(message), Value::Object(fields)) = (message, value) else { return put_plain(out, value) };
    let mut found = Vec::with_capacity(fields.len());
    collect(message, fields, &mut found);
    let known = |name: &str| ["apiVersion", "kind"].contains(&name) && message.spot(name).is_none();
    let first = fields.iter().filter(|(name, _)| known(name)).map(|(name, value)| (name, (None, value)));
    let rest = found.into_iter().filter(|(name, _)| !known(name));
    put_entries(out, first.chain(rest), |out, _, (field, value)| put_field(out, field, value));
}

/// The fields that there are, in the order of their message.
fn collect<'a>(
    message: &Message,
    fields: &'a Map<String, Value>,
    found: &mut Vec<(&'a String, (Option<Field>, &'a Value))>,
) {
    for field in &message.fields {
        if let (Shape::Inline, Kind::Message(place)) = (field.shape, field.kind) {
            collect(facts::messages().at(place), fields, found);
        } else if let Some((name, value)) = fields.get_key_value(field.name) {
            found.push((name, (Some(*field), value)));
        }
    }
}

fn put_field(out: &mut String, field: Option<Field>, value: &Value) {
    let message = field.and_then(|field| match field.kind {
        Kind::Message(place) => Some(facts::messages().at(place)),
        _ => None,
    });
    match (field.map(|field| field.shape), value) {
        (Some(Shape::Map), Value::Object(entries)) => {
            put_entries(out, entries.iter(), |out, _, value| put_ordered(out, message, value));
        }
        (_, Value::Array(items)) => put_items(out, items, |out, item| put_ordered(out, message, item)),
        _ => put_ordered(out, message, value),
    }
}

fn put_entries<'a, T>(
    out: &mut String,
    entries: impl Iterator<Item = (&'a String, T)>,
    mut put: impl FnMut(&mut String, &str, T),
) {
    out.push('{');
    for (position, (name, value)) in entries.enumerate() {
        if position > 0 {
            out.push(',');
        }
        put_text(out, name);
        out.push(':');
        put(out, name, value);
    }
    out.push('}');
}

fn put_items(out: &mut String, items: &[Value], mut put: impl FnMut(&mut String, &Value)) {
    out.push('[');
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        put(out, item);
    }
    out.push(']');
}

fn put_plain(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => put_text(out, text),
        other => out.push_str(&escaped(&other.to_string())),
    }
}

fn put_text(out: &mut String, text: &str) {
    out.push_str(&escaped(&Value::from(text).to_string()));
}

/// Go's JSON may stand in HTML.
fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_patch_left_alone_is_in_the_order_of_its_type() {
        let before = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"uid": "1", "name": "a"},
                            "spec": {"nodeName": "n", "containers": [{"image": "<i>", "name": "c"}]}});
        let mut after = before.clone();
        after["metadata"]["labels"] = json!(["x"]);
        assert_eq!(
            patched("v1", "Pod", &after, &before),
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"labels":["x"],"name":"a","uid":"1"},"spec":{"containers":[{"name":"c","image":"\u003ci\u003e"}],"nodeName":"n"}}"#
        );
    }

    #[test]
    fn trees_are_printed_as_maps() {
        assert_eq!(printed(&json!({"b": [1, "x", null], "a": {"c": true}})), "map[a:map[c:true] b:[1 x <nil>]]");
    }
}
