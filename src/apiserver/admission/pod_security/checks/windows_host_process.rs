//! No container of a Windows pod is a process of the host.

use serde_json::Value;

use crate::apiserver::admission::pod_security::{
    checks::setters,
    evaluate::{Check, Pod, Revision, Violation},
    policy::Level,
};

pub const CHECK: Check = Check {
    id: "windowsHostProcess",
    level: Level::Baseline,
    revisions: &[Revision { since: 0, check, overrides: &[] }],
};

fn check(pod: &Pod<'_>) -> Option<Violation> {
    let is_bad = |of: &Value| of["securityContext"]["windowsOptions"]["hostProcess"] == true;
    let setters = setters(is_bad(pod.spec), &pod.named(is_bad))?;
    let detail = format!("{setters} must not set securityContext.windowsOptions.hostProcess=true");
    Some(Violation { reason: "hostProcess", detail })
}
