//! Templates of resource claims, from which a pod gets claims of its own.

use jiff::Timestamp;
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use serde_json::Value;

use super::{GROUP_VERSION, request};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    kinds::{cells, names},
    status::Cause,
    validation::metadata,
};

/// `resource.k8s.io/v1.ResourceClaimTemplate`
pub struct ResourceClaimTemplateKind;

impl Kind for ResourceClaimTemplateKind {
    type Object = ResourceClaimTemplate;
    const NAMES: Names =
        names::namespaced(GROUP_VERSION, "ResourceClaimTemplate", "resourceclaimtemplates", "resourceclaimtemplate");
    const COLUMNS: &'static [Column] = cells::NAME_AND_AGE;

    fn default(template: &mut ResourceClaimTemplate) {
        request::default(&mut template.spec.spec);
    }

    fn validate(template: &ResourceClaimTemplate) -> Vec<Cause> {
        let path = Path::new("spec");
        let mut causes = Vec::new();
        if let Some(meta) = &template.spec.metadata {
            let path = path.child("metadata");
            let pairs = meta.labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
            causes.extend(metadata::labels(pairs, &path.child("labels")));
            let pairs = meta.annotations.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
            causes.extend(metadata::annotations(pairs, &path.child("annotations")));
        }
        causes.extend(request::validate(&template.spec.spec, &path.child("spec")));
        causes
    }

    fn validate_update(new: &ResourceClaimTemplate, old: &ResourceClaimTemplate) -> Vec<Cause> {
        field::immutable_internal(&Path::new("spec"), "resource.v1.ResourceClaimTemplateSpec", &new.spec, &old.spec)
    }

    fn cells(template: &ResourceClaimTemplate, now: Timestamp) -> Vec<Value> {
        cells::name_and_age(&template.metadata, now)
    }
}
