//! Merging a configuration without anybody owning it, as mutating admission policies do (KEP-3962).

use serde_json::Value;

use super::{
    check, element,
    merge::merge,
    shape::{Place, Shape},
};
use crate::api::schema::{Schema, Type};

/// The object that `configuration` makes of `live`. What is owned as a whole would lose what the
/// configuration does not mention, so that it must not mention such.
pub fn merge_unowned(schema: &Schema, live: &Value, mut configuration: Value) -> Result<Value, String> {
    let place = Place::root(schema);
    check::check(place, &mut configuration)
        .map_err(|problem| format!("failed to convert patch object to typed object: {problem}"))?;
    let mut atomic = Vec::new();
    find_atomic(place, &configuration, "", &mut atomic);
    if !atomic.is_empty() {
        let paths = atomic.join(", ");
        return Err(format!("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {paths}"));
    }
    Ok(merge(place, live, &configuration))
}

fn find_atomic(place: Place<'_>, value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if place.shape(value) == Shape::Leaf && matches!(place.kind(), Type::Struct(_) | Type::Map(_)) {
                found.push(path.to_owned());
            }
            for (name, value) in fields {
                find_atomic(place.field(name).0, value, &format!("{path}.{name}"), found);
            }
        }
        Value::Array(items) => {
            if place.shape(value) != Shape::List {
                found.push(path.to_owned());
            }
            for (index, item) in items.iter().enumerate() {
                find_atomic(place.item(), item, &format!("{path}{}", element::shown(&element::index(index))), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::schema::Library;

    fn merged(live: Value, configuration: Value) -> Result<Value, String> {
        merge_unowned(&Library::default().schema_of("apps/v1", "Deployment"), &live, configuration)
    }

    fn with_container(container: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": [container]}}}})
    }

    #[test]
    fn keyed_items_are_merged() {
        let live = with_container(json!({"name": "a", "image": "x"}));
        let configuration = with_container(json!({"name": "a", "env": [{"name": "E", "value": "1"}]}));
        let container = json!({"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}]});
        assert_eq!(merged(live, configuration).unwrap(), with_container(container));
    }

    #[test]
    fn what_is_owned_as_a_whole_is_left_alone() {
        assert_eq!(
            merged(json!({}), with_container(json!({"name": "a", "args": ["x"]}))).unwrap_err(),
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: \
             .spec.template.spec.containers[0].args"
        );
        let selector = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}});
        assert!(merged(json!({}), selector).unwrap_err().ends_with("structs: .spec.selector"));
    }

    #[test]
    fn what_does_not_fit_the_schema_is_told() {
        assert_eq!(
            merged(json!({}), json!({"spec": {"replicas": "x"}})).unwrap_err(),
            "failed to convert patch object to typed object: .spec.replicas: expected numeric (int or float), got string"
        );
    }
}
