//! What may change in a pod that waits for its scheduling gates (KEP-3838): the nodes that it may run on may become
//! fewer.

use k8s_openapi::api::core::v1::{Affinity, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

use crate::api::{
    field::{self, Path},
    go_form::Form,
    status::Cause,
};

/// Problems of what the new spec says of nodes. It is then as it was before, so that what remains different may not be.
pub fn narrow(new: &mut PodSpec, old: &PodSpec, path: &Path) -> Vec<Cause> {
    let mut causes = node_selector(new, old, &path.child("nodeSelector"));
    new.node_selector.clone_from(&old.node_selector);
    let (now, before) = (node_affinity(new).cloned(), node_affinity(old));
    if now.as_ref() != before {
        causes.extend(terms(now.as_ref(), before, &path.child("affinity").child("nodeAffinity")));
        restore(new, old);
    }
    causes
}

/// Gives the new spec the node affinity of the old one, and no affinity if that is all it has and the old one has none.
fn restore(new: &mut PodSpec, old: &PodSpec) {
    let before = node_affinity(old).cloned();
    let affinity = new.affinity.get_or_insert_default();
    affinity.node_affinity = before;
    if old.affinity.is_none() && *affinity == Affinity::default() {
        new.affinity = None;
    }
}

fn node_selector(new: &PodSpec, old: &PodSpec, path: &Path) -> Vec<Cause> {
    let kept = |(label, value)| new.node_selector.as_ref().is_some_and(|labels| labels.get(label) == Some(value));
    let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
    if old.node_selector.iter().flatten().all(kept) {
        return Vec::new();
    }
    vec![field::invalid(path, &new.node_selector, detail)]
}

fn terms(new: Option<&NodeAffinity>, old: Option<&NodeAffinity>, path: &Path) -> Vec<Cause> {
    let path = path.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
    let required = |affinity: Option<&'_ NodeAffinity>| {
        let required =
            affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.clone());
        required.map(|required| required.node_selector_terms)
    };
    let (new, old) = (required(new), required(old).unwrap_or_default());
    if old.is_empty() {
        return Vec::new();
    }
    if new.as_ref().is_none_or(|new| new.len() != old.len()) {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return vec![field::invalid(&path, Form::new("[]NodeSelectorTerm", &new), detail)];
    }
    let pairs = new.iter().flatten().zip(&old).enumerate().filter(|(_, (new, old))| !is_narrower(new, old));
    let detail = "only additions are allowed (no mutations or deletions)";
    pairs
        .map(|(index, (new, _))| field::invalid(&path.index(index), Form::new("NodeSelectorTerm", new), detail))
        .collect()
}

/// Whether a term asks for what the old one asked for, and perhaps for more. One that asks for nothing matches no node,
/// and stays as it is.
fn is_narrower(new: &NodeSelectorTerm, old: &NodeSelectorTerm) -> bool {
    let lists = |term: &NodeSelectorTerm| [list(&term.match_expressions), list(&term.match_fields)];
    let is_empty = |term| lists(term).iter().all(Vec::is_empty);
    let extended = lists(new).iter().zip(lists(old)).all(|(new, old)| new.starts_with(&old));
    extended && (!is_empty(old) || is_empty(new))
}

fn list(requirements: &Option<Vec<NodeSelectorRequirement>>) -> Vec<NodeSelectorRequirement> {
    requirements.clone().unwrap_or_default()
}

fn node_affinity(spec: &PodSpec) -> Option<&NodeAffinity> {
    spec.affinity.as_ref()?.node_affinity.as_ref()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(terms: Option<Value>) -> PodSpec {
        let affinity = terms.map(|terms| {
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}})
        });
        serde_json::from_value(json!({"affinity": affinity, "containers": []})).unwrap()
    }

    #[test]
    fn terms_may_ask_for_more() {
        let [a, b] = ["a", "b"].map(|key| json!({"key": key, "operator": "Exists"}));
        let term = |expressions: &[&Value]| json!({"matchExpressions": expressions});
        let shown = r#"{"Key":"a","Operator":"Exists","Values":null}"#;
        let term_a = format!(r#"{{"MatchExpressions":[{shown}],"MatchFields":null}}"#);
        let of_list = |value: &str| {
            format!("Invalid value: {value}: no additions/deletions to non-empty NodeSelectorTerms list are allowed")
        };
        let of_term =
            |value: &str| format!("Invalid value: {value}: only additions are allowed (no mutations or deletions)");
        let cases = [
            (None, Some(json!([term(&[&a])])), None),
            (Some(json!([])), Some(json!([term(&[&a])])), None),
            (Some(json!([term(&[&a])])), Some(json!([term(&[&a, &b])])), None),
            (Some(json!([term(&[&a])])), None, Some(of_list("null"))),
            (
                Some(json!([term(&[&a]), term(&[&b])])),
                Some(json!([term(&[&a])])),
                Some(of_list(&format!("[{term_a}]"))),
            ),
            (Some(json!([term(&[&b, &a])])), Some(json!([term(&[&a])])), Some(of_term(&term_a))),
            (Some(json!([term(&[])])), Some(json!([term(&[&a])])), Some(of_term(&term_a))),
        ];
        for (before, now, expected) in cases {
            let (mut new, old) = (spec(now.clone()), spec(before.clone()));
            let causes = narrow(&mut new, &old, &Path::new("spec"));
            assert_eq!(causes.first().map(|cause| cause.message.clone()), expected, "{before:?} {now:?}");
            assert_eq!(new, old);
        }
    }

    #[test]
    fn other_affinity_stays_different() {
        let new = json!({"affinity": {"podAffinity": {}, "nodeAffinity": {}}, "containers": []});
        let mut new: PodSpec = serde_json::from_value(new).unwrap();
        assert_eq!(narrow(&mut new, &spec(None), &Path::new("spec")), []);
        assert_eq!(new.affinity, serde_json::from_value(json!({"podAffinity": {}})).unwrap());
    }
}
