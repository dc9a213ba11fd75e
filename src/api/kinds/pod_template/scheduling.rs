//! Rules of what the scheduler reads: node selectors, affinity, tolerations, topology spread, gates.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::core::v1::{
        Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PodSpec,
        Toleration, TopologySpreadConstraint, WeightedPodAffinityTerm,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use crate::api::{
    field::{self, Path},
    kinds::label_selector,
    status::Cause,
    validation::{metadata, name},
};

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const OPERATORS: &[&str] = &["Equal", "Exists"];
/// What is offered instead of comparisons, which are off unless somebody turns them on (KEP-5471).
const COMPARING_OPERATORS: &[&str] = &["Equal", "Exists", "Lt", "Gt"];
const UNSATISFIABLE: &[&str] = &["DoNotSchedule", "ScheduleAnyway"];
const INCLUSIONS: &[&str] = &["Honor", "Ignore"];

/// Problems of a pod's wishes about where it runs.
pub fn validate(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let pairs = spec.node_selector.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut causes = metadata::labels(pairs, &path.child("nodeSelector"));
    if let Some(affinity) = &spec.affinity {
        causes.extend(self::affinity(affinity, &path.child("affinity")));
    }
    causes.extend(tolerations(spec.tolerations.as_deref().unwrap_or_default(), &path.child("tolerations")));
    let spread = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    causes.extend(topology_spread(spread, &path.child("topologySpreadConstraints")));
    causes.extend(gates(spec, &path.child("schedulingGates")));
    causes
}

/// Problems of tolerations.
pub fn tolerations(tolerations: &[Toleration], path: &Path) -> Vec<Cause> {
    tolerations.iter().enumerate().flat_map(|(index, one)| toleration(one, &path.index(index))).collect()
}

/// Problems of a selector of nodes.
pub fn node_selector(selector: &NodeSelector, path: &Path) -> Vec<Cause> {
    let path = path.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        return vec![field::required(&path, "must have at least one node selector term")];
    }
    let terms = selector.node_selector_terms.iter().enumerate();
    terms.flat_map(|(index, term)| node_term(term, true, &path.index(index))).collect()
}

fn gates(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let all = spec.scheduling_gates.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    for (index, gate) in all.iter().enumerate() {
        let path = path.index(index);
        causes.extend(field::invalid_each(&path, &gate.name, &name::qualified_name(&gate.name)));
        if all[..index].iter().any(|other| other.name == gate.name) {
            causes.push(field::duplicate(&path, &gate.name));
        }
    }
    causes
}

fn toleration(toleration: &Toleration, path: &Path) -> Vec<Cause> {
    let (key, value) = (toleration.key.as_deref().unwrap_or_default(), toleration.value.as_deref().unwrap_or_default());
    let (operator, effect) =
        (toleration.operator.as_deref().unwrap_or_default(), toleration.effect.as_deref().unwrap_or_default());
    let mut causes = Vec::new();
    if key.is_empty() {
        if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            causes.push(field::invalid(&path.child("operator"), operator, detail));
        }
    } else {
        causes.extend(field::invalid_each(&path.child("key"), key, &name::qualified_name(key)));
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        causes.push(field::invalid(&path.child("effect"), effect, detail));
    }
    let own = path.child("operator");
    match operator {
        "" | "Equal" => {
            let problems = name::label_value(value);
            if !problems.is_empty() {
                causes.push(field::invalid(&own, value, &problems.join(";")));
            }
        }
        "Exists" if !value.is_empty() => {
            causes.push(field::invalid(&own, value, "value must be empty when `operator` is 'Exists'"));
        }
        "Exists" => {}
        "Gt" | "Lt" => causes.push(field::unsupported(&own, operator, COMPARING_OPERATORS)),
        _ => causes.push(field::unsupported(&own, operator, OPERATORS)),
    }
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        causes.push(field::unsupported(&path.child("effect"), effect, EFFECTS));
    }
    causes
}

fn affinity(affinity: &Affinity, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(node) = &affinity.node_affinity {
        causes.extend(node_affinity(node, &path.child("nodeAffinity")));
    }
    if let Some(pod) = &affinity.pod_affinity {
        let (required, preferred) = (
            &pod.required_during_scheduling_ignored_during_execution,
            &pod.preferred_during_scheduling_ignored_during_execution,
        );
        causes.extend(pod_affinity(required.as_ref(), preferred.as_ref(), &path.child("podAffinity")));
    }
    if let Some(pod) = &affinity.pod_anti_affinity {
        let (required, preferred) = (
            &pod.required_during_scheduling_ignored_during_execution,
            &pod.preferred_during_scheduling_ignored_during_execution,
        );
        causes.extend(pod_affinity(required.as_ref(), preferred.as_ref(), &path.child("podAntiAffinity")));
    }
    causes
}

fn node_affinity(affinity: &NodeAffinity, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(selector) = &affinity.required_during_scheduling_ignored_during_execution {
        causes.extend(node_selector(selector, &path.child("requiredDuringSchedulingIgnoredDuringExecution")));
    }
    let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
    for (index, term) in preferred.enumerate() {
        let path = path.child("preferredDuringSchedulingIgnoredDuringExecution").index(index);
        causes.extend(weight(term.weight, &path));
        causes.extend(node_term(&term.preference, false, &path.child("preference")));
    }
    causes
}

/// What is only preferred may name values that no label has: it does no harm.
fn node_term(term: &NodeSelectorTerm, check_values: bool, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        causes.extend(node_requirement(requirement, check_values, &path.child("matchExpressions").index(index)));
    }
    for (index, requirement) in term.match_fields.iter().flatten().enumerate() {
        causes.extend(field_requirement(requirement, &path.child("matchFields").index(index)));
    }
    causes
}

fn node_requirement(requirement: &NodeSelectorRequirement, check_values: bool, path: &Path) -> Vec<Cause> {
    let values = requirement.values.as_deref().unwrap_or_default();
    let own = path.child("values");
    let mut causes = Vec::new();
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            causes.push(field::required(&own, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            causes.push(field::forbidden(&own, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            causes.push(field::required(&own, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        operator => causes.push(field::invalid(&path.child("operator"), operator, "not a valid selector operator")),
    }
    causes.extend(field::invalid_each(&path.child("key"), &requirement.key, &name::qualified_name(&requirement.key)));
    for (index, value) in values.iter().enumerate().filter(|_| check_values) {
        causes.extend(field::invalid_each(&own.index(index), value, &name::label_value(value)));
    }
    causes
}

fn field_requirement(requirement: &NodeSelectorRequirement, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    match requirement.operator.as_str() {
        "In" | "NotIn" if requirement.values.as_ref().map_or(0, Vec::len) != 1 => {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            causes.push(field::required(&path.child("values"), detail));
        }
        "In" | "NotIn" => {}
        operator => causes.push(field::invalid(&path.child("operator"), operator, "not a valid selector operator")),
    }
    if requirement.key != "metadata.name" {
        causes.push(field::invalid(&path.child("key"), &requirement.key, "not a valid field selector key"));
        return causes;
    }
    for (index, value) in requirement.values.iter().flatten().enumerate() {
        let path = path.child("values").index(index);
        causes.extend(field::invalid_each(&path, value, &name::dns1123_subdomain(value)));
    }
    causes
}

fn pod_affinity(
    required: Option<&Vec<PodAffinityTerm>>,
    preferred: Option<&Vec<WeightedPodAffinityTerm>>,
    path: &Path,
) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, term) in required.into_iter().flatten().enumerate() {
        causes.extend(pod_term(term, &path.child("requiredDuringSchedulingIgnoredDuringExecution").index(index)));
    }
    for (index, term) in preferred.into_iter().flatten().enumerate() {
        let path = path.child("preferredDuringSchedulingIgnoredDuringExecution").index(index);
        causes.extend(weight(term.weight, &path));
        causes.extend(pod_term(&term.pod_affinity_term, &path.child("podAffinityTerm")));
    }
    causes
}

fn pod_term(term: &PodAffinityTerm, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let selectors = [("labelSelector", &term.label_selector), ("namespaceSelector", &term.namespace_selector)];
    for (name, selector) in selectors {
        if let Some(selector) = selector {
            causes.extend(label_selector::validate(selector, &path.child(name)));
        }
    }
    for namespace in term.namespaces.iter().flatten() {
        causes.extend(field::invalid_each(&path.child("namespace"), namespace, &name::dns1123_label(namespace)));
    }
    causes.extend(label_keys(term.match_label_keys.as_deref(), term.label_selector.as_ref(), path, "matchLabelKeys"));
    let apart = term.mismatch_label_keys.as_deref();
    causes.extend(label_keys(apart, term.label_selector.as_ref(), path, "mismatchLabelKeys"));
    causes.extend(repeated_keys(term.match_label_keys.as_deref(), term.label_selector.as_ref(), path));
    for (index, key) in term.match_label_keys.iter().flatten().enumerate() {
        if apart.is_some_and(|apart| apart.contains(key)) {
            let path = path.child("matchLabelKeys").index(index);
            causes.push(field::invalid(&path, key, "exists in both matchLabelKeys and mismatchLabelKeys"));
        }
    }
    causes.extend(topology_key(&term.topology_key, path));
    causes.extend(field::invalid_each(
        &path.child("topologyKey"),
        &term.topology_key,
        &name::qualified_name(&term.topology_key),
    ));
    causes
}

/// Keys of labels that a selector is extended by.
fn label_keys(keys: Option<&[String]>, selector: Option<&LabelSelector>, path: &Path, name: &str) -> Vec<Cause> {
    let keys = keys.unwrap_or_default();
    let path = path.child(name);
    if selector.is_none() && !keys.is_empty() {
        return vec![field::forbidden(&path, "must not be specified when labelSelector is not set")];
    }
    let keys = keys.iter().enumerate();
    keys.flat_map(|(index, key)| field::invalid_each(&path.index(index), key, &name::qualified_name(key))).collect()
}

/// A key by which a selector is extended is not in it before: then it is in there twice.
fn repeated_keys(keys: Option<&[String]>, selector: Option<&LabelSelector>, path: &Path) -> Vec<Cause> {
    let (Some(keys), Some(selector)) = (keys, selector) else { return Vec::new() };
    let mut seen: BTreeSet<&String> = selector.match_labels.iter().flatten().map(|(key, _)| key).collect();
    let mut causes = Vec::new();
    for term in selector.match_expressions.iter().flatten() {
        let is_new = seen.insert(&term.key);
        if let Some(index) = keys.iter().rposition(|key| *key == term.key).filter(|_| !is_new) {
            let detail = "exists in both matchLabelKeys and labelSelector";
            causes.push(field::invalid(&path.index(index), &term.key, detail));
        }
    }
    causes
}

fn topology_key(key: &str, path: &Path) -> Option<Cause> {
    let path = path.child("topologyKey");
    key.is_empty().then(|| field::required(&path, "can not be empty"))
}

fn weight(weight: i32, path: &Path) -> Option<Cause> {
    (!(1..=100).contains(&weight)).then(|| field::invalid(&path.child("weight"), weight, "must be in the range 1-100"))
}

fn topology_spread(all: &[TopologySpreadConstraint], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, constraint) in all.iter().enumerate() {
        let path = path.index(index);
        causes.extend(spread(constraint, &path));
        let key = |one: &TopologySpreadConstraint| (one.topology_key.clone(), one.when_unsatisfiable.clone());
        if all[index + 1..].iter().any(|other| key(other) == key(constraint)) {
            let pair = format!("{{{}, {}}}", constraint.topology_key, constraint.when_unsatisfiable);
            causes.push(field::duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), pair));
        }
    }
    causes
}

fn spread(constraint: &TopologySpreadConstraint, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if constraint.max_skew <= 0 {
        causes.push(field::invalid(&path.child("maxSkew"), constraint.max_skew, "must be greater than zero"));
    }
    causes.extend(topology_key(&constraint.topology_key, path));
    let when = constraint.when_unsatisfiable.as_str();
    if !UNSATISFIABLE.contains(&when) {
        causes.push(field::unsupported(&path.child("whenUnsatisfiable"), when, UNSATISFIABLE));
    }
    let own = path.child("minDomains");
    match constraint.min_domains {
        Some(domains) if domains <= 0 => causes.push(field::invalid(&own, domains, "must be greater than zero")),
        Some(domains) if when != "DoNotSchedule" => {
            let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
            causes.push(field::invalid(&own, domains, &detail));
        }
        _ => {}
    }
    let policies = [
        ("nodeAffinityPolicy", &constraint.node_affinity_policy),
        ("nodeTaintsPolicy", &constraint.node_taints_policy),
    ];
    for (name, policy) in policies {
        if let Some(policy) = policy.as_deref()
            && !INCLUSIONS.contains(&policy)
        {
            causes.push(field::unsupported(&path.child(name), policy, INCLUSIONS));
        }
    }
    let (keys, selector) = (constraint.match_label_keys.as_deref(), constraint.label_selector.as_ref());
    causes.extend(label_keys(keys, selector, path, "matchLabelKeys"));
    causes.extend(repeated_keys(keys, selector, path));
    if let Some(selector) = selector {
        causes.extend(label_selector::validate(selector, &path.child("labelSelector")));
    }
    causes
}
