//! `autoscaling/v2`: an autoscaler that goes by any metrics.

use jiff::Timestamp;
use k8s_openapi::{
    api::autoscaling::v2::{
        HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
        MetricTarget, MetricValueStatus, ResourceMetricSource,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use serde_json::{Value, json};

use super::{convert::DEFAULT_CPU_PERCENT, validation};
use crate::api::{
    field::Path,
    kind::{Column, Kind, Names, Subresource},
    kinds::{cells, names},
    status::Cause,
    update_check::{self, UpdateCheck},
};

/// Most metrics that a table's cell lists.
const SHOWN: usize = 2;
const SCALING_PERIOD_SECONDS: i32 = 15;

/// `autoscaling/v2.HorizontalPodAutoscaler`
pub struct HorizontalPodAutoscalerKind;

impl Kind for HorizontalPodAutoscalerKind {
    type Object = HorizontalPodAutoscaler;
    const NAMES: Names = Names {
        short_names: &["hpa"],
        categories: &["all"],
        subresources: &[Subresource::Status],
        ..names::namespaced(
            names::GroupVersion { group: "autoscaling", version: "v2" },
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
            "horizontalpodautoscaler",
        )
    };
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Reference", "string", "The workload that is scaled."),
        cells::column("Targets", "string", "What is measured, and what it should be."),
        cells::column("MinPods", "string", "Least replicas."),
        cells::column("MaxPods", "string", "Most replicas."),
        cells::column("Replicas", "integer", "Replicas now."),
        cells::AGE,
    ];

    fn default(scaler: &mut HorizontalPodAutoscaler) {
        let spec = &mut scaler.spec;
        spec.min_replicas.get_or_insert(1);
        if spec.metrics.as_ref().is_none_or(Vec::is_empty) {
            let target = MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(DEFAULT_CPU_PERCENT),
                ..MetricTarget::default()
            };
            let resource = Some(ResourceMetricSource { name: "cpu".to_owned(), target });
            spec.metrics = Some(vec![MetricSpec { type_: "Resource".to_owned(), resource, ..MetricSpec::default() }]);
        }
        if let Some(behavior) = &mut spec.behavior {
            let up = behavior.scale_up.get_or_insert_default();
            up.stabilization_window_seconds.get_or_insert(0);
            scaling_rules(up, &[("Pods", 4), ("Percent", 100)]);
            scaling_rules(behavior.scale_down.get_or_insert_default(), &[("Percent", 100)]);
        }
    }

    fn validate(scaler: &HorizontalPodAutoscaler) -> Vec<Cause> {
        validation::validate(&scaler.spec, true, &Path::new("spec"))
    }

    fn validate_again(new: &HorizontalPodAutoscaler, old: &HorizontalPodAutoscaler) -> Vec<Cause> {
        let target = |scaler: &HorizontalPodAutoscaler| {
            let target = &scaler.spec.scale_target_ref;
            (target.api_version.clone().unwrap_or_default(), target.kind.clone())
        };
        validation::validate(&new.spec, target(new) != target(old), &Path::new("spec"))
    }

    fn validate_status_update(new: &HorizontalPodAutoscaler, _: &HorizontalPodAutoscaler) -> Vec<Cause> {
        let status = new.status.clone().unwrap_or_default();
        validation::status(status.current_replicas, Some(status.desired_replicas))
    }

    fn cells(scaler: &HorizontalPodAutoscaler, now: Timestamp) -> Vec<Value> {
        let spec = &scaler.spec;
        let current = scaler.status.as_ref().and_then(|status| status.current_replicas).unwrap_or_default();
        vec![
            cells::name(&scaler.metadata),
            json!(format!("{}/{}", spec.scale_target_ref.kind, spec.scale_target_ref.name)),
            json!(targets(scaler, spec)),
            json!(spec.min_replicas.map_or_else(|| cells::UNSET.to_owned(), |least| least.to_string())),
            json!(spec.max_replicas.to_string()),
            json!(current),
            cells::age(&scaler.metadata, now),
        ]
    }
}

/// How far replicas may go in a quarter of a minute if somebody says how they go at all.
fn scaling_rules(rules: &mut HPAScalingRules, policies: &[(&str, i32)]) {
    rules.select_policy.get_or_insert_with(|| "Max".to_owned());
    rules.policies.get_or_insert_with(|| {
        let policy = |(kind, value): &(&str, i32)| HPAScalingPolicy {
            type_: (*kind).to_owned(),
            value: *value,
            period_seconds: SCALING_PERIOD_SECONDS,
        };
        policies.iter().map(policy).collect()
    });
}

/// `cpu: 30%/80%, memory: 1Gi/2Gi`
fn targets(scaler: &HorizontalPodAutoscaler, spec: &HorizontalPodAutoscalerSpec) -> String {
    let measured = scaler.status.as_ref().and_then(|status| status.current_metrics.as_deref()).unwrap_or_default();
    let metrics = spec.metrics.as_deref().unwrap_or_default();
    let mut all = Vec::new();
    for (index, metric) in metrics.iter().enumerate() {
        let now = measured.get(index);
        let (label, target, current) = match (&metric.resource, &metric.pods, &metric.object, &metric.external) {
            (Some(resource), ..) => {
                let current = now.and_then(|now| now.resource.as_ref()).map(|now| &now.current);
                (format!("{}: ", resource.name), &resource.target, current)
            }
            (_, Some(pods), ..) => {
                (String::new(), &pods.target, now.and_then(|now| now.pods.as_ref()).map(|now| &now.current))
            }
            (_, _, Some(object), _) => {
                (String::new(), &object.target, now.and_then(|now| now.object.as_ref()).map(|now| &now.current))
            }
            (_, _, _, Some(external)) => {
                (String::new(), &external.target, now.and_then(|now| now.external.as_ref()).map(|now| &now.current))
            }
            _ => continue,
        };
        all.push(format!("{label}{}/{}", measured_value(current, target), wanted(target)));
    }
    match all.len() {
        0 => cells::NONE.to_owned(),
        count if count > SHOWN => format!("{} + {} more...", all[..SHOWN].join(", "), count - SHOWN),
        _ => all.join(", "),
    }
}

fn wanted(target: &MetricTarget) -> String {
    let amount = |amount: &Option<Quantity>| amount.as_ref().map(|amount| amount.0.clone());
    match target.average_utilization {
        Some(percent) => format!("{percent}%"),
        None => match amount(&target.average_value) {
            Some(average) => average,
            None => amount(&target.value).unwrap_or_else(|| "<auto>".to_owned()),
        },
    }
}

fn measured_value(current: Option<&MetricValueStatus>, target: &MetricTarget) -> String {
    let unknown = || cells::UNKNOWN.to_owned();
    let Some(current) = current else { return unknown() };
    match target.average_utilization {
        Some(_) => current.average_utilization.map_or_else(unknown, |percent| format!("{percent}%")),
        None => {
            current.average_value.as_ref().or(current.value.as_ref()).map_or_else(unknown, |amount| amount.0.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn four_fifths_of_the_cpu_is_the_aim() {
        let strategy = descriptor::<HorizontalPodAutoscalerKind>().strategy;
        let scaler = json!({"metadata": {"name": "a", "namespace": "b"},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
        let scaler = strategy.decode(scaler).unwrap();
        assert_eq!(strategy.validate(&scaler), []);
        let row = strategy.cells(&scaler, Timestamp::UNIX_EPOCH);
        assert_eq!(row[1..5], ["Deployment/web", "cpu: <unknown>/80%", "1", "3"].map(Value::from));
    }
}
