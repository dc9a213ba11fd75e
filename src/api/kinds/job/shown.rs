//! Parts of jobs as errors show them: in the order and with the names of upstream's internal types.

use k8s_openapi::api::batch::v1::{PodFailurePolicy, PodFailurePolicyRule, SuccessPolicy};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rules<T> {
    rules: Option<Vec<T>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SuccessRule<'a> {
    succeeded_indexes: Option<&'a str>,
    succeeded_count: Option<i32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FailureRule<'a> {
    action: &'a str,
    on_exit_codes: Option<ExitCodes<'a>>,
    on_pod_conditions: Option<Vec<Pattern<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ExitCodes<'a> {
    container_name: Option<&'a str>,
    operator: &'a str,
    values: Option<&'a [i32]>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pattern<'a> {
    r#type: &'a str,
    status: &'a str,
}

/// A success policy.
pub fn success(policy: &SuccessPolicy) -> impl Serialize {
    let rules = policy.rules.iter().map(|rule| SuccessRule {
        succeeded_indexes: rule.succeeded_indexes.as_deref(),
        succeeded_count: rule.succeeded_count,
    });
    Rules { rules: some(rules.collect()) }
}

/// A failure policy.
pub fn failures(policy: &PodFailurePolicy) -> impl Serialize {
    Rules { rules: some(policy.rules.iter().map(failure_rule).collect()) }
}

fn failure_rule(rule: &PodFailurePolicyRule) -> FailureRule<'_> {
    FailureRule {
        action: &rule.action,
        on_exit_codes: rule.on_exit_codes.as_ref().map(|codes| ExitCodes {
            container_name: codes.container_name.as_deref(),
            operator: &codes.operator,
            values: Some(codes.values.as_slice()).filter(|values| !values.is_empty()),
        }),
        on_pod_conditions: rule.on_pod_conditions.as_ref().map(|patterns| {
            let patterns = patterns.iter();
            patterns
                .map(|pattern| Pattern {
                    r#type: &pattern.type_,
                    status: pattern.status.as_deref().unwrap_or_default(),
                })
                .collect()
        }),
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}
