//! Deployments: replica sets of which the newest replaces the others step by step.

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentSpec, RollingUpdateDeployment},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::{Value, json};

use super::{
    cells, names, pod_template,
    workload::{self, SelectorRule},
};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    status::Cause,
    update_check::{self, UpdateCheck},
};

const ROLLING_UPDATE: &str = "RollingUpdate";
const RECREATE: &str = "Recreate";
/// What is said of selectors that do not do, also those of replica sets.
pub const SELECTOR_RULE: SelectorRule = SelectorRule { is_required: true, unusable: Some("invalid label selector") };

/// `apps/v1.Deployment`
pub struct DeploymentKind;

impl Kind for DeploymentKind {
    type Object = Deployment;
    const NAMES: Names = Names {
        short_names: &["deploy"],
        categories: &["all"],
        subresources: &[Subresource::Status, Subresource::Scale],
        ..names::namespaced(names::APPS, "Deployment", "deployments", "deployment")
    };
    const GENERATION: Generation = Generation::SpecAndAnnotations;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Ready", "string", "Ready pods of all that should be."),
        cells::column("Up-to-date", "string", "Pods made from the current template."),
        cells::column("Available", "string", "Pods that have been ready for long enough."),
        cells::AGE,
        cells::wide("Containers", "string", "Names of the template's containers."),
        cells::wide("Images", "string", "Images of the template's containers."),
        cells::wide("Selector", "string", "Labels of the deployment's pods."),
    ];

    fn default(deployment: &mut Deployment) {
        let spec = deployment.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(10);
        spec.progress_deadline_seconds.get_or_insert(600);
        let strategy = spec.strategy.get_or_insert_default();
        let kind = strategy.type_.take().filter(|kind| !kind.is_empty()).unwrap_or_else(|| ROLLING_UPDATE.to_owned());
        if kind == ROLLING_UPDATE {
            let quarter = || IntOrString::String("25%".to_owned());
            let rolling = strategy.rolling_update.get_or_insert_with(RollingUpdateDeployment::default);
            rolling.max_surge.get_or_insert_with(quarter);
            rolling.max_unavailable.get_or_insert_with(quarter);
        }
        strategy.type_ = Some(kind);
        pod_template::defaults::template(&mut spec.template);
    }

    fn validate(deployment: &Deployment) -> Vec<Cause> {
        let path = Path::new("spec");
        let Some(spec) = &deployment.spec else { return vec![field::required(&path, "")] };
        let numbers = [
            ("replicas", spec.replicas),
            ("minReadySeconds", spec.min_ready_seconds),
            ("revisionHistoryLimit", spec.revision_history_limit),
            ("progressDeadlineSeconds", spec.progress_deadline_seconds),
        ];
        let mut causes = workload::non_negative(&numbers, &path);
        causes.extend(workload::selector_and_template(&spec.selector, &spec.template, SELECTOR_RULE, &path));
        causes.extend(workload::always_restarts(&spec.template, "ReplicaSet", &path));
        causes.extend(strategy(spec, &path.child("strategy")));
        let deadline = spec.progress_deadline_seconds;
        if deadline.is_some_and(|deadline| deadline <= spec.min_ready_seconds.unwrap_or_default()) {
            let detail = "must be greater than minReadySeconds";
            causes.push(field::invalid(&path.child("progressDeadlineSeconds"), deadline, detail));
        }
        causes
    }

    fn validate_update(new: &Deployment, old: &Deployment) -> Vec<Cause> {
        let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        workload::fixed_selector(&new.selector, &old.selector).into_iter().collect()
    }

    fn validate_status_update(new: &Deployment, old: &Deployment) -> Vec<Cause> {
        let before = old.status.as_ref().and_then(|status| status.collision_count);
        let status = new.status.clone().unwrap_or_default();
        let path = Path::new("status");
        let count = Option::unwrap_or_default;
        let parts = [
            ("updatedReplicas", count(status.updated_replicas)),
            ("readyReplicas", count(status.ready_replicas)),
            ("availableReplicas", count(status.available_replicas)),
        ];
        let others = [
            ("observedGeneration", status.observed_generation),
            ("unavailableReplicas", status.unavailable_replicas.map(i64::from)),
            ("terminatingReplicas", status.terminating_replicas.map(i64::from)),
            ("collisionCount", status.collision_count.map(i64::from)),
        ];
        let mut causes = workload::counts(("replicas", count(status.replicas)), &parts, &others, &path);
        let (available, ready) = (count(status.available_replicas), count(status.ready_replicas));
        causes.extend(workload::available(available, ready, "readyReplicas", &path));
        causes.extend(workload::collisions(status.collision_count, before, &path));
        causes
    }

    fn prepare_for_create(deployment: &mut Deployment) {
        let spec = deployment.spec.get_or_insert_default();
        pod_template::disabled::drop_from_template(&mut spec.template, None);
    }

    fn prepare_for_update(new: &mut Deployment, old: &Deployment) {
        let old = old.spec.as_ref().map(|old| &old.template);
        pod_template::disabled::drop_from_template(&mut new.spec.get_or_insert_default().template, old);
    }

    fn warnings(new: &Deployment, old: Option<&Deployment>) -> Vec<String> {
        let template = new.spec.as_ref().map(|spec| &spec.template);
        workload::named_warnings(template, &new.metadata, old.map(|old| &old.metadata))
    }

    fn cells(deployment: &Deployment, now: Timestamp) -> Vec<Value> {
        let spec = deployment.spec.clone().unwrap_or_default();
        let status = deployment.status.clone().unwrap_or_default();
        let (names, images) = cells::containers(spec.template.spec.as_ref());
        let ready = status.ready_replicas.unwrap_or_default();
        vec![
            cells::name(&deployment.metadata),
            json!(format!("{ready}/{}", spec.replicas.unwrap_or_default())),
            json!(status.updated_replicas.unwrap_or_default()),
            json!(status.available_replicas.unwrap_or_default()),
            cells::age(&deployment.metadata, now),
            json!(names),
            json!(images),
            json!(cells::selector(Some(&spec.selector))),
        ]
    }
}

fn strategy(spec: &DeploymentSpec, path: &Path) -> Vec<Cause> {
    let Some(strategy) = &spec.strategy else { return Vec::new() };
    let rolling = path.child("rollingUpdate");
    match strategy.type_.as_deref().unwrap_or_default() {
        RECREATE if strategy.rolling_update.is_some() => {
            vec![field::forbidden(&rolling, "may not be specified when strategy `type` is 'Recreate'")]
        }
        RECREATE => Vec::new(),
        ROLLING_UPDATE => match &strategy.rolling_update {
            Some(update) => rolling_update(update, &rolling),
            None => vec![field::required(&rolling, "this should be defaulted and never be nil")],
        },
        _ => {
            let message = "apps.v1.DeploymentStrategy";
            vec![field::unsupported_internal(path, message, strategy, &[RECREATE, ROLLING_UPDATE])]
        }
    }
}

fn rolling_update(update: &RollingUpdateDeployment, path: &Path) -> Vec<Cause> {
    let (surge, unavailable) = (update.max_surge.as_ref(), update.max_unavailable.as_ref());
    let mut causes = workload::count_or_percent(unavailable, &path.child("maxUnavailable"), true);
    causes.extend(workload::count_or_percent(surge, &path.child("maxSurge"), false));
    if workload::is_zero(unavailable) && workload::is_zero(surge) {
        let detail = "may not be 0 when `maxSurge` is 0";
        causes.push(field::invalid(&path.child("maxUnavailable"), unavailable, detail));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{decoded::Decoded, kind::descriptor, patch::merge};

    fn deployment(spec: Value) -> Decoded {
        let mut object = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        object["spec"] = merge::apply(object["spec"].take(), spec);
        descriptor::<DeploymentKind>().strategy.decode(object).unwrap()
    }

    fn problems(spec: Value) -> Vec<String> {
        let causes = descriptor::<DeploymentKind>().strategy.validate(&deployment(spec));
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn defaults_are_a_rolling_update_by_quarters() {
        let spec = deployment(json!({}))["spec"].clone();
        assert_eq!(spec["replicas"], 1);
        assert_eq!(spec["revisionHistoryLimit"], 10);
        assert_eq!(spec["progressDeadlineSeconds"], 600);
        assert_eq!(
            spec["strategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
        );
        assert!(problems(json!({})).is_empty());
        assert!(problems(json!({"strategy": {"type": "Recreate"}})).is_empty());
    }

    #[test]
    fn a_selector_finds_its_own_pods_and_stays() {
        assert_eq!(
            problems(json!({"selector": {"matchLabels": null}})),
            [
                "spec.selector: Required value",
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`"
            ]
        );
        let causes = problems(json!({"selector": {"matchLabels": {"app": "other"}}}));
        assert_eq!(
            causes,
            [
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`"
            ]
        );
        let strategy = descriptor::<DeploymentKind>().strategy;
        let changed = deployment(json!({"selector": {"matchLabels": {"app": "other"}}}));
        let causes = strategy.validate_update(&changed, &deployment(json!({})));
        assert_eq!(causes[0].message, "Invalid value: {\"matchLabels\":{\"app\":\"other\"}}: field is immutable");
    }

    #[test]
    fn a_rollout_must_be_able_to_move() {
        assert_eq!(
            problems(json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}})),
            ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0"]
        );
        assert_eq!(
            problems(json!({"replicas": -1})),
            ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]
        );
        assert_eq!(
            problems(json!({"template": {"spec": {"restartPolicy": "Never"}}})),
            ["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""]
        );
    }

    #[test]
    fn a_row_counts_pods() {
        let mut object = deployment(json!({"replicas": 3}));
        object.change()["status"] = json!({"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1});
        let row = descriptor::<DeploymentKind>().strategy.cells(&object, Timestamp::UNIX_EPOCH);
        assert_eq!(row[1..4], [json!("2/3"), json!(3), json!(1)]);
        assert_eq!(row[5..8], [json!("c"), json!("i"), json!("app=web")]);
    }
}
