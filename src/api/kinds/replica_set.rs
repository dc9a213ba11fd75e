//! Replica sets: a number of pods of one template.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::{Value, json};

use super::{cells, deployment::SELECTOR_RULE, names, pod_template, workload};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    status::Cause,
    update_check::{self, UpdateCheck},
};

/// `apps/v1.ReplicaSet`
pub struct ReplicaSetKind;

impl Kind for ReplicaSetKind {
    type Object = ReplicaSet;
    const NAMES: Names = Names {
        short_names: &["rs"],
        categories: &["all"],
        subresources: &[Subresource::Status, Subresource::Scale],
        ..names::namespaced(names::APPS, "ReplicaSet", "replicasets", "replicaset")
    };
    const GENERATION: Generation = Generation::Spec;
    const FIELDS: &'static [&'static str] = &["status.replicas"];
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Desired", "integer", "Pods that should be."),
        cells::column("Current", "integer", "Pods that are."),
        cells::column("Ready", "integer", "Pods that are ready."),
        cells::AGE,
        cells::wide("Containers", "string", "Names of the template's containers."),
        cells::wide("Images", "string", "Images of the template's containers."),
        cells::wide("Selector", "string", "Labels of the set's pods."),
    ];

    fn default(set: &mut ReplicaSet) {
        let spec = set.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        if let Some(template) = &mut spec.template {
            pod_template::defaults::template(template);
        }
    }

    fn validate(set: &ReplicaSet) -> Vec<Cause> {
        let path = Path::new("spec");
        let spec = set.spec.clone().unwrap_or_default();
        let numbers = [("replicas", spec.replicas), ("minReadySeconds", spec.min_ready_seconds)];
        let mut causes = workload::non_negative(&numbers, &path);
        match &spec.template {
            Some(template) => {
                causes.extend(workload::selector_and_template(&spec.selector, template, SELECTOR_RULE, &path));
                causes.extend(workload::always_restarts(template, "ReplicaSet", &path));
            }
            None => causes.push(field::required(&path.child("template"), "")),
        }
        causes
    }

    fn validate_update(new: &ReplicaSet, old: &ReplicaSet) -> Vec<Cause> {
        let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        workload::fixed_selector(&new.selector, &old.selector).into_iter().collect()
    }

    fn validate_status_update(new: &ReplicaSet, _: &ReplicaSet) -> Vec<Cause> {
        let status = new.status.clone().unwrap_or_default();
        let path = Path::new("status");
        let count = Option::unwrap_or_default;
        let parts = [
            ("fullyLabeledReplicas", count(status.fully_labeled_replicas)),
            ("readyReplicas", count(status.ready_replicas)),
            ("availableReplicas", count(status.available_replicas)),
        ];
        let others = [
            ("observedGeneration", status.observed_generation),
            ("terminatingReplicas", status.terminating_replicas.map(i64::from)),
        ];
        let mut causes = workload::counts(("replicas", status.replicas), &parts, &others, &path);
        let (available, ready) = (count(status.available_replicas), count(status.ready_replicas));
        causes.extend(workload::available(available, ready, "readyReplicas", &path));
        causes
    }

    fn prepare_for_create(set: &mut ReplicaSet) {
        if let Some(template) = set.spec.as_mut().and_then(|spec| spec.template.as_mut()) {
            pod_template::disabled::drop_from_template(template, None);
        }
    }

    fn prepare_for_update(new: &mut ReplicaSet, old: &ReplicaSet) {
        let old = old.spec.as_ref().and_then(|spec| spec.template.as_ref());
        if let Some(template) = new.spec.as_mut().and_then(|spec| spec.template.as_mut()) {
            pod_template::disabled::drop_from_template(template, old);
        }
    }

    fn warnings(new: &ReplicaSet, old: Option<&ReplicaSet>) -> Vec<String> {
        let template = new.spec.as_ref().and_then(|spec| spec.template.as_ref());
        workload::named_warnings(template, &new.metadata, old.map(|old| &old.metadata))
    }

    fn field_values(set: &ReplicaSet) -> Vec<String> {
        vec![set.status.as_ref().map_or(0, |status| status.replicas).to_string()]
    }

    fn cells(set: &ReplicaSet, now: Timestamp) -> Vec<Value> {
        let spec = set.spec.clone().unwrap_or_default();
        let status = set.status.clone().unwrap_or_default();
        let (names, images) = cells::containers(spec.template.as_ref().and_then(|template| template.spec.as_ref()));
        vec![
            cells::name(&set.metadata),
            json!(spec.replicas.unwrap_or_default()),
            json!(status.replicas),
            json!(status.ready_replicas.unwrap_or_default()),
            cells::age(&set.metadata, now),
            json!(names),
            json!(images),
            json!(cells::selector(Some(&spec.selector))),
        ]
    }
}
