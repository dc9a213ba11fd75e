//! Priority and fairness: which requests belong together, and how many of them are served at once.

pub mod flow_schema;
mod mandatory;
pub mod priority_level;
mod rules;

use super::names::GroupVersion;
use crate::api::{
    field::{self, Path},
    status::Cause,
};

/// `flowcontrol.apiserver.k8s.io/v1`
const GROUP_VERSION: GroupVersion = GroupVersion::v1("flowcontrol.apiserver.k8s.io");
/// The level, and the schema, of requests that are never held up.
const EXEMPT: &str = "exempt";

/// Problems of a status, whose conditions have these types.
fn conditions<'a>(types: impl Iterator<Item = &'a str>) -> Vec<Cause> {
    let path = Path::new("status").child("conditions");
    let (mut causes, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
    for (index, kind) in types.enumerate() {
        let path = path.index(index).child("type");
        if !seen.insert(kind) {
            causes.push(field::duplicate(&path, kind));
        }
        if kind.is_empty() {
            causes.push(field::required(&path, ""));
        }
    }
    causes
}
