//! What kinds that make pods from a template share: rules of selectors, templates, replica counts
//! and rolling updates.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::PodTemplateSpec,
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{label_selector, pod_template};
use crate::api::{
    field::{self, Path},
    selector,
    status::Cause,
    validation::{name, value},
};

/// Problems of a selector and the template that it must match.
pub fn selector_and_template(selector: &LabelSelector, template: &PodTemplateSpec, path: &Path) -> Vec<Cause> {
    let own = path.child("selector");
    let mut causes = label_selector::validate(selector, &own);
    if label_selector::is_empty(selector) {
        causes.push(field::required(&own, ""));
    }
    if selector::LabelSelector::from_object(selector).is_ok() {
        let labels = template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
        causes.extend(mismatch(selector, labels, &path.child("template")));
    }
    causes.extend(pod_template::template(template, &path.child("template")));
    causes
}

/// As [`selector_and_template`], for kinds that look at the template only with a selector that is valid.
pub fn valid_selector_and_template(selector: &LabelSelector, template: &PodTemplateSpec, path: &Path) -> Vec<Cause> {
    if selector::LabelSelector::from_object(selector).is_ok() {
        return selector_and_template(selector, template, path);
    }
    let own = path.child("selector");
    let mut causes = label_selector::validate(selector, &own);
    causes.push(field::invalid(&own, selector, "invalid label selector"));
    causes
}

/// The template's pods must be found by the selector again; an empty one was not given.
fn mismatch(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>, template: &Path) -> Option<Cause> {
    let found = labels.map_or_else(
        || label_selector::matches(selector, &BTreeMap::new()),
        |labels| label_selector::matches(selector, labels),
    );
    (!found || label_selector::is_empty(selector)).then(|| unmatched(labels, template))
}

/// The problem of a template whose pods the selector does not find.
pub fn unmatched(labels: Option<&BTreeMap<String, String>>, template: &Path) -> Cause {
    let path = template.child("metadata").child("labels");
    field::invalid(&path, labels, "`selector` does not match template `labels`")
}

/// Pods of a controller that keeps them running always restart their containers, without a deadline.
pub fn always_restarts(template: &PodTemplateSpec, owner: &str, path: &Path) -> Vec<Cause> {
    let Some(spec) = &template.spec else { return Vec::new() };
    let path = path.child("template").child("spec");
    let mut causes = Vec::new();
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    if policy != "Always" {
        causes.push(field::unsupported(&path.child("restartPolicy"), policy, &["Always"]));
    }
    if spec.active_deadline_seconds.is_some() {
        let detail = format!("activeDeadlineSeconds in {owner} is not Supported");
        causes.push(field::forbidden(&path.child("activeDeadlineSeconds"), &detail));
    }
    causes
}

/// Problems of a reference to an object of any kind by its names.
pub fn object_reference(group: Option<&str>, kind: &str, name: &str, path: &Path) -> Vec<Cause> {
    let mut causes = group
        .map(|group| field::invalid_each(&path.child("apiGroup"), group, &name::dns1123_subdomain(group)))
        .unwrap_or_default();
    for (field_name, text) in [("kind", kind), ("name", name)] {
        let path = path.child(field_name);
        match text {
            "" => causes.push(field::required(&path, "")),
            text => causes.extend(field::invalid_each(&path, text, &name::path_segment(text))),
        }
    }
    causes
}

/// Problems of numbers that may not be negative, by the name of their field.
pub fn non_negative(numbers: &[(&str, Option<i32>)], path: &Path) -> Vec<Cause> {
    let given = numbers.iter().filter_map(|(name, number)| Some((name, (*number)?)));
    given
        .flat_map(|(name, number)| field::invalid_each(&path.child(name), number, &value::non_negative(number.into())))
        .collect()
}

/// A count of pods, or a percentage of at most 100.
pub fn count_or_percent(count: Option<&IntOrString>, path: &Path, at_most_all: bool) -> Vec<Cause> {
    match count {
        None => Vec::new(),
        Some(IntOrString::Int(number)) => field::invalid_each(path, number, &value::non_negative((*number).into())),
        Some(IntOrString::String(text)) => {
            let mut causes = field::invalid_each(path, text, &value::percent(text));
            if at_most_all && percent_of(text).is_some_and(|percent| percent > 100) {
                causes.push(field::invalid(path, text, "must not be greater than 100%"));
            }
            causes
        }
    }
}

/// Whether a count is zero, as a number or as a percentage.
pub fn is_zero(count: Option<&IntOrString>) -> bool {
    match count {
        None => true,
        Some(IntOrString::Int(number)) => *number == 0,
        Some(IntOrString::String(text)) => percent_of(text) == Some(0),
    }
}

fn percent_of(text: &str) -> Option<i64> {
    text.strip_suffix('%')?.parse().ok()
}
