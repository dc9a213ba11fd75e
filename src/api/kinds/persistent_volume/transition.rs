//! What about a volume may not change (`ValidatePersistentVolumeUpdate` of core's validation).

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PersistentVolumeSpec, VolumeNodeAffinity};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::api::{
    field::{self, IMMUTABLE, Path},
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
        let detail = "spec.persistentvolumesource is immutable after creation";
        causes.push(field::forbidden(&Path::new("spec.persistentvolumesource"), detail));
    }
    causes.extend(field::immutable(&Path::new("volumeMode"), &new.volume_mode, &old.volume_mode));
    if let Some(before) = &old.node_affinity
        && !new.node_affinity.as_ref().is_some_and(|now| is_renamed(now, before))
    {
        let shown = new.node_affinity.as_ref().map(ShownAffinity::from);
        let detail = format!("{IMMUTABLE}, except for updating from beta label to GA");
        causes.push(field::invalid(&Path::new("nodeAffinity"), shown, &detail));
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
            if RENAMED.contains(&(&old.key, &new.key)) {
                old.key.clone_from(&new.key);
            }
        }
    }
    *new == old
}

/// An affinity as upstream shows it: its internal type, whose fields begin with capitals.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownAffinity<'a> {
    required: Option<ShownSelector<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownSelector<'a> {
    node_selector_terms: Vec<ShownTerm<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownTerm<'a> {
    match_expressions: Option<Vec<ShownRequirement<'a>>>,
    match_fields: Option<Vec<ShownRequirement<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownRequirement<'a> {
    key: &'a str,
    operator: &'a str,
    values: &'a Option<Vec<String>>,
}

impl<'a> From<&'a VolumeNodeAffinity> for ShownAffinity<'a> {
    fn from(affinity: &'a VolumeNodeAffinity) -> Self {
        let terms = |terms: &'a [NodeSelectorTerm]| terms.iter().map(ShownTerm::from).collect();
        let shown = |terms| ShownSelector { node_selector_terms: terms };
        Self { required: affinity.required.as_ref().map(|required| shown(terms(&required.node_selector_terms))) }
    }
}

impl<'a> From<&'a NodeSelectorTerm> for ShownTerm<'a> {
    fn from(term: &'a NodeSelectorTerm) -> Self {
        let shown = |list: &'a Option<Vec<NodeSelectorRequirement>>| {
            list.as_ref().map(|list| list.iter().map(ShownRequirement::from).collect())
        };
        Self { match_expressions: shown(&term.match_expressions), match_fields: shown(&term.match_fields) }
    }
}

impl<'a> From<&'a NodeSelectorRequirement> for ShownRequirement<'a> {
    fn from(requirement: &'a NodeSelectorRequirement) -> Self {
        let NodeSelectorRequirement { key, operator, values } = requirement;
        Self { key, operator, values }
    }
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
