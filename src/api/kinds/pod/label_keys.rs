//! `matchLabelKeys` and `mismatchLabelKeys`: a new pod's own values of these labels become terms of the selectors
//! beside them, so that whoever reads the selectors needs to know nothing more (KEP-3633, KEP-3243).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Pod, PodAffinityTerm, WeightedPodAffinityTerm},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};

type Labels = BTreeMap<String, String>;

/// Adds the terms to a new pod.
pub fn apply(pod: &mut Pod) {
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let Some(spec) = &mut pod.spec else { return };
    if let Some(affinity) = &mut spec.affinity {
        let near = affinity.pod_affinity.as_mut().map(|near| {
            (
                &mut near.preferred_during_scheduling_ignored_during_execution,
                &mut near.required_during_scheduling_ignored_during_execution,
            )
        });
        let apart = affinity.pod_anti_affinity.as_mut().map(|apart| {
            (
                &mut apart.preferred_during_scheduling_ignored_during_execution,
                &mut apart.required_during_scheduling_ignored_during_execution,
            )
        });
        for (preferred, required) in near.into_iter().chain(apart) {
            let weighted = |term: &mut WeightedPodAffinityTerm| self::term(&mut term.pod_affinity_term, &labels);
            preferred.iter_mut().flatten().for_each(weighted);
            required.iter_mut().flatten().for_each(|term| self::term(term, &labels));
        }
    }
    for constraint in spec.topology_spread_constraints.iter_mut().flatten() {
        if let Some(selector) = &mut constraint.label_selector {
            extend(selector, constraint.match_label_keys.as_deref(), "In", &labels);
        }
    }
}

fn term(term: &mut PodAffinityTerm, labels: &Labels) {
    if let Some(selector) = &mut term.label_selector {
        extend(selector, term.match_label_keys.as_deref(), "In", labels);
        extend(selector, term.mismatch_label_keys.as_deref(), "NotIn", labels);
    }
}

fn extend(selector: &mut LabelSelector, keys: Option<&[String]>, operator: &str, labels: &Labels) {
    for key in keys.into_iter().flatten() {
        let Some(value) = labels.get(key) else { continue };
        selector.match_expressions.get_or_insert_default().push(LabelSelectorRequirement {
            key: key.clone(),
            operator: operator.to_owned(),
            values: Some(vec![value.clone()]),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_become_terms_with_the_pods_own_values() {
        let term = json!({"topologyKey": "t", "labelSelector": {}, "matchLabelKeys": ["a", "none"],
            "mismatchLabelKeys": ["b"]});
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"labels": {"a": "1", "b": "2"}},
            "spec": {"containers": [],
                "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}},
        }))
        .unwrap();
        apply(&mut pod);
        let spec = json!(pod.spec);
        let terms =
            "/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/0/labelSelector/matchExpressions";
        assert_eq!(
            spec.pointer(terms),
            Some(&json!([{"key": "a", "operator": "In", "values": ["1"]},
                {"key": "b", "operator": "NotIn", "values": ["2"]}]))
        );
    }
}
