//! What about a claim may change (`ValidatePersistentVolumeClaimUpdate` of core's validation): what a bound claim asks
//! for, down to what it was given, and its class of attributes.

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus},
    apimachinery::pkg::api::resource::Quantity as Encoded,
};

use crate::api::{
    field::{self, Path},
    go,
    quantity::Quantity,
    status::Cause,
    validation::{name, resource},
};

const RESIZES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

/// Problems of a change.
pub fn validate(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) -> Vec<Cause> {
    let (now, before) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
    let status = old.status.clone().unwrap_or_default();
    let mut causes = Vec::new();
    let (alike, kept) = like_before(now.clone(), before.clone(), status.phase.as_deref() == Some("Bound"));
    if alike != kept {
        let difference = go::difference("PersistentVolumeClaimSpec", &kept, &alike);
        let detail = format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
             claims\n{difference}"
        );
        causes.push(field::forbidden(&Path::new("spec"), &detail));
    }
    let given = status.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
    if size(&now) < size(&before) && size(&now) <= amount(given) {
        let path = Path::new("spec.resources.requests.storage");
        causes.push(field::forbidden(&path, "field can not be less than status.capacity"));
    }
    causes.extend(field::immutable(&Path::new("volumeMode"), &now.volume_mode, &before.volume_mode));
    let is_same_class = now.volume_attributes_class_name == before.volume_attributes_class_name;
    if status.current_volume_attributes_class_name.is_some() && !is_same_class {
        let what = match now.volume_attributes_class_name.as_deref() {
            None => "nil",
            Some("") => "empty string",
            Some(_) => return causes,
        };
        let detail = format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil");
        causes.push(field::forbidden(&Path::new("spec.volumeAttributesClassName"), &detail));
    }
    causes
}

/// Problems of a status.
pub fn validate_status(status: &PersistentVolumeClaimStatus) -> Vec<Cause> {
    let mut causes = Vec::new();
    let path = Path::new("status.allocatedResourceStatuses");
    for (name, state) in status.allocated_resource_statuses.iter().flatten() {
        causes.extend(resource_key(name, &path));
        if !RESIZES.contains(&state.as_str()) {
            causes.push(field::unsupported(&path, name, RESIZES));
        }
    }
    let path = Path::new("status.allocatedResources");
    for (name, amount) in status.allocated_resources.iter().flatten() {
        let problems = resource_key(name, &path);
        let is_known = problems.is_empty();
        causes.extend(problems);
        if is_known {
            causes.extend(resource::amount("storage", amount, &path.key(name)));
        }
    }
    causes
}

/// The specs, alike in what may be different: the new one and the old one.
fn like_before(
    mut new: PersistentVolumeClaimSpec,
    mut old: PersistentVolumeClaimSpec,
    is_bound: bool,
) -> (PersistentVolumeClaimSpec, PersistentVolumeClaimSpec) {
    if old.volume_name.as_ref().is_none_or(String::is_empty) {
        old.volume_name.clone_from(&new.volume_name);
    }
    if old.storage_class_name.is_none() {
        new.storage_class_name = None;
    }
    if is_bound {
        new.volume_attributes_class_name.clone_from(&old.volume_attributes_class_name);
        let before = old.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage"));
        let now = new.resources.as_mut().and_then(|resources| resources.requests.as_mut());
        if let (Some(now), Some(before)) = (now, before) {
            now.insert("storage".to_owned(), before.clone());
        }
    }
    (new, old)
}

fn size(spec: &PersistentVolumeClaimSpec) -> Quantity {
    amount(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage")))
}

fn amount(encoded: Option<&Encoded>) -> Quantity {
    encoded.and_then(|encoded| encoded.0.parse().ok()).unwrap_or_default()
}

/// Storage, or a name of somebody's own.
fn resource_key(resource: &str, path: &Path) -> Vec<Cause> {
    let problems = name::qualified_name(resource);
    if !problems.is_empty() {
        return field::invalid_each(path, resource, &problems);
    }
    if resource::is_native(resource) && resource != "storage" {
        return vec![field::unsupported(path, resource, &["storage"])];
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(size: &str, phase: &str) -> PersistentVolumeClaim {
        serde_json::from_value(json!({"spec": {"resources": {"requests": {"storage": size}}},
            "status": {"phase": phase, "capacity": {"storage": "2Gi"}}}))
        .unwrap()
    }

    #[test]
    fn a_bound_claim_may_ask_for_more_and_for_less_that_it_was_not_given() {
        let fields = |new: &str, old: &str, phase: &str| {
            let causes = validate(&claim(new, phase), &claim(old, phase));
            causes.into_iter().map(|cause| cause.field.to_string()).collect::<Vec<_>>()
        };
        assert!(fields("5Gi", "4Gi", "Bound").is_empty() && fields("3Gi", "4Gi", "Bound").is_empty());
        assert_eq!(fields("2Gi", "4Gi", "Bound"), ["spec.resources.requests.storage"]);
        assert_eq!(fields("5Gi", "4Gi", "Pending"), ["spec"]);
    }
}
