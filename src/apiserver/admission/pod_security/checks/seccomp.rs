//! Seccomp: the baseline forbids turning it off, restricted wants it turned on.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::apiserver::admission::pod_security::{
    checks::{containers, plural, quoted_set, setters},
    evaluate::{Check, Pod, Revision, Violation, name},
    policy::Level,
};

const REASON: &str = "seccompProfile";
const POD_ANNOTATION: &str = "seccomp.security.alpha.kubernetes.io/pod";
const CONTAINER_ANNOTATION: &str = "container.seccomp.security.alpha.kubernetes.io/";
const OVERRIDES: &[&str] = &["seccompProfile_baseline"];

pub const BASELINE: Check = Check {
    id: "seccompProfile_baseline",
    level: Level::Baseline,
    revisions: &[
        Revision { since: 0, check: annotations, overrides: &[] },
        Revision { since: 19, check: explicit, overrides: &[] },
    ],
};

pub const RESTRICTED: Check = Check {
    id: "seccompProfile_restricted",
    level: Level::Restricted,
    revisions: &[
        Revision { since: 19, check: restricted, overrides: OVERRIDES },
        Revision {
            since: 25,
            check: |pod| if pod.is_windows() { None } else { restricted(pod) },
            overrides: OVERRIDES,
        },
    ],
};

/// Before 1.19 profiles were annotations.
fn annotations(pod: &Pod<'_>) -> Option<Violation> {
    let keys = std::iter::once(POD_ANNOTATION.to_owned())
        .chain(pod.containers().map(|container| format!("{CONTAINER_ANNOTATION}{}", name(container))));
    let allowed =
        |profile: &str| matches!(profile, "runtime/default" | "docker/default") || profile.starts_with("localhost/");
    let set = keys.filter_map(|key| Some((pod.metadata["annotations"][&key].as_str()?, key)));
    let bad = set.filter(|(profile, _)| !allowed(profile)).map(|(profile, key)| format!("{key}={profile:?}"));
    let bad: BTreeSet<String> = bad.collect();
    let listed: Vec<&str> = bad.iter().map(String::as_str).collect();
    (!bad.is_empty()).then(|| Violation {
        reason: REASON,
        detail: format!("forbidden {} {}", plural(bad.len(), "annotation", "annotations"), listed.join(", ")),
    })
}

fn explicit(pod: &Pod<'_>) -> Option<Violation> {
    let is_bad = |of: &Value| bad_type(of).is_some();
    let setters = setters(is_bad(pod.spec), &pod.named(is_bad))?;
    let all = std::iter::once(pod.spec).chain(pod.containers());
    let types: BTreeSet<String> = all.filter_map(bad_type).map(str::to_owned).collect();
    let detail = format!("{setters} must not set securityContext.seccompProfile.type to {}", quoted_set(&types));
    Some(Violation { reason: REASON, detail })
}

fn restricted(pod: &Pod<'_>) -> Option<Violation> {
    let implicit = || {
        let silent = pod.named(|container| profile(container).is_none());
        (profile(pod.spec).is_none() && !silent.is_empty()).then(|| Violation {
            reason: REASON,
            detail: format!(
                "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
                containers(&silent)
            ),
        })
    };
    explicit(pod).or_else(implicit)
}

/// The type of a pod's or container's profile; `None` without a profile.
fn profile(of: &Value) -> Option<&str> {
    let profile = &of["securityContext"]["seccompProfile"];
    profile.is_object().then(|| profile["type"].as_str().unwrap_or_default())
}

fn bad_type(of: &Value) -> Option<&str> {
    profile(of).filter(|kind| !matches!(*kind, "RuntimeDefault" | "Localhost"))
}
