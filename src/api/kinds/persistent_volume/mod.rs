//! Volumes: storage of the cluster, and the claim that has it.

mod transition;
mod validation;
mod warnings;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeStatus};
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::Path,
    kind::{Column, Kind, Names, Subresource},
    status::Cause,
    update_check::UpdateCheck,
};

/// `v1.PersistentVolume`
pub struct PersistentVolumeKind;

impl Kind for PersistentVolumeKind {
    type Object = PersistentVolume;
    const NAMES: Names = Names {
        short_names: &["pv"],
        subresources: &[Subresource::Status],
        ..names::cluster(names::CORE, "PersistentVolume", "persistentvolumes", "persistentvolume")
    };
    const UPDATE_CHECKS: &'static [UpdateCheck] =
        &[UpdateCheck::Metadata, UpdateCheck::Object, UpdateCheck::Metadata, UpdateCheck::Object, UpdateCheck::Change];
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Capacity", "string", "Size of the volume."),
        cells::column("Access Modes", "string", "Ways in which the volume can be mounted."),
        cells::column("Reclaim Policy", "string", "What becomes of the volume when its claim goes."),
        cells::column("Status", "string", "Available, Bound, Released, Failed or Terminating."),
        cells::column("Claim", "string", "The claim that has the volume."),
        cells::column("StorageClass", "string", "Class of the storage."),
        cells::column("VolumeAttributesClass", "string", "Class of the volume's attributes."),
        cells::column("Reason", "string", "Why the volume is in its state."),
        cells::AGE,
        cells::wide("VolumeMode", "string", "Filesystem or Block."),
    ];

    fn default(volume: &mut PersistentVolume) {
        let spec = volume.spec.get_or_insert_default();
        spec.persistent_volume_reclaim_policy.get_or_insert_with(|| "Retain".to_owned());
        spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
        if let Some(source) = &mut spec.host_path {
            source.type_.get_or_insert_default();
        }
        if let Some(source) = &mut spec.iscsi {
            source.iscsi_interface.get_or_insert_with(|| "default".to_owned());
        }
        volume.status.get_or_insert_default().phase.get_or_insert_with(|| "Pending".to_owned());
    }

    fn prepare_for_create(volume: &mut PersistentVolume) {
        volume.status = Some(PersistentVolumeStatus {
            phase: Some("Pending".to_owned()),
            last_phase_transition_time: volume.metadata.creation_timestamp.clone(),
            ..PersistentVolumeStatus::default()
        });
    }

    fn validate(volume: &PersistentVolume) -> Vec<Cause> {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        validation::validate(name, &volume.spec.clone().unwrap_or_default(), &Path::new("spec"))
    }

    fn validate_update(new: &PersistentVolume, old: &PersistentVolume) -> Vec<Cause> {
        let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        transition::validate(new, &old)
    }

    fn warnings(new: &PersistentVolume, _old: Option<&PersistentVolume>) -> Vec<String> {
        warnings::of(new)
    }

    fn cells(volume: &PersistentVolume, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (volume.spec.clone().unwrap_or_default(), volume.status.clone().unwrap_or_default());
        let leaving = volume.metadata.deletion_timestamp.is_some();
        let text = |value: Option<String>| value.unwrap_or_default();
        let claim = spec.claim_ref.map(|claim| format!("{}/{}", text(claim.namespace), text(claim.name)));
        vec![
            cells::name(&volume.metadata),
            json!(spec.capacity.as_ref().and_then(|capacity| capacity.get("storage")).map(|amount| &amount.0)),
            json!(short_modes(spec.access_modes.as_ref())),
            json!(spec.persistent_volume_reclaim_policy),
            json!(if leaving { "Terminating".to_owned() } else { text(status.phase) }),
            json!(text(claim)),
            json!(text(spec.storage_class_name)),
            json!(spec.volume_attributes_class_name.as_deref().unwrap_or(cells::UNSET)),
            json!(text(status.reason)),
            cells::age(&volume.metadata, now),
            json!(spec.volume_mode.as_deref().unwrap_or(cells::UNSET)),
        ]
    }
}

/// `RWO,ROX,RWX,RWOP`
pub fn short_modes(modes: Option<&Vec<String>>) -> String {
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let given = |mode: &str| modes.is_some_and(|modes| modes.iter().any(|given| given == mode));
    let all: Vec<&str> = short.iter().filter(|(mode, _)| given(mode)).map(|(_, short)| *short).collect();
    all.join(",")
}
