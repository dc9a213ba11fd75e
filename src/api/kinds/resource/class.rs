//! Device classes: kinds of devices that claims can ask for by name.

use jiff::Timestamp;
use k8s_openapi::api::resource::v1::DeviceClass;
use serde_json::Value;

use super::{GROUP_VERSION, LIST_LIMIT, each, request};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names},
    kinds::{cells, names},
    status::Cause,
    validation::name,
};

/// `resource.k8s.io/v1.DeviceClass`
pub struct DeviceClassKind;

impl Kind for DeviceClassKind {
    type Object = DeviceClass;
    const NAMES: Names = names::cluster(GROUP_VERSION, "DeviceClass", "deviceclasses", "deviceclass");
    const GENERATION: Generation = Generation::Spec;
    const COLUMNS: &'static [Column] = cells::NAME_AND_AGE;

    fn validate(class: &DeviceClass) -> Vec<Cause> {
        let (spec, path) = (&class.spec, Path::new("spec"));
        let mut causes = request::selectors(spec.selectors.as_deref().unwrap_or_default(), &path.child("selectors"));
        let configurations = spec.config.as_deref().unwrap_or_default();
        causes.extend(each(configurations, LIST_LIMIT, &path.child("config"), |one, path| {
            request::opaque(one.opaque.as_ref(), &path.child("opaque"))
        }));
        if let Some(resource) = spec.extended_resource_name.as_deref() {
            let path = path.child("extendedResourceName");
            if !is_extended(resource) {
                causes.push(field::invalid(&path, resource, "must be a valid extended resource name"));
            }
        }
        causes
    }

    fn cells(class: &DeviceClass, now: Timestamp) -> Vec<Value> {
        cells::name_and_age(&class.metadata, now)
    }
}

/// Whether a resource is neither the system's nor a quota's of requests (`IsExtendedResourceName`).
fn is_extended(resource: &str) -> bool {
    let is_native = !resource.contains('/') || resource.contains("kubernetes.io/");
    !is_native && !resource.starts_with("requests.") && name::qualified_name(&format!("requests.{resource}")).is_empty()
}
