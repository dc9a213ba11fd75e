//! What tables are made of: column constructors, and the forms in which kubectl's users know ages,
//! selectors and lists. Kinds share them so that one duration looks alike in every table.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::PodSpec,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time},
};
use serde_json::{Value, json};

use crate::api::{kind::Column, time};

/// The primary column of every table.
pub const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    description: include_str!(concat!(env!("OUT_DIR"), "/metadata-name.txt")),
    priority: 0,
};
/// Time since creation.
pub const AGE: Column = column("Age", "string", CREATED);
/// What tables say of the time of creation.
pub const CREATED: &str = include_str!(concat!(env!("OUT_DIR"), "/metadata-creationTimestamp.txt"));
/// Columns of a kind that shows nothing of its own.
pub const NAME_AND_AGE: &[Column] = &[NAME, AGE];
/// What stands in a cell whose value is not set.
pub const NONE: &str = "<none>";
/// What stands in a cell whose value cannot be told.
pub const UNKNOWN: &str = "<unknown>";
/// What stands in a cell whose value is in nobody's hands any more.
pub const UNSET: &str = "<unset>";

/// A column that is always shown.
pub const fn column(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, format: "", description, priority: 0 }
}

/// A column that is shown with `-o wide` only.
pub const fn wide(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, format: "", description, priority: 1 }
}

/// The cell of [`NAME`].
pub fn name(meta: &ObjectMeta) -> Value {
    json!(meta.name.as_deref().unwrap_or_default())
}

/// The cell of [`AGE`].
pub fn age(meta: &ObjectMeta, now: Timestamp) -> Value {
    json!(since(meta.creation_timestamp.as_ref(), now))
}

/// The row of [`NAME_AND_AGE`].
pub fn name_and_age(meta: &ObjectMeta, now: Timestamp) -> Vec<Value> {
    vec![name(meta), age(meta, now)]
}

/// Time from `then` to `now` as ages are shown, or `<unknown>`.
pub fn since(then: Option<&Time>, now: Timestamp) -> String {
    time::age(then.map(|then| then.0), now)
}

/// `a=1,b=2`, or `<none>`.
pub fn labels(labels: Option<&BTreeMap<String, String>>) -> String {
    let pairs: Vec<String> = labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() { NONE.to_owned() } else { pairs.join(",") }
}

/// A label selector in the form that `-l` takes: `a=1,b in (x,y),!c`.
pub fn selector(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return NONE.to_owned() };
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let other = selector.match_expressions.iter().flatten().map(|term| {
        let values = term.values.clone().unwrap_or_default().join(",");
        match term.operator.as_str() {
            "In" => format!("{} in ({values})", term.key),
            "NotIn" => format!("{} notin ({values})", term.key),
            "DoesNotExist" => format!("!{}", term.key),
            _ => term.key.clone(),
        }
    });
    let terms: Vec<String> = equal.chain(other).collect();
    if terms.is_empty() { NONE.to_owned() } else { terms.join(",") }
}

/// The names and the images of a pod template's containers, each joined by commas.
pub fn containers(spec: Option<&PodSpec>) -> (String, String) {
    let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let names: Vec<&str> = containers.iter().map(|container| container.name.as_str()).collect();
    let images: Vec<&str> = containers.iter().map(|container| container.image.as_deref().unwrap_or_default()).collect();
    (names.join(","), images.join(","))
}

/// `values` joined by commas, or `<none>`.
pub fn list<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let values: Vec<&str> = values.into_iter().collect();
    if values.is_empty() { NONE.to_owned() } else { values.join(",") }
}

/// `value`, or `<none>` when empty.
pub fn or_none(value: Option<&str>) -> &str {
    value.filter(|value| !value.is_empty()).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_read_as_on_the_command_line() {
        let parsed: LabelSelector = serde_json::from_value(json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "old", "operator": "DoesNotExist"}],
        }))
        .unwrap();
        assert_eq!(selector(Some(&parsed)), "app=web,tier in (a,b),!old");
        assert_eq!(selector(None), NONE);
    }
}
