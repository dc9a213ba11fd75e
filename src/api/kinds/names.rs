//! Shorthand for a kind's constant part, so that a kind's file states only what is particular.

use crate::api::kind::{Names, STORED, Scope};

/// Group and version, as [`namespaced`] and [`cluster`] take them.
#[derive(Debug, Clone, Copy)]
pub struct GroupVersion {
    /// API group; empty for core.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
}

/// `v1`
pub const CORE: GroupVersion = GroupVersion::v1("");
/// `apps/v1`
pub const APPS: GroupVersion = GroupVersion::v1("apps");
/// `batch/v1`
pub const BATCH: GroupVersion = GroupVersion::v1("batch");
/// `rbac.authorization.k8s.io/v1`
pub const RBAC: GroupVersion = GroupVersion::v1("rbac.authorization.k8s.io");
/// `networking.k8s.io/v1`
pub const NETWORKING: GroupVersion = GroupVersion::v1("networking.k8s.io");
/// `storage.k8s.io/v1`
pub const STORAGE: GroupVersion = GroupVersion::v1("storage.k8s.io");
/// `authorization.k8s.io/v1`
pub const AUTHORIZATION: GroupVersion = GroupVersion::v1("authorization.k8s.io");
/// `authentication.k8s.io/v1`
pub const AUTHENTICATION: GroupVersion = GroupVersion::v1("authentication.k8s.io");

impl GroupVersion {
    /// The `v1` of `group`.
    pub const fn v1(group: &'static str) -> Self {
        Self { group, version: "v1" }
    }
}

/// A stored kind whose objects live in a namespace.
pub const fn namespaced(gv: GroupVersion, kind: &'static str, plural: &'static str, singular: &'static str) -> Names {
    Names {
        group: gv.group,
        version: gv.version,
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        scope: Scope::Namespaced,
        verbs: STORED,
        subresources: &[],
    }
}

/// A stored kind with one set of objects for the cluster.
pub const fn cluster(gv: GroupVersion, kind: &'static str, plural: &'static str, singular: &'static str) -> Names {
    Names { scope: Scope::Cluster, ..namespaced(gv, kind, plural, singular) }
}

/// A kind that is only posted and answered, never stored.
pub const fn review(gv: GroupVersion, kind: &'static str, plural: &'static str, singular: &'static str) -> Names {
    Names { verbs: &["create"], ..cluster(gv, kind, plural, singular) }
}
