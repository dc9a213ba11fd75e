//! /proc stays masked; since 1.35 the baseline lets pods with users of their own unmask it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::apiserver::admission::pod_security::{
    checks::{containers, quoted_set},
    evaluate::{Check, Pod, Revision, Violation},
    policy::Level,
};

pub const BASELINE: Check = Check {
    id: "procMount_baseline",
    level: Level::Baseline,
    revisions: &[
        Revision { since: 0, check, overrides: &[] },
        Revision { since: 35, check: |pod| if pod.has_user_namespace() { None } else { check(pod) }, overrides: &[] },
    ],
};

pub const RESTRICTED: Check = Check {
    id: "procMount_restricted",
    level: Level::Restricted,
    revisions: &[Revision { since: 35, check, overrides: &[] }],
};

fn check(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.named(|container| unmasked(container).is_some());
    let kinds: BTreeSet<String> = pod.containers().filter_map(unmasked).map(str::to_owned).collect();
    (!bad.is_empty()).then(|| Violation {
        reason: "procMount",
        detail: format!("{} must not set securityContext.procMount to {}", containers(&bad), quoted_set(&kinds)),
    })
}

fn unmasked(container: &Value) -> Option<&str> {
    container["securityContext"]["procMount"].as_str().filter(|kind| *kind != "Default")
}
