//! Label selectors inside objects (`metav1.LabelSelector`): their rules, and what they match.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::api::{
    field::{self, Path},
    selector,
    status::Cause,
    validation::{metadata, name},
};

/// Upstream's type of selectors, as errors show them.
pub const MESSAGE: &str = "meta.v1.LabelSelector";

/// Whether the selector asks for nothing, and so matches everything.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// Whether `labels` satisfy every term; a selector that is not valid matches nothing.
pub fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let parsed = selector::LabelSelector::from_object(selector);
    parsed.is_ok_and(|parsed| parsed.matches(|key| labels.get(key).map(String::as_str)))
}

/// Whether the selector can be asked for anything.
pub fn is_valid(selector: &LabelSelector) -> bool {
    selector::LabelSelector::from_object(selector).is_ok()
}

/// Whether two selectors say the same; lists that are not there are as good as empty ones.
pub fn equal(one: Option<&LabelSelector>, other: Option<&LabelSelector>) -> bool {
    let some = |selector: &LabelSelector| LabelSelector {
        match_labels: selector.match_labels.clone().filter(|labels| !labels.is_empty()),
        match_expressions: selector.match_expressions.clone().filter(|terms| !terms.is_empty()),
    };
    one.map(some) == other.map(some)
}

/// Problems of a selector.
pub fn validate(selector: &LabelSelector, path: &Path) -> Vec<Cause> {
    let pairs = selector.match_labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut causes = metadata::labels(pairs, &path.child("matchLabels"));
    let path = path.child("matchExpressions");
    for (index, term) in selector.match_expressions.iter().flatten().enumerate() {
        causes.extend(requirement(term, &path.index(index)));
    }
    causes
}

fn requirement(term: &LabelSelectorRequirement, path: &Path) -> Vec<Cause> {
    let values = term.values.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    match term.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            causes.push(field::required(&path.child("values"), detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            causes.push(field::forbidden(&path.child("values"), detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        operator => causes.push(field::invalid(&path.child("operator"), operator, "not a valid selector operator")),
    }
    causes.extend(field::invalid_each(&path.child("key"), &term.key, &name::qualified_name(&term.key)));
    for (index, value) in values.iter().enumerate() {
        causes.extend(field::invalid_each(&path.child("values").index(index), value, &name::label_value(value)));
    }
    causes
}
