//! Probes and hooks go to the pod itself: with another host a kubelet could be made to call anybody.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::apiserver::admission::pod_security::{
    checks::{containers, plural, quoted_set},
    evaluate::{Check, Pod, Revision, Violation},
    policy::Level,
};

const CALLS: [&str; 5] =
    ["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];

pub const CHECK: Check = Check {
    id: "hostProbesAndHostLifecycle",
    level: Level::Baseline,
    revisions: &[Revision { since: 34, check, overrides: &[] }],
};

fn check(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.named(|container| hosts(container).next().is_some());
    let hosts: BTreeSet<String> = pod.containers().flat_map(hosts).map(str::to_owned).collect();
    (!bad.is_empty()).then(|| Violation {
        reason: "probe or lifecycle host",
        detail: format!(
            "{} {} {} {}",
            containers(&bad),
            plural(bad.len(), "uses", "use"),
            plural(hosts.len(), "probe or lifecycle host", "probe or lifecycle hosts"),
            quoted_set(&hosts)
        ),
    })
}

fn hosts(container: &Value) -> impl Iterator<Item = &str> {
    let calls = CALLS.into_iter().filter_map(|pointer| container.pointer(pointer));
    let hosts = calls.flat_map(|call| [&call["httpGet"]["host"], &call["tcpSocket"]["host"]]);
    hosts.filter_map(Value::as_str).filter(|host| !host.is_empty())
}
