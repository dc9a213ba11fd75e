//! The order in which clients prefer groups and versions, as numbers of APIService objects: what
//! this server has itself has fixed ones, other servers bring theirs.

/// The group of the aggregator itself, which comes before all others and has no APIService.
pub const REGISTRATION_GROUP: &str = "apiregistration.k8s.io";
/// Group and version priority of custom resources.
pub const CUSTOM: Priority = Priority { group: 1000, version: 100 };

/// Priorities of groups, highest first.
const GROUPS: &[(&str, i32)] = &[
    (REGISTRATION_GROUP, 20_000),
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("apiextensions.k8s.io", 16_700),
    ("admissionregistration.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("resource.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
];

/// How much a group, and a version in it, is preferred; more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// Among groups.
    pub group: i32,
    /// Among versions of one group.
    pub version: i32,
}

/// The priority of a group version that this server has itself.
pub fn of(group: &str, version: &str) -> Priority {
    let Some((_, priority)) = GROUPS.iter().find(|(name, _)| *name == group) else { return CUSTOM };
    let version = match (group, version) {
        ("", _) => 1,
        ("autoscaling", "v2") => 30,
        ("flowcontrol.apiserver.k8s.io" | "resource.k8s.io", "v1") => 21,
        (_, "v1") => 15,
        (_, beta) if beta.contains("beta") => 9,
        _ => 1,
    };
    Priority { group: *priority, version }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kinds;

    #[test]
    fn every_built_in_group_has_its_place() {
        for kind in kinds::all() {
            assert_ne!(of(&kind.group, &kind.version), CUSTOM, "{}", kind.group);
        }
        assert!(of("autoscaling", "v2").version > of("autoscaling", "v1").version);
    }
}
