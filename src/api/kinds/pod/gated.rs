//! What may change in a pod that waits behind scheduling gates: where it may run can be narrowed (KEP-3838).

use k8s_openapi::api::core::v1::{Affinity, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

use crate::api::{
    field::{self, Path},
    go::Form,
    status::Cause,
};

/// Problems of a change of node selector and node affinity, which are as before in `new` afterwards.
pub fn spec(new: &mut PodSpec, old: &PodSpec, path: &Path) -> Vec<Cause> {
    let mut causes: Vec<Cause> = node_selector(new, old, &path.child("nodeSelector")).into_iter().collect();
    new.node_selector.clone_from(&old.node_selector);
    let of = |spec: &PodSpec| spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
    let (affinity, before) = (of(new), of(old));
    if affinity != before {
        let path = path.child("affinity").child("nodeAffinity");
        causes.extend(node_affinity(affinity.as_ref(), before.as_ref(), &path));
        let kept = Affinity { node_affinity: before, ..new.affinity.take().unwrap_or_default() };
        new.affinity = Some(kept).filter(|kept| old.affinity.is_some() || *kept != Affinity::default());
    }
    causes
}

fn node_selector(new: &PodSpec, old: &PodSpec, path: &Path) -> Option<Cause> {
    let known =
        |(key, value): (&String, &String)| new.node_selector.as_ref().and_then(|all| all.get(key)) == Some(value);
    let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
    let narrows = old.node_selector.iter().flatten().all(known);
    (!narrows).then(|| field::invalid(path, &new.node_selector, detail))
}

fn node_affinity(new: Option<&NodeAffinity>, old: Option<&NodeAffinity>, path: &Path) -> Vec<Cause> {
    let terms = |affinity: Option<&NodeAffinity>| -> Vec<NodeSelectorTerm> {
        let required =
            affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.clone());
        required.map(|selector| selector.node_selector_terms).unwrap_or_default()
    };
    let (new, old) = (terms(new), terms(old));
    let path = path.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
    if !old.is_empty() && old.len() != new.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return vec![field::invalid(&path, Form::new("[]NodeSelectorTerm", &new), detail)];
    }
    let detail = "only additions are allowed (no mutations or deletions)";
    let pairs = new.iter().zip(&old).enumerate().filter(|(_, (new, old))| !only_adds(new, old));
    pairs
        .map(|(index, (new, _))| field::invalid(&path.index(index), Form::new("NodeSelectorTerm", new), detail))
        .collect()
}

/// Terms are all to be met, so more of them narrow; but a term without any selects nothing, and stays so.
fn only_adds(new: &NodeSelectorTerm, old: &NodeSelectorTerm) -> bool {
    let list = |list: &Option<Vec<NodeSelectorRequirement>>| list.clone().unwrap_or_default();
    let (expressions, fields) = (list(&old.match_expressions), list(&old.match_fields));
    let (more_expressions, more_fields) = (list(&new.match_expressions), list(&new.match_fields));
    let is_empty = expressions.is_empty() && fields.is_empty();
    let stays_empty = more_expressions.is_empty() && more_fields.is_empty();
    (!is_empty || stays_empty) && more_expressions.starts_with(&expressions) && more_fields.starts_with(&fields)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_gated_pod_goes_to_fewer_nodes_but_not_to_others() {
        let pod = |selector: Value, expressions: Value| -> PodSpec {
            let terms = json!({"nodeSelectorTerms": [{"matchExpressions": expressions}]});
            let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
            serde_json::from_value(json!({"containers": [], "nodeSelector": selector, "affinity": affinity})).unwrap()
        };
        let term = |key: &str| json!({"key": key, "operator": "Exists"});
        let old = pod(json!({"a": "b"}), json!([term("x")]));
        let mut narrower = pod(json!({"a": "b", "c": "d"}), json!([term("x"), term("y")]));
        assert_eq!(spec(&mut narrower, &old, &Path::new("spec")), []);
        assert_eq!(narrower, old);
        let mut other = pod(json!({"a": "c"}), json!([term("y")]));
        let causes = spec(&mut other, &old, &Path::new("spec"));
        assert_eq!(causes[0].field, "spec.nodeSelector");
        assert!(causes[1].message.ends_with("only additions are allowed (no mutations or deletions)"));
    }
}
