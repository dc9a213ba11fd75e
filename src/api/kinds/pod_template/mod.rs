//! What pods and the templates of workloads share: defaults and rules of the pod's spec.

pub mod defaults;

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};

use crate::api::{field::Path, status::Cause};

/// Problems of a pod's spec.
pub fn pod(_pod: &Pod) -> Vec<Cause> {
    Vec::new()
}

/// Problems of a workload's template at `path`.
pub fn template(_template: &PodTemplateSpec, _path: &Path) -> Vec<Cause> {
    Vec::new()
}
