//! Configurations as users write them, and their mistakes.

use serde_json::{Value, json};

use super::{mutating_policy, policy_binding, validating_policy, validating_webhooks};
use crate::api::kind::{Kind, Strategy, Typed};

fn problems<K: Kind>(body: Value) -> Vec<String> {
    let mut object = body;
    object["metadata"] = json!({"name": "a"});
    let strategy = Typed::<K>::default();
    let causes = strategy.validate(&strategy.decode(object).unwrap());
    causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

fn hook(rule: &Value) -> Value {
    json!({"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [rule],
           "clientConfig": {"service": {"name": "s", "namespace": "n"}}})
}

fn rule() -> Value {
    json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]})
}

fn hook_problems(hooks: Value) -> Vec<String> {
    problems::<validating_webhooks::ValidatingWebhookConfigurationKind>(json!({"webhooks": hooks}))
}

#[test]
fn a_webhook_gets_its_defaults() {
    let strategy = Typed::<validating_webhooks::ValidatingWebhookConfigurationKind>::default();
    let made = strategy.decode(json!({"webhooks": [hook(&rule())]})).unwrap();
    let made = &made["webhooks"][0];
    assert_eq!((&made["failurePolicy"], &made["matchPolicy"]), (&json!("Fail"), &json!("Equivalent")));
    assert_eq!((&made["timeoutSeconds"], &made["namespaceSelector"]), (&json!(10), &json!({})));
    assert_eq!((&made["rules"][0]["scope"], &made["clientConfig"]["service"]["port"]), (&json!("*"), &json!(443)));
}

#[test]
fn a_webhook_is_named_called_and_limited_soundly() {
    assert_eq!(hook_problems(json!([hook(&rule())])), Vec::<String>::new());
    let mut bad = hook(&rule());
    bad["name"] = json!("a.b");
    bad["sideEffects"] = json!("Some");
    bad["timeoutSeconds"] = json!(31);
    bad["clientConfig"] = json!({});
    assert_eq!(
        hook_problems(json!([bad])),
        [
            "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
            "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
            "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
        ]
    );
}

#[test]
fn wildcards_stand_alone() {
    let rule = json!({"operations": ["*", "CREATE"], "apiGroups": [], "apiVersions": ["", "v1"],
                      "resources": ["*", "pods", "pods/*", "pods/status"], "scope": "All"});
    let found = hook_problems(json!([hook(&rule)]));
    let found: Vec<&str> = found.iter().map(|problem| problem.strip_prefix("webhooks[0].rules[0].").unwrap()).collect();
    assert_eq!(
        found,
        [
            "operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations",
            "apiGroups: Required value",
            "apiVersions[0]: Required value",
            "resources[3]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status",
            "resources: Invalid value: [\"*\",\"pods\",\"pods/*\",\"pods/status\"]: if '*' is present, must not specify \
             other resources without subresources",
            "scope: Unsupported value: \"All\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
        ]
    );
}

#[test]
fn a_policy_has_rules_for_some_resources() {
    type Policy = validating_policy::ValidatingAdmissionPolicyKind;
    let good = json!({"spec": {"matchConstraints": {"resourceRules": [rule()]}, "validations": [{"expression": "true"}],
                               "variables": [{"name": "a", "expression": "1"}]}});
    assert_eq!(problems::<Policy>(good), Vec::<String>::new());
    let bad = json!({"spec": {"paramKind": {"apiVersion": "a/b/c"}, "matchConstraints": {}, "variables": [{"name": "1",
                              "expression": " "}]}});
    assert_eq!(
        problems::<Policy>(bad),
        [
            "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
            "spec.paramKind.kind: Required value",
            "spec.matchConstraints.resourceRules: Required value",
            "spec.variables[0].name: Invalid value: \"1\": must be a valid CEL identifier",
            "spec.variables[0].expression: Required value: expression is not specified",
            "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
            "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
        ]
    );
}

#[test]
fn a_mutation_is_of_the_type_that_it_says() {
    let spec = json!({"spec": {"reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": [rule()]},
        "mutations": [{"patchType": "JSONPatch", "applyConfiguration": {"expression": "x"}}]}});
    assert_eq!(
        problems::<mutating_policy::MutatingAdmissionPolicyKind>(spec),
        [
            "spec.mutations[0].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not be specified when \
             patchType is JSONPatch",
            "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
        ]
    );
}

#[test]
fn a_binding_says_what_happens() {
    let spec = json!({"spec": {"policyName": "p", "validationActions": ["Deny", "Warn"],
                               "paramRef": {"name": "x", "selector": {}, "parameterNotFoundAction": "Deny"}}});
    let found = problems::<policy_binding::ValidatingAdmissionPolicyBindingKind>(spec);
    assert_eq!(
        found[..2],
        [
            "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
            "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
        ]
    );
    assert!(found[2].contains("must not contain both Deny and Warn"), "{found:?}");
}

#[test]
fn a_policys_status_holds_sound_warnings_and_conditions() {
    let strategy = Typed::<validating_policy::ValidatingAdmissionPolicyKind>::default();
    let problems = |status: Value| {
        let made = strategy.decode(json!({"metadata": {"name": "a"}, "status": status})).unwrap();
        let causes = strategy.validate_status_update(&made, &made);
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect::<Vec<_>>()
    };
    let condition = json!({"type": "Ready", "status": "True", "reason": "Fine", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let warning = json!({"fieldRef": "spec.validations[0].expression", "warning": "w"});
    let sound = json!({"typeChecking": {"expressionWarnings": [warning]}, "conditions": [condition]});
    assert_eq!(problems(sound), Vec::<String>::new());
    let mut bad = condition.clone();
    (bad["status"], bad["reason"], bad["observedGeneration"]) = (json!("Maybe"), json!("not fine"), json!(-1));
    let warnings = json!([{"fieldRef": " ", "warning": ""}, {"fieldRef": "spec[", "warning": "w"}]);
    let found = problems(json!({"typeChecking": {"expressionWarnings": warnings}, "conditions": [condition, bad]}));
    for (found, expected) in found.iter().zip([
        "status.typeChecking.expressionWarnings[0].warning: Required value",
        "status.typeChecking.expressionWarnings[0].fieldRef: Required value",
        "status.typeChecking.expressionWarnings[1].fieldRef: Invalid value: \"spec[\": invalid JSONPath: ",
        "status.conditions[1].type: Duplicate value: \"Ready\"",
        "status.conditions[1].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\"",
        "status.conditions[1].observedGeneration: Invalid value: -1: must be greater than or equal to zero",
        "status.conditions[1].reason: Invalid value: \"not fine\": a condition reason must start with alphabetic",
    ]) {
        assert!(found.starts_with(expected), "{found}");
    }
    assert_eq!(found.len(), 7);
}
