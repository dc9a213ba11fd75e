//! How authentication, authorization and admission read the cluster: straight from the watch
//! cache, without a request of their own.

use bytes::Bytes;

use serde_json::Value;

use crate::api::{kind::GroupResource, meta};

/// Current objects, encoded as JSON with their resource version.
pub trait Reader: Send + Sync {
    /// One object. `namespace` is empty for cluster-wide kinds.
    fn get(&self, resource: GroupResource<'_>, namespace: &str, name: &str) -> Option<Bytes>;
    /// All objects of a kind, or those of one namespace.
    fn list(&self, resource: GroupResource<'_>, namespace: Option<&str>) -> Vec<Bytes>;
    /// Names and versions of the objects of a kind in one namespace.
    fn versions(&self, resource: GroupResource<'_>, namespace: &str) -> Vec<(String, u64)> {
        let objects = self.list(resource, Some(namespace)).into_iter();
        let objects = objects.filter_map(|object| serde_json::from_slice::<Value>(&object).ok());
        let version = |object: &Value| meta::resource_version(object).parse().unwrap_or_default();
        objects.map(|object| (meta::name(&object).to_owned(), version(&object))).collect()
    }
    /// A number that changes whenever an object of the kind does: the key of derived caches.
    fn generation(&self, resource: GroupResource<'_>) -> u64;
}

#[cfg(test)]
pub mod fake {
    //! A reader over objects that a test puts into it.

    use std::collections::BTreeMap;

    use parking_lot::Mutex;
    use serde_json::Value;

    use super::{Bytes, GroupResource, Reader};

    /// Objects by group, resource, namespace, name.
    #[derive(Default)]
    pub struct FakeReader {
        objects: Mutex<BTreeMap<[String; 4], Bytes>>,
        generation: std::sync::atomic::AtomicU64,
    }

    impl FakeReader {
        /// Adds or replaces an object under the name and namespace in its metadata.
        pub fn put(&self, group: &str, resource: &str, object: Value) {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            let key = [group.to_owned(), resource.to_owned(), text("namespace"), text("name")];
            self.objects.lock().insert(key, object.to_string().into());
            self.generation.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }

        /// Removes an object.
        pub fn remove(&self, group: &str, resource: &str, namespace: &str, name: &str) {
            self.objects.lock().remove(&[group, resource, namespace, name].map(str::to_owned));
            self.generation.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    impl Reader for FakeReader {
        fn get(&self, resource: GroupResource<'_>, namespace: &str, name: &str) -> Option<Bytes> {
            let key = [resource.group, resource.resource, namespace, name].map(str::to_owned);
            self.objects.lock().get(&key).cloned()
        }

        fn list(&self, resource: GroupResource<'_>, namespace: Option<&str>) -> Vec<Bytes> {
            let objects = self.objects.lock();
            let matches = |key: &[String; 4]| {
                key[0] == resource.group
                    && key[1] == resource.resource
                    && namespace.is_none_or(|wanted| key[2] == wanted)
            };
            objects.iter().filter(|(key, _)| matches(key)).map(|(_, object)| object.clone()).collect()
        }

        fn generation(&self, _resource: GroupResource<'_>) -> u64 {
            self.generation.load(std::sync::atomic::Ordering::SeqCst)
        }
    }
}
