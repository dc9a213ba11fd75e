//! SELinux: only the types made for containers, and no user or role.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::apiserver::admission::pod_security::{
    checks::{plural, quoted_set, setters},
    evaluate::{Check, Pod, Revision, Violation},
    policy::Level,
};

const TYPES: &[&str] = &["", "container_t", "container_init_t", "container_kvm_t"];
const TYPES_SINCE_31: &[&str] = &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

pub const CHECK: Check = Check {
    id: "seLinuxOptions",
    level: Level::Baseline,
    revisions: &[
        Revision { since: 0, check: |pod| check(pod, TYPES), overrides: &[] },
        Revision { since: 31, check: |pod| check(pod, TYPES_SINCE_31), overrides: &[] },
    ],
};

fn check(pod: &Pod<'_>, allowed: &[&str]) -> Option<Violation> {
    let text = |of: &Value, field: &str| -> String {
        of["securityContext"]["seLinuxOptions"][field].as_str().unwrap_or_default().to_owned()
    };
    let bad_type = |of: &Value| !allowed.contains(&text(of, "type").as_str());
    let sets = |of: &Value, field: &str| !text(of, field).is_empty();
    let is_bad = |of: &Value| bad_type(of) || sets(of, "user") || sets(of, "role");
    let setters = setters(is_bad(pod.spec), &pod.named(is_bad))?;
    let all = || std::iter::once(pod.spec).chain(pod.containers());
    let types: BTreeSet<String> = all().filter(|of| bad_type(of)).map(|of| text(of, "type")).collect();
    let mut what = Vec::new();
    if !types.is_empty() {
        what.push(format!("{} {}", plural(types.len(), "type", "types"), quoted_set(&types)));
    }
    for field in ["user", "role"] {
        if all().any(|of| sets(of, field)) {
            what.push(format!("{field} may not be set"));
        }
    }
    let detail = format!("{setters} set forbidden securityContext.seLinuxOptions: {}", what.join("; "));
    Some(Violation { reason: "seLinuxOptions", detail })
}
