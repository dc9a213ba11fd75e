//! Priority and fairness: which requests belong together, and how many of them are served at once.

pub mod flow_schema;
pub mod priority_level;
mod rules;

use super::names::GroupVersion;

/// `flowcontrol.apiserver.k8s.io/v1`
const GROUP_VERSION: GroupVersion = GroupVersion::v1("flowcontrol.apiserver.k8s.io");
/// The level, and the schema, of requests that are never held up.
const EXEMPT: &str = "exempt";
