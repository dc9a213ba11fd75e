//! No container may give its processes more privileges than it has itself.

use crate::apiserver::admission::pod_security::{
    checks::containers,
    evaluate::{Check, Pod, Revision, Violation},
    policy::Level,
};

pub const CHECK: Check = Check {
    id: "allowPrivilegeEscalation",
    level: Level::Restricted,
    revisions: &[
        Revision { since: 8, check, overrides: &[] },
        Revision { since: 25, check: |pod| if pod.is_windows() { None } else { check(pod) }, overrides: &[] },
    ],
};

fn check(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.named(|container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    (!bad.is_empty()).then(|| Violation {
        reason: "allowPrivilegeEscalation != false",
        detail: format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&bad)),
    })
}
