//! Claims: a wish for storage, and once bound the volume that fulfils it.

mod sources;
mod transition;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus},
    apimachinery::pkg::api::resource::Quantity,
};
use serde_json::{Value, json};

use super::{cells, label_selector, names, persistent_volume::short_modes, pod_template::resources};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names, Subresource},
    quantity,
    status::Cause,
    update_check::UpdateCheck,
    validation::name,
};

/// Ways in which a volume can be mounted.
pub const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// How a claim named its class before there was a field for it.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
/// The way that only one pod of the cluster may use.
const ONE_POD: &str = "ReadWriteOncePod";
const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];

/// `v1.PersistentVolumeClaim`
pub struct PersistentVolumeClaimKind;

impl Kind for PersistentVolumeClaimKind {
    type Object = PersistentVolumeClaim;
    const NAMES: Names = Names {
        short_names: &["pvc"],
        subresources: &[Subresource::Status],
        ..names::namespaced(names::CORE, "PersistentVolumeClaim", "persistentvolumeclaims", "persistentvolumeclaim")
    };
    const UPDATE_CHECKS: &'static [UpdateCheck] =
        &[UpdateCheck::MetadataChange, UpdateCheck::Metadata, UpdateCheck::Object, UpdateCheck::Change];
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Status", "string", "Pending, Bound, Lost or Terminating."),
        cells::column("Volume", "string", "The volume that the claim is bound to."),
        cells::column("Capacity", "string", "Size of the volume."),
        cells::column("Access Modes", "string", "Ways in which the volume can be mounted."),
        cells::column("StorageClass", "string", "Class of the storage."),
        cells::column("VolumeAttributesClass", "string", "Class of the volume's attributes."),
        cells::AGE,
        cells::wide("VolumeMode", "string", "Filesystem or Block."),
    ];

    fn default(claim: &mut PersistentVolumeClaim) {
        default(claim);
    }

    fn prepare_for_create(claim: &mut PersistentVolumeClaim) {
        claim.status = Some(PersistentVolumeClaimStatus {
            phase: Some("Pending".to_owned()),
            ..PersistentVolumeClaimStatus::default()
        });
        sources::prepare(claim.spec.get_or_insert_default(), None);
    }

    fn prepare_for_update(new: &mut PersistentVolumeClaim, old: &PersistentVolumeClaim) {
        sources::prepare(new.spec.get_or_insert_default(), old.spec.as_ref());
    }

    fn validate(claim: &PersistentVolumeClaim) -> Vec<Cause> {
        validate(&claim.spec.clone().unwrap_or_default(), &Path::new("spec"))
    }

    fn validate_again(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) -> Vec<Cause> {
        let mut causes = Self::validate(new);
        if old.spec.as_ref().is_some_and(has_group) {
            causes.retain(|cause| !cause.field.ends_with(".apiGroup"));
        }
        causes
    }

    fn validate_update(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) -> Vec<Cause> {
        transition::validate(new, old)
    }

    fn validate_status_update(new: &PersistentVolumeClaim, _old: &PersistentVolumeClaim) -> Vec<Cause> {
        transition::validate_status(&new.status.clone().unwrap_or_default())
    }

    fn warnings(new: &PersistentVolumeClaim, _old: Option<&PersistentVolumeClaim>) -> Vec<String> {
        let class = new.metadata.annotations.as_ref().and_then(|all| all.get_key_value(CLASS_ANNOTATION));
        let mut warnings: Vec<String> = class
            .map(|(key, _)| {
                format!(
                    "metadata.annotations[{key}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
                )
            })
            .into_iter()
            .collect();
        let resources = new.spec.as_ref().and_then(|spec| spec.resources.clone()).unwrap_or_default();
        for (name, list) in [("requests", &resources.requests), ("limits", &resources.limits)] {
            let size = list.as_ref().and_then(|list| list.get("storage")?.0.parse::<quantity::Quantity>().ok());
            if let Some(size) = size.filter(|size| size.milli_value() % 1000 != 0) {
                warnings.push(format!(
                    "spec.resources.{name}[storage]: fractional byte value \"{size}\" is invalid, must be an integer"
                ));
            }
        }
        warnings
    }

    fn cells(claim: &PersistentVolumeClaim, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (claim.spec.clone().unwrap_or_default(), claim.status.clone().unwrap_or_default());
        let leaving = claim.metadata.deletion_timestamp.is_some();
        let bound = spec.volume_name.as_ref().is_some_and(|volume| !volume.is_empty());
        let capacity = status.capacity.as_ref().and_then(|capacity| capacity.get("storage")).filter(|_| bound);
        vec![
            cells::name(&claim.metadata),
            json!(if leaving { "Terminating" } else { status.phase.as_deref().unwrap_or_default() }),
            json!(spec.volume_name.as_deref().unwrap_or_default()),
            json!(capacity.map(|amount| amount.0.as_str()).unwrap_or_default()),
            json!(if bound { short_modes(status.access_modes.as_ref()) } else { String::new() }),
            json!(spec.storage_class_name.as_deref().unwrap_or_default()),
            json!(spec.volume_attributes_class_name.as_deref().unwrap_or(cells::UNSET)),
            cells::age(&claim.metadata, now),
            json!(spec.volume_mode.as_deref().unwrap_or(cells::UNSET)),
        ]
    }
}

/// Problems of a claim's spec, also as part of a template.
pub fn validate(spec: &PersistentVolumeClaimSpec, path: &Path) -> Vec<Cause> {
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    if modes.is_empty() {
        causes.push(field::required(&path.child("accessModes"), "at least 1 access mode is required"));
    }
    if let Some(selector) = &spec.selector {
        causes.extend(label_selector::validate(selector, &path.child("selector")));
    }
    causes.extend(access_modes(modes, &path.child("accessModes")));
    let size = path.child("resources").key("storage");
    match spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage")) {
        None => causes.push(field::required(&size, "")),
        Some(amount) => causes.extend(positive(amount, &size)),
    }
    causes.extend(class_name(spec.storage_class_name.as_deref(), &path.child("storageClassName")));
    if let Some(mode) = spec.volume_mode.as_deref().filter(|mode| !VOLUME_MODES.contains(mode)) {
        causes.push(field::unsupported(&path.child("volumeMode"), mode, VOLUME_MODES));
    }
    causes.extend(sources::validate(spec, path));
    let class = spec.volume_attributes_class_name.as_deref();
    causes.extend(class_name(class, &path.child("volumeAttributesClassName")));
    causes
}

/// Whether a group of the API says what the content is of. What older versions have let in may stay.
fn has_group(spec: &PersistentVolumeClaimSpec) -> bool {
    spec.data_source.as_ref().is_some_and(|source| source.api_group.is_some())
        || spec.data_source_ref.as_ref().is_some_and(|source| source.api_group.is_some())
}

/// Ways in which a volume may be used: known ones, and one that excludes all others only alone.
pub fn access_modes(modes: &[String], path: &Path) -> Vec<Cause> {
    let (known, unknown): (Vec<&str>, Vec<&str>) =
        modes.iter().map(String::as_str).partition(|mode| ACCESS_MODES.contains(mode));
    let mut causes: Vec<Cause> = unknown.iter().map(|mode| field::unsupported(path, mode, ACCESS_MODES)).collect();
    if known.contains(&ONE_POD) && known.iter().any(|mode| *mode != ONE_POD) {
        causes.push(field::forbidden(path, "may not use ReadWriteOncePod with other access modes"));
    }
    causes
}

/// The name of a class, where one is given.
pub fn class_name(name: Option<&str>, path: &Path) -> Vec<Cause> {
    let given = name.filter(|name| !name.is_empty());
    given.map(|name| field::invalid_each(path, name, &name::dns1123_subdomain(name))).unwrap_or_default()
}

/// An amount of more than nothing.
pub fn positive(amount: &Quantity, path: &Path) -> Option<Cause> {
    match amount.0.parse::<quantity::Quantity>() {
        Ok(parsed) if parsed.is_zero() || parsed.is_negative() => {
            Some(field::invalid(path, parsed.to_string(), "must be greater than zero"))
        }
        _ => resources::quantity(amount, path),
    }
}

/// Defaults of a claim, also as a template within a stateful set.
pub fn default(claim: &mut PersistentVolumeClaim) {
    claim.spec.get_or_insert_default().volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
    claim.status.get_or_insert_default().phase.get_or_insert_with(|| "Pending".to_owned());
}
