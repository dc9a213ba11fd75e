//! ReplicaSets of a Deployment: which one has the present template, their revisions, and the
//! annotations that `kubectl rollout` reads.

use std::{collections::BTreeMap, hash::Hasher, sync::Arc};

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
    core::v1::PodTemplateSpec,
};

use crate::controllers::owner;

/// Revision of the template, on Deployment and ReplicaSet.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier revisions with the same template, on the ReplicaSet.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// What the Deployment wanted when the ReplicaSet was last scaled.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The most pods the Deployment allowed then.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// Label that keeps apart the pods of different templates.
pub const HASH_LABEL: &str = "pod-template-hash";
/// Deployment annotations that are not passed on to ReplicaSets.
const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// The ReplicaSet with the Deployment's present template: the oldest, should there be several.
pub fn find_current<'a>(deployment: &Deployment, sets: &'a [Arc<ReplicaSet>]) -> Option<&'a Arc<ReplicaSet>> {
    let template = &deployment.spec.as_ref()?.template;
    sets.iter()
        .filter(|set| set.spec.as_ref().and_then(|spec| spec.template.as_ref()).is_some_and(|own| same(own, template)))
        .min_by_key(|set| (set.metadata.creation_timestamp.as_ref().map(|time| time.0), set.metadata.name.clone()))
}

/// Whether two templates are the same but for the hash label.
fn same(left: &PodTemplateSpec, right: &PodTemplateSpec) -> bool {
    without_hash(left) == without_hash(right)
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(metadata) = &mut template.metadata {
        metadata.creation_timestamp = None;
        if let Some(labels) = &mut metadata.labels {
            labels.remove(HASH_LABEL);
        }
    }
    template
}

/// The revision of an object; 0 if it has none.
pub fn revision_of(annotations: Option<&BTreeMap<String, String>>) -> i64 {
    annotations.and_then(|annotations| annotations.get(REVISION)).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The revision that follows all of `old`.
pub fn next_revision<'a>(old: impl IntoIterator<Item = &'a Arc<ReplicaSet>>) -> i64 {
    old.into_iter().map(|set| revision_of(set.metadata.annotations.as_ref())).max().unwrap_or(0) + 1
}

/// The annotations a ReplicaSet should have at `revision`, given those it has. When a template
/// comes back into use, its earlier revisions are kept in the history.
pub fn annotations(
    deployment: &Deployment,
    present: Option<&BTreeMap<String, String>>,
    revision: i64,
) -> BTreeMap<String, String> {
    let mut annotations = present.cloned().unwrap_or_default();
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    let before = revision_of(present);
    if before < revision {
        if before > 0 {
            let history = annotations.entry(REVISION_HISTORY.into()).or_default();
            if !history.is_empty() {
                history.push(',');
            }
            history.push_str(&before.to_string());
        }
        annotations.insert(REVISION.into(), revision.to_string());
    }
    annotations
}

/// A new ReplicaSet for the present template, with `replicas` pods.
pub fn build(deployment: &Deployment, revision: i64, replicas: i32, most: i32) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let hash = hash(&spec.template, deployment.status.as_ref().and_then(|status| status.collision_count));
    let mut template = spec.template;
    let metadata = template.metadata.get_or_insert_default();
    metadata.labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.clone());
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.clone());
    let mut set = ReplicaSet::default();
    set.metadata.name = Some(format!("{}-{hash}", deployment.metadata.name.as_deref().unwrap_or_default()));
    set.metadata.namespace = deployment.metadata.namespace.clone();
    set.metadata.labels = metadata.labels.clone();
    set.metadata.owner_references = Some(vec![owner::reference(deployment)]);
    let mut annotations = annotations(deployment, None, revision);
    annotations.extend(size_annotations(spec.replicas.unwrap_or(1), most));
    set.metadata.annotations = Some(annotations);
    set.spec = Some(ReplicaSetSpec {
        replicas: Some(replicas),
        min_ready_seconds: spec.min_ready_seconds,
        selector,
        template: Some(template),
    });
    set
}

/// The annotations that remember what a ReplicaSet was last scaled for.
pub fn size_annotations(desired: i32, most: i32) -> [(String, String); 2] {
    [(DESIRED_REPLICAS.into(), desired.to_string()), (MAX_REPLICAS.into(), most.to_string())]
}

/// A name for a template: stable, short, and without vowels, so that it never spells a word. The
/// collision count gives another one when a foreign ReplicaSet has taken the first.
pub fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    const LENGTH: usize = 10;
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    hasher.write(&serde_json::to_vec(&without_hash(template)).unwrap_or_default());
    hasher.write(&collisions.unwrap_or(0).to_le_bytes());
    let mut rest = hasher.finish();
    let base = ALPHABET.len() as u64;
    (0..LENGTH)
        .map(|_| {
            let digit = usize::try_from(rest % base).unwrap_or(0);
            rest /= base;
            char::from(ALPHABET[digit])
        })
        .collect()
}

/// FNV-1a: the standard library's hashers may change between releases, a ReplicaSet's name must not.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
