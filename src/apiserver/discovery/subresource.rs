//! What subresources take and give, as discovery lists them and OpenAPI describes them. Those with
//! handlers of their own have bodies of other kinds than their resource.

use crate::api::kind::{Descriptor, Subresource};

/// A subresource as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Group of [`Facts::kind`].
    pub group: &'a str,
    /// Version of [`Facts::kind`].
    pub version: &'a str,
    /// The kind it takes and gives.
    pub kind: &'a str,
    /// Verbs.
    pub verbs: &'static [&'static str],
}

const READ_AND_WRITE: &[&str] = &["get", "patch", "update"];
const CREATE: &[&str] = &["create"];
const CONNECT: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

/// Kinds in the order in which discovery lists them. Upstream goes by the paths of what is built in.
pub fn in_order<'a>(kinds: &[&'a Descriptor]) -> Vec<&'a Descriptor> {
    let mut kinds = kinds.to_vec();
    if kinds.iter().all(|kind| kind.strategy.custom().is_none()) {
        kinds.sort_by(|a, b| a.plural.cmp(&b.plural));
    }
    kinds
}

/// The subresources of a kind in that order.
pub fn listed(kind: &Descriptor) -> Vec<Subresource> {
    let mut subresources = kind.subresources.to_vec();
    if kind.strategy.custom().is_none() {
        subresources.sort_by_key(|subresource| subresource.name());
    }
    subresources
}

/// What `subresource` of `descriptor` takes and gives.
pub fn facts(descriptor: &Descriptor, subresource: Subresource) -> Facts<'_> {
    let own = |kind, verbs| Facts { group: &descriptor.group, version: &descriptor.version, kind, verbs };
    match (&*descriptor.kind, subresource.name()) {
        (_, "scale") => Facts { group: "autoscaling", version: "v1", kind: "Scale", verbs: READ_AND_WRITE },
        (_, "eviction") => Facts { group: "policy", version: "v1", kind: "Eviction", verbs: CREATE },
        ("ServiceAccount", "token") => {
            Facts { group: "authentication.k8s.io", version: "v1", kind: "TokenRequest", verbs: CREATE }
        }
        (_, "binding") => own("Binding", CREATE),
        (kind, "log") => own(kind, &["get"]),
        (_, "exec") => own("PodExecOptions", CONNECT),
        (_, "attach") => own("PodAttachOptions", CONNECT),
        (_, "portforward") => own("PodPortForwardOptions", CONNECT),
        ("Node", "proxy") => own("NodeProxyOptions", PROXY),
        ("Service", "proxy") => own("ServiceProxyOptions", PROXY),
        (_, "proxy") => own("PodProxyOptions", PROXY),
        (kind, "finalize") => own(kind, &["update"]),
        (kind, _) => own(kind, READ_AND_WRITE),
    }
}
