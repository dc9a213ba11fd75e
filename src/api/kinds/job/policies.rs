//! Rules of what makes an indexed job succeed or fail, and of who takes care of it.

use k8s_openapi::api::batch::v1::{JobSpec, SuccessPolicyRule};

use super::{failures, indexes};
use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::{name, value},
};

/// Completions from which on other limits are lower, and how many pods may run at a time then.
pub const MANY_COMPLETIONS: i32 = 100_000;
/// See [`MANY_COMPLETIONS`].
pub const PARALLEL_OF_MANY: i32 = 10_000;

const COMPLETION_MODES: &[&str] = &["NonIndexed", "Indexed"];
const PARALLEL_LIMIT: i32 = 100_000;
const FAILED_LIMIT: i32 = 100_000;
const FAILED_OF_MANY: i32 = 10_000;
const MANAGER_LIMIT_BYTES: usize = 63;
const RULES_LIMIT: usize = 20;
const INDEXES_LIMIT_BYTES: usize = 64 * 1024;

/// Problems of completion modes, of failures, of the success policy, of replacements and of the manager.
pub fn validate(spec: &JobSpec, path: &Path) -> Vec<Cause> {
    let mode = spec.completion_mode.as_deref();
    let mut causes = Vec::new();
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        causes.push(field::required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
    }
    if let Some(manager) = spec.managed_by.as_deref() {
        causes.extend(managed_by(manager, &path.child("managedBy")));
    }
    causes.extend(mode.and_then(|mode| field::one_of(&path.child("completionMode"), mode, COMPLETION_MODES)));
    match mode {
        Some("Indexed") => causes.extend(indexed(spec, path)),
        None | Some("NonIndexed") => causes.extend(only_indexed(spec, path)),
        Some(_) => {}
    }
    causes.extend(failures::validate(spec, &path.child("podFailurePolicy")));
    if let Some(policy) = &spec.success_policy {
        let path = path.child("successPolicy");
        if mode == Some("Indexed") {
            causes.extend(success_rules(&policy.rules, spec.completions.unwrap_or_default(), &path.child("rules")));
        } else {
            let detail = "requires indexed completion mode";
            causes.push(field::invalid_internal(&path, "batch.v1.SuccessPolicy", policy, detail));
        }
    }
    causes.extend(replacement(spec, &path.child("podReplacementPolicy")));
    causes
}

fn managed_by(manager: &str, path: &Path) -> Vec<Cause> {
    let mut causes = match manager.split_once('/') {
        _ if manager.is_empty() => return vec![field::required(path, "")],
        Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
            field::invalid_each(path, domain, &name::dns1123_subdomain(domain))
        }
        _ => vec![field::invalid(path, manager, "must be a domain-prefixed path (such as \"acme.io/foo\")")],
    };
    if manager.len() > MANAGER_LIMIT_BYTES {
        causes.push(field::too_long(path, MANAGER_LIMIT_BYTES));
    }
    causes
}

fn indexed(spec: &JobSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if spec.completions.is_none() {
        causes.push(field::required(&path.child("completions"), "when completion mode is Indexed"));
    }
    let at_most = |name: &str, number: Option<i32>, limit: i32, when: &str| {
        let detail = format!("must be less than or equal to {limit}{when}");
        number.filter(|number| *number > limit).map(|number| field::invalid(&path.child(name), number, &detail))
    };
    causes.extend(at_most("parallelism", spec.parallelism, PARALLEL_LIMIT, " when completion mode is Indexed"));
    let most = spec.max_failed_indexes.filter(|most| spec.completions.is_some_and(|all| *most > all));
    let detail = "must be less than or equal to completions";
    causes.extend(most.map(|most| field::invalid(&path.child("maxFailedIndexes"), most, detail)));
    causes.extend(at_most("maxFailedIndexes", spec.max_failed_indexes, FAILED_LIMIT, ""));
    if spec.backoff_limit_per_index.is_some() && spec.completions.is_some_and(|all| all > MANY_COMPLETIONS) {
        let when = format!(" when completions are above {MANY_COMPLETIONS} and used with backoff limit per index");
        if spec.max_failed_indexes.is_none() {
            let detail = format!("must be specified when completions is above {MANY_COMPLETIONS}");
            causes.push(field::required(&path.child("maxFailedIndexes"), &detail));
        }
        causes.extend(at_most("parallelism", spec.parallelism, PARALLEL_OF_MANY, &when));
        causes.extend(at_most("maxFailedIndexes", spec.max_failed_indexes, FAILED_OF_MANY, &when));
    }
    causes
}

fn only_indexed(spec: &JobSpec, path: &Path) -> Vec<Cause> {
    let numbers =
        [("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes)];
    let given = numbers.into_iter().filter_map(|(name, number)| Some((name, number?)));
    given.map(|(name, number)| field::invalid(&path.child(name), number, "requires indexed completion mode")).collect()
}

fn replacement(spec: &JobSpec, path: &Path) -> Option<Cause> {
    let policy = spec.pod_replacement_policy.as_deref()?;
    let supported: &[&str] =
        if spec.pod_failure_policy.is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    (!supported.contains(&policy)).then(|| field::unsupported(path, policy, supported))
}

fn success_rules(rules: &[SuccessPolicyRule], completions: i32, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        causes.push(field::required(path, detail));
    }
    if rules.len() > RULES_LIMIT {
        causes.push(field::too_many(path, rules.len(), RULES_LIMIT));
    }
    for (index, rule) in rules.iter().enumerate() {
        causes.extend(success_rule(rule, completions, &path.index(index)));
    }
    causes
}

fn success_rule(rule: &SuccessPolicyRule, completions: i32, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        causes.push(field::required(path, "at least one of succeededCount or succeededIndexes must be specified"));
    }
    let mut named = None;
    if let Some(text) = rule.succeeded_indexes.as_deref() {
        let path = path.child("succeededIndexes");
        if text.len() > INDEXES_LIMIT_BYTES {
            causes.push(field::too_long(&path, INDEXES_LIMIT_BYTES));
        }
        let counted = indexes::count(text, completions);
        named = Some(*counted.as_ref().unwrap_or(&0));
        causes.extend(
            counted.err().map(|why| field::invalid(&path, text, &format!("error parsing succeededIndexes: {why}"))),
        );
    }
    if let Some(count) = rule.succeeded_count {
        let path = path.child("succeededCount");
        causes.extend(field::invalid_each(&path, count, &value::non_negative(count.into())));
        let limits = [
            (Some(completions), "(the number of specified completions)"),
            (named, "(the number of indexes in the specified succeededIndexes field)"),
        ];
        for (limit, what) in limits {
            if let Some(limit) = limit.filter(|limit| count > *limit) {
                causes.push(field::invalid(&path, count, &format!("must be less than or equal to {limit} {what}")));
            }
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problems(spec: Value) -> Vec<String> {
        let spec: JobSpec = serde_json::from_value(spec).unwrap();
        let causes = validate(&spec, &Path::new("spec"));
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn a_success_policy_counts_indexes_that_are_there() {
        let spec = |rule: Value| json!({"completionMode": "Indexed", "completions": 3, "template": {}, "successPolicy": {"rules": [rule]}});
        assert!(problems(spec(json!({"succeededIndexes": "0-1", "succeededCount": 2}))).is_empty());
        let indexes = "spec.successPolicy.rules[0].succeededIndexes: Invalid value";
        assert_eq!(
            problems(spec(json!({"succeededIndexes": "0-7"}))),
            [format!("{indexes}: \"0-7\": error parsing succeededIndexes: too large index: \"7\"")]
        );
        assert_eq!(
            problems(spec(json!({"succeededIndexes": "2,1"}))),
            [format!(
                "{indexes}: \"2,1\": error parsing succeededIndexes: non-increasing order, previous: 2, current: 1"
            )]
        );
    }

    #[test]
    fn failures_are_counted_per_index_in_indexed_jobs_alone() {
        assert_eq!(
            problems(json!({"completionMode": "NonIndexed", "template": {}, "backoffLimitPerIndex": 1})),
            ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"]
        );
        assert_eq!(problems(json!({"template": {}, "managedBy": ""})), ["spec.managedBy: Required value"]);
    }
}
