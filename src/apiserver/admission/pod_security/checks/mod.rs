//! The controls of the Pod Security Standards, a file each, in the order in which violations are told.

mod allow_privilege_escalation;
mod app_armor;
mod capabilities;
mod host_namespaces;
mod host_path_volumes;
mod host_ports;
mod host_probes;
mod privileged;
mod proc_mount;
mod restricted_volumes;
mod run_as_non_root;
mod run_as_user;
mod se_linux;
mod seccomp;
mod sysctls;
mod windows_host_process;

use std::collections::BTreeSet;

use crate::apiserver::admission::pod_security::evaluate::Check;

/// All of them: the baseline's by name, then those that only restricted has.
pub const CHECKS: &[Check] = &[
    app_armor::CHECK,
    capabilities::BASELINE,
    host_namespaces::CHECK,
    host_path_volumes::CHECK,
    host_ports::CHECK,
    host_probes::CHECK,
    privileged::CHECK,
    proc_mount::BASELINE,
    se_linux::CHECK,
    seccomp::BASELINE,
    sysctls::CHECK,
    windows_host_process::CHECK,
    allow_privilege_escalation::CHECK,
    capabilities::RESTRICTED,
    proc_mount::RESTRICTED,
    restricted_volumes::CHECK,
    run_as_non_root::CHECK,
    run_as_user::CHECK,
    seccomp::RESTRICTED,
];

/// `"a", "b"`
fn quoted<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| format!("\"{item}\"")).collect();
    items.join(", ")
}

/// As [`quoted`], of a set.
fn quoted_set(items: &BTreeSet<String>) -> String {
    quoted(items.iter().map(String::as_str))
}

/// One word or the other.
fn plural<'w>(count: usize, one: &'w str, many: &'w str) -> &'w str {
    if count == 1 { one } else { many }
}

/// `containers "a", "b"`
fn containers(names: &[&str]) -> String {
    format!("{} {}", plural(names.len(), "container", "containers"), quoted(names.iter().copied()))
}

/// `pod and container "a"`: whoever sets something; `None` if nobody does.
fn setters(pod: bool, names: &[&str]) -> Option<String> {
    match (pod, names) {
        (false, []) => None,
        (true, []) => Some("pod".to_owned()),
        (false, names) => Some(containers(names)),
        (true, names) => Some(format!("pod and {}", containers(names))),
    }
}
