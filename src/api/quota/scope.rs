//! Which objects a quota is about, when it is not about all.

use serde_json::Value;

use crate::api::kind::GroupResource;

/// What scopes ask of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    kind: Scoped,
    terminating: bool,
    best_effort: bool,
    cross_namespace: bool,
    /// The pod's priority class, or the claim's volume attributes classes.
    classes: Vec<String>,
}

/// Kinds that scopes can tell apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Scoped {
    Pod,
    Claim,
    /// No scope matches these.
    #[default]
    Other,
}

impl Facts {
    /// What scopes ask of `object`, as it is stored.
    pub fn of(resource: GroupResource<'_>, object: &Value) -> Self {
        match (resource.group, resource.resource) {
            ("", "pods") => Self::of_pod(object),
            ("", "persistentvolumeclaims") => {
                Self { kind: Scoped::Claim, classes: attributes_classes(object), ..Self::default() }
            }
            _ => Self::default(),
        }
    }

    fn of_pod(pod: &Value) -> Self {
        let spec = &pod["spec"];
        let class = spec["priorityClassName"].as_str().filter(|class| !class.is_empty());
        Self {
            kind: Scoped::Pod,
            terminating: spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0),
            best_effort: pod["status"]["qosClass"] == "BestEffort",
            cross_namespace: ["podAffinity", "podAntiAffinity"].iter().any(|kind| crosses(&spec["affinity"][*kind])),
            classes: class.map(str::to_owned).into_iter().collect(),
        }
    }

    /// Whether all scopes of `quota` hold.
    pub fn are_in(&self, quota: &Value) -> bool {
        let spec = &quota["spec"];
        let named = spec["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let selectors = spec["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
        named.into_iter().all(|scope| self.holds(scope, "Exists", &[]))
            && selectors.into_iter().all(|selector| self.selected(selector))
    }

    fn selected(&self, selector: &Value) -> bool {
        let text = |field: &str| selector[field].as_str().unwrap_or_default();
        let values = selector["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
        self.holds(text("scopeName"), text("operator"), &values.collect::<Vec<_>>())
    }

    fn holds(&self, scope: &str, operator: &str, values: &[&str]) -> bool {
        match (self.kind, scope) {
            (Scoped::Pod, "Terminating") => self.terminating,
            (Scoped::Pod, "NotTerminating") => !self.terminating,
            (Scoped::Pod, "BestEffort") => self.best_effort,
            (Scoped::Pod, "NotBestEffort") => !self.best_effort,
            (Scoped::Pod, "CrossNamespacePodAffinity") => self.cross_namespace,
            (Scoped::Pod, "PriorityClass") | (Scoped::Claim, "VolumeAttributesClass") => {
                self.classes_match(operator, values)
            }
            _ => false,
        }
    }

    /// One of several classes is enough, as upstream has it.
    fn classes_match(&self, operator: &str, values: &[&str]) -> bool {
        let any = |test: &dyn Fn(&str) -> bool| self.classes.iter().any(|class| test(class));
        match operator {
            "Exists" => !self.classes.is_empty(),
            "DoesNotExist" => self.classes.is_empty(),
            "In" => any(&|class| values.contains(&class)),
            "NotIn" => self.classes.is_empty() || any(&|class| !values.contains(&class)),
            _ => false,
        }
    }
}

/// Whether an affinity looks at pods of other namespaces.
fn crosses(affinity: &Value) -> bool {
    let terms = |field: &str| affinity[field].as_array().into_iter().flatten();
    let required = terms("requiredDuringSchedulingIgnoredDuringExecution");
    let preferred = terms("preferredDuringSchedulingIgnoredDuringExecution").map(|term| &term["podAffinityTerm"]);
    required.chain(preferred).any(|term| {
        term["namespaces"].as_array().is_some_and(|names| !names.is_empty()) || term["namespaceSelector"].is_object()
    })
}

fn attributes_classes(claim: &Value) -> Vec<String> {
    let status = &claim["status"];
    let classes = [
        &claim["spec"]["volumeAttributesClassName"],
        &status["currentVolumeAttributesClassName"],
        &status["modifyVolumeStatus"]["targetVolumeAttributesClassName"],
    ];
    classes.into_iter().filter_map(Value::as_str).filter(|class| !class.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PODS: GroupResource<'static> = GroupResource { group: "", resource: "pods" };

    fn in_scopes(object: &Value, scopes: Value) -> bool {
        Facts::of(PODS, object).are_in(&json!({"spec": {"scopes": scopes}}))
    }

    #[test]
    fn pods_are_told_apart() {
        let job = json!({"spec": {"activeDeadlineSeconds": 5}, "status": {"qosClass": "BestEffort"}});
        assert!(in_scopes(&job, json!(["Terminating", "BestEffort"])));
        assert!(!in_scopes(&job, json!(["Terminating", "NotBestEffort"])));
        assert!(in_scopes(&json!({"spec": {}}), json!(["NotTerminating", "NotBestEffort"])));
        let term = json!({"podAffinityTerm": {"namespaces": ["b"]}});
        let affine = json!({"spec": {"affinity": {"podAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [term]}}}});
        assert!(in_scopes(&affine, json!(["CrossNamespacePodAffinity"])));
    }

    #[test]
    fn classes_are_selected() {
        let quota = |scope: &str, operator: &str, values: Value| {
            let selector = json!({"scopeName": scope, "operator": operator, "values": values});
            json!({"spec": {"scopeSelector": {"matchExpressions": [selector]}}})
        };
        let high = Facts::of(PODS, &json!({"spec": {"priorityClassName": "high"}}));
        assert!(high.are_in(&quota("PriorityClass", "In", json!(["high", "low"]))));
        assert!(!high.are_in(&quota("PriorityClass", "NotIn", json!(["high"]))));
        assert!(Facts::of(PODS, &json!({})).are_in(&quota("PriorityClass", "DoesNotExist", json!([]))));
        let claims = GroupResource { group: "", resource: "persistentvolumeclaims" };
        let gold = Facts::of(claims, &json!({"spec": {"volumeAttributesClassName": "gold"}}));
        assert!(gold.are_in(&quota("VolumeAttributesClass", "In", json!(["gold"]))));
        let secrets = GroupResource { group: "", resource: "secrets" };
        assert!(!Facts::of(secrets, &json!({})).are_in(&quota("PriorityClass", "DoesNotExist", json!([]))));
    }
}
