//! Volumes: storage of the cluster, and the claim that has it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, PersistentVolume, PersistentVolumeSpec, PersistentVolumeStatus,
};
use serde_json::{Value, json};

use super::{
    cells, names, persistent_volume_claim,
    pod_template::{mounts::no_backsteps, scheduling},
    volume_source,
};
use crate::api::{
    field::{self, Path},
    go_form,
    kind::{Column, Kind, Names, Subresource},
    status::Cause,
};

const RECLAIM_POLICIES: &[&str] = &["Delete", "Recycle", "Retain"];
const MODES: &[&str] = &["Block", "Filesystem"];
/// Fields of the spec that are not the volume's source.
const NOT_SOURCES: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// `v1.PersistentVolume`
pub struct PersistentVolumeKind;

impl Kind for PersistentVolumeKind {
    type Object = PersistentVolume;
    const NAMES: Names = Names {
        short_names: &["pv"],
        subresources: &[Subresource::Status],
        ..names::cluster(names::CORE, "PersistentVolume", "persistentvolumes", "persistentvolume")
    };
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
        volume.status.get_or_insert_default().phase.get_or_insert_with(|| "Pending".to_owned());
    }

    fn prepare_for_create(volume: &mut PersistentVolume) {
        volume.status =
            Some(PersistentVolumeStatus { phase: Some("Pending".to_owned()), ..PersistentVolumeStatus::default() });
    }

    fn validate(volume: &PersistentVolume) -> Vec<Cause> {
        validate(&volume.spec.clone().unwrap_or_default(), &Path::new("spec"))
    }

    fn validate_update(new: &PersistentVolume, old: &PersistentVolume) -> Vec<Cause> {
        let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        let mut causes = Vec::new();
        if sources(&new) != sources(&old) {
            let difference = go_form::difference("PersistentVolumeSource", &old, &new);
            let detail = format!("spec.persistentvolumesource is immutable after creation\n{difference}");
            causes.push(field::forbidden(&Path::new("spec.persistentvolumesource"), &detail));
        }
        causes.extend(field::immutable(&Path::new("volumeMode"), &new.volume_mode, &old.volume_mode));
        causes
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

fn validate(spec: &PersistentVolumeSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        causes.push(field::required(&path.child("accessModes"), ""));
    }
    causes.extend(persistent_volume_claim::access_modes(modes, &path.child("accessModes")));
    let capacity = path.child("capacity");
    match spec.capacity.as_ref() {
        None => causes.push(field::required(&capacity, "")),
        Some(all) if !all.contains_key("storage") || all.len() > 1 => {
            causes.push(field::unsupported(&capacity, all, &["storage"]));
        }
        Some(all) => {
            let amounts = all.iter();
            causes.extend(
                amounts.filter_map(|(name, amount)| persistent_volume_claim::positive(amount, &capacity.key(name))),
            );
        }
    }
    causes.extend(source(spec, path));
    match sources(spec).len() {
        0 => causes.push(field::required(path, "must specify a volume type")),
        1 => {}
        _ => causes.push(field::forbidden(path, "may not specify more than 1 volume type")),
    }
    let words = [
        ("persistentVolumeReclaimPolicy", &spec.persistent_volume_reclaim_policy, RECLAIM_POLICIES),
        ("volumeMode", &spec.volume_mode, MODES),
    ];
    for (name, word, supported) in words {
        causes.extend(super::pod_template::chosen(word.as_deref(), supported, &path.child(name)));
    }
    if let Some(required) = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref()) {
        causes.extend(scheduling::node_selector(required, &path.child("nodeAffinity").child("required")));
    }
    if spec.local.is_some() && spec.node_affinity.is_none() {
        causes.push(field::required(&path.child("nodeAffinity"), "Local volume requires node affinity"));
    }
    let class = spec.storage_class_name.as_deref();
    causes.extend(persistent_volume_claim::class_name(class, &path.child("storageClassName")));
    if let Some(class) = spec.volume_attributes_class_name.as_deref() {
        let own = path.child("volumeAttributesClassName");
        if class.is_empty() {
            causes.push(field::required(&own, "an empty string is disallowed"));
        }
        causes.extend(persistent_volume_claim::class_name(Some(class), &own));
        if spec.csi.is_none() {
            let detail = "has to be specified when using volumeAttributesClassName";
            causes.push(field::required(&path.child("csi"), detail));
        }
    }
    causes
}

/// Problems of the source, for the sources whose content is looked at.
fn source(spec: &PersistentVolumeSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(source) = &spec.nfs {
        causes.extend(volume_source::nfs(&source.server, &source.path, &path.child("nfs")));
    }
    if let Some(source) = &spec.iscsi {
        let asks = source.chap_auth_discovery == Some(true) || source.chap_auth_session == Some(true);
        let target = volume_source::Iscsi {
            portal: &source.target_portal,
            iqn: &source.iqn,
            lun: source.lun,
            lacks_secret: asks && source.secret_ref.is_none(),
            initiator: source.initiator_name.as_deref(),
            unknown_form: "must be valid format",
        };
        causes.extend(target.validate(&path.child("iscsi")));
    }
    if let Some(source) = &spec.fc {
        causes.extend(volume_source::fibre_channel(source, &path.child("fc")));
    }
    if let Some(source) = &spec.local {
        let path = path.child("local").child("path");
        causes.extend(volume_source::required(Some(&source.path), &path));
        causes.extend(no_backsteps(&source.path, &path));
    }
    if let Some(source) = &spec.csi {
        causes.extend(csi(source, &path.child("csi")));
    }
    causes
}

fn csi(source: &CSIPersistentVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes = volume_source::csi_driver(&source.driver, &path.child("driver"));
    causes.extend(volume_source::required(Some(&source.volume_handle), &path.child("volumeHandle")));
    let secrets = [
        ("controllerPublishSecretRef", &source.controller_publish_secret_ref),
        ("controllerExpandSecretRef", &source.controller_expand_secret_ref),
        ("nodePublishSecretRef", &source.node_publish_secret_ref),
        ("nodeExpandSecretRef", &source.node_expand_secret_ref),
    ];
    for (name, secret) in secrets {
        let problems = |secret| volume_source::secret_reference(secret, &path.child(name));
        causes.extend(secret.as_ref().map(problems).unwrap_or_default());
    }
    causes
}

/// The volume's sources with their content.
fn sources(spec: &PersistentVolumeSpec) -> serde_json::Map<String, Value> {
    let mut fields = json!(spec).as_object().cloned().unwrap_or_default();
    fields.retain(|name, value| !value.is_null() && !NOT_SOURCES.contains(&name.as_str()));
    fields
}
