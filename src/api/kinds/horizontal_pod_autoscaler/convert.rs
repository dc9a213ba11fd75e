//! Between the two versions of an autoscaler. Nothing is lost either way: what `autoscaling/v1` has no
//! field for is in annotations there.

use k8s_openapi::{
    api::autoscaling::{
        v1,
        v2::{
            self, HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior, MetricSpec, MetricStatus, MetricTarget,
            MetricValueStatus, ResourceMetricSource, ResourceMetricStatus,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::metrics;
use crate::api::Status;

/// Share of its request that a pod should use when the autoscaler names no metric.
pub(super) const DEFAULT_CPU_PERCENT: i32 = 80;
/// Annotation with the metrics that are not the use of processors.
pub const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
/// Annotation with what was measured.
pub const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
/// Annotation with the conditions.
pub const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
/// Annotation with how quickly replicas come and go.
pub const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// [`to_v2`] for untyped objects. Errors with 400 when the object is no autoscaler.
pub fn value_to_v2(scaler: Value) -> Result<Value, Status> {
    convert(scaler, to_v2)
}

/// [`from_v2`] for untyped objects. Errors with 400 when the object is no autoscaler.
pub fn value_from_v2(scaler: Value) -> Result<Value, Status> {
    convert(scaler, from_v2)
}

/// The stored shape of an `autoscaling/v1` autoscaler. Annotations that cannot be read are ignored.
pub fn to_v2(mut scaler: v1::HorizontalPodAutoscaler) -> HorizontalPodAutoscaler {
    let spec = scaler.spec;
    let mut measured: Vec<MetricSpec> = annotated(&scaler.metadata, METRICS, metrics::spec_to_v2).unwrap_or_default();
    measured.extend(spec.target_cpu_utilization_percentage.map(cpu));
    if measured.is_empty() {
        measured.push(cpu(DEFAULT_CPU_PERCENT));
    }
    let status = scaler.status.map(|status| v2::HorizontalPodAutoscalerStatus {
        conditions: annotated(&scaler.metadata, CONDITIONS, |condition| condition),
        current_metrics: annotated(&scaler.metadata, CURRENT_METRICS, metrics::status_to_v2)
            .or_else(|| status.current_cpu_utilization_percentage.map(|percent| vec![current_cpu(percent)])),
        current_replicas: Some(status.current_replicas),
        desired_replicas: status.desired_replicas,
        last_scale_time: status.last_scale_time,
        observed_generation: status.observed_generation,
    });
    let behavior = behavior(&scaler.metadata);
    drop_annotations(&mut scaler.metadata);
    HorizontalPodAutoscaler {
        metadata: scaler.metadata,
        spec: v2::HorizontalPodAutoscalerSpec {
            behavior,
            max_replicas: spec.max_replicas,
            metrics: Some(measured),
            min_replicas: spec.min_replicas,
            scale_target_ref: v2::CrossVersionObjectReference {
                api_version: spec.scale_target_ref.api_version,
                kind: spec.scale_target_ref.kind,
                name: spec.scale_target_ref.name,
            },
        },
        status,
    }
}

/// The `autoscaling/v1` shape of a stored autoscaler.
pub fn from_v2(mut scaler: HorizontalPodAutoscaler) -> v1::HorizontalPodAutoscaler {
    drop_annotations(&mut scaler.metadata);
    let spec = scaler.spec;
    let (utilization, others): (Vec<MetricSpec>, Vec<MetricSpec>) =
        spec.metrics.unwrap_or_default().into_iter().partition(|metric| cpu_percent(metric).is_some());
    let mut metadata = scaler.metadata;
    annotate(&mut metadata, METRICS, &others, metrics::spec_to_v1);
    let status = scaler.status.unwrap_or_default();
    let measured = status.current_metrics.unwrap_or_default();
    annotate(&mut metadata, CURRENT_METRICS, &measured, metrics::status_to_v1);
    annotate(&mut metadata, CONDITIONS, &status.conditions.unwrap_or_default(), |condition| condition);
    if let Some(behavior) = spec.behavior.as_ref().and_then(|behavior| serde_json::to_value(behavior).ok()) {
        let text = with_names(behavior, capitalized).to_string();
        metadata.annotations.get_or_insert_default().insert(BEHAVIOR.to_owned(), text);
    }
    v1::HorizontalPodAutoscaler {
        metadata,
        spec: v1::HorizontalPodAutoscalerSpec {
            max_replicas: spec.max_replicas,
            min_replicas: spec.min_replicas,
            scale_target_ref: v1::CrossVersionObjectReference {
                api_version: spec.scale_target_ref.api_version,
                kind: spec.scale_target_ref.kind,
                name: spec.scale_target_ref.name,
            },
            target_cpu_utilization_percentage: utilization.first().and_then(cpu_percent),
        },
        status: Some(v1::HorizontalPodAutoscalerStatus {
            current_cpu_utilization_percentage: measured.iter().rev().find_map(current_cpu_percent),
            current_replicas: status.current_replicas.unwrap_or_default(),
            desired_replicas: status.desired_replicas,
            last_scale_time: status.last_scale_time,
            observed_generation: status.observed_generation,
        }),
    }
}

fn convert<A: DeserializeOwned, B: Serialize>(scaler: Value, conversion: fn(A) -> B) -> Result<Value, Status> {
    let scaler: A = serde_json::from_value(scaler).map_err(|error| Status::bad_request(error.to_string()))?;
    serde_json::to_value(conversion(scaler)).map_err(Status::internal)
}

fn cpu(percent: i32) -> MetricSpec {
    let target =
        MetricTarget { type_: "Utilization".to_owned(), average_utilization: Some(percent), ..MetricTarget::default() };
    let resource = Some(ResourceMetricSource { name: "cpu".to_owned(), target });
    MetricSpec { type_: "Resource".to_owned(), resource, ..MetricSpec::default() }
}

fn cpu_percent(metric: &MetricSpec) -> Option<i32> {
    let resource = metric.resource.as_ref().filter(|resource| metric.type_ == "Resource" && resource.name == "cpu");
    resource.and_then(|resource| resource.target.average_utilization)
}

fn current_cpu(percent: i32) -> MetricStatus {
    let current = MetricValueStatus { average_utilization: Some(percent), ..MetricValueStatus::default() };
    let resource = Some(ResourceMetricStatus { name: "cpu".to_owned(), current });
    MetricStatus { type_: "Resource".to_owned(), resource, ..MetricStatus::default() }
}

fn current_cpu_percent(metric: &MetricStatus) -> Option<i32> {
    let resource = metric.resource.as_ref().filter(|resource| metric.type_ == "Resource" && resource.name == "cpu");
    resource.and_then(|resource| resource.current.average_utilization)
}

/// The list in an annotation, if it can be read.
fn annotated<T: DeserializeOwned>(metadata: &ObjectMeta, name: &str, shape: fn(Value) -> Value) -> Option<Vec<T>> {
    let text = metadata.annotations.as_ref()?.get(name)?;
    let items: Vec<Value> = serde_json::from_str(text).ok()?;
    items.into_iter().map(|item| serde_json::from_value(shape(item)).ok()).collect()
}

fn annotate<T: Serialize>(metadata: &mut ObjectMeta, name: &str, items: &[T], shape: fn(Value) -> Value) {
    if items.is_empty() {
        return;
    }
    let items: Vec<Value> = items.iter().filter_map(|item| serde_json::to_value(item).ok()).map(shape).collect();
    metadata.annotations.get_or_insert_default().insert(name.to_owned(), Value::from(items).to_string());
}

fn drop_annotations(metadata: &mut ObjectMeta) {
    let Some(annotations) = &mut metadata.annotations else { return };
    for name in [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR] {
        annotations.remove(name);
    }
    if annotations.is_empty() {
        metadata.annotations = None;
    }
}

/// The behaviour is written with the names of upstream's internal fields, which begin with capitals, and
/// read whatever their case.
fn behavior(metadata: &ObjectMeta) -> Option<HorizontalPodAutoscalerBehavior> {
    let text = metadata.annotations.as_ref()?.get(BEHAVIOR)?;
    let behavior = with_names(serde_json::from_str(text).ok()?, uncapitalized);
    let behavior: HorizontalPodAutoscalerBehavior = serde_json::from_value(behavior).ok()?;
    (behavior != HorizontalPodAutoscalerBehavior::default()).then_some(behavior)
}

fn with_names(value: Value, rename: fn(&str) -> String) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (rename(&name), with_names(value, rename)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.into_iter().map(|item| with_names(item, rename)).collect(),
        other => other,
    }
}

fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn uncapitalized(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored() -> Value {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "a", "namespace": "b", "annotations": {"mine": "stays"}},
            "spec": {
                "minReplicas": 1, "maxReplicas": 3,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "metrics": [
                    {"type": "Pods", "pods": {"metric": {"name": "rps", "selector": {"matchLabels": {"a": "b"}}},
                        "target": {"type": "AverageValue", "averageValue": "10"}}},
                    {"type": "Object", "object": {"describedObject": {"kind": "Ingress", "name": "i"},
                        "metric": {"name": "hits"}, "target": {"type": "Value", "value": "7"}}},
                    {"type": "External", "external": {"metric": {"name": "queue"},
                        "target": {"type": "AverageValue", "averageValue": "3"}}},
                    {"type": "ContainerResource", "containerResource": {"name": "memory", "container": "c",
                        "target": {"type": "Utilization", "averageUtilization": 50}}},
                    {"type": "Resource", "resource": {"name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 70}}},
                ],
                "behavior": {"scaleUp": {"stabilizationWindowSeconds": 5,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}},
            },
            "status": {
                "currentReplicas": 2, "desiredReplicas": 3,
                "conditions": [{"type": "AbleToScale", "status": "True"}],
                "currentMetrics": [
                    {"type": "Resource", "resource": {"name": "cpu",
                        "current": {"averageUtilization": 40, "averageValue": "100m"}}},
                    {"type": "Object", "object": {"describedObject": {"kind": "Ingress", "name": "i"},
                        "metric": {"name": "hits"}, "current": {"value": "5"}}},
                ],
            },
        })
    }

    #[test]
    fn an_autoscaler_survives_both_ways() {
        let older = value_from_v2(stored()).unwrap();
        assert_eq!(older["apiVersion"], "autoscaling/v1");
        assert_eq!(older["spec"]["targetCPUUtilizationPercentage"], 70);
        assert_eq!(older["status"]["currentCPUUtilizationPercentage"], 40);
        let annotation = |name: &str| -> Value {
            serde_json::from_str(older["metadata"]["annotations"][name].as_str().unwrap()).unwrap()
        };
        assert_eq!(
            annotation(METRICS)[0]["pods"],
            json!({"metricName": "rps", "selector": {"matchLabels": {"a": "b"}}, "targetAverageValue": "10"})
        );
        assert_eq!(annotation(METRICS)[1]["object"]["target"], json!({"kind": "Ingress", "name": "i"}));
        assert_eq!(annotation(BEHAVIOR)["ScaleUp"]["Policies"][0]["PeriodSeconds"], 60);
        assert_eq!(value_to_v2(older).unwrap(), stored());
    }

    #[test]
    fn unreadable_annotations_are_ignored() {
        let scaler = json!({"metadata": {"annotations": {METRICS: "x", BEHAVIOR: "[]", CONDITIONS: "{}"}},
            "spec": {"maxReplicas": 1, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}});
        let stored = value_to_v2(scaler).unwrap();
        assert_eq!(stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
        assert!(stored["spec"].get("behavior").is_none() && stored["metadata"].get("annotations").is_none());
        assert_eq!(value_to_v2(json!([])).unwrap_err().code(), 400);
    }
}
