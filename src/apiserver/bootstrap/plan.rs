//! What has to happen to one bootstrap object, given what is there.

use serde_json::{Value, json};

use crate::apiserver::{
    aggregator::registration::{MANAGED_LABEL, ON_START},
    authz::{Rule, coverage, rbac::GROUP},
    bootstrap::set,
};

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// What has to be done.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// It is not there.
    Create,
    /// Parts are missing: this merge patch adds them.
    Merge(Value),
    /// It refers to another role, which cannot be changed in place.
    Replace,
    /// It was the server's own, and is no longer wanted.
    Delete,
}

/// The step for an object that should be `wanted`; `None` if all is well.
pub fn plan(wanted: &Value, found: Option<&Value>) -> Option<Step> {
    let Some(found) = found else { return Some(Step::Create) };
    if wanted["kind"] == "APIService" {
        return changed_service(wanted, found);
    }
    let is_rbac = wanted["apiVersion"].as_str().is_some_and(|version| version.starts_with(GROUP));
    if !is_rbac {
        return changed_data(wanted, found);
    }
    if found["metadata"]["annotations"][AUTOUPDATE] == "false" {
        return None;
    }
    match wanted["kind"].as_str() {
        Some("ClusterRole" | "Role") => missing_rules(wanted, found),
        _ => missing_subjects(wanted, found),
    }
}

fn changed_data(wanted: &Value, found: &Value) -> Option<Step> {
    (wanted["data"].is_object() && wanted["data"] != found["data"])
        .then(|| Step::Merge(set("data", wanted["data"].clone())))
}

/// An API service that the server keeps leads to the server; one that an operator has taken over, to
/// wherever it leads.
fn changed_service(wanted: &Value, found: &Value) -> Option<Step> {
    let kept = found["metadata"]["labels"][MANAGED_LABEL] == ON_START;
    if !kept || wanted["spec"] == found["spec"] {
        return None;
    }
    let mut spec = wanted["spec"].clone();
    for elsewhere in ["service", "caBundle", "insecureSkipTLSVerify"] {
        spec[elsewhere] = Value::Null;
    }
    Some(Step::Merge(set("spec", spec)))
}

/// Missing rules are added; labels, too, because aggregation goes by them.
fn missing_rules(wanted: &Value, found: &Value) -> Option<Step> {
    let mut changes = json!({});
    if let Some(labels) = missing_labels(wanted, found) {
        changes["metadata"] = set("labels", labels);
    }
    if wanted["aggregationRule"] != found["aggregationRule"] && wanted["aggregationRule"].is_object() {
        changes["aggregationRule"] = wanted["aggregationRule"].clone();
    }
    // The rules of an aggregating role are not its own.
    if !wanted["aggregationRule"].is_object() {
        let rules = |role: &Value| serde_json::from_value::<Vec<Rule>>(role["rules"].clone()).unwrap_or_default();
        let mut present = rules(found);
        let missing = coverage::missing(&present, &rules(wanted));
        if !missing.is_empty() {
            present.extend(missing);
            changes["rules"] = json!(present);
        }
    }
    (changes != json!({})).then_some(Step::Merge(changes))
}

fn missing_labels(wanted: &Value, found: &Value) -> Option<Value> {
    let labels = wanted["metadata"]["labels"].as_object()?;
    let present = &found["metadata"]["labels"];
    let missing: serde_json::Map<_, _> = labels
        .iter()
        .filter(|(key, value)| present[key.as_str()] != **value)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    (!missing.is_empty()).then_some(Value::Object(missing))
}

fn missing_subjects(wanted: &Value, found: &Value) -> Option<Step> {
    if wanted["roleRef"]["kind"] != found["roleRef"]["kind"] || wanted["roleRef"]["name"] != found["roleRef"]["name"] {
        return Some(Step::Replace);
    }
    let list = |binding: &Value| binding["subjects"].as_array().cloned().unwrap_or_default();
    let identity = |subject: &Value| ["kind", "name", "namespace"].map(|field| subject[field].clone());
    let mut subjects = list(found);
    let missing: Vec<Value> = list(wanted)
        .into_iter()
        .filter(|subject| !subjects.iter().any(|present| identity(present) == identity(subject)))
        .collect();
    if missing.is_empty() {
        return None;
    }
    subjects.extend(missing);
    Some(Step::Merge(set("subjects", subjects.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(verbs: &[&str]) -> Value {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "x"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]})
    }

    fn binding(role: &str, users: &[&str]) -> Value {
        let subjects: Vec<Value> = users.iter().map(|name| json!({"kind": "User", "name": name})).collect();
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "x"},
            "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": subjects})
    }

    #[test]
    fn missing_rules_come_back_and_added_ones_stay() {
        assert_eq!(plan(&role(&["get"]), None), Some(Step::Create));
        assert_eq!(plan(&role(&["get"]), Some(&role(&["get", "delete"]))), None);
        let Some(Step::Merge(changes)) = plan(&role(&["get", "list"]), Some(&role(&["get", "delete"]))) else {
            panic!("a rule is missing");
        };
        assert_eq!(changes["rules"][0]["verbs"], json!(["get", "delete"]));
        assert_eq!(changes["rules"][1]["verbs"], json!(["list"]));
    }

    #[test]
    fn an_object_that_opted_out_is_left_alone() {
        let mut found = role(&["get"]);
        found["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert_eq!(plan(&role(&["list"]), Some(&found)), None);
    }

    #[test]
    fn bindings_get_their_subjects_and_role_back() {
        assert_eq!(plan(&binding("a", &["u"]), Some(&binding("a", &["u", "v"]))), None);
        assert_eq!(plan(&binding("a", &["u"]), Some(&binding("b", &["u"]))), Some(Step::Replace));
        let merged = plan(&binding("a", &["u"]), Some(&binding("a", &["v"])));
        assert!(
            matches!(merged, Some(Step::Merge(changes)) if changes["subjects"].as_array().map(Vec::len) == Some(2))
        );
    }

    #[test]
    fn an_aggregating_role_keeps_the_rules_it_was_given() {
        let mut wanted = role(&[]);
        wanted["rules"] = Value::Null;
        wanted["aggregationRule"] = json!({"clusterRoleSelectors": []});
        let mut found = role(&["get"]);
        found["aggregationRule"] = wanted["aggregationRule"].clone();
        assert_eq!(plan(&wanted, Some(&found)), None);
    }

    #[test]
    fn a_kept_api_service_leads_back_to_the_server() {
        let wanted = json!({"kind": "APIService", "metadata": {"labels": {MANAGED_LABEL: ON_START}},
                            "spec": {"group": "apps"}});
        assert_eq!(plan(&wanted, Some(&wanted)), None);
        let mut found = wanted.clone();
        found["spec"]["service"] = json!({"name": "s"});
        let Some(Step::Merge(changes)) = plan(&wanted, Some(&found)) else { panic!("nothing is done") };
        assert_eq!((&changes["spec"]["service"], &changes["spec"]["group"]), (&Value::Null, &json!("apps")));
        found["metadata"] = json!({});
        assert_eq!(plan(&wanted, Some(&found)), None);
    }
}
