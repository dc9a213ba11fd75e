//! Claims: a wish for storage, and once bound the volume that fulfils it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimStatus};
use serde_json::{Value, json};

use super::{cells, label_selector, names, persistent_volume::short_modes, pod_template::resources};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names, Subresource},
    status::Cause,
};

/// Ways in which a volume can be mounted.
pub const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// `v1.PersistentVolumeClaim`
pub struct PersistentVolumeClaimKind;

impl Kind for PersistentVolumeClaimKind {
    type Object = PersistentVolumeClaim;
    const NAMES: Names = Names {
        short_names: &["pvc"],
        subresources: &[Subresource::Status],
        ..names::namespaced(names::CORE, "PersistentVolumeClaim", "persistentvolumeclaims", "persistentvolumeclaim")
    };
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
    }

    fn validate(claim: &PersistentVolumeClaim) -> Vec<Cause> {
        let path = Path::new("spec");
        let spec = claim.spec.clone().unwrap_or_default();
        let modes = spec.access_modes.as_deref().unwrap_or_default();
        let mut causes = Vec::new();
        if modes.is_empty() {
            causes.push(field::required(&path.child("accessModes"), "at least 1 access mode is required"));
        }
        for mode in modes.iter().filter(|mode| !ACCESS_MODES.contains(&mode.as_str())) {
            causes.push(field::unsupported(&path.child("accessModes"), mode, ACCESS_MODES));
        }
        if let Some(selector) = &spec.selector {
            causes.extend(label_selector::validate(selector, &path.child("selector")));
        }
        let requests = path.child("resources").child("requests");
        let storage = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage"));
        match storage {
            None => causes.push(field::required(&path.child("resources").key("storage"), "")),
            Some(amount) => causes.extend(resources::quantity(amount, &requests.key("storage"))),
        }
        causes
    }

    fn validate_update(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) -> Vec<Cause> {
        let (mut new, before) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        if before.volume_name.as_ref().is_none_or(String::is_empty) {
            new.volume_name.clone_from(&before.volume_name);
        }
        let bound = old.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
        if bound {
            new.resources.clone_from(&before.resources);
        }
        if before.storage_class_name.is_none() {
            new.storage_class_name = None;
        }
        new.volume_attributes_class_name.clone_from(&before.volume_attributes_class_name);
        if new == before {
            return Vec::new();
        }
        let detail =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        vec![field::forbidden(&Path::new("spec"), detail)]
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

/// Defaults of a claim, also as a template within a stateful set.
pub fn default(claim: &mut PersistentVolumeClaim) {
    claim.spec.get_or_insert_default().volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
    claim.status.get_or_insert_default().phase.get_or_insert_with(|| "Pending".to_owned());
}
