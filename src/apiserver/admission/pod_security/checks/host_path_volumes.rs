//! Nothing of the host's file system is mounted.

use crate::{
    api::pod_resources,
    apiserver::admission::pod_security::{
        checks::{plural, quoted},
        evaluate::{Check, Pod, Revision, Violation, name},
        policy::Level,
    },
};

pub const CHECK: Check =
    Check { id: "hostPathVolumes", level: Level::Baseline, revisions: &[Revision { since: 0, check, overrides: &[] }] };

fn check(pod: &Pod<'_>) -> Option<Violation> {
    let volumes = pod_resources::containers(pod.spec, "volumes");
    let bad: Vec<&str> = volumes.filter(|volume| volume["hostPath"].is_object()).map(name).collect();
    (!bad.is_empty()).then(|| Violation {
        reason: "hostPath volumes",
        detail: format!("{} {}", plural(bad.len(), "volume", "volumes"), quoted(bad.iter().copied())),
    })
}
