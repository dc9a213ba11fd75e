//! Storage classes: kinds of storage that claims can ask for by name.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::{core::v1::TopologySelectorTerm, storage::v1::StorageClass};
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    status::Cause,
    validation::name,
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
        let (provisioner, path) = (class.provisioner.to_lowercase(), Path::new("provisioner"));
        causes.extend(match provisioner.as_str() {
            "" => vec![field::required(&path, "")],
            provisioner => field::invalid_each(&path, provisioner, &name::qualified_name(provisioner)),
        });
        let policy = class.reclaim_policy.as_deref().filter(|policy| !policy.is_empty());
        let path = Path::new("reclaimPolicy");
        causes.extend(policy.and_then(|policy| field::one_of(&path, policy, &["Delete", "Retain"])));
        let (modes, path) = (&["Immediate", "WaitForFirstConsumer"], Path::new("volumeBindingMode"));
        match class.volume_binding_mode.as_deref() {
            Some(mode) => causes.extend(field::one_of(&path, mode, modes)),
            None => causes.push(field::required(&path, "")),
        }
        causes.extend(topologies(class.allowed_topologies.as_deref().unwrap_or_default()));
        causes
    }

    fn validate_update(new: &StorageClass, old: &StorageClass) -> Vec<Cause> {
        let mut causes = Vec::new();
        // Nothing is the same as no parameters at all, but is shown as it was given.
        if new.parameters.clone().unwrap_or_default() != old.parameters.clone().unwrap_or_default() {
            causes.push(field::invalid(&Path::new("parameters"), &new.parameters, field::IMMUTABLE));
        }
        causes.extend(field::immutable(&Path::new("provisioner"), &new.provisioner, &old.provisioner));
        causes.extend(field::immutable(&Path::new("reclaimPolicy"), &new.reclaim_policy, &old.reclaim_policy));
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
/// Problems of all that is said about where volumes of a class may be.
fn topologies(terms: &[TopologySelectorTerm]) -> Vec<Cause> {
    let (mut causes, mut all) = (Vec::new(), Vec::new());
    for (index, term) in terms.iter().enumerate() {
        let path = Path::new("allowedTopologies").index(index).child("matchLabelExpressions");
        causes.extend(topology(term, &path));
        let requirements = term.match_label_expressions.iter().flatten();
        let places: BTreeMap<&str, BTreeSet<&str>> =
            requirements.map(|one| (one.key.as_str(), one.values.iter().map(String::as_str).collect())).collect();
        // Upstream's list of what was there before begins with as many empty ones as there are terms.
        let blank = if places.is_empty() { terms.len() } else { 0 };
        let same = blank + all.iter().filter(|other| **other == places).count();
        causes.extend((0..same).map(|_| field::duplicate(&path, "")));
        all.push(places);
    }
    causes
}

/// Problems of where volumes of a class may be.
fn topology(term: &TopologySelectorTerm, path: &Path) -> Vec<Cause> {
    let requirements = term.match_label_expressions.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    for (index, requirement) in requirements.iter().enumerate() {
        let path = path.index(index);
        let values = path.child("values");
        if requirement.values.is_empty() {
            causes.push(field::required(&values, ""));
        }
        for (index, value) in requirement.values.iter().enumerate() {
            if requirement.values[..index].contains(value) {
                causes.push(field::duplicate(&values.index(index), value));
            }
        }
        let key = path.child("key");
        causes.extend(field::invalid_each(&key, &requirement.key, &name::qualified_name(&requirement.key)));
        if requirements[..index].iter().any(|other| other.key == requirement.key) {
            causes.push(field::duplicate(&key, &requirement.key));
        }
    }
    causes
}
