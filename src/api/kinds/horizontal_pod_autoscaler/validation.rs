//! Rules of autoscalers, in the shape of `autoscaling/v2`.

use k8s_openapi::{
    api::autoscaling::v2::{
        CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerSpec, MetricIdentifier,
        MetricSpec, MetricTarget,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use crate::api::{
    field::{self, Path},
    kinds::{pod_template::resources, workload},
    quantity,
    status::Cause,
    validation::name,
};

const SOURCES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];
const TARGETS: &[&str] = &["Utilization", "Value", "AverageValue"];
const SELECT_POLICIES: &[&str] = &["Disabled", "Max", "Min"];
const POLICIES: &[&str] = &["Percent", "Pods"];
const PERIOD_LIMIT_S: i32 = 1800;
const WINDOW_LIMIT_S: i32 = 3600;

/// Problems of a spec. Autoscalers from before the API version of a target was checked keep theirs:
/// `checks_target` is false for an update that leaves the target as it is.
pub fn validate(spec: &HorizontalPodAutoscalerSpec, checks_target: bool, path: &Path) -> Vec<Cause> {
    let mut causes = replicas(spec, path);
    let target = path.child("scaleTargetRef");
    causes.extend(reference(&spec.scale_target_ref, &target));
    if checks_target {
        let may_be_core = spec.scale_target_ref.kind == "ReplicationController";
        causes.extend(api_version(&spec.scale_target_ref, may_be_core, &target));
    }
    for (index, metric) in spec.metrics.iter().flatten().enumerate() {
        causes.extend(source(metric, &path.child("metrics").index(index)));
    }
    let behavior = spec.behavior.clone().unwrap_or_default();
    for (name, rules) in [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)] {
        causes.extend(rules.iter().flat_map(|rules| scaling_rules(rules, &path.child("behavior").child(name))));
    }
    causes
}

fn replicas(spec: &HorizontalPodAutoscalerSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (least, most) = (spec.min_replicas, spec.max_replicas);
    let one = "must be greater than or equal to 1";
    if let Some(least) = least.filter(|least| *least < 1) {
        causes.push(field::invalid(&path.child("minReplicas"), least, one));
    }
    let path = path.child("maxReplicas");
    match most {
        0 => causes.push(field::required(&path, "must be set and greater than 0")),
        negative if negative < 0 => causes.push(field::invalid(&path, negative, one)),
        _ => {}
    }
    if least.is_some_and(|least| most < least) {
        causes.push(field::invalid(&path, most, "must be greater than or equal to `minReplicas`"));
    }
    causes
}

/// Problems of the counts in a status.
pub fn status(current: Option<i32>, desired: Option<i32>) -> Vec<Cause> {
    let numbers = [("currentReplicas", current), ("desiredReplicas", desired)];
    workload::non_negative(&numbers, &Path::new("status"))
}

fn reference(reference: &CrossVersionObjectReference, path: &Path) -> Vec<Cause> {
    let parts = [("kind", &reference.kind), ("name", &reference.name)];
    parts.into_iter().flat_map(|(name, text)| segment(text, "", &path.child(name))).collect()
}

/// A text that is a segment of a path; `missing` says what is missing when it is empty.
fn segment(text: &str, missing: &str, path: &Path) -> Vec<Cause> {
    if text.is_empty() {
        return vec![field::required(path, missing)];
    }
    field::invalid_each(path, text, &name::path_segment(text))
}

fn api_version(reference: &CrossVersionObjectReference, may_be_core: bool, path: &Path) -> Option<Cause> {
    let text = reference.api_version.as_deref().unwrap_or_default();
    let detail = match text.matches('/').count() {
        0 | 1 if may_be_core => return None,
        1 if !text.starts_with('/') => return None,
        0 | 1 => "apiVersion must specify API group".to_owned(),
        _ => format!("unexpected GroupVersion string: {text}"),
    };
    Some(field::invalid(&path.child("apiVersion"), text, &detail))
}

/// A metric: one source, which is of its type.
fn source(metric: &MetricSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let kind = metric.type_.as_str();
    if kind.is_empty() {
        causes.push(field::required(&path.child("type"), "must specify a metric source type"));
    }
    let is_known = SOURCES.contains(&kind);
    if !is_known {
        causes.push(field::unsupported(&path.child("type"), kind, SOURCES));
    }
    let present: Vec<(&str, Vec<Cause>)> = sources(metric, path);
    let expected = expected_source(kind);
    causes.extend(present.first().map(|(_, problems)| problems.clone()).unwrap_or_default());
    if !is_known {
        causes.push(field::unsupported(&path.child("type"), kind, SOURCES));
    } else if present.iter().all(|(name, _)| *name != expected) {
        causes.push(field::required(&path.child(expected), "must populate information for the given metric source"));
    }
    if present.len() != 1 {
        let others = present.iter().filter(|(name, _)| *name != expected);
        let detail = "must populate the given metric source only";
        causes.extend(others.map(|(name, _)| field::forbidden(&path.child(name), detail)));
    }
    causes
}

/// The field that a type of source has.
fn expected_source(kind: &str) -> &'static str {
    match kind {
        "Object" => "object",
        "Pods" => "pods",
        "Resource" => "resource",
        "External" => "external",
        "ContainerResource" => "containerResource",
        _ => "",
    }
}

/// The sources that are given, in upstream's order, with their problems.
fn sources(metric: &MetricSpec, path: &Path) -> Vec<(&'static str, Vec<Cause>)> {
    let mut present = Vec::new();
    if let Some(object) = &metric.object {
        let path = path.child("object");
        let mut causes = reference(&object.described_object, &path.child("describedObject"));
        causes.extend(api_version(&object.described_object, true, &path.child("describedObject")));
        causes.extend(identifier(&object.metric, &path));
        causes.extend(target(&object.target, &path));
        causes.extend(no_value(&object.target, "must set either a target value or averageValue", &path));
        present.push(("object", causes));
    }
    if let Some(external) = &metric.external {
        let path = path.child("external");
        let mut causes = identifier(&external.metric, &path);
        causes.extend(target(&external.target, &path));
        let missing = "must set either a target value for metric or a per-pod target";
        causes.extend(no_value(&external.target, missing, &path));
        if external.target.value.is_some() && external.target.average_value.is_some() {
            let detail = "may not set both a target value for metric and a per-pod target";
            causes.push(field::forbidden(&path.child("target").child("value"), detail));
        }
        present.push(("external", causes));
    }
    if let Some(pods) = &metric.pods {
        let path = path.child("pods");
        let mut causes = identifier(&pods.metric, &path);
        causes.extend(target(&pods.target, &path));
        if pods.target.average_value.is_none() {
            let detail = "must specify a positive target averageValue";
            causes.push(field::required(&path.child("target").child("averageValue"), detail));
        }
        present.push(("pods", causes));
    }
    if let Some(resource) = &metric.resource {
        let path = path.child("resource");
        present.push(("resource", resource_source(&resource.name, &resource.target, &path)));
    }
    if let Some(resource) = &metric.container_resource {
        let path = path.child("containerResource");
        let mut causes = match resource.name.as_str() {
            "" => vec![field::required(&path.child("name"), "must specify a resource name")],
            name => resources::container_resource(name, &path.child("name")),
        };
        let container = path.child("container");
        match resource.container.as_str() {
            "" => causes.push(field::required(&container, "must specify a container")),
            text => causes.extend(field::invalid_each(&container, text, &name::dns1123_label(text))),
        }
        causes.extend(resource_target(&resource.target, &path));
        present.push(("containerResource", causes));
    }
    present
}

fn resource_source(resource: &str, wanted: &MetricTarget, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if resource.is_empty() {
        causes.push(field::required(&path.child("name"), "must specify a resource name"));
    }
    causes.extend(resource_target(wanted, path));
    causes
}

fn resource_target(wanted: &MetricTarget, path: &Path) -> Vec<Cause> {
    let mut causes = target(wanted, path);
    let path = path.child("target");
    match (wanted.average_utilization.is_some(), wanted.average_value.is_some()) {
        (false, false) => {
            let detail = "must set either a target raw value or a target utilization";
            causes.push(field::required(&path.child("averageUtilization"), detail));
        }
        (true, true) => {
            let detail = "may not set both a target raw value and a target utilization";
            causes.push(field::forbidden(&path.child("averageValue"), detail));
        }
        _ => {}
    }
    causes
}

fn identifier(metric: &MetricIdentifier, path: &Path) -> Vec<Cause> {
    segment(&metric.name, "must specify a metric name", &path.child("metric").child("name"))
}

fn no_value(target: &MetricTarget, detail: &str, path: &Path) -> Option<Cause> {
    let none = target.value.is_none() && target.average_value.is_none();
    none.then(|| field::required(&path.child("target").child("averageValue"), detail))
}

fn target(target: &MetricTarget, path: &Path) -> Vec<Cause> {
    let path = path.child("target");
    let mut causes = Vec::new();
    let kind = target.type_.as_str();
    if kind.is_empty() {
        causes.push(field::required(&path.child("type"), "must specify a metric target type"));
    }
    if !TARGETS.contains(&kind) {
        causes.push(field::invalid(&path.child("type"), kind, "must be either Utilization, Value, or AverageValue"));
    }
    for (name, amount) in [("value", &target.value), ("averageValue", &target.average_value)] {
        if let Some(amount) = amount.as_ref().filter(|amount| !is_positive(amount)) {
            causes.push(field::invalid(&path.child(name), amount, "must be positive"));
        }
    }
    if let Some(percent) = target.average_utilization.filter(|percent| *percent < 1) {
        causes.push(field::invalid(&path.child("averageUtilization"), percent, "must be greater than 0"));
    }
    causes
}

fn is_positive(amount: &Quantity) -> bool {
    amount.0.parse::<quantity::Quantity>().is_ok_and(|amount| !amount.is_zero() && !amount.is_negative())
}

fn scaling_rules(rules: &HPAScalingRules, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let window = path.child("stabilizationWindowSeconds");
    match rules.stabilization_window_seconds {
        Some(seconds) if seconds < 0 => {
            causes.push(field::invalid(&window, seconds, "must be greater than or equal to zero"));
        }
        Some(seconds) if seconds > WINDOW_LIMIT_S => {
            let detail = format!("must be less than or equal to {WINDOW_LIMIT_S}");
            causes.push(field::invalid(&window, seconds, &detail));
        }
        _ => {}
    }
    if let Some(policy) = rules.select_policy.as_deref().filter(|policy| !SELECT_POLICIES.contains(policy)) {
        causes.push(field::unsupported(&path.child("selectPolicy"), policy, SELECT_POLICIES));
    }
    let policies = path.child("policies");
    if rules.policies.as_ref().is_none_or(Vec::is_empty) {
        causes.push(field::required(&policies, "must specify at least one Policy"));
    }
    for (index, policy) in rules.policies.iter().flatten().enumerate() {
        causes.extend(scaling_policy(policy, &policies.index(index)));
    }
    causes
}

fn scaling_policy(policy: &HPAScalingPolicy, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if !POLICIES.contains(&policy.type_.as_str()) {
        causes.push(field::unsupported(&path.child("type"), &policy.type_, POLICIES));
    }
    for (name, number) in [("value", policy.value), ("periodSeconds", policy.period_seconds)] {
        if number <= 0 {
            causes.push(field::invalid(&path.child(name), number, "must be greater than zero"));
        }
    }
    if policy.period_seconds > PERIOD_LIMIT_S {
        let detail = format!("must be less than or equal to {PERIOD_LIMIT_S}");
        causes.push(field::invalid(&path.child("periodSeconds"), policy.period_seconds, &detail));
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::api::{kind::descriptor, kinds::horizontal_pod_autoscaler::v2::HorizontalPodAutoscalerKind};

    fn problems(spec: Value) -> Vec<String> {
        let strategy = descriptor::<HorizontalPodAutoscalerKind>().strategy;
        let scaler = strategy.decode(json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec})).unwrap();
        strategy.validate(&scaler).into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn a_target_has_a_group_unless_it_is_a_replication_controller() {
        let spec = |kind: &str, version: &str| json!({"maxReplicas": 3, "scaleTargetRef": {"kind": kind, "name": "web", "apiVersion": version}});
        assert!(problems(spec("Deployment", "apps/v1")).is_empty());
        assert!(problems(spec("ReplicationController", "v1")).is_empty());
        let path = "spec.scaleTargetRef.apiVersion: Invalid value:";
        assert_eq!(problems(spec("Deployment", "v1")), [format!("{path} \"v1\": apiVersion must specify API group")]);
        assert_eq!(
            problems(spec("Deployment", "a/b/c")),
            [format!("{path} \"a/b/c\": unexpected GroupVersion string: a/b/c")]
        );
    }

    #[test]
    fn a_metric_has_the_source_of_its_type() {
        let spec = |metric: Value| {
            json!({"maxReplicas": 3, "metrics": [metric],
                   "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}})
        };
        let target = json!({"type": "Utilization", "averageUtilization": 0});
        let resource = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        assert_eq!(
            problems(spec(resource)),
            ["spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0"]
        );
        assert_eq!(
            problems(spec(json!({"type": "Pods"}))),
            ["spec.metrics[0].pods: Required value: must populate information for the given metric source"]
        );
    }
}
