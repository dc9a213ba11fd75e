//! Storage classes: kinds of storage that claims can ask for by name.

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::{Value, json};

use super::{cells, names, pod_template::chosen};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    status::Cause,
};

/// Annotation of the class that claims get when they name none.
pub const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// `storage.k8s.io/v1.StorageClass`
pub struct StorageClassKind;

impl Kind for StorageClassKind {
    type Object = StorageClass;
    const NAMES: Names = Names {
        short_names: &["sc"],
        ..names::cluster(names::STORAGE, "StorageClass", "storageclasses", "storageclass")
    };
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Provisioner", "string", "Who makes the volumes."),
        cells::column("ReclaimPolicy", "string", "What becomes of a volume when its claim goes."),
        cells::column("VolumeBindingMode", "string", "When a volume is chosen."),
        cells::column("AllowVolumeExpansion", "string", "Whether a volume can grow."),
        cells::AGE,
    ];

    fn default(class: &mut StorageClass) {
        class.reclaim_policy.get_or_insert_with(|| "Delete".to_owned());
        class.volume_binding_mode.get_or_insert_with(|| "Immediate".to_owned());
    }

    fn validate(class: &StorageClass) -> Vec<Cause> {
        let mut causes = Vec::new();
        if class.provisioner.is_empty() {
            causes.push(field::required(&Path::new("provisioner"), ""));
        }
        causes.extend(chosen(class.reclaim_policy.as_deref(), &["Delete", "Retain"], &Path::new("reclaimPolicy")));
        let (modes, path) = (&["Immediate", "WaitForFirstConsumer"], Path::new("volumeBindingMode"));
        match class.volume_binding_mode.as_deref() {
            Some(mode) => causes.extend(field::one_of(&path, mode, modes)),
            None => causes.push(field::required(&path, "")),
        }
        causes
    }

    fn validate_update(new: &StorageClass, old: &StorageClass) -> Vec<Cause> {
        let detail = "updates to parameters are forbidden.";
        let mut causes = Vec::new();
        if new.parameters != old.parameters {
            causes.push(field::forbidden(&Path::new("parameters"), detail));
        }
        if new.provisioner != old.provisioner {
            causes.push(field::forbidden(&Path::new("provisioner"), "updates to provisioner are forbidden."));
        }
        if new.reclaim_policy != old.reclaim_policy {
            causes.push(field::forbidden(&Path::new("reclaimPolicy"), "updates to reclaimPolicy are forbidden."));
        }
        let path = Path::new("volumeBindingMode");
        causes.extend(field::immutable(&path, &new.volume_binding_mode, &old.volume_binding_mode));
        causes
    }

    fn cells(class: &StorageClass, now: Timestamp) -> Vec<Value> {
        let annotation = class.metadata.annotations.as_ref().and_then(|all| all.get(DEFAULT_CLASS));
        let name = class.metadata.name.as_deref().unwrap_or_default();
        let shown =
            if annotation.is_some_and(|value| value == "true") { format!("{name} (default)") } else { name.to_owned() };
        vec![
            json!(shown),
            json!(class.provisioner),
            json!(class.reclaim_policy),
            json!(class.volume_binding_mode),
            json!(class.allow_volume_expansion.unwrap_or(false)),
            cells::age(&class.metadata, now),
        ]
    }
}
