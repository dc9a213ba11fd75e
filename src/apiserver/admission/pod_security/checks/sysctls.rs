//! Only kernel settings that are the pod's own and harm nobody else are changed.

use serde_json::Value;

use crate::apiserver::admission::pod_security::{
    evaluate::{Check, Pod, Revision, Violation, name},
    policy::Level,
};

/// Settings that are safe, and the minor version since which they count as such.
const SAFE: [(u32, &str); 12] = [
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
];

pub const CHECK: Check = Check {
    id: "sysctls",
    level: Level::Baseline,
    revisions: &[
        Revision { since: 0, check: |pod| check(pod, 0), overrides: &[] },
        Revision { since: 27, check: |pod| check(pod, 27), overrides: &[] },
        Revision { since: 29, check: |pod| check(pod, 29), overrides: &[] },
        Revision { since: 32, check: |pod| check(pod, 32), overrides: &[] },
    ],
};

fn check(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    let is_safe = |setting: &str| SAFE.iter().any(|(since, safe)| *since <= minor && *safe == setting);
    let set = pod.spec["securityContext"]["sysctls"].as_array().into_iter().flatten();
    let bad: Vec<&str> = set.map(|setting: &Value| name(setting)).filter(|setting| !is_safe(setting)).collect();
    (!bad.is_empty()).then(|| Violation { reason: "forbidden sysctls", detail: bad.join(", ") })
}
