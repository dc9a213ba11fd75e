//! What about a volume may not change (`ValidatePersistentVolumeUpdate` of core's validation).

use k8s_openapi::api::core::v1::{PersistentVolumeSpec, VolumeNodeAffinity};
use serde_json::{Map, Value, json};

use crate::api::{
    field::{self, IMMUTABLE, Path},
    go,
    status::Cause,
};

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
/// Labels of nodes that have another name since they are no longer in beta.
const RENAMED: [(&str, &str); 5] = [
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
];

/// Problems of a change.
pub fn validate(mut new: PersistentVolumeSpec, old: &PersistentVolumeSpec) -> Vec<Cause> {
    // A secret for expanding the volume may be added.
    if let (Some(new), Some(old)) = (&mut new.csi, &old.csi)
        && old.controller_expand_secret_ref.is_none()
    {
        new.controller_expand_secret_ref = None;
    }
    let mut causes = Vec::new();
    if sources(&new) != sources(old) {
        let difference = go::difference("PersistentVolumeSource", old, &new);
        let detail = format!("spec.persistentvolumesource is immutable after creation\n{difference}");
        causes.push(field::forbidden(&Path::new("spec.persistentvolumesource"), &detail));
    }
    causes.extend(field::immutable(&Path::new("volumeMode"), &new.volume_mode, &old.volume_mode));
    if let Some(before) = &old.node_affinity
        && !new.node_affinity.as_ref().is_some_and(|now| is_renamed(now, before))
    {
        let (path, detail) =
            (Path::new("nodeAffinity"), format!("{IMMUTABLE}, except for updating from beta label to GA"));
        causes.push(match &new.node_affinity {
            None => field::invalid(&path, (), &detail),
            Some(now) => field::invalid_internal(&path, "core.v1.VolumeNodeAffinity", shown(now), &detail),
        });
    }
    if old.volume_attributes_class_name.is_some() && new.volume_attributes_class_name.is_none() {
        let path = Path::new("spec.volumeAttributesClassName");
        causes.push(field::forbidden(&path, "update from non-nil value to nil is forbidden"));
    }
    causes
}

/// The volume's sources with their content.
pub fn sources(spec: &PersistentVolumeSpec) -> Map<String, Value> {
    let mut fields = json!(spec).as_object().cloned().unwrap_or_default();
    fields.retain(|name, value| !value.is_null() && !NOT_SOURCES.contains(&name.as_str()));
    fields
}

/// Whether nothing is different but names of labels that have left beta.
fn is_renamed(new: &VolumeNodeAffinity, old: &VolumeNodeAffinity) -> bool {
    let mut old = old.clone();
    let of = |affinity: &VolumeNodeAffinity| affinity.required.clone().map(|required| required.node_selector_terms);
    let now = of(new).unwrap_or_default();
    let before = old.required.iter_mut().flat_map(|required| &mut required.node_selector_terms);
    for (new, old) in now.iter().zip(before) {
        let fields = new.match_fields.iter().flatten().zip(old.match_fields.iter_mut().flatten());
        let labels = new.match_expressions.iter().flatten().zip(old.match_expressions.iter_mut().flatten());
        for (new, old) in fields.chain(labels) {
            // Upstream looks the new name up in a map, which has the empty one for all that it lacks.
            let renamed = RENAMED.iter().find(|(before, _)| *before == old.key).map_or("", |(_, after)| *after);
            if renamed == new.key {
                old.key.clone_from(&new.key);
            }
        }
    }
    *new == old
}

/// What is shown of an affinity: no terms at all rather than an empty list of them.
fn shown(affinity: &VolumeNodeAffinity) -> Value {
    let mut shown = json!(affinity);
    if shown["required"]["nodeSelectorTerms"] == json!([]) {
        shown["required"]["nodeSelectorTerms"] = Value::Null;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(label: &str) -> PersistentVolumeSpec {
        let expression = json!({"key": label, "operator": "Exists"});
        let terms = json!([{"matchExpressions": [expression]}]);
        serde_json::from_value(json!({"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}})).unwrap()
    }

    #[test]
    fn an_affinity_changes_by_the_new_names_of_labels_alone() {
        let old = volume("beta.kubernetes.io/os");
        assert!(validate(volume("kubernetes.io/os"), &old).is_empty());
        let causes = validate(volume("other"), &old);
        assert_eq!(
            causes[0].message,
            "Invalid value: {\"Required\":{\"NodeSelectorTerms\":[{\"MatchExpressions\":[{\"Key\":\"other\",\
             \"Operator\":\"Exists\",\"Values\":null}],\"MatchFields\":null}]}}: field is immutable, except for \
             updating from beta label to GA"
        );
    }
}
