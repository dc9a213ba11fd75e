//! Containers take no ports of the host.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::apiserver::admission::pod_security::{
    checks::{containers, plural},
    evaluate::{Check, Pod, Revision, Violation},
    policy::Level,
};

pub const CHECK: Check =
    Check { id: "hostPorts", level: Level::Baseline, revisions: &[Revision { since: 0, check, overrides: &[] }] };

fn check(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.named(|container| host_ports(container).next().is_some());
    // As text: that is the order upstream lists them in.
    let ports: BTreeSet<String> = pod.containers().flat_map(host_ports).map(|port| port.to_string()).collect();
    let ports: Vec<String> = ports.into_iter().collect();
    (!bad.is_empty()).then(|| Violation {
        reason: "hostPort",
        detail: format!(
            "{} {} {} {}",
            containers(&bad),
            plural(bad.len(), "uses", "use"),
            plural(ports.len(), "hostPort", "hostPorts"),
            ports.join(", ")
        ),
    })
}

fn host_ports(container: &Value) -> impl Iterator<Item = i64> {
    let ports = container["ports"].as_array().into_iter().flatten();
    ports.filter_map(|port| port["hostPort"].as_i64()).filter(|port| *port != 0)
}
