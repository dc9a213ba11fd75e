//! Replication controllers: replica sets of the first hour.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ReplicationController;
use serde_json::{Value, json};

use super::{cells, names, pod_template, workload};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    status::Cause,
    update_check::{self, UpdateCheck},
};

/// `v1.ReplicationController`
pub struct ReplicationControllerKind;

impl Kind for ReplicationControllerKind {
    type Object = ReplicationController;
    const NAMES: Names = Names {
        short_names: &["rc"],
        categories: &["all"],
        subresources: &[Subresource::Status, Subresource::Scale],
        ..names::namespaced(names::CORE, "ReplicationController", "replicationcontrollers", "replicationcontroller")
    };
    const GENERATION: Generation = Generation::Spec;
    const ORPHANS_BY_DEFAULT: bool = true;
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
        cells::wide("Selector", "string", "Labels of the controller's pods."),
    ];

    fn default(controller: &mut ReplicationController) {
        let spec = controller.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        let Some(template) = &mut spec.template else { return };
        pod_template::defaults::template(template);
        let Some(labels) = template.metadata.as_ref().and_then(|meta| meta.labels.clone()) else { return };
        if spec.selector.as_ref().is_none_or(|selector| selector.is_empty()) {
            spec.selector = Some(labels.clone());
        }
        if controller.metadata.labels.as_ref().is_none_or(|labels| labels.is_empty()) {
            controller.metadata.labels = Some(labels);
        }
    }

    fn validate(controller: &ReplicationController) -> Vec<Cause> {
        let path = Path::new("spec");
        let spec = controller.spec.clone().unwrap_or_default();
        let numbers = [("replicas", spec.replicas), ("minReadySeconds", spec.min_ready_seconds)];
        let mut causes = workload::non_negative(&numbers, &path);
        let selector = spec.selector.clone().unwrap_or_default();
        // An empty selector, unlike that of newer kinds, would find all pods.
        if selector.is_empty() {
            causes.push(field::required(&path.child("selector"), ""));
        }
        let own = path.child("template");
        let Some(template) = &spec.template else {
            causes.push(field::required(&own, ""));
            return causes;
        };
        let labels = template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
        let found = |(key, value): (&String, &String)| labels.is_some_and(|labels| labels.get(key) == Some(value));
        if !selector.iter().all(found) {
            causes.push(workload::unmatched(labels, &own));
        }
        causes.extend(pod_template::template(template, &own));
        causes.extend(workload::always_restarts(template, "ReplicationController", &path));
        causes
    }

    fn validate_status_update(new: &ReplicationController, _: &ReplicationController) -> Vec<Cause> {
        let status = new.status.clone().unwrap_or_default();
        let path = Path::new("status");
        let count = Option::unwrap_or_default;
        let parts = [
            ("fullyLabeledReplicas", count(status.fully_labeled_replicas)),
            ("readyReplicas", count(status.ready_replicas)),
            ("availableReplicas", count(status.available_replicas)),
        ];
        let others = [("observedGeneration", status.observed_generation)];
        let mut causes = workload::counts(("replicas", status.replicas), &parts, &others, &path);
        let (available, ready) = (count(status.available_replicas), count(status.ready_replicas));
        causes.extend(workload::available(available, ready, "readyReplicas", &path));
        causes
    }

    fn prepare_for_create(controller: &mut ReplicationController) {
        if let Some(template) = controller.spec.as_mut().and_then(|spec| spec.template.as_mut()) {
            pod_template::disabled::drop_from_template(template, None);
        }
    }

    fn prepare_for_update(new: &mut ReplicationController, old: &ReplicationController) {
        let old = old.spec.as_ref().and_then(|spec| spec.template.as_ref());
        if let Some(template) = new.spec.as_mut().and_then(|spec| spec.template.as_mut()) {
            pod_template::disabled::drop_from_template(template, old);
        }
    }

    fn warnings(new: &ReplicationController, old: Option<&ReplicationController>) -> Vec<String> {
        // Upstream looks at the older template of one that changes.
        let template = old.unwrap_or(new).spec.as_ref().and_then(|spec| spec.template.as_ref());
        workload::named_warnings(template, &new.metadata, old.map(|old| &old.metadata))
    }

    fn field_values(controller: &ReplicationController) -> Vec<String> {
        vec![controller.status.as_ref().map_or(0, |status| status.replicas).to_string()]
    }

    fn cells(controller: &ReplicationController, now: Timestamp) -> Vec<Value> {
        let (spec, status) =
            (controller.spec.clone().unwrap_or_default(), controller.status.clone().unwrap_or_default());
        let (names, images) = cells::containers(spec.template.as_ref().and_then(|template| template.spec.as_ref()));
        vec![
            cells::name(&controller.metadata),
            json!(spec.replicas.unwrap_or_default()),
            json!(status.replicas),
            json!(status.ready_replicas.unwrap_or_default()),
            cells::age(&controller.metadata, now),
            json!(names),
            json!(images),
            json!(cells::labels(spec.selector.as_ref())),
        ]
    }
}
