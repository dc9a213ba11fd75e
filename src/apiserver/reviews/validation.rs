//! What an access review must say, in upstream's words.

use serde_json::Value;

use crate::api::{
    Status,
    field::{self, Path},
    status::Cause,
    validation::name,
};

const NEITHER: &str = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
const BOTH: &str = "cannot be specified in combination with resourceAttributes";
const PATH: &str = "authorization.v1.NonResourceAttributes";

/// Whom a review asks about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum About<'a> {
    /// Whoever asks.
    Oneself,
    /// Whoever is named.
    Somebody,
    /// Whoever is named, in this namespace.
    SomebodyIn(&'a str),
}

/// Refuses a review that is not clear.
pub fn check(review: &Value, about: About<'_>) -> Result<(), Status> {
    let spec = &review["spec"];
    let path = Path::new("spec");
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let other_path = path.child("nonResourceAttributes");
    let mut causes = Vec::new();
    match (resource.is_object(), other.is_object()) {
        (true, true) => causes.push(field::invalid_internal(&other_path, PATH, other, BOTH)),
        (false, false) => causes.push(field::invalid(&path.child("resourceAttributes"), Value::Null, NEITHER)),
        _ => {}
    }
    let user = spec["user"].as_str().unwrap_or_default();
    let is_nobody = user.is_empty() && spec["groups"].as_array().is_none_or(Vec::is_empty);
    if about != About::Oneself && is_nobody {
        causes.push(field::invalid(&path.child("user"), user, "at least one of user or group must be specified"));
    }
    let path = path.child("resourceAttributes");
    for (name, requirement) in [("fieldSelector", fields as Requirement), ("labelSelector", labels)] {
        if resource[name].is_object() {
            causes.extend(selector(&resource[name], requirement, &path.child(name)));
        }
    }
    causes.extend(metadata(&review["metadata"], about));
    if let About::SomebodyIn(namespace) = about {
        let given = resource["namespace"].as_str().unwrap_or_default();
        if resource.is_object() && given != namespace {
            causes.push(field::invalid(&path.child("namespace"), given, "must match metadata.namespace"));
        }
        if other.is_object() {
            let detail = "disallowed on this kind of request";
            causes.push(field::invalid_internal(&other_path, PATH, other, detail));
        }
    }
    // Upstream does not say which kind it is.
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid("authorization.k8s.io", "", "", causes)) }
}

/// A review is no object that is kept.
fn metadata(metadata: &Value, about: About<'_>) -> Option<Cause> {
    let is_local = matches!(about, About::SomebodyIn(_));
    let mut fields = metadata.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let is_fine = fields.all(|name| name == "managedFields" || is_local && name == "namespace");
    let detail = if is_local { "must be empty except for namespace" } else { "must be empty" };
    (!is_fine).then(|| field::invalid_internal(&Path::new("metadata"), "meta.v1.ObjectMeta", metadata, detail))
}

type Requirement = fn(&Value, &Path) -> Vec<Cause>;

fn selector(selector: &Value, requirement: Requirement, path: &Path) -> Vec<Cause> {
    let raw = selector["rawSelector"].as_str().unwrap_or_default();
    let requirements = selector["requirements"].as_array().map(Vec::as_slice).unwrap_or_default();
    let path_of_all = path.child("requirements");
    let mut causes = Vec::new();
    match (raw.is_empty(), requirements.is_empty()) {
        (false, false) => {
            let detail = "may not specified at the same time as requirements";
            causes.push(field::invalid(&path.child("rawSelector"), raw, detail));
        }
        (true, true) => {
            let detail = format!("when {path} is specified, requirements or rawSelector is required");
            causes.push(field::required(&path_of_all, &detail));
        }
        _ => {}
    }
    for (index, one) in requirements.iter().enumerate() {
        causes.extend(requirement(one, &path_of_all.index(index)));
    }
    causes
}

fn fields(requirement: &Value, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if requirement["key"].as_str().unwrap_or_default().is_empty() {
        causes.push(field::required(&path.child("key"), "must be specified"));
    }
    causes.extend(operator(requirement, path));
    causes
}

fn labels(requirement: &Value, path: &Path) -> Vec<Cause> {
    let mut causes: Vec<Cause> = operator(requirement, path).into_iter().collect();
    let key = requirement["key"].as_str().unwrap_or_default();
    causes.extend(field::invalid_each(&path.child("key"), key, &name::qualified_name(key)));
    for (index, value) in requirement["values"].as_array().into_iter().flatten().enumerate() {
        let value = value.as_str().unwrap_or_default();
        let path = path.child("values").index(index);
        causes.extend(field::invalid_each(&path, value, &name::label_value(value)));
    }
    causes
}

/// Operators that are unknown are newer ones: those are for the authorizer to ignore.
fn operator(requirement: &Value, path: &Path) -> Option<Cause> {
    let path = path.child("values");
    let has_values = requirement["values"].as_array().is_some_and(|values| !values.is_empty());
    match requirement["operator"].as_str().unwrap_or_default() {
        "In" | "NotIn" if !has_values => {
            Some(field::required(&path, "must be specified when `operator` is 'In' or 'NotIn'"))
        }
        "Exists" | "DoesNotExist" if has_values => {
            Some(field::forbidden(&path, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reviews_are_clear_about_what_is_asked() {
        let problems = |spec: Value, about| {
            let status = check(&json!({"metadata": {}, "spec": spec}), about).unwrap_err();
            status.message
        };
        assert_eq!(
            problems(json!({"user": "a"}), About::Somebody),
            format!(".authorization.k8s.io \"\" is invalid: spec.resourceAttributes: Invalid value: null: {NEITHER}")
        );
        let selector = json!({"resourceAttributes": {"fieldSelector": {"requirements": [{"operator": "In"}]}}});
        assert_eq!(
            problems(selector, About::Oneself),
            ".authorization.k8s.io \"\" is invalid: [spec.resourceAttributes.fieldSelector.requirements[0].key: Required \
             value: must be specified, spec.resourceAttributes.fieldSelector.requirements[0].values: Required value: must \
             be specified when `operator` is 'In' or 'NotIn']"
        );
    }
}
