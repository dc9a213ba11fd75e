//! Volumes are made of API objects, or come from drivers that an administrator chose.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    api::pod_resources,
    apiserver::admission::pod_security::{
        checks::{plural, quoted, quoted_set},
        evaluate::{Check, Pod, Revision, Violation, name},
        policy::Level,
    },
};

const ALLOWED: [&str; 8] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
const KNOWN: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

pub const CHECK: Check = Check {
    id: "restrictedVolumes",
    level: Level::Restricted,
    revisions: &[Revision { since: 0, check, overrides: &["hostPathVolumes"] }],
};

fn check(pod: &Pod<'_>) -> Option<Violation> {
    let volumes = pod_resources::containers(pod.spec, "volumes");
    let bad: Vec<&Value> = volumes.filter(|volume| first_of(volume, &ALLOWED).is_none()).collect();
    let kinds: BTreeSet<String> =
        bad.iter().map(|volume| first_of(volume, &KNOWN).unwrap_or("unknown").to_owned()).collect();
    (!bad.is_empty()).then(|| Violation {
        reason: "restricted volume types",
        detail: format!(
            "{} {} {} {} {}",
            plural(bad.len(), "volume", "volumes"),
            quoted(bad.iter().map(|volume| name(volume))),
            plural(bad.len(), "uses", "use"),
            plural(kinds.len(), "restricted volume type", "restricted volume types"),
            quoted_set(&kinds)
        ),
    })
}

fn first_of(volume: &Value, kinds: &[&'static str]) -> Option<&'static str> {
    kinds.iter().copied().find(|kind| volume[*kind].is_object())
}
