//! Rules of what a job makes of failed pods (KEP-3329).

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};

use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::name,
};

const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: &[&str] = &["In", "NotIn"];
const STATES: &[&str] = &["False", "True", "Unknown"];
const RULES_LIMIT: usize = 20;
const CODES_LIMIT: usize = 255;
const CONDITIONS_LIMIT: usize = 20;

/// Problems of the policy at `path`.
pub fn validate(spec: &JobSpec, path: &Path) -> Vec<Cause> {
    let Some(policy) = &spec.pod_failure_policy else { return Vec::new() };
    let path = path.child("rules");
    let mut causes = Vec::new();
    if policy.rules.len() > RULES_LIMIT {
        causes.push(field::too_many(&path, policy.rules.len(), RULES_LIMIT));
    }
    for (index, one) in policy.rules.iter().enumerate() {
        causes.extend(rule(one, spec, &path.index(index)));
    }
    causes
}

fn rule(rule: &PodFailurePolicyRule, spec: &JobSpec, path: &Path) -> Vec<Cause> {
    let own = path.child("action");
    let mut causes = Vec::new();
    match rule.action.as_str() {
        "FailIndex" if spec.backoff_limit_per_index.is_none() => {
            causes.push(field::invalid(&own, "FailIndex", "requires the backoffLimitPerIndex to be set"));
        }
        action => causes.extend(chosen(action, ACTIONS, &own)),
    }
    let conditions = rule.on_pod_conditions.as_deref().unwrap_or_default();
    if let Some(codes) = &rule.on_exit_codes {
        causes.extend(exit_codes(codes, spec, &path.child("onExitCodes")));
    }
    causes.extend(pod_conditions(conditions, &path.child("onPodConditions")));
    match (rule.on_exit_codes.is_some(), conditions.is_empty()) {
        (true, false) => {
            let detail = "specifying both OnExitCodes and OnPodConditions is not supported";
            causes.push(field::invalid_hidden(path, detail));
        }
        (false, true) => {
            let detail = "specifying one of OnExitCodes and OnPodConditions is required";
            causes.push(field::invalid_hidden(path, detail));
        }
        _ => {}
    }
    causes
}

fn pod_conditions(patterns: &[PodFailurePolicyOnPodConditionsPattern], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if patterns.len() > CONDITIONS_LIMIT {
        causes.push(field::too_many(path, patterns.len(), CONDITIONS_LIMIT));
    }
    for (index, pattern) in patterns.iter().enumerate() {
        let path = path.index(index);
        causes.extend(field::invalid_each(&path.child("type"), &pattern.type_, &name::qualified_name(&pattern.type_)));
        causes.extend(chosen(pattern.status.as_deref().unwrap_or_default(), STATES, &path.child("status")));
    }
    causes
}

fn exit_codes(codes: &PodFailurePolicyOnExitCodesRequirement, spec: &JobSpec, path: &Path) -> Vec<Cause> {
    let mut causes: Vec<Cause> = chosen(&codes.operator, OPERATORS, &path.child("operator")).into_iter().collect();
    if let Some(name) = codes.container_name.as_deref()
        && !has_container(spec, name)
    {
        let detail = "must be one of the container or initContainer names in the pod template";
        causes.push(field::invalid(&path.child("containerName"), name, detail));
    }
    let path = path.child("values");
    let values = codes.values.as_slice();
    if values.is_empty() {
        causes.push(field::invalid(&path, serde_json::Value::Null, "at least one value is required"));
    } else if values.len() > CODES_LIMIT {
        causes.push(field::too_many(&path, values.len(), CODES_LIMIT));
    }
    let mut seen = BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        if codes.operator == "In" && *value == 0 {
            causes.push(field::invalid(&path.index(index), value, "must not be 0 for the In operator"));
        }
        if !seen.insert(value) {
            causes.push(field::duplicate(&path.index(index), value));
        }
    }
    if !values.is_sorted() {
        causes.push(field::invalid(&path, values, "must be ordered"));
    }
    causes
}

fn has_container(spec: &JobSpec, name: &str) -> bool {
    spec.template.spec.as_ref().is_some_and(|pod| {
        pod.containers.iter().chain(pod.init_containers.iter().flatten()).any(|container| container.name == name)
    })
}

/// A word out of a list; a missing one is told of with the list as Go shows lists.
fn chosen(word: &str, supported: &[&str], path: &Path) -> Option<Cause> {
    if word.is_empty() {
        let quoted: Vec<String> = supported.iter().map(|word| format!("{word:?}")).collect();
        return Some(field::required(path, &format!("valid values: [{}]", quoted.join(" "))));
    }
    field::one_of(path, word, supported)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problems(rule: Value) -> Vec<String> {
        let template = json!({"spec": {"containers": [{"name": "a"}]}});
        let spec = json!({"template": template, "podFailurePolicy": {"rules": [rule]}});
        let causes = validate(&serde_json::from_value(spec).unwrap(), &Path::new("p"));
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn a_rule_is_about_codes_or_about_conditions() {
        let codes = json!({"operator": "In", "values": [1, 3], "containerName": "a"});
        assert_eq!(problems(json!({"action": "FailJob", "onExitCodes": codes})), [""; 0]);
        assert_eq!(
            problems(json!({"action": "", "onExitCodes": {"operator": "In", "values": [3, 0], "containerName": "b"}})),
            [
                "p.rules[0].action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]",
                "p.rules[0].onExitCodes.containerName: Invalid value: \"b\": must be one of the container or \
                 initContainer names in the pod template",
                "p.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
                "p.rules[0].onExitCodes.values: Invalid value: [3,0]: must be ordered",
            ]
        );
        assert_eq!(
            problems(json!({"action": "FailIndex"})),
            [
                "p.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set",
                "p.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
            ]
        );
    }
}
