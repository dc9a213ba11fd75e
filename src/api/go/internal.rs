//! Upstream's internal types as JSON.

use serde_json::{Map, Value};

use super::{Form, put_entries, put_items, put_ordered, put_plain, put_text, structs};
use crate::api::protobuf::facts::{self, Field, Instead, Kind, Message, Shape};

/// Parts of names that Go writes in another way than with a capital letter in front.
const NAMES: [(&str, &str); 30] = [
    ("$ref", "Ref"),
    ("$schema", "Schema"),
    ("apiGroup", "APIGroup"),
    ("apiGroups", "APIGroups"),
    ("apiVersion", "APIVersion"),
    ("apiVersions", "APIVersions"),
    ("awsElasticBlockStore", "AWSElasticBlockStore"),
    ("caBundle", "CABundle"),
    ("cel", "CEL"),
    ("cephfs", "CephFS"),
    ("csi", "CSI"),
    ("dnsConfig", "DNSConfig"),
    ("dnsPolicy", "DNSPolicy"),
    ("externalIPs", "ExternalIPs"),
    ("fc", "FC"),
    ("fsType", "FSType"),
    ("gcePersistentDisk", "GCEPersistentDisk"),
    ("hostIPC", "HostIPC"),
    ("hostPID", "HostPID"),
    ("id", "ID"),
    ("ips", "IPs"),
    ("iscsi", "ISCSI"),
    ("jsonPath", "JSONPath"),
    ("nfs", "NFS"),
    ("openAPIV3Schema", "OpenAPIV3Schema"),
    ("rbd", "RBD"),
    ("storageos", "StorageOS"),
    ("tty", "TTY"),
    ("uid", "UID"),
    ("url", "URL"),
];
/// Fields that stand before the others in an order of their own.
const FIRST: [(&str, &[&str]); 2] = [
    (
        "apiextensions.v1.CustomResourceDefinitionVersion",
        &["name", "served", "storage", "deprecated", "deprecationWarning"],
    ),
    (
        "core.v1.PersistentVolumeSource",
        &[
            "gcePersistentDisk",
            "awsElasticBlockStore",
            "hostPath",
            "glusterfs",
            "nfs",
            "rbd",
            "quobyte",
            "iscsi",
            "flexVolume",
        ],
    ),
];
/// The prefix of extensions of schemas.
const EXTENSION: &str = "x-kubernetes-";
/// The package of types that [`structs`] knows.
const CORE: &str = "core.v1.";
/// The package of types that have JSON names inside as well.
const META: &str = "meta.v1.";

/// `value` as Go writes upstream's internal type of a `message`, such as `resource.v1.ResourceClaimSpec`.
pub fn internal(message: &'static str, value: &Value) -> String {
    if let Some(name) = message.strip_prefix(CORE).filter(|name| !structs::fields(name).is_empty()) {
        return serde_json::to_string(&Form::new(name, value)).unwrap_or_default();
    }
    let mut out = String::new();
    let found = facts::messages().iter().find(|known| known.name == message);
    match found {
        Some(message) => put_message(&mut out, message, value),
        None => put_plain(&mut out, value),
    }
    out
}

/// The value of one field of a message, as [`internal`] shows it in the whole.
pub fn internal_field(message: &str, name: &str, value: &Value) -> String {
    let mut out = String::new();
    let message = facts::messages().iter().find(|known| known.name == message);
    match message.and_then(|message| message.spot(name)) {
        Some(spot) => put_field(&mut out, &spot.field, value),
        None => put_plain(&mut out, value),
    }
    out
}

fn put_message(out: &mut String, message: &Message, value: &Value) {
    if message.name.starts_with(META) {
        return put_ordered(out, Some(message), value);
    }
    out.push('{');
    let mut is_first = true;
    put_fields(out, message, value, &mut is_first);
    out.push('}');
}

fn put_fields(out: &mut String, message: &Message, value: &Value, is_first: &mut bool) {
    let first = FIRST.iter().find(|(name, _)| *name == message.name).map_or(&[][..], |(_, first)| first);
    let place = |field: &Field| first.iter().position(|name| *name == field.name).unwrap_or(first.len());
    let mut fields: Vec<&Field> = message.fields.iter().collect();
    fields.sort_by_key(|field| place(field));
    for field in fields {
        match (field.shape, field.kind) {
            (Shape::Inline, Kind::Message(place)) => put_fields(out, facts::messages().at(place), value, is_first),
            // Metadata has no field of its own: what is in it stands among the others.
            (_, Kind::Message(place)) if field.name == "metadata" => {
                let mut metadata = String::new();
                put_ordered(&mut metadata, Some(facts::messages().at(place)), &value["metadata"]);
                let fields = metadata.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
                if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                    separate(out, is_first);
                    out.push_str(fields);
                }
            }
            _ => {
                separate(out, is_first);
                put_text(out, &go_name(field.name));
                out.push(':');
                put_field(out, field, &value[field.name]);
            }
        }
    }
}

fn separate(out: &mut String, is_first: &mut bool) {
    if !std::mem::take(is_first) {
        out.push(',');
    }
}

fn put_field(out: &mut String, field: &Field, value: &Value) {
    match (field.shape, value) {
        (Shape::List | Shape::Map, Value::Null) => out.push_str("null"),
        (Shape::List, Value::Array(items)) => put_items(out, items, |out, item| put_one(out, field, item)),
        (Shape::Map, Value::Object(entries)) => put_map(out, field, entries),
        _ => put_one(out, field, value),
    }
}

fn put_map(out: &mut String, field: &Field, entries: &Map<String, Value>) {
    put_entries(out, entries.iter(), |out, _, value| put_one(out, field, value));
}

fn put_one(out: &mut String, field: &Field, value: &Value) {
    let is_pointer = field.keeps_zero && !field.always;
    match (field.kind, value) {
        (Kind::Message(place), value) if !value.is_null() || field.always => {
            put_message(out, facts::messages().at(place), value);
        }
        (Kind::SchemaOr(instead, place), value) if !value.is_null() => {
            put_schema_or(out, instead, facts::messages().at(place), value);
        }
        (Kind::Text, Value::Null) if !is_pointer => out.push_str("\"\""),
        (Kind::Boolean, Value::Null) if !is_pointer => out.push_str("false"),
        (Kind::Int32 | Kind::Int64 | Kind::Double, Value::Null) if !is_pointer => out.push('0'),
        (Kind::Quantity, Value::Null) if field.always => out.push_str("\"0\""),
        (_, value) => put_plain(out, value),
    }
}

fn put_schema_or(out: &mut String, instead: Instead, schema: &Message, value: &Value) {
    let mut inner = String::from("null");
    if value.is_object() {
        inner.clear();
        put_message(&mut inner, schema, value);
    }
    match instead {
        Instead::Boolean => {
            let allows = value.as_bool().unwrap_or(true);
            out.push_str(&format!("{{\"Allows\":{allows},\"Schema\":{inner}}}"));
        }
        Instead::Schemas => {
            out.push_str(&format!("{{\"Schema\":{inner},\"JSONSchemas\":"));
            match value {
                Value::Array(items) => put_items(out, items, |out, item| put_message(out, schema, item)),
                _ => out.push_str("null"),
            }
            out.push('}');
        }
        Instead::Texts => {
            let texts = if value.is_array() { value } else { &Value::Null };
            out.push_str(&format!("{{\"Schema\":{inner},\"Property\":{texts}}}"));
        }
    }
}

fn go_name(name: &str) -> String {
    if let Some((_, known)) = NAMES.iter().find(|(json, _)| *json == name) {
        return (*known).to_owned();
    }
    match name.strip_prefix(EXTENSION) {
        Some(extension) => std::iter::once("X".to_owned()).chain(extension.split('-').map(capital)).collect(),
        None => capital(name),
    }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_without_a_value_are_written_too() {
        assert_eq!(
            internal("resource.v1.DeviceConstraint", &json!({"requests": ["a"]})),
            r#"{"Requests":["a"],"MatchAttribute":null,"DistinctAttribute":null}"#
        );
        assert_eq!(
            internal("rbac.v1.RoleRef", &json!({"kind": "Role", "name": "a<b"})),
            r#"{"APIGroup":"","Kind":"Role","Name":"a\u003cb"}"#
        );
    }

    #[test]
    fn metadata_and_what_is_in_line_stand_among_the_fields() {
        assert_eq!(
            internal("resource.v1.ResourceClaimTemplateSpec", &json!({"metadata": {"labels": {"a": "b"}}, "spec": {}})),
            r#"{"labels":{"a":"b"},"Spec":{"Devices":{"Requests":null,"Constraints":null,"Config":null}}}"#
        );
        assert_eq!(
            internal("meta.v1.LabelSelector", &json!({"matchExpressions": [], "matchLabels": {}})),
            r#"{"matchLabels":{},"matchExpressions":[]}"#
        );
    }
}
