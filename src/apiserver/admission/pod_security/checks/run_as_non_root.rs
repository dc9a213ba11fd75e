//! Nothing runs as root, unless root is somebody else on the host.

use crate::apiserver::admission::pod_security::{
    checks::{containers, setters},
    evaluate::{Check, Pod, Revision, Violation},
    policy::Level,
};

const REASON: &str = "runAsNonRoot != true";

pub const CHECK: Check =
    Check { id: "runAsNonRoot", level: Level::Restricted, revisions: &[Revision { since: 0, check, overrides: &[] }] };

fn check(pod: &Pod<'_>) -> Option<Violation> {
    if pod.has_user_namespace() {
        return None;
    }
    let of_pod = &pod.spec["securityContext"]["runAsNonRoot"];
    let allowing = pod.named(|container| container["securityContext"]["runAsNonRoot"] == false);
    if let Some(setters) = setters(*of_pod == false, &allowing) {
        let detail = format!("{setters} must not set securityContext.runAsNonRoot=false");
        return Some(Violation { reason: REASON, detail });
    }
    let silent = pod.named(|container| !container["securityContext"]["runAsNonRoot"].is_boolean());
    (*of_pod != true && !silent.is_empty()).then(|| Violation {
        reason: REASON,
        detail: format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent)),
    })
}
