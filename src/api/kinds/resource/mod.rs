//! Dynamic resource allocation: devices that drivers offer, classes of them, and claims to them
//! (KEP-4381).

mod allocation;
mod binding;
mod capacity;
pub mod claim;
pub mod class;
mod device;
mod request;
mod selector;
pub mod slice;
pub mod template;

use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde::Serialize;
use serde_json::Value;

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
const POOL_NAME_LIMIT_BYTES: usize = 253;

/// Problems of a list that is too long, or else of each of its items.
fn each<T>(items: &[T], limit: usize, path: &Path, check: impl Fn(&T, &Path) -> Vec<Cause>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if items.len() > limit {
        causes.push(field::too_many(path, items.len(), limit));
        return causes;
    }
    causes.extend(items.iter().enumerate().flat_map(|(index, item)| check(item, &path.index(index))));
    causes
}

/// Items whose key an item before them has.
fn repeated<'a, T, K: PartialEq + Serialize>(items: &'a [T], key: impl Fn(&'a T) -> K, path: &Path) -> Vec<Cause> {
    let keys: Vec<K> = items.iter().map(key).collect();
    let again = keys.iter().enumerate().filter(|(index, key)| keys[..*index].contains(key));
    again.map(|(index, key)| field::duplicate(&path.index(index), key)).collect()
}

/// Problems of what is somebody's own: an object of at most so many bytes.
fn raw(RawExtension(value): &RawExtension, limit_bytes: usize, path: &Path) -> Vec<Cause> {
    match value {
        Value::Null => vec![field::required(path, "")],
        value if value.to_string().len() > limit_bytes => vec![field::too_long(path, limit_bytes)],
        Value::Object(_) => Vec::new(),
        _ => vec![field::invalid(path, "<value omitted>", "must be a valid JSON object")],
    }
}

/// Problems of the name of a pool.
fn pool_name(text: &str, path: &Path) -> Vec<Cause> {
    if text.is_empty() {
        return vec![field::required(path, "")];
    }
    let mut causes = Vec::new();
    if text.len() > POOL_NAME_LIMIT_BYTES {
        causes.push(field::too_long(path, POOL_NAME_LIMIT_BYTES));
    }
    for part in text.split('/') {
        causes.extend(field::invalid_each(path, part, &name::dns1123_subdomain(part)));
    }
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
