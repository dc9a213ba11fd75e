//! Defaulting by a structural schema. `null` where none is allowed counts as "not given": it is
//! replaced by the default, or dropped when there is none (API concepts, "Defaulting and Nullable").

use serde_json::Value;

use super::structural::Structural;

/// Fills in what `schema` has defaults for.
pub fn fill_in(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(fields) => {
            for (name, schema) in &schema.properties {
                let missing = fields.get(&**name).is_none_or(|value| is_unset(value, schema));
                match &schema.default {
                    Some(default) if missing => _ = fields.insert(name.to_string(), (**default).clone()),
                    None if missing => _ = fields.remove(&**name),
                    _ => {}
                }
            }
            if let Some(schema) = &schema.additional {
                fill_in_keys(fields, schema);
            }
            for (name, value) in fields.iter_mut() {
                if let Some(schema) = schema.field(name) {
                    fill_in(value, schema);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for item in items {
                if let (true, Some(default)) = (is_unset(item, schema), &schema.default) {
                    *item = (**default).clone();
                }
                fill_in(item, schema);
            }
        }
        _ => {}
    }
}

fn fill_in_keys(fields: &mut serde_json::Map<String, Value>, schema: &Structural) {
    fields.retain(|_, value| schema.default.is_some() || !is_unset(value, schema));
    let Some(default) = &schema.default else { return };
    for value in fields.values_mut().filter(|value| is_unset(value, schema)) {
        *value = (**default).clone();
    }
}

fn is_unset(value: &Value, schema: &Structural) -> bool {
    value.is_null() && !schema.nullable
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(mut value: Value, schema: &Value) -> Value {
        fill_in(&mut value, &Structural::read(schema));
        value
    }

    #[test]
    fn defaults_go_into_what_is_there_and_into_defaults() {
        let schema = json!({"properties": {"spec": {"default": {}, "properties": {"replicas": {"default": 1}}},
                                           "none": {"properties": {"x": {"default": 1}}}}});
        assert_eq!(filled(json!({}), &schema), json!({"spec": {"replicas": 1}}));
        assert_eq!(filled(json!({"spec": {"replicas": 3}}), &schema), json!({"spec": {"replicas": 3}}));
    }

    #[test]
    fn null_is_kept_only_where_it_is_a_value() {
        let schema = json!({"properties": {
            "defaulted": {"type": "string", "default": "a"},
            "plain": {"type": "string"},
            "nullable": {"type": "string", "nullable": true, "default": "a"},
        }});
        let object = json!({"defaulted": null, "plain": null, "nullable": null, "unknown": null});
        assert_eq!(filled(object, &schema), json!({"defaulted": "a", "nullable": null, "unknown": null}));
    }

    #[test]
    fn items_and_keys_have_defaults() {
        let schema = json!({"properties": {"list": {"items": {"properties": {"port": {"default": 80}}}},
                                           "map": {"additionalProperties": {"type": "string", "default": "d"}}}});
        let object = json!({"list": [{}, {"port": 1}], "map": {"k": null}});
        assert_eq!(filled(object, &schema), json!({"list": [{"port": 80}, {"port": 1}], "map": {"k": "d"}}));
    }
}
