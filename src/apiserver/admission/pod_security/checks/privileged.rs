//! No container is privileged.

use crate::apiserver::admission::pod_security::{
    checks::containers,
    evaluate::{Check, Pod, Revision, Violation},
    policy::Level,
};

pub const CHECK: Check =
    Check { id: "privileged", level: Level::Baseline, revisions: &[Revision { since: 0, check, overrides: &[] }] };

fn check(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.named(|container| container["securityContext"]["privileged"] == true);
    (!bad.is_empty()).then(|| Violation {
        reason: "privileged",
        detail: format!("{} must not set securityContext.privileged=true", containers(&bad)),
    })
}
