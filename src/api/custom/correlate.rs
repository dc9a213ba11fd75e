//! What a value was before an update: fields and keys by their name, items of keyed lists by their
//! keys. Items of other lists have no past of their own (KEP-4008, "Correlation").

use serde_json::{Map, Value};

use super::structural::{ListKind, Structural};

/// The item of `before` that stood for the same thing.
pub fn counterpart<'o>(item: &Value, before: &'o [Value], list: &ListKind) -> Option<&'o Value> {
    let ListKind::Map(keys) = list else { return None };
    let key = key_of(item, keys);
    before.iter().find(|old| key_of(old, keys) == key)
}

/// The keys of an item, as an object.
pub fn key_of(item: &Value, keys: &[Box<str>]) -> Value {
    let present = keys.iter().filter_map(|key| Some((key.to_string(), item.get(&**key)?.clone())));
    Value::Object(present.collect())
}

/// Whether a value is what it was. Keyed lists may have been put into another order.
pub fn is_unchanged(new: &Value, old: &Value, schema: &Structural) -> bool {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => new.len() == old.len() && fields_are_unchanged(new, old, schema),
        (Value::Array(new), Value::Array(old)) => {
            let Some(item_schema) = schema.items.as_deref().filter(|_| matches!(schema.list, ListKind::Map(_))) else {
                return new == old;
            };
            let same =
                |item| counterpart(item, old, &schema.list).is_some_and(|old| is_unchanged(item, old, item_schema));
            new.len() == old.len() && new.iter().all(same)
        }
        (new, old) => new == old,
    }
}

fn fields_are_unchanged(new: &Map<String, Value>, old: &Map<String, Value>, schema: &Structural) -> bool {
    new.iter().all(|(name, new)| match (old.get(name), schema.field(name)) {
        (Some(old), Some(schema)) => is_unchanged(new, old, schema),
        (Some(old), None) => new == old,
        (None, _) => false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_keyed_lists_is_no_change() {
        let schema = |kind: &str| {
            Structural::read(&json!({"properties": {"list": {
                "type": "array", "x-kubernetes-list-type": kind, "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object"}}}}))
        };
        let old = json!({"list": [{"name": "a", "x": 1}, {"name": "b"}]});
        let new = json!({"list": [{"name": "b"}, {"name": "a", "x": 1}]});
        assert!(is_unchanged(&new, &old, &schema("map")));
        assert!(!is_unchanged(&new, &old, &schema("atomic")));
        assert!(!is_unchanged(&json!({"list": [{"name": "b"}, {"name": "a"}]}), &old, &schema("map")));
        assert!(!is_unchanged(&json!({"list": [], "x": 1}), &json!({"list": []}), &schema("map")));
    }
}
