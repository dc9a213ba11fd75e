//! Capabilities: the baseline lets containers add those that runtimes give anyway, restricted wants
//! all dropped and lets only low ports be bound.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::apiserver::admission::pod_security::{
    checks::{containers, quoted_set},
    evaluate::{Check, Pod, Revision, Violation},
    policy::Level,
};

const DEFAULT: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const BINDING: [&str; 1] = ["NET_BIND_SERVICE"];
const OVERRIDES: &[&str] = &["capabilities_baseline"];

pub const BASELINE: Check = Check {
    id: "capabilities_baseline",
    level: Level::Baseline,
    revisions: &[Revision { since: 0, check: baseline, overrides: &[] }],
};

pub const RESTRICTED: Check = Check {
    id: "capabilities_restricted",
    level: Level::Restricted,
    revisions: &[
        Revision { since: 22, check: restricted, overrides: OVERRIDES },
        Revision {
            since: 25,
            check: |pod| if pod.is_windows() { None } else { restricted(pod) },
            overrides: OVERRIDES,
        },
    ],
};

fn baseline(pod: &Pod<'_>) -> Option<Violation> {
    let (names, added) = added(pod, &DEFAULT);
    (!names.is_empty()).then(|| Violation { reason: "non-default capabilities", detail: must_not_add(&names, &added) })
}

fn restricted(pod: &Pod<'_>) -> Option<Violation> {
    let keeping = pod.named(|container| !list(container, "drop").any(|dropped| dropped == "ALL"));
    let (names, added) = added(pod, &BINDING);
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    if !names.is_empty() {
        details.push(must_not_add(&names, &added));
    }
    (!details.is_empty()).then(|| Violation { reason: "unrestricted capabilities", detail: details.join("; ") })
}

/// Who adds what beyond `allowed`.
fn added<'a>(pod: &Pod<'a>, allowed: &[&str]) -> (Vec<&'a str>, BTreeSet<String>) {
    let beyond = |container: &Value| -> Vec<String> {
        list(container, "add").filter(|added| !allowed.contains(added)).map(str::to_owned).collect()
    };
    let names = pod.named(|container| !beyond(container).is_empty());
    (names, pod.containers().flat_map(beyond).collect())
}

fn must_not_add(names: &[&str], added: &BTreeSet<String>) -> String {
    format!("{} must not include {} in securityContext.capabilities.add", containers(names), quoted_set(added))
}

fn list<'a>(container: &'a Value, field: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let list = container["securityContext"]["capabilities"][field].as_array();
    list.into_iter().flatten().filter_map(Value::as_str)
}
