//! Quotas: how much a namespace may use in all.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ResourceQuota, ResourceQuotaStatus},
    apimachinery::pkg::api::resource::Quantity,
};
use serde_json::{Value, json};

use super::{cells, names, pod_template::resources};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names, Subresource},
    status::Cause,
    validation::name,
};

/// `v1.ResourceQuota`
pub struct ResourceQuotaKind;

impl Kind for ResourceQuotaKind {
    type Object = ResourceQuota;
    const NAMES: Names = Names {
        short_names: &["quota"],
        subresources: &[Subresource::Status],
        ..names::namespaced(names::CORE, "ResourceQuota", "resourcequotas", "resourcequota")
    };
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Request", "string", "What is used of what may be requested and counted."),
        cells::column("Limit", "string", "What is used of what may be the limit."),
        cells::AGE,
    ];

    fn validate(quota: &ResourceQuota) -> Vec<Cause> {
        let path = Path::new("spec.hard");
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        let mut causes = Vec::new();
        for (resource, amount) in hard.into_iter().flatten() {
            let path = path.key(resource);
            causes.extend(field::invalid_each(&path, resource, &name::qualified_name(resource)));
            causes.extend(resources::quantity(amount, &path));
        }
        causes
    }

    fn validate_update(new: &ResourceQuota, old: &ResourceQuota) -> Vec<Cause> {
        let scopes = |quota: &ResourceQuota| quota.spec.as_ref().and_then(|spec| spec.scopes.clone());
        field::immutable(&Path::new("spec.scopes"), &scopes(new), &scopes(old))
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

/// `pods: 1/10, requests.cpu: 0/4`
fn shown(hard: &BTreeMap<String, Quantity>, status: &ResourceQuotaStatus, limits: bool) -> String {
    let used = |name: &str| status.used.as_ref().and_then(|used| used.get(name)).map_or("0", |used| used.0.as_str());
    let all = hard.iter().filter(|(name, _)| name.starts_with("limits.") == limits);
    let all: Vec<String> = all.map(|(name, hard)| format!("{name}: {}/{}", used(name), hard.0)).collect();
    all.join(", ")
}
