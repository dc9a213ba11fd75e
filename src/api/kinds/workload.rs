//! What kinds that make pods from a template share: rules of selectors, templates, replica counts
//! and rolling updates.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::PodTemplateSpec,
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use serde::Serialize;

use super::{
    label_selector,
    pod_template::{self, warnings::name_for_hosts},
};
use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::{name, value},
};

/// What a kind says of selectors that do not do.
#[derive(Debug, Clone, Copy)]
pub struct SelectorRule {
    /// Whether one that is missing is said to be.
    pub is_required: bool,
    /// What is said of one that is not valid; the template is not looked at then.
    pub unusable: Option<&'static str>,
}

/// Problems of a selector and the template that it must match.
pub fn selector_and_template(
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    rule: SelectorRule,
    path: &Path,
) -> Vec<Cause> {
    let own = path.child("selector");
    let mut causes = label_selector::validate(selector, &own);
    // The types do not tell an empty selector, which finds everything, from a missing one, which finds nothing.
    let is_missing = label_selector::is_empty(selector);
    if is_missing && rule.is_required {
        causes.push(field::required(&own, ""));
    }
    let is_valid = label_selector::is_valid(selector);
    if let Some(detail) = rule.unusable.filter(|_| !is_valid) {
        causes.push(field::invalid(&own, label_selector::shown(selector), detail));
        return causes;
    }
    let labels = template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    let none = BTreeMap::new();
    if is_missing || (is_valid && !label_selector::matches(selector, labels.unwrap_or(&none))) {
        causes.push(unmatched(labels, &path.child("template")));
    }
    causes.extend(pod_template::template(template, &path.child("template")));
    causes
}

/// A selector that never changes.
pub fn fixed_selector(new: &LabelSelector, old: &LabelSelector) -> Option<Cause> {
    let same = label_selector::equal(Some(new), Some(old));
    let shown = (!label_selector::is_empty(new)).then(|| label_selector::shown(new));
    (!same).then(|| field::invalid(&Path::new("spec.selector"), shown, field::IMMUTABLE))
}

/// The problem of a template whose pods the selector does not find.
pub fn unmatched(labels: Option<&BTreeMap<String, String>>, template: &Path) -> Cause {
    let path = template.child("metadata").child("labels");
    field::invalid(&path, labels, "`selector` does not match template `labels`")
}

/// Problems of counts in a status: none is negative, and none of `parts` exceeds the first, which is that of all.
pub fn counts(all: (&str, i32), parts: &[(&str, i32)], others: &[(&str, Option<i64>)], path: &Path) -> Vec<Cause> {
    let numbers = std::iter::once(&all).chain(parts).map(|(name, count)| (*name, Some(i64::from(*count))));
    let mut causes = Vec::new();
    for (name, number) in numbers.chain(others.iter().copied()).filter_map(|(name, number)| Some((name, number?))) {
        causes.extend(field::invalid_each(&path.child(name), number, &value::non_negative(number)));
    }
    for (name, count) in parts.iter().filter(|(_, count)| *count > all.1) {
        causes.push(field::invalid(&path.child(name), count, &format!("cannot be greater than status.{}", all.0)));
    }
    causes
}

/// No more pods are available than are ready, which is called `limit`.
pub fn available(available: i32, ready: i32, limit: &str, path: &Path) -> Option<Cause> {
    let detail = format!("cannot be greater than {limit}");
    (available > ready).then(|| field::invalid(&path.child("availableReplicas"), available, &detail))
}

/// A count of collisions only grows.
pub fn collisions(new: Option<i32>, old: Option<i32>, path: &Path) -> Option<Cause> {
    let fewer = old.is_some_and(|old| new.is_none_or(|new| new < old));
    let new = new.unwrap_or_default();
    fewer.then(|| field::invalid(&path.child("collisionCount"), new, "cannot be decremented"))
}

/// Warnings about a workload that is new, or whose wish has changed from an older one.
pub fn warnings(template: Option<&PodTemplateSpec>, new: &ObjectMeta, old: Option<&ObjectMeta>) -> Vec<String> {
    if old.is_some_and(|old| old.generation == new.generation) {
        return Vec::new();
    }
    let path = Path::new("spec.template");
    template.map(|template| pod_template::warnings::template(template, &path)).unwrap_or_default()
}

/// As [`warnings`], for workloads whose pods are called after them.
pub fn named_warnings(template: Option<&PodTemplateSpec>, new: &ObjectMeta, old: Option<&ObjectMeta>) -> Vec<String> {
    let name = old.is_none().then(|| name_for_hosts(new.name.as_deref(), "Pod names and hostnames")).flatten();
    name.into_iter().chain(warnings(template, new, old)).collect()
}

/// An update strategy as errors show it: with the names of upstream's internal type.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ShownStrategy<'a, R> {
    /// What kind of strategy it is.
    pub r#type: &'a str,
    /// How a rolling update goes.
    pub rolling_update: Option<R>,
}

/// How a rolling update goes, of kinds that may be short of pods or have too many.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ShownRollingUpdate<'a> {
    /// How many pods may be missing.
    pub max_unavailable: Option<&'a IntOrString>,
    /// How many there may be too many.
    pub max_surge: Option<&'a IntOrString>,
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
        // What is neither is none, and its form is told of elsewhere.
        Some(IntOrString::String(text)) => percent_of(text).or_else(|| text.parse().ok()).unwrap_or_default() == 0,
    }
}

fn percent_of(text: &str) -> Option<i64> {
    text.strip_suffix('%')?.parse().ok()
}
