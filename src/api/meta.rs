//! Reading and writing `metadata` of untyped objects. Generic code works on `serde_json::Value`;
//! these are the only places that spell the field names.

use serde_json::{Map, Value};

const EMPTY: &str = "";

/// A reference of an object to its owner (`metav1.OwnerReference`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerReference<'a> {
    /// API version of the owner.
    pub api_version: &'a str,
    /// Kind of the owner.
    pub kind: &'a str,
    /// Name of the owner, in the object's own namespace or cluster-wide.
    pub name: &'a str,
    /// UID of the owner.
    pub uid: &'a str,
    /// Whether the owner is the managing controller.
    pub controller: bool,
    /// Whether a foreground deletion of the owner waits for the object.
    pub block_owner_deletion: bool,
}

/// `metadata`, if it is an object.
pub fn metadata(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata").and_then(Value::as_object)
}

/// `metadata`, made if it is missing. `None` if `object` is no JSON object at all.
pub fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let fields = object.as_object_mut()?;
    let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut()
}

/// A text field of `metadata`; empty if it is missing.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    metadata(object).and_then(|metadata| metadata.get(field)).and_then(Value::as_str).unwrap_or(EMPTY)
}

/// Sets a field of `metadata`; null removes it.
pub fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    let Some(metadata) = metadata_mut(object) else { return };
    match value.into() {
        Value::Null => metadata.remove(field),
        value => metadata.insert(field.to_owned(), value),
    };
}

/// `apiVersion`, or empty.
pub fn api_version(object: &Value) -> &str {
    object.get("apiVersion").and_then(Value::as_str).unwrap_or(EMPTY)
}

/// `kind`, or empty.
pub fn kind(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or(EMPTY)
}

/// `metadata.name`, or empty.
pub fn name(object: &Value) -> &str {
    text(object, "name")
}

/// `metadata.generateName`, or empty.
pub fn generate_name(object: &Value) -> &str {
    text(object, "generateName")
}

/// `metadata.namespace`, or empty.
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

/// `metadata.uid`, or empty.
pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

/// `metadata.resourceVersion`, or empty.
pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion")
}

/// `metadata.creationTimestamp`, or empty.
pub fn creation_timestamp(object: &Value) -> &str {
    text(object, "creationTimestamp")
}

/// `metadata.deletionTimestamp`, if the object is being deleted.
pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    metadata(object).and_then(|metadata| metadata.get("deletionTimestamp")).and_then(Value::as_str)
}

/// `metadata.deletionGracePeriodSeconds`.
pub fn deletion_grace_period_seconds(object: &Value) -> Option<i64> {
    metadata(object).and_then(|metadata| metadata.get("deletionGracePeriodSeconds")).and_then(Value::as_i64)
}

/// `metadata.generation`; 0 if it is missing.
pub fn generation(object: &Value) -> i64 {
    metadata(object).and_then(|metadata| metadata.get("generation")).and_then(Value::as_i64).unwrap_or(0)
}

/// `metadata.labels`, by key.
pub fn labels(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    string_map(object, "labels")
}

/// One label.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    metadata(object)?.get("labels")?.get(key)?.as_str()
}

/// `metadata.annotations`, by key.
pub fn annotations(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    string_map(object, "annotations")
}

/// One annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    metadata(object)?.get("annotations")?.get(key)?.as_str()
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> Vec<&str> {
    let list = metadata(object).and_then(|metadata| metadata.get("finalizers")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// `metadata.ownerReferences`.
pub fn owner_references(object: &Value) -> Vec<OwnerReference<'_>> {
    let list = metadata(object).and_then(|metadata| metadata.get("ownerReferences")).and_then(Value::as_array);
    list.into_iter().flatten().map(owner_reference).collect()
}

fn owner_reference(value: &Value) -> OwnerReference<'_> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or(EMPTY);
    let flag = |field: &str| value.get(field).and_then(Value::as_bool).unwrap_or(false);
    OwnerReference {
        api_version: text("apiVersion"),
        kind: text("kind"),
        name: text("name"),
        uid: text("uid"),
        controller: flag("controller"),
        block_owner_deletion: flag("blockOwnerDeletion"),
    }
}

fn string_map<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let map = metadata(object).and_then(|metadata| metadata.get(field)).and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn missing_metadata_reads_as_empty() {
        assert_eq!(name(&json!({})), "");
        assert_eq!(labels(&json!({"metadata": {"labels": null}})).count(), 0);
        assert!(deletion_timestamp(&json!({"metadata": {"deletionTimestamp": null}})).is_none());
    }

    #[test]
    fn setting_null_removes() {
        let mut object = json!({"metadata": {"uid": "u"}});
        set(&mut object, "uid", Value::Null);
        set(&mut object, "name", "a");
        assert_eq!(object, json!({"metadata": {"name": "a"}}));
    }

    #[test]
    fn owners_are_read_with_their_flags() {
        let object = json!({"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "uid": "u", "controller": true}]}});
        let owners = owner_references(&object);
        assert!(owners[0].controller && !owners[0].block_owner_deletion);
        assert_eq!(owners[0].kind, "ReplicaSet");
    }
}
