//! Dynamic resource allocation: devices that drivers offer, classes of them, and claims to them
//! (KEP-4381).

pub mod claim;
pub mod class;
mod request;
pub mod slice;
pub mod template;

use super::names::GroupVersion;
use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::name,
};

/// `resource.k8s.io/v1`
const GROUP_VERSION: GroupVersion = GroupVersion::v1("resource.k8s.io");
/// Most requests, constraints or configurations of a claim.
const LIST_LIMIT: usize = 32;
const DRIVER_LIMIT_BYTES: usize = 63;

/// Problems of a list that is too long, and of each of its items.
fn each<T>(items: &[T], limit: usize, path: &Path, check: impl Fn(&T, &Path) -> Vec<Cause>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if items.len() > limit {
        causes.push(field::too_many(path, items.len(), limit));
    }
    causes.extend(items.iter().enumerate().flat_map(|(index, item)| check(item, &path.index(index))));
    causes
}

fn driver(text: &str, path: &Path) -> Vec<Cause> {
    if text.is_empty() {
        return vec![field::required(path, "")];
    }
    let mut causes = Vec::new();
    if text.len() > DRIVER_LIMIT_BYTES {
        causes.push(field::too_long(path, DRIVER_LIMIT_BYTES));
    }
    causes.extend(field::invalid_each(path, text, &name::dns1123_subdomain(&text.to_lowercase())));
    causes
}
