//! From the spec of an access review to the attributes of the request it asks about.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    api::{Status, selector::FieldSelector, status::Cause},
    apiserver::{attributes::Attributes, authz::Rule},
    http::identity::User,
};

const NEITHER: &str = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
const BOTH: &str = "cannot be specified in combination with resourceAttributes";

/// The user that a review is about.
pub fn user(spec: &Value) -> Result<User, Status> {
    let list = |field: &str| serde_json::from_value::<Vec<String>>(spec[field].clone()).unwrap_or_default();
    let user = User {
        name: spec["user"].as_str().unwrap_or_default().to_owned(),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        groups: list("groups"),
        extra: serde_json::from_value::<BTreeMap<String, Vec<String>>>(spec["extra"].clone()).unwrap_or_default(),
    };
    if user.name.is_empty() && user.groups.is_empty() {
        let mut causes = Vec::from_iter(ambiguity(spec));
        causes.push(invalid("spec.user", "\"\"", "at least one of user or group must be specified"));
        return Err(refused(causes));
    }
    Ok(user)
}

/// The request that `user` might make.
pub fn attributes(user: User, spec: &Value) -> Result<Attributes, Status> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    match (resource.is_object(), path.is_object()) {
        (true, false) => Ok(Attributes {
            user,
            verb: text(resource, "verb"),
            group: text(resource, "group"),
            version: text(resource, "version"),
            resource: text(resource, "resource"),
            subresource: text(resource, "subresource"),
            namespace: text(resource, "namespace"),
            name: text(resource, "name"),
            fields: fields(&resource["fieldSelector"]),
            ..Attributes::default()
        }),
        (false, true) => {
            Ok(Attributes { user, verb: text(path, "verb"), path: text(path, "path"), ..Attributes::default() })
        }
        _ => Err(refused(Vec::from_iter(ambiguity(spec)))),
    }
}

/// A review is about a resource or about a path.
fn ambiguity(spec: &Value) -> Option<Cause> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let text = |field: &str| path[field].as_str().unwrap_or_default();
    match (resource.is_object(), path.is_object()) {
        (false, false) => Some(invalid("spec.resourceAttributes", "null", NEITHER)),
        (true, true) => {
            let value = json!({"Path": text("path"), "Verb": text("verb")});
            Some(invalid("spec.nonResourceAttributes", &value.to_string(), BOTH))
        }
        _ => None,
    }
}

/// The limits of a list that is asked about, as far as they name one value each.
fn fields(selector: &Value) -> FieldSelector {
    let raw = selector["rawSelector"].as_str().and_then(|text| FieldSelector::parse(text).ok());
    let requirements = selector["requirements"].as_array().map(Vec::as_slice).unwrap_or_default();
    let exact = requirements.iter().filter_map(|requirement| {
        let value = match requirement["values"].as_array().map(Vec::as_slice)? {
            [one] if requirement["operator"] == "In" => one.as_str()?,
            _ => return None,
        };
        Some((requirement["key"].as_str()?.to_owned(), value.to_owned()))
    });
    raw.unwrap_or_else(|| FieldSelector::exactly(exact))
}

/// The rules of whoever may do everything.
pub fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
    ]
}

fn invalid(field: &str, value: &str, why: &str) -> Cause {
    let message = format!("Invalid value: {value}: {why}");
    Cause { reason: "FieldValueInvalid".into(), message, field: field.into(), ..Cause::default() }
}

fn refused(causes: Vec<Cause>) -> Status {
    Status::invalid("authorization.k8s.io", "SubjectAccessReview", "", causes)
}
