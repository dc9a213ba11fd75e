//! How authentication, authorization and admission read the cluster: straight from the watch
//! cache, without a request of their own.

use bytes::Bytes;

use crate::api::kind::GroupResource;

/// Current objects, encoded as JSON with their resource version.
pub trait Reader: Send + Sync {
    /// One object. `namespace` is empty for cluster-wide kinds.
    fn get(&self, resource: GroupResource<'_>, namespace: &str, name: &str) -> Option<Bytes>;
    /// All objects of a kind, or those of one namespace.
    fn list(&self, resource: GroupResource<'_>, namespace: Option<&str>) -> Vec<Bytes>;
    /// A number that changes whenever an object of the kind does: the key of derived caches.
    fn generation(&self, resource: GroupResource<'_>) -> u64;
}
