//! Quotas: how much a namespace may use in all.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus, ScopedResourceSelectorRequirement},
    apimachinery::pkg::api::resource::Quantity,
};
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::{self, IMMUTABLE, Path},
    kind::{Column, Kind, Names, Subresource},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::resource,
};

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];
const COMPUTE: &[&str] = &["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
/// What else quotas know without a group.
const OTHERS: &[&str] = &[
    "configmaps",
    "ephemeral-storage",
    "limits.ephemeral-storage",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.ephemeral-storage",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

/// `v1.ResourceQuota`
pub struct ResourceQuotaKind;

impl Kind for ResourceQuotaKind {
    type Object = ResourceQuota;
    const NAMES: Names = Names {
        short_names: &["quota"],
        subresources: &[Subresource::Status],
        ..names::namespaced(names::CORE, "ResourceQuota", "resourcequotas", "resourcequota")
    };
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Request", "string", "What is used of what may be requested and counted."),
        cells::column("Limit", "string", "What is used of what may be the limit."),
        cells::AGE,
    ];

    fn validate(quota: &ResourceQuota) -> Vec<Cause> {
        let path = Path::new("spec.hard");
        let mut causes = amounts(quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()), &path);
        if let Some(spec) = &quota.spec {
            causes.extend(scopes(spec, &Path::new("spec.scopes")));
            causes.extend(scope_selector(spec, &Path::new("spec.scopeSelector.matchExpressions")));
        }
        causes
    }

    fn validate_update(new: &ResourceQuota, old: &ResourceQuota) -> Vec<Cause> {
        let scopes = |quota: &ResourceQuota| {
            let given = quota.spec.as_ref().and_then(|spec| spec.scopes.clone());
            given.into_iter().flatten().collect::<BTreeSet<String>>()
        };
        if scopes(new) == scopes(old) {
            return Vec::new();
        }
        let shown = new.spec.as_ref().and_then(|spec| spec.scopes.as_ref());
        vec![field::invalid(&Path::new("spec.scopes"), shown, IMMUTABLE)]
    }

    fn validate_status_update(new: &ResourceQuota, _old: &ResourceQuota) -> Vec<Cause> {
        let status = new.status.clone().unwrap_or_default();
        let path = Path::new("status");
        [amounts(status.hard.as_ref(), &path.child("hard")), amounts(status.used.as_ref(), &path.child("used"))]
            .concat()
    }

    fn cells(quota: &ResourceQuota, now: Timestamp) -> Vec<Value> {
        let status = quota.status.clone().unwrap_or_default();
        let hard =
            status.hard.clone().or_else(|| quota.spec.as_ref().and_then(|spec| spec.hard.clone())).unwrap_or_default();
        vec![
            cells::name(&quota.metadata),
            json!(shown(&hard, &status, false)),
            json!(shown(&hard, &status, true)),
            cells::age(&quota.metadata, now),
        ]
    }
}

/// Problems of names and amounts of what a quota counts.
fn amounts(list: Option<&BTreeMap<String, Quantity>>, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (name, amount) in list.into_iter().flatten() {
        let path = path.key(name);
        causes.extend(resource::resource_name(name, &path));
        if !name.contains('/') && !is_standard(name) {
            causes.push(field::invalid(&path, name, "must be a standard resource for quota"));
        }
        causes.extend(resource::amount(name, amount, &path));
    }
    causes
}

/// Whether a quota may count a resource of its hard limits within a scope; resources of no standard kind
/// may be counted anywhere.
fn is_in_scope(resource: &str, scope: &str) -> bool {
    let of_pods = resource == "pods";
    let of_claims = matches!(resource, "persistentvolumeclaims" | "requests.storage");
    match scope {
        "BestEffort" => of_pods || !is_standard(resource),
        "VolumeAttributesClass" => of_claims || !is_standard(resource),
        scope if SCOPES.contains(&scope) => of_pods || COMPUTE.contains(&resource) || !is_standard(resource),
        _ => true,
    }
}

fn is_standard(resource: &str) -> bool {
    COMPUTE.contains(&resource) || OTHERS.contains(&resource) || resource.contains("hugepages-")
}

fn hard(spec: &ResourceQuotaSpec) -> impl Iterator<Item = &str> {
    spec.hard.iter().flatten().map(|(resource, _)| resource.as_str())
}

fn scopes(spec: &ResourceQuotaSpec, path: &Path) -> Vec<Cause> {
    let given = spec.scopes.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    for scope in given {
        if !SCOPES.contains(&scope.as_str()) {
            causes.push(field::invalid(path, given, "unsupported scope"));
        }
        let outside = hard(spec).filter(|resource| !is_in_scope(resource, scope));
        causes.extend(outside.map(|_| field::invalid(path, given, "unsupported scope applied to resource")));
    }
    let names: Vec<&str> = given.iter().map(String::as_str).collect();
    causes.extend(conflicts(&names).map(|()| field::invalid(path, given, "conflicting scopes")));
    causes
}

fn conflicts<'a>(scopes: &'a [&str]) -> impl Iterator<Item = ()> + 'a {
    let pairs = [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")];
    pairs.into_iter().filter(|(a, b)| scopes.contains(a) && scopes.contains(b)).map(|_| ())
}

fn scope_selector(spec: &ResourceQuotaSpec, path: &Path) -> Vec<Cause> {
    let selector = spec.scope_selector.clone().unwrap_or_default();
    let terms = selector.match_expressions.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    for term in terms {
        if !SCOPES.contains(&term.scope_name.as_str()) {
            causes.push(field::invalid(&path.child("scopeName"), &term.scope_name, "unsupported scope"));
        }
        let outside = hard(spec).filter(|resource| !is_in_scope(resource, &term.scope_name));
        let detail = "unsupported scope applied to resource";
        causes.extend(outside.map(|_| field::invalid(path, &selector, detail)));
        causes.extend(scope_term(term, path));
    }
    let names: Vec<&str> = terms.iter().map(|term| term.scope_name.as_str()).collect();
    causes.extend(conflicts(&names).map(|()| field::invalid(path, &spec.scopes, "conflicting scopes")));
    causes
}

fn scope_term(term: &ScopedResourceSelectorRequirement, path: &Path) -> Vec<Cause> {
    let values = term.values.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    let with_values = matches!(term.scope_name.as_str(), "PriorityClass" | "VolumeAttributesClass");
    if SCOPES.contains(&term.scope_name.as_str()) && !with_values && term.operator != "Exists" {
        let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                      ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort \
                      or ResourceQuotaScopeCrossNamespacePodAffinity";
        causes.push(field::invalid(&path.child("operator"), &term.operator, detail));
    }
    match term.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            causes.push(field::required(&path.child("values"), detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            causes.push(field::invalid(&path.child("values"), values, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        operator => causes.push(field::invalid(&path.child("operator"), operator, "not a valid selector operator")),
    }
    causes
}

/// `pods: 1/10, requests.cpu: 0/4`
fn shown(hard: &BTreeMap<String, Quantity>, status: &ResourceQuotaStatus, limits: bool) -> String {
    let used = |name: &str| status.used.as_ref().and_then(|used| used.get(name)).map_or("0", |used| used.0.as_str());
    let all = hard.iter().filter(|(name, _)| name.starts_with("limits.") == limits);
    let all: Vec<String> = all.map(|(name, hard)| format!("{name}: {}/{}", used(name), hard.0)).collect();
    all.join(", ")
}
