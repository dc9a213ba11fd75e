//! Checks an applied configuration against its schema, in the words of upstream's structured merge,
//! and brings its leaves into the form in which they are stored, so that `1024Mi` does not conflict
//! with `1Gi`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    element,
    shape::{Place, Shape},
};
use crate::api::{
    quantity::Quantity,
    schema::{Type, yaml_boolean, yaml_octal},
};

/// Every problem of `config`, as `.spec.replicas: expected numeric (int or float), got string`; and
/// leaves in canonical form.
pub fn check(place: Place<'_>, config: &mut Value) -> Result<(), String> {
    let mut problems = Vec::new();
    walk(place, "", config, &mut problems);
    match problems.as_slice() {
        [] => Ok(()),
        [only] => Err(only.clone()),
        many => Err(format!("errors:\n  {}", many.join("\n  "))),
    }
}

fn walk(place: Place<'_>, path: &str, value: &mut Value, problems: &mut Vec<String>) {
    let mut report = |problem: String| problems.push(format!("{path}: {problem}"));
    match (place.kind(), &mut *value) {
        (_, Value::Null) => {}
        (Type::Any, _) => {}
        (Type::Struct(_) | Type::Map(_), Value::Object(_)) => walk_fields(place, path, value, problems),
        (Type::List(_), Value::Array(_)) => walk_items(place, path, value, problems),
        (Type::Struct(_) | Type::Map(_), other) => report(format!("expected map, got &{{{}}}", shown(other))),
        (Type::List(_), other) => report(format!("expected list, got &{{{}}}", shown(other))),
        (kind, leaf) => {
            if let Err(problem) = check_leaf(kind, leaf) {
                report(problem);
            }
        }
    }
}

fn walk_fields(place: Place<'_>, path: &str, value: &mut Value, problems: &mut Vec<String>) {
    for (name, value) in value.as_object_mut().into_iter().flatten() {
        let (child, declared) = place.field(name);
        let path = format!("{path}.{name}");
        if matches!(place.kind(), Type::Struct(structure) if !structure.open) && !declared {
            problems.push(format!("{path}: field not declared in schema"));
        } else {
            walk(child, &path, value, problems);
        }
    }
}

fn walk_items(place: Place<'_>, path: &str, value: &mut Value, problems: &mut Vec<String>) {
    let shared = place.shape(value) == Shape::List;
    let mut seen = BTreeSet::new();
    for (index, item) in value.as_array_mut().into_iter().flatten().enumerate() {
        let element = if shared { place.element(item) } else { Ok(element::index(index)) };
        let element = match element {
            Ok(element) => element,
            Err(problem) => {
                problems.push(format!("{path}: element {index}: {problem}"));
                continue;
            }
        };
        let shown = element::shown(&element);
        walk(place.item(), &format!("{path}{shown}"), item, problems);
        if !seen.insert(element) {
            problems.push(format!("{path}: duplicate entries for key {shown}"));
        }
    }
}

fn check_leaf(kind: &Type, leaf: &mut Value) -> Result<(), String> {
    canonicalize(kind, leaf);
    let fits = match kind {
        Type::Boolean => leaf.is_boolean(),
        Type::Int32 | Type::Int64 | Type::Number => leaf.is_number(),
        Type::Quantity | Type::IntOrString => !leaf.is_object() && !leaf.is_array(),
        _ => leaf.is_string(),
    };
    if fits {
        return Ok(());
    }
    Err(match kind {
        Type::Boolean => format!("expected boolean, got &{{{}}}", shown(leaf)),
        Type::Int32 | Type::Int64 | Type::Number => {
            format!("expected numeric (int or float), got {}", go_type(leaf))
        }
        Type::Quantity | Type::IntOrString => format!("expected any scalar, got &{{{}}}", shown(leaf)),
        _ => format!("expected string, got &value.valueUnstructured{{Value:{}}}", shown_in_go(leaf)),
    })
}

/// Quantities as they are stored, and the numbers and words of YAML 1.1.
fn canonicalize(kind: &Type, leaf: &mut Value) {
    let text = match &*leaf {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return,
    };
    let canonical = match kind {
        Type::Quantity => text.parse::<Quantity>().ok().map(|quantity| quantity.to_string().into()),
        Type::Int32 | Type::Int64 if leaf.is_string() => yaml_octal(&text).map(Value::from),
        Type::Boolean if leaf.is_string() => yaml_boolean(&text).map(Value::from),
        _ => None,
    };
    if let Some(canonical) = canonical {
        *leaf = canonical;
    }
}

/// The value as Go prints one inside of a structure.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let each: Vec<String> = fields.iter().map(|(name, value)| format!("{name}:{}", shown(value))).collect();
            format!("map[{}]", each.join(" "))
        }
        scalar => scalar.to_string(),
    }
}

/// The value as Go's own syntax has it.
fn shown_in_go(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(shown_in_go).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let each = fields.iter().map(|(name, value)| format!("{name:?}:{}", shown_in_go(value)));
            format!("map[string]interface {{}}{{{}}}", each.collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::schema::{Library, Schema, Struct};

    fn deployment() -> Schema {
        Library::default().schema_of("apps/v1", "Deployment")
    }

    fn problem(mut config: Value) -> String {
        check(Place::root(&deployment()), &mut config).unwrap_err()
    }

    fn with_container(fields: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": [fields]}}}})
    }

    #[test]
    fn a_structure_that_keeps_unknown_fields_takes_them() {
        let root = Type::Struct(std::sync::Arc::new(Struct::new("g.v1.Foo", Vec::new(), true)));
        let schema = Schema { api_version: "g/v1".into(), kind: "Foo".into(), root };
        assert!(check(Place::root(&schema), &mut json!({"spec": {"any": [1]}})).is_ok());
    }

    #[test]
    fn problems_read_as_upstreams() {
        assert_eq!(problem(json!({"spec": {"foo": 1}})), ".spec.foo: field not declared in schema");
        assert_eq!(
            problem(json!({"spec": {"replicas": "x"}})),
            ".spec.replicas: expected numeric (int or float), got string"
        );
        let path = ".spec.template.spec.containers";
        assert_eq!(
            problem(with_container(json!({"name": "a", "env": [{"name": "x"}, {"name": "x"}]}))),
            format!("{path}[name=\"a\"].env: duplicate entries for key [name=\"x\"]")
        );
        assert_eq!(
            problem(with_container(json!({"image": "a"}))),
            format!(
                "{path}: element 0: associative list with keys has an element that omits key field \"name\" (and \
                 doesn't have default value)"
            )
        );
        assert_eq!(problem(json!({"spec": 1, "x": 1})).lines().count(), 3);
    }

    #[test]
    fn leaves_become_what_is_stored() {
        let limits = json!({"name": "a", "resources": {"limits": {"memory": "1024Mi", "cpu": 0.5}}});
        let mut config = with_container(limits);
        check(Place::root(&deployment()), &mut config).unwrap();
        let limits = &config["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"];
        assert_eq!(*limits, json!({"memory": "1Gi", "cpu": "500m"}));
    }

    #[test]
    fn anything_may_stand_in_the_place_of_a_schema() {
        let definition = Library::default().schema_of("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        let properties = json!({"a": {"items": {"type": "string"}, "additionalProperties": false},
                                "b": {"items": [{"type": "string"}], "additionalProperties": {"nullable": true}}});
        let schema = json!({"openAPIV3Schema": {"properties": properties}});
        let mut config = json!({"spec": {"versions": [{"name": "v1", "schema": schema}]}});
        assert_eq!(check(Place::root(&definition), &mut config), Ok(()));
    }

    #[test]
    fn nulls_are_fine_anywhere() {
        assert!(check(Place::root(&deployment()), &mut json!({"spec": {"replicas": null, "template": null}})).is_ok());
    }
}
