//! The host's network, processes and shared memory are not the pod's.

use crate::apiserver::admission::pod_security::{
    evaluate::{Check, Pod, Revision, Violation},
    policy::Level,
};

pub const CHECK: Check =
    Check { id: "hostNamespaces", level: Level::Baseline, revisions: &[Revision { since: 0, check, overrides: &[] }] };

fn check(pod: &Pod<'_>) -> Option<Violation> {
    let used: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| pod.spec[*field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    (!used.is_empty()).then(|| Violation { reason: "host namespaces", detail: used.join(", ") })
}
