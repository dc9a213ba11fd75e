//! Filters, one file each: whether a pod can run on a node at all. Names, order and reasons are
//! those of kube-scheduler's default profile, because people search for them.

mod affinity;
mod fit;
mod name;
mod ports;
mod taints;
mod unschedulable;

pub use affinity::preferred_weight;
pub use taints::untolerated_preferences;

use crate::scheduler::{cluster::NodeInfo, pod::PodInfo};

/// A filter: every reason why `pod` cannot run on the node; none if it can.
pub type Filter = fn(&PodInfo, &NodeInfo) -> Vec<String>;

/// All filters in the order they are asked; the first that objects decides.
pub const ALL: &[Filter] =
    &[unschedulable::filter, name::filter, taints::filter, affinity::filter, ports::filter, fit::filter];

/// The reasons of the first filter that objects.
pub fn objections(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    ALL.iter().map(|filter| filter(pod, node)).find(|reasons| !reasons.is_empty()).unwrap_or_default()
}
