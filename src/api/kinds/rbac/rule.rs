//! Rules of roles: verbs on resources, or on bare paths.

use jiff::Timestamp;
use k8s_openapi::{api::rbac::v1::PolicyRule, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::{Value, json};

use crate::api::{
    field::{self, Path},
    kind::{Column, Scope},
    kinds::cells,
    status::Cause,
    time,
};

/// Columns of roles of either scope.
pub const COLUMNS: &[Column] = &[cells::NAME, cells::column("Created At", "date", cells::CREATED)];

/// The row of a role of either scope.
pub fn cells(meta: &ObjectMeta, _now: Timestamp) -> Vec<Value> {
    let created = meta.creation_timestamp.as_ref().map(|created| time::format(created.0));
    vec![cells::name(meta), json!(created.unwrap_or_default())]
}

/// Problems of the rules of a role in `scope`.
pub fn validate(rules: Option<&Vec<PolicyRule>>, scope: Scope) -> Vec<Cause> {
    let path = Path::new("rules");
    rules.into_iter().flatten().enumerate().flat_map(|(index, rule)| one(rule, scope, &path.index(index))).collect()
}

fn one(rule: &PolicyRule, scope: Scope, path: &Path) -> Vec<Cause> {
    let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let mut causes = Vec::new();
    if rule.verbs.is_empty() {
        causes.push(field::required(&path.child("verbs"), "verbs must contain at least one value"));
    }
    if given(&rule.non_resource_urls) {
        let path = path.child("nonResourceURLs");
        if scope == Scope::Namespaced {
            let detail = "namespaced rules cannot apply to non-resource URLs";
            causes.push(field::invalid(&path, &rule.non_resource_urls, detail));
        }
        if given(&rule.api_groups) || given(&rule.resources) || given(&rule.resource_names) {
            let detail = "rules cannot apply to both regular resources and non-resource URLs";
            causes.push(field::invalid(&path, &rule.non_resource_urls, detail));
        }
        return causes;
    }
    if !given(&rule.api_groups) {
        causes.push(field::required(&path.child("apiGroups"), "resource rules must supply at least one api group"));
    }
    if !given(&rule.resources) {
        causes.push(field::required(&path.child("resources"), "resource rules must supply at least one resource"));
    }
    causes
}
