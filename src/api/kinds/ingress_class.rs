//! Ingress classes: which controller serves which ingresses.

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::IngressClass;
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names},
    status::Cause,
    validation::name,
};

/// `networking.k8s.io/v1.IngressClass`
pub struct IngressClassKind;

impl Kind for IngressClassKind {
    type Object = IngressClass;
    const NAMES: Names = names::cluster(names::NETWORKING, "IngressClass", "ingressclasses", "ingressclass");
    const GENERATION: Generation = Generation::Spec;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Controller", "string", "Who serves ingresses of the class."),
        cells::column("Parameters", "string", "An object with more settings."),
        cells::AGE,
    ];

    fn default(class: &mut IngressClass) {
        if let Some(parameters) = class.spec.as_mut().and_then(|spec| spec.parameters.as_mut()) {
            parameters.scope.get_or_insert_with(|| "Cluster".to_owned());
        }
    }

    fn validate(class: &IngressClass) -> Vec<Cause> {
        let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref()).unwrap_or_default();
        let path = Path::new("spec.controller");
        if controller.is_empty() {
            return vec![field::required(&path, "")];
        }
        field::invalid_each(&path, controller, &name::domain_prefixed_path(controller))
    }

    fn validate_update(new: &IngressClass, old: &IngressClass) -> Vec<Cause> {
        let controller = |class: &IngressClass| class.spec.as_ref().and_then(|spec| spec.controller.clone());
        field::immutable(&Path::new("spec.controller"), &controller(new), &controller(old))
    }

    fn cells(class: &IngressClass, now: Timestamp) -> Vec<Value> {
        let spec = class.spec.clone().unwrap_or_default();
        let parameters = spec.parameters.map_or_else(
            || cells::NONE.to_owned(),
            |object| match object.api_group {
                Some(group) => format!("{}.{group}/{}", object.kind, object.name),
                None => format!("{}/{}", object.kind, object.name),
            },
        );
        vec![
            cells::name(&class.metadata),
            json!(spec.controller.as_deref().unwrap_or_default()),
            json!(parameters),
            cells::age(&class.metadata, now),
        ]
    }
}
