//! Nothing asks to be root, unless root is somebody else on the host.

use crate::apiserver::admission::pod_security::{
    checks::setters,
    evaluate::{Check, Pod, Revision, Violation},
    policy::Level,
};

pub const CHECK: Check =
    Check { id: "runAsUser", level: Level::Restricted, revisions: &[Revision { since: 23, check, overrides: &[] }] };

fn check(pod: &Pod<'_>) -> Option<Violation> {
    if pod.has_user_namespace() {
        return None;
    }
    let bad = pod.named(|container| container["securityContext"]["runAsUser"] == 0);
    let setters = setters(pod.spec["securityContext"]["runAsUser"] == 0, &bad)?;
    Some(Violation { reason: "runAsUser=0", detail: format!("{setters} must not set runAsUser=0") })
}
