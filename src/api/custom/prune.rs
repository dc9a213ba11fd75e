//! Pruning: fields that a structural schema does not declare are dropped, and named, unless the
//! schema says that they are kept.

use serde_json::Value;

use super::structural::Structural;

/// Most dropped fields that are named.
const REPORTED: usize = 100;
/// Fields that belong to every object, whatever its schema declares.
const IDENTITY: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Drops what `schema` does not declare from a whole object; gives the paths of what was dropped.
pub fn prune(object: &mut Value, schema: &Structural) -> Vec<String> {
    let mut dropped = Vec::new();
    walk(object, schema, "", true, &mut dropped);
    dropped
}

/// Likewise from a value that is no whole object.
pub fn prune_value(value: &mut Value, schema: &Structural) -> Vec<String> {
    let mut dropped = Vec::new();
    walk(value, schema, "", false, &mut dropped);
    dropped
}

fn walk(value: &mut Value, schema: &Structural, path: &str, is_object: bool, dropped: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let is_object = is_object || schema.embedded;
            fields.retain(|name, value| {
                if is_object && IDENTITY.contains(&name.as_str()) {
                    return true;
                }
                if let Some(declared) = schema.field(name) {
                    walk(value, declared, &joined(path, name), false, dropped);
                    return true;
                }
                if !schema.preserves_unknown && dropped.len() < REPORTED {
                    dropped.push(joined(path, name));
                }
                schema.preserves_unknown
            });
        }
        Value::Array(items) => {
            // Lists without a schema of their own are within something that is kept as it is.
            let Some(schema) = &schema.items else { return };
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, schema, &format!("{path}[{index}]"), false, dropped);
            }
        }
        _ => {}
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pruned(mut object: Value, schema: &Value) -> (Value, Vec<String>) {
        let dropped = prune(&mut object, &Structural::read(schema));
        (object, dropped)
    }

    #[test]
    fn undeclared_fields_are_dropped_and_named() {
        let schema = json!({"properties": {"spec": {"properties": {"list": {"items": {"properties": {"a": {}}}}}}}});
        let object = json!({"apiVersion": "g/v1", "metadata": {"name": "x"}, "other": 1,
                            "spec": {"list": [{"a": 1, "b": 2}], "x": 1}});
        let (object, dropped) = pruned(object, &schema);
        assert_eq!(object, json!({"apiVersion": "g/v1", "metadata": {"name": "x"}, "spec": {"list": [{"a": 1}]}}));
        assert_eq!(dropped, ["other", "spec.list[0].b", "spec.x"]);
    }

    #[test]
    fn preserved_fields_stay_but_declared_ones_among_them_are_pruned() {
        let schema = json!({"x-kubernetes-preserve-unknown-fields": true,
                            "properties": {"spec": {"properties": {"a": {}}}}});
        let (object, dropped) = pruned(json!({"other": {"deep": 1}, "spec": {"a": 1, "b": 1}}), &schema);
        assert_eq!(object, json!({"other": {"deep": 1}, "spec": {"a": 1}}));
        assert_eq!(dropped, ["spec.b"]);
    }

    #[test]
    fn keys_of_maps_are_not_fields() {
        let schema = json!({"properties": {"map": {"additionalProperties": {"properties": {"a": {}}}}}});
        let (object, _) = pruned(json!({"map": {"k": {"a": 1, "b": 2}}}), &schema);
        assert_eq!(object, json!({"map": {"k": {"a": 1}}}));
    }

    #[test]
    fn embedded_objects_keep_their_identity() {
        let schema = json!({"properties": {"template": {"x-kubernetes-embedded-resource": true}}});
        let object = json!({"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {}}});
        let (object, _) = pruned(object, &schema);
        assert_eq!(object, json!({"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {}}}));
    }
}
