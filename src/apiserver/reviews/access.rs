//! From the spec of an access review to the attributes of the request it asks about.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    api::selector::{FieldSelector, LabelSelector, field::Term},
    apiserver::{attributes::Attributes, authz::Rule},
    http::identity::User,
};

/// The user that a review is about.
pub fn user(spec: &Value) -> User {
    let list = |field: &str| serde_json::from_value::<Vec<String>>(spec[field].clone()).unwrap_or_default();
    User {
        name: spec["user"].as_str().unwrap_or_default().to_owned(),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        groups: list("groups"),
        extra: serde_json::from_value::<BTreeMap<String, Vec<String>>>(spec["extra"].clone()).unwrap_or_default(),
    }
}

/// The request that `user` might make: about a resource or else about a path.
pub fn attributes(user: User, spec: &Value) -> Attributes {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    if path.is_object() {
        return Attributes { user, verb: text(path, "verb"), path: text(path, "path"), ..Attributes::default() };
    }
    Attributes {
        user,
        verb: text(resource, "verb"),
        group: text(resource, "group"),
        version: text(resource, "version"),
        resource: text(resource, "resource"),
        subresource: text(resource, "subresource"),
        namespace: text(resource, "namespace"),
        name: text(resource, "name"),
        fields: fields(&resource["fieldSelector"]).0,
        ..Attributes::default()
    }
}

/// What is said about selectors that are not understood.
pub fn ignored(resource: &Value) -> String {
    let (fields, all_fields) = fields(&resource["fieldSelector"]);
    let (labels, all_labels) = labels(&resource["labelSelector"]);
    let each = [("fieldSelector", all_fields, !fields.is_everything()), ("labelSelector", all_labels, labels > 0)];
    let ignored = each.into_iter().filter(|(_, all, _)| !all).map(|(name, _, some)| {
        let how = if some { "partially ignored" } else { "ignored" };
        format!("spec.resourceAttributes.{name} {how} due to parse error")
    });
    ignored.collect::<Vec<_>>().join(", ")
}

/// The limits of a list that is asked about, as far as they name one value each; and whether that is all.
fn fields(selector: &Value) -> (FieldSelector, bool) {
    if let Some(text) = selector["rawSelector"].as_str().filter(|text| !text.is_empty()) {
        let parsed = FieldSelector::parse(text);
        let is_all = parsed.is_ok();
        return (parsed.unwrap_or_default(), is_all);
    }
    let requirements = selector["requirements"].as_array().map(Vec::as_slice).unwrap_or_default();
    let one = |requirement: &Value| {
        let value = match requirement["values"].as_array().map(Vec::as_slice)? {
            [one] => one.as_str()?.to_owned(),
            _ => return None,
        };
        let equal = match requirement["operator"].as_str()? {
            "In" => true,
            "NotIn" => false,
            _ => return None,
        };
        Some(Term { field: requirement["key"].as_str()?.to_owned(), value, equal })
    };
    let terms: Vec<Term> = requirements.iter().filter_map(one).collect();
    let is_all = terms.len() == requirements.len();
    (FieldSelector::of(terms), is_all)
}

/// How many conditions on labels there are that are understood, and whether those are all.
fn labels(selector: &Value) -> (usize, bool) {
    if let Some(text) = selector["rawSelector"].as_str().filter(|text| !text.is_empty()) {
        return LabelSelector::parse(text).map_or((0, false), |parsed| (parsed.requirements().len(), true));
    }
    let requirements = selector["requirements"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_understood = |requirement: &&Value| {
        let expression = serde_json::from_value(json!({"matchExpressions": [requirement]}));
        expression.is_ok_and(|expression| LabelSelector::from_object(&expression).is_ok())
    };
    let understood = requirements.iter().filter(is_understood).count();
    (understood, understood == requirements.len())
}

/// The rules of whoever may do everything.
pub fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
    ]
}
