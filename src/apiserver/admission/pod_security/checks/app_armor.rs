//! The runtime's AppArmor profile may be replaced by one of the node's, but not turned off.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::apiserver::admission::pod_security::{
    checks::{containers, plural, quoted},
    evaluate::{Check, Pod, Revision, Violation},
    policy::Level,
};

const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

pub const CHECK: Check =
    Check { id: "appArmorProfile", level: Level::Baseline, revisions: &[Revision { since: 0, check, overrides: &[] }] };

fn check(pod: &Pod<'_>) -> Option<Violation> {
    let mut setters = Vec::new();
    let mut types: BTreeSet<&str> = BTreeSet::new();
    if let Some(bad) = bad_type(pod.spec) {
        setters.push("pod".to_owned());
        types.insert(bad);
    }
    let named = pod.named(|container| bad_type(container).is_some());
    if !named.is_empty() {
        setters.push(containers(&named));
        types.extend(pod.containers().filter_map(bad_type));
    }
    let annotations = bad_annotations(pod.metadata);
    if !annotations.is_empty() {
        setters.push(plural(annotations.len(), "annotation", "annotations").to_owned());
    }
    let values: Vec<&str> = types.into_iter().chain(annotations.iter().map(String::as_str)).collect();
    (!setters.is_empty()).then(|| Violation {
        reason: plural(values.len(), "forbidden AppArmor profile", "forbidden AppArmor profiles"),
        detail: format!("{} must not set AppArmor profile type to {}", setters.join(" and "), quoted(values)),
    })
}

/// The profile type of a pod's or container's security context, if it is not allowed.
fn bad_type(of: &Value) -> Option<&str> {
    let profile = &of["securityContext"]["appArmorProfile"];
    let kind = profile.is_object().then(|| profile["type"].as_str().unwrap_or_default())?;
    (!matches!(kind, "RuntimeDefault" | "Localhost")).then_some(kind)
}

fn bad_annotations(metadata: &Value) -> Vec<String> {
    let annotations = metadata["annotations"].as_object().into_iter().flatten();
    let profiles = annotations.filter(|(key, _)| key.starts_with(ANNOTATION));
    let profiles = profiles.filter_map(|(key, value)| Some((key, value.as_str()?)));
    let allowed =
        |profile: &str| profile.is_empty() || profile == "runtime/default" || profile.starts_with("localhost/");
    let bad = profiles.filter(|(_, profile)| !allowed(profile));
    let mut bad: Vec<String> = bad.map(|(key, profile)| format!("{key}={profile:?}")).collect();
    bad.sort_unstable();
    bad
}
