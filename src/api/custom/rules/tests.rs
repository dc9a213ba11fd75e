//! Rules as definitions have them, and what they say of objects.

use serde_json::{Value, json};

use super::*;

/// Problems of a field `spec` with this schema.
fn problems(schema: &Value, old: Option<&Value>, new: &Value) -> Vec<String> {
    let schema = Structural::read(&json!({"type": "object", "properties": {"spec": schema}}));
    let rules = Rules::compile(&schema, true).expect("there are rules");
    let object = |spec: &Value| json!({"apiVersion": "g/v1", "kind": "Foo", "metadata": {"name": "a"}, "spec": spec});
    let causes = validate(&object(new), old.map(object).as_ref(), &schema, &rules);
    let held = causes.into_iter().filter(|cause| !cause.is_tolerated);
    held.map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

fn created(schema: &Value, new: Value) -> Vec<String> {
    problems(schema, None, &new)
}

fn changed(schema: &Value, old: Value, new: Value) -> Vec<String> {
    problems(schema, Some(&old), &new)
}

fn number_with(rule: Value) -> Value {
    json!({"type": "object", "properties": {"x": {"type": "integer", "x-kubernetes-validations": [rule]}}})
}

#[test]
fn a_schema_without_rules_has_nothing_to_evaluate() {
    assert!(Rules::compile(&Structural::read(&json!({"type": "object", "properties": {"a": {}}})), true).is_none());
}

#[test]
fn messages_are_those_of_the_rule() {
    let schema = |more: Value| {
        let mut rule = json!({"rule": "self.x > 1"});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"type": "object", "properties": {"x": {"type": "integer"}}, "x-kubernetes-validations": [rule]})
    };
    let bad = json!({"x": 1});
    assert!(created(&schema(json!({})), json!({"x": 2})).is_empty());
    assert_eq!(created(&schema(json!({})), bad.clone()), ["spec: Invalid value: failed rule: self.x > 1"]);
    let own = schema(json!({"message": " too small "}));
    assert_eq!(created(&own, bad.clone()), ["spec: Invalid value: too small"]);
    let made = schema(json!({"message": "no", "messageExpression": "'got ' + string(self.x)"}));
    assert_eq!(created(&made, bad.clone()), ["spec: Invalid value: got 1"]);
    let blank = schema(json!({"message": "no", "messageExpression": "' '"}));
    assert_eq!(created(&blank, bad.clone()), ["spec: Invalid value: no"]);
    let located = schema(json!({"reason": "FieldValueForbidden", "fieldPath": ".x"}));
    assert_eq!(created(&located, bad), ["spec.x: Forbidden: failed rule: self.x > 1"]);
}

#[test]
fn scalars_are_shown_and_paths_lead_to_them() {
    let rule = json!([{"rule": "self != 'bad'", "reason": "FieldValueDuplicate"}]);
    let schema = json!({"type": "object", "properties": {
        "list": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": rule}},
        "map": {"type": "object", "additionalProperties": {"type": "string", "x-kubernetes-validations": rule}},
    }});
    assert_eq!(
        created(&schema, json!({"list": ["good", "bad"], "map": {"k": "bad"}})),
        ["spec.list[1]: Duplicate value: \"bad\"", "spec.map[k]: Duplicate value: \"bad\""]
    );
}

#[test]
fn what_cannot_be_evaluated_is_a_problem() {
    let schema = number_with(json!({"rule": "1 / self > 0", "message": "no"}));
    assert_eq!(
        created(&schema, json!({"x": 0})),
        ["spec.x: Invalid value: \"integer\": division by zero evaluating rule: no"]
    );
}

#[test]
fn rules_about_changes_need_something_to_compare_with() {
    let schema = number_with(json!({"rule": "self > oldSelf"}));
    assert!(created(&schema, json!({"x": 1})).is_empty());
    assert!(changed(&schema, json!({}), json!({"x": 1})).is_empty());
    assert!(changed(&schema, json!({"x": 1}), json!({"x": 2})).is_empty());
    // Not even what is unchanged is passed over.
    let problem = ["spec.x: Invalid value: 1: failed rule: self > oldSelf"];
    assert_eq!(changed(&schema, json!({"x": 1}), json!({"x": 1})), problem);
}

#[test]
fn an_optional_past_is_compared_with_as_well() {
    let rule = json!({"rule": "oldSelf.hasValue() ? self > oldSelf.value() : self == 0", "optionalOldSelf": true});
    let schema = number_with(rule);
    assert!(created(&schema, json!({"x": 0})).is_empty());
    assert_eq!(created(&schema, json!({"x": 1})).len(), 1);
    assert_eq!(changed(&schema, json!({"x": 2}), json!({"x": 1})).len(), 1);
    assert!(changed(&schema, json!({"x": 0}), json!({"x": 1})).is_empty());
}

#[test]
fn items_have_a_past_by_their_keys_alone() {
    let list = |kind: &str| {
        json!({"type": "object", "properties": {"list": {
            "type": "array", "x-kubernetes-list-type": kind, "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {
                "name": {"type": "string"},
                "x": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > oldSelf"}]}}}}}})
    };
    let old = json!({"list": [{"name": "a", "x": 5}, {"name": "b", "x": 1}]});
    let new = json!({"list": [{"name": "b", "x": 2}, {"name": "a", "x": 4}, {"name": "c", "x": 0}]});
    let problem = ["spec.list[1].x: Invalid value: 4: failed rule: self > oldSelf"];
    assert_eq!(changed(&list("map"), old.clone(), new.clone()), problem);
    assert!(changed(&list("atomic"), old, new).is_empty());
}

#[test]
fn what_was_wrong_before_may_stay() {
    let rule = json!([{"rule": "self == 'good'"}]);
    let text = json!({"type": "string", "x-kubernetes-validations": rule});
    let schema = json!({"type": "object", "properties": {
        "field": text, "other": {"type": "string"},
        "list": {"type": "array", "items": text},
        "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"],
                  "items": {"type": "object", "properties": {"key": {"type": "string"}, "field": text}}},
    }});
    let old = json!({"field": "bad", "list": ["bad"], "keyed": [{"key": "a", "field": "bad"}]});
    let mut new = old.clone();
    new["other"] = "x".into();
    assert!(changed(&schema, old.clone(), new.clone()).is_empty());
    assert_eq!(created(&schema, new.clone()).len(), 3);
    // An item without a past is only passed over with its whole list.
    new["list"] = json!(["bad", "good"]);
    new["keyed"] = json!([{"key": "b", "field": "good"}, {"key": "a", "field": "bad"}]);
    assert_eq!(changed(&schema, old, new), ["spec.list[0]: Invalid value: \"bad\": failed rule: self == 'good'"]);
}

#[test]
fn one_expression_and_all_of_them_have_a_budget() {
    let schema = json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "integer"}}},
                        "x-kubernetes-validations": [{"rule": "self.list.all(x, self.list.all(y, y == x))"},
                                                     {"rule": "false"}]});
    let found = created(&schema, json!({"list": vec![20; 725]}));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("no further validation rules will be run due to call cost exceeds limit"), "{found:?}");
    let schema = json!({"type": "array", "items": {"type": "array", "items": {"type": "integer"},
                        "x-kubernetes-validations": [{"rule": "self.all(x, self.all(y, y == x))"}]}});
    let found = created(&schema, json!(vec![vec![1; 300]; 60]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("due to running out of cost budget, no further validation rules will be run"));
}

#[test]
fn names_and_types_of_whole_objects_are_known() {
    let schema = Structural::read(&json!({"type": "object", "x-kubernetes-validations": [
        {"rule": "self.metadata.name.startsWith('x') && self.kind == 'Foo'"}]}));
    let rules = Rules::compile(&schema, true).unwrap();
    let causes = validate(&json!({"kind": "Foo", "metadata": {"name": "a"}}), None, &schema, &rules);
    assert_eq!(causes[0].field, "<nil>");
    assert!(validate(&json!({"kind": "Foo", "metadata": {"name": "xa"}}), None, &schema, &rules).is_empty());
}
