//! Disruption budgets: how many pods of a set may be evicted at a time.

use jiff::Timestamp;
use k8s_openapi::{api::policy::v1::PodDisruptionBudget, apimachinery::pkg::util::intstr::IntOrString};
use serde_json::{Value, json};

use super::{cells, label_selector, names, status, workload};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, NameRule, Names, Subresource},
    status::Cause,
    update_check::{self, UpdateCheck},
};

const EVICTION_POLICIES: &[&str] = &["AlwaysAllow", "IfHealthyBudget"];

/// `policy/v1.PodDisruptionBudget`
pub struct PodDisruptionBudgetKind;

impl Kind for PodDisruptionBudgetKind {
    type Object = PodDisruptionBudget;
    const NAMES: Names = Names {
        short_names: &["pdb"],
        subresources: &[Subresource::Status],
        ..names::namespaced(
            names::GroupVersion::v1("policy"),
            "PodDisruptionBudget",
            "poddisruptionbudgets",
            "poddisruptionbudget",
        )
    };
    const NAME_RULE: NameRule = NameRule::PathSegment;
    const GENERATION: Generation = Generation::Spec;
    const UPDATES_UNCONDITIONALLY: bool = false;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::OBJECT;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Min Available", "string", "Pods that must stay."),
        cells::column("Max Unavailable", "string", "Pods that may be missing."),
        cells::column("Allowed Disruptions", "integer", "Pods that may be evicted now."),
        cells::AGE,
    ];

    fn validate(budget: &PodDisruptionBudget) -> Vec<Cause> {
        let path = Path::new("spec");
        let spec = budget.spec.clone().unwrap_or_default();
        let mut causes = Vec::new();
        if spec.min_available.is_some() && spec.max_unavailable.is_some() {
            let detail = "minAvailable and maxUnavailable cannot be both set";
            causes.push(field::invalid(&path, &spec, detail));
        }
        causes.extend(workload::count_or_percent(spec.min_available.as_ref(), &path.child("minAvailable"), true));
        causes.extend(workload::count_or_percent(spec.max_unavailable.as_ref(), &path.child("maxUnavailable"), true));
        if let Some(selector) = &spec.selector {
            causes.extend(label_selector::validate(selector, &path.child("selector")));
        }
        if let Some(policy) = spec.unhealthy_pod_eviction_policy.as_deref()
            && !EVICTION_POLICIES.contains(&policy)
        {
            causes.push(field::unsupported(&path.child("unhealthyPodEvictionPolicy"), policy, EVICTION_POLICIES));
        }
        causes
    }

    fn validate_status_update(new: &PodDisruptionBudget, _: &PodDisruptionBudget) -> Vec<Cause> {
        let path = Path::new("status");
        let status = new.status.clone().unwrap_or_default();
        let mut causes =
            status::conditions(status.conditions.as_deref().unwrap_or_default(), &path.child("conditions"));
        let numbers = [
            ("disruptionsAllowed", status.disruptions_allowed),
            ("currentHealthy", status.current_healthy),
            ("desiredHealthy", status.desired_healthy),
            ("expectedPods", status.expected_pods),
        ];
        causes.extend(workload::non_negative(&numbers, &path));
        causes
    }

    fn cells(budget: &PodDisruptionBudget, now: Timestamp) -> Vec<Value> {
        let spec = budget.spec.clone().unwrap_or_default();
        let allowed = budget.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or_default();
        vec![
            cells::name(&budget.metadata),
            json!(shown(spec.min_available.as_ref())),
            json!(shown(spec.max_unavailable.as_ref())),
            json!(allowed),
            cells::age(&budget.metadata, now),
        ]
    }
}

fn shown(count: Option<&IntOrString>) -> String {
    match count {
        None => "N/A".to_owned(),
        Some(IntOrString::Int(number)) => number.to_string(),
        Some(IntOrString::String(text)) => text.clone(),
    }
}
