//! Pod templates as objects of their own, for controllers outside that keep them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodTemplate;
use serde_json::{Value, json};

use super::{cells, names, pod_template};
use crate::api::{
    field::Path,
    kind::{Column, Generation, Kind, Names},
    status::Cause,
    update_check::{self, UpdateCheck},
};

/// `v1.PodTemplate`
pub struct PodTemplateKind;

impl Kind for PodTemplateKind {
    type Object = PodTemplate;
    const NAMES: Names = names::namespaced(names::CORE, "PodTemplate", "podtemplates", "podtemplate");
    const GENERATION: Generation = Generation::Spec;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Containers", "string", "Names of the containers."),
        cells::column("Images", "string", "Images of the containers."),
        cells::column("Pod Labels", "string", "Labels of pods made from the template."),
    ];

    fn default(object: &mut PodTemplate) {
        pod_template::defaults::template(object.template.get_or_insert_default());
    }

    fn validate(object: &PodTemplate) -> Vec<Cause> {
        object
            .template
            .as_ref()
            .map(|template| pod_template::template(template, &Path::new("template")))
            .unwrap_or_default()
    }

    fn prepare_for_create(object: &mut PodTemplate) {
        pod_template::disabled::drop_from_template(object.template.get_or_insert_default(), None);
    }

    fn prepare_for_update(new: &mut PodTemplate, old: &PodTemplate) {
        pod_template::disabled::drop_from_template(new.template.get_or_insert_default(), old.template.as_ref());
    }

    fn warnings(new: &PodTemplate, old: Option<&PodTemplate>) -> Vec<String> {
        if old.is_some_and(|old| old.metadata.generation == new.metadata.generation) {
            return Vec::new();
        }
        let path = Path::new("template");
        new.template.as_ref().map(|template| pod_template::warnings::template(template, &path)).unwrap_or_default()
    }

    fn cells(object: &PodTemplate, _now: Timestamp) -> Vec<Value> {
        let template = object.template.clone().unwrap_or_default();
        let (names, images) = cells::containers(template.spec.as_ref());
        let labels = template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
        vec![cells::name(&object.metadata), json!(names), json!(images), json!(cells::labels(labels))]
    }
}
