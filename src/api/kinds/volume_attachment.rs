//! Volume attachments: the wish that a volume be attached to a node, and what came of it.

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::PersistentVolumeSpec,
    storage::v1::{VolumeAttachment, VolumeAttachmentSource, VolumeError},
};
use serde_json::{Value, json};

use super::{cells, csi_driver, names, status};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::{name, value},
};

const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

const MESSAGE_LIMIT_BYTES: usize = 1024;
const METADATA_LIMIT_BYTES: usize = 256 * 1024;

/// `storage.k8s.io/v1.VolumeAttachment`
pub struct VolumeAttachmentKind;

impl Kind for VolumeAttachmentKind {
    type Object = VolumeAttachment;
    const NAMES: Names = Names {
        subresources: &[Subresource::Status],
        ..names::cluster(names::STORAGE, "VolumeAttachment", "volumeattachments", "volumeattachment")
    };
    const GENERATION: Generation = Generation::Never;
    const UPDATES_UNCONDITIONALLY: bool = false;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::WHOLE;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Attacher", "string", "The driver that attaches."),
        cells::column("PV", "string", "The volume."),
        cells::column("Node", "string", "The node."),
        cells::column("Attached", "boolean", "Whether it is attached."),
        cells::AGE,
    ];

    fn default(attachment: &mut VolumeAttachment) {
        attachment.status.get_or_insert_default();
    }

    fn prepare_for_create(attachment: &mut VolumeAttachment) {
        attachment.status.get_or_insert_default();
    }

    fn prepare_for_status_update(new: &mut VolumeAttachment, old: &VolumeAttachment) {
        status::keep_metadata(&mut new.metadata, &old.metadata);
    }

    fn validate(attachment: &VolumeAttachment) -> Vec<Cause> {
        let (spec, path) = (&attachment.spec, Path::new("spec"));
        let mut causes = csi_driver::driver_name(&spec.attacher, &path.child("attacher"));
        causes.extend(source(&spec.source, &path.child("source")));
        let node = &spec.node_name;
        causes.extend(field::invalid_each(&path.child("nodeName"), node, &name::dns1123_subdomain(node)));
        causes.extend(outcome(attachment));
        causes
    }

    fn validate_update(new: &VolumeAttachment, old: &VolumeAttachment) -> Vec<Cause> {
        field::immutable_internal(&Path::new("spec"), "storage.v1.VolumeAttachmentSpec", &new.spec, &old.spec)
    }

    fn validate_status_update(new: &VolumeAttachment, _old: &VolumeAttachment) -> Vec<Cause> {
        outcome(new)
    }

    fn cells(attachment: &VolumeAttachment, now: Timestamp) -> Vec<Value> {
        let spec = &attachment.spec;
        vec![
            cells::name(&attachment.metadata),
            json!(spec.attacher),
            json!(spec.source.persistent_volume_name.as_deref().unwrap_or_default()),
            json!(spec.node_name),
            json!(attachment.status.as_ref().is_some_and(|status| status.attached)),
            cells::age(&attachment.metadata, now),
        ]
    }
}

fn source(source: &VolumeAttachmentSource, path: &Path) -> Vec<Cause> {
    let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (&source.inline_volume_spec, source.persistent_volume_name.as_deref()) {
        (None, None) => vec![field::required(path, detail)],
        (Some(_), Some(_)) => vec![field::forbidden(path, detail)],
        (None, Some(volume)) => {
            let path = path.child("persistentVolumeName");
            let mut causes = Vec::new();
            if volume.is_empty() {
                causes.push(field::required(&path, "must specify non empty persistentVolumeName"));
            }
            causes.extend(field::invalid_each(&path, volume, &name::dns1123_subdomain(volume)));
            causes
        }
        (Some(spec), None) => inline(spec, &path.child("inlineVolumeSpec")),
    }
}

/// A volume that no object describes is one of a CSI driver.
fn inline(spec: &PersistentVolumeSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if spec.csi.is_none() {
        causes.push(field::required(&path.child("csi"), "has to be specified in the context of inline volumes"));
    }
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    let modes_path = path.child("accessModes");
    if modes.is_empty() {
        causes.push(field::required(&modes_path, ""));
    }
    causes.extend(modes.iter().filter_map(|mode| field::one_of(&modes_path, mode, ACCESS_MODES)));
    match &spec.csi {
        None => causes.push(field::required(path, "must specify a volume type")),
        Some(csi) => {
            let path = path.child("csi");
            causes.extend(csi_driver::driver_name(&csi.driver, &path.child("driver")));
            if csi.volume_handle.is_empty() {
                causes.push(field::required(&path.child("volumeHandle"), ""));
            }
        }
    }
    causes
}

fn outcome(attachment: &VolumeAttachment) -> Vec<Cause> {
    let (status, path) = (attachment.status.clone().unwrap_or_default(), Path::new("status"));
    let mut causes = Vec::new();
    let size: usize = status.attachment_metadata.iter().flatten().map(|(key, value)| key.len() + value.len()).sum();
    if size > METADATA_LIMIT_BYTES {
        causes.push(field::too_long(&path.child("attachmentMetadata"), METADATA_LIMIT_BYTES));
    }
    causes.extend(error(status.attach_error.as_ref(), &path.child("attachError")));
    causes.extend(error(status.detach_error.as_ref(), &path.child("detachError")));
    causes
}

fn error(error: Option<&VolumeError>, path: &Path) -> Vec<Cause> {
    let Some(error) = error else { return Vec::new() };
    let mut causes = Vec::new();
    if error.message.as_ref().is_some_and(|message| message.len() > MESSAGE_LIMIT_BYTES) {
        causes.push(field::too_long(&path.child("message"), MESSAGE_LIMIT_BYTES));
    }
    if let Some(code) = error.error_code {
        let messages = value::in_range(code.into(), 0, i32::MAX.into());
        causes.extend(field::invalid_each(&path.child("errorCode"), code, &messages));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_volume_is_attached() {
        let from = |value: Value| source(&serde_json::from_value(value).unwrap(), &Path::new("source"));
        assert_eq!(from(json!({"persistentVolumeName": "a"})), []);
        assert_eq!(
            from(json!({}))[0].message,
            "Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        );
        let fields: Vec<String> = from(json!({"inlineVolumeSpec": {}})).into_iter().map(|cause| cause.field).collect();
        let inline = "source.inlineVolumeSpec";
        assert_eq!(fields, [&format!("{inline}.csi"), &format!("{inline}.accessModes"), inline]);
    }
}
