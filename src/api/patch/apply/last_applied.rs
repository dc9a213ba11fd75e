//! Migration from client-side apply: what kubectl wrote down in its annotation is its own, so that
//! `kubectl apply --server-side` does not conflict with the `kubectl apply` before it.

use serde_json::Value;

use super::{fields, set::Set, shape::Place};
use crate::api::{meta, schema::Schema};

/// The manager that takes over from client-side apply. Another name opts out.
pub const KUBECTL: &str = "kubectl";
/// Where client-side apply keeps what it applied last.
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Largest annotations of an object, all together.
const ANNOTATIONS_LIMIT_BYTES: usize = 256 << 10;

/// The fields that client-side apply set and that still have the values it set; `None` if the
/// object was never applied that way, or in another version.
pub fn unchanged_fields(schema: &Schema, live: &Value) -> Option<Set> {
    let applied: Value = serde_json::from_str(annotation(live)?).ok()?;
    if meta::api_version(&applied) != &*schema.api_version {
        return None;
    }
    let place = Place::root(schema);
    let comparison = fields::compare(place, Some(&applied), Some(live));
    let changed = comparison.taken().union(&comparison.removed);
    Some(fields::of(place, &applied).difference(&changed))
}

/// Keeps the annotation, if there is one, equal to what was applied.
pub fn refresh(object: &mut Value, config: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
        if annotations.is_empty() {
            meta::set(&mut config, "annotations", Value::Null);
        }
    }
    // The newline is upstream's.
    let text = format!("{config}\n");
    let others: usize = meta::annotations(object)
        .filter(|(key, _)| *key != ANNOTATION)
        .map(|(key, value)| key.len() + value.len())
        .sum();
    let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) else { return };
    if others + ANNOTATION.len() + text.len() > ANNOTATIONS_LIMIT_BYTES {
        annotations.remove(ANNOTATION);
    } else {
        annotations.insert(ANNOTATION.to_owned(), text.into());
    }
}

fn annotation(object: &Value) -> Option<&str> {
    meta::annotation(object, ANNOTATION).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::schema::Library;

    #[test]
    fn only_unchanged_fields_are_taken_over() {
        let schema = Library::default().schema_of("v1", "ConfigMap");
        let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1", "b": "1"}});
        let mut live = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1", "b": "2"}});
        assert_eq!(unchanged_fields(&schema, &live), None);
        live["metadata"] = json!({"annotations": {ANNOTATION: applied.to_string()}});
        let fields = unchanged_fields(&schema, &live).unwrap();
        assert_eq!(fields.paths(), [".apiVersion", ".kind", ".data.a"]);
    }

    #[test]
    fn the_annotation_follows_and_is_not_made() {
        let config = json!({"data": {"a": "2"}, "metadata": {"annotations": {ANNOTATION: "x"}}});
        let mut object = json!({"metadata": {"annotations": {ANNOTATION: "old"}}});
        refresh(&mut object, &config);
        assert_eq!(meta::annotation(&object, ANNOTATION), Some("{\"data\":{\"a\":\"2\"},\"metadata\":{}}\n"));
        let mut object = json!({"metadata": {}});
        refresh(&mut object, &config);
        assert_eq!(object, json!({"metadata": {}}));
    }
}
