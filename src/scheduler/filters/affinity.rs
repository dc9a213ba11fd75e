//! NodeAffinity: the pod's node selector and its required node affinity must match the node; the
//! preferred ones make it more attractive.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

use crate::{
    client::pod::PodSpec,
    scheduler::{cluster::NodeInfo, pod::PodInfo},
};

pub(super) fn filter(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    let matches = pod.pod.spec.as_ref().is_none_or(|spec| selected(spec, node) && required(spec, node));
    if matches { Vec::new() } else { vec!["node(s) didn't match Pod's node affinity/selector".into()] }
}

/// Sum of the weights of the preferred terms that match the node.
pub fn preferred_weight(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let affinity = pod.pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let preferred = affinity
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_deref());
    preferred
        .unwrap_or_default()
        .iter()
        .filter(|term| term_matches(&term.preference, node))
        .map(|term| i64::from(term.weight))
        .sum()
}

fn selected(spec: &PodSpec, node: &NodeInfo) -> bool {
    spec.node_selector.iter().flatten().all(|(key, value)| label(node, key) == Some(value.as_str()))
}

fn required(spec: &PodSpec, node: &NodeInfo) -> bool {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|selector| selector.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

/// A term matches when all its requirements do; an empty term matches nothing.
fn term_matches(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions.iter().all(|requirement| requirement_matches(requirement, label(node, &requirement.key)))
        && fields.iter().all(|requirement| {
            let value = (requirement.key == "metadata.name").then_some(node.name.as_str());
            requirement_matches(requirement, value)
        })
}

fn requirement_matches(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |value: &str| values.iter().any(|listed| listed == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(value, values).is_some_and(std::cmp::Ordering::is_gt),
        "Lt" => compare(value, values).is_some_and(std::cmp::Ordering::is_lt),
        _ => false,
    }
}

fn compare(value: Option<&str>, values: &[String]) -> Option<std::cmp::Ordering> {
    let bound: i64 = values.first()?.parse().ok()?;
    Some(value?.parse::<i64>().ok()?.cmp(&bound))
}

fn label<'a>(node: &'a NodeInfo, key: &str) -> Option<&'a str> {
    let labels: Option<&BTreeMap<String, String>> = node.node.as_ref()?.metadata.labels.as_ref();
    labels?.get(key).map(String::as_str)
}
