//! Shared informers: one watch per kind and process, its objects held once, and handlers told of
//! every difference. A handler only nudges (puts a key into a work queue); what is true is read
//! from the informer when the key is worked on.

use std::{
    any::{Any, TypeId},
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    sync::Arc,
};

use futures_util::{Stream, StreamExt};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::{base::task::Supervisor, client::ObjectKey};

/// Objects asked for per page of the first list.
const PAGE_SIZE: u32 = 500;

/// Longest wait for the watch to show a write.
pub const SETTLE_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

/// What an informer can hold.
pub trait Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

impl<K> Object for K where K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

/// A difference: an object that came, changed, or went.
#[derive(Debug)]
pub struct Delta<'a, K> {
    /// The object as it was known; `None` if it is new.
    pub old: Option<&'a Arc<K>>,
    /// The object as it is; `None` if it is gone.
    pub new: Option<&'a Arc<K>>,
}

impl<K> Delta<'_, K> {
    /// The newest version there is.
    pub fn latest(&self) -> &Arc<K> {
        self.new.or(self.old).expect("a delta has at least one side")
    }
}

type Handler<K> = Box<dyn Fn(&Delta<'_, K>) + Send + Sync>;

/// All objects of one kind (or those a selector names), kept current. Cheap to clone.
pub struct Informer<K> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    objects: RwLock<BTreeMap<ObjectKey, Arc<K>>>,
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
    /// Raised with every difference, for those who wait for one.
    changes: watch::Sender<u64>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<K: Object> Informer<K> {
    /// Starts watching what `api` and `config` select, and never stops: errors are retried with
    /// back-off, and what is known stays known meanwhile.
    pub fn start(supervisor: &Supervisor, api: Api<K>, config: watcher::Config) -> Self {
        let informer = Self::detached();
        let events = watcher::watcher(api, config.page_size(PAGE_SIZE)).default_backoff();
        let fed = informer.clone();
        supervisor.spawn("informer", async move { fed.feed(events).await });
        informer
    }

    /// An informer that nobody feeds, for tests: objects come through [`Informer::set`].
    pub fn detached() -> Self {
        Self {
            inner: Arc::new(Inner {
                objects: RwLock::new(BTreeMap::new()),
                handlers: Mutex::new(Vec::new()),
                synced: watch::channel(false).0,
                changes: watch::channel(0).0,
            }),
        }
    }

    /// Waits until the first list is complete.
    pub async fn synced(&self) {
        let mut synced = self.inner.synced.subscribe();
        // The sender lives as long as `self`.
        let _ = synced.wait_for(|done| *done).await;
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.inner.objects.read().get(key).cloned()
    }

    /// All objects, by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.inner.objects.read().values().cloned().collect()
    }

    /// All objects of a namespace, by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let objects = self.inner.objects.read();
        let from = ObjectKey::new(namespace, "");
        objects
            .range(from..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Waits until `settled` says so of the object under `key`, at most [`SETTLE_LIMIT`]: whoever has
    /// just written waits for the watch to show it, and so never acts on what it knows to be old.
    pub async fn settle(&self, key: &ObjectKey, settled: impl Fn(Option<&K>) -> bool) {
        let mut changes = self.inner.changes.subscribe();
        let seen = async {
            while !settled(self.get(key).as_deref()) {
                // The sender lives as long as `self`.
                let _ = changes.changed().await;
            }
        };
        let _ = tokio::time::timeout(SETTLE_LIMIT, seen).await;
    }

    /// Calls `handler` for every object there is, and from then on for every difference. It runs
    /// on the informer's task: it must be quick.
    pub fn on_change(&self, handler: impl Fn(&Delta<'_, K>) + Send + Sync + 'static) {
        let mut handlers = self.inner.handlers.lock();
        for object in self.list() {
            handler(&Delta { old: None, new: Some(&object) });
        }
        handlers.push(Box::new(handler));
    }

    /// Takes in one object, as if the watch had brought it.
    pub fn set(&self, object: K) {
        self.apply(object);
    }

    /// Drops one object, as if the watch had said so.
    pub fn remove(&self, key: &ObjectKey) {
        let handlers = self.inner.handlers.lock();
        let old = self.inner.objects.write().remove(key);
        if let Some(old) = old {
            tell(&handlers, &Delta { old: Some(&old), new: None });
        }
        self.inner.changes.send_modify(|count| *count += 1);
    }

    /// Declares the first list complete.
    pub fn mark_synced(&self) {
        self.inner.synced.send_replace(true);
    }

    async fn feed(&self, events: impl Stream<Item = watcher::Result<Event<K>>>) {
        let mut events = std::pin::pin!(events);
        let mut listed = BTreeMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    listed.insert(ObjectKey::of(&object), slim(object));
                }
                Ok(Event::InitDone) => {
                    self.replace(std::mem::take(&mut listed));
                    self.mark_synced();
                }
                Ok(Event::Apply(object)) => self.apply(object),
                Ok(Event::Delete(object)) => self.remove(&ObjectKey::of(&object)),
                Err(error) => {
                    tracing::debug!(kind = %K::kind(&()), error = %error, "watch failed, trying again");
                }
            }
        }
    }

    fn apply(&self, object: K) {
        let object = slim(object);
        let handlers = self.inner.handlers.lock();
        let old = self.inner.objects.write().insert(ObjectKey::of(&*object), object.clone());
        tell(&handlers, &Delta { old: old.as_ref(), new: Some(&object) });
        self.inner.changes.send_modify(|count| *count += 1);
    }

    /// Puts a complete list in place of what is known and tells the differences: after a lost
    /// watch, deletions are only visible as absence.
    fn replace(&self, listed: BTreeMap<ObjectKey, Arc<K>>) {
        let handlers = self.inner.handlers.lock();
        let before = std::mem::replace(&mut *self.inner.objects.write(), listed.clone());
        for (key, old) in &before {
            if !listed.contains_key(key) {
                tell(&handlers, &Delta { old: Some(old), new: None });
            }
        }
        for (key, new) in &listed {
            let old = before.get(key);
            if old.and_then(|old| old.resource_version()) != new.resource_version() || old.is_none() {
                tell(&handlers, &Delta { old, new: Some(new) });
            }
        }
        self.inner.changes.send_modify(|count| *count += 1);
    }
}

fn tell<K>(handlers: &[Handler<K>], delta: &Delta<'_, K>) {
    for handler in handlers {
        handler(delta);
    }
}

/// Drops what no component reads and what is often half of an object.
fn slim<K: Resource>(mut object: K) -> Arc<K> {
    object.meta_mut().managed_fields = None;
    if let Some(annotations) = &mut object.meta_mut().annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    Arc::new(object)
}

/// The informers of one process, each kind started when it is first asked for and then shared.
#[derive(Clone)]
pub struct Informers {
    client: Client,
    component: Option<Client>,
    supervisor: Supervisor,
    started: Arc<Mutex<HashMap<TypeId, Box<dyn Any + Send>>>>,
}

impl Informers {
    /// Informers that watch through `client`.
    pub fn new(client: Client, supervisor: Supervisor) -> Self {
        Self { client, component: None, supervisor, started: Arc::default() }
    }

    /// The informer of all objects of kind `K`, in all namespaces.
    pub fn of<K: Object>(&self) -> Informer<K> {
        let mut started = self.started.lock();
        let entry = started.entry(TypeId::of::<K>()).or_insert_with(|| {
            let api = Api::all(self.client.clone());
            Box::new(Informer::<K>::start(&self.supervisor, api, watcher::Config::default()))
        });
        entry.downcast_ref::<Informer<K>>().expect("an informer is stored under the type it holds").clone()
    }

    /// The same informers for a component that writes through a client of its own.
    pub fn with_client(&self, client: Client) -> Self {
        Self { component: Some(client), ..self.clone() }
    }

    /// The client for the component's own requests.
    pub fn client(&self) -> Client {
        self.component.clone().unwrap_or_else(|| self.client.clone())
    }

    /// The supervisor their tasks run under.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn config_map(name: &str, version: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some("default".into());
        object.metadata.name = Some(name.into());
        object.metadata.resource_version = Some(version.into());
        object
    }

    fn recorded(informer: &Informer<ConfigMap>) -> Arc<Mutex<Vec<String>>> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        informer.on_change(move |delta| {
            let sign = match (delta.old, delta.new) {
                (None, _) => '+',
                (_, None) => '-',
                _ => '~',
            };
            sink.lock().push(format!("{sign}{}", delta.latest().name_any()));
        });
        seen
    }

    #[tokio::test]
    async fn a_relist_tells_only_differences() {
        let informer = Informer::<ConfigMap>::detached();
        let events = [
            Event::Init,
            Event::InitApply(config_map("a", "1")),
            Event::InitApply(config_map("b", "1")),
            Event::InitApply(config_map("c", "1")),
            Event::InitDone,
        ];
        informer.feed(futures_util::stream::iter(events.into_iter().map(Ok))).await;
        informer.synced().await;
        let seen = recorded(&informer);
        let events = [
            Event::Init,
            Event::InitApply(config_map("a", "1")),
            Event::InitApply(config_map("b", "2")),
            Event::InitDone,
        ];
        informer.feed(futures_util::stream::iter(events.into_iter().map(Ok))).await;
        assert_eq!(*seen.lock(), ["+a", "+b", "+c", "-c", "~b"]);
    }

    #[tokio::test]
    async fn lists_by_namespace() {
        let informer = Informer::<ConfigMap>::detached();
        for (namespace, name) in [("a", "x"), ("b", "y"), ("b", "z"), ("bb", "w")] {
            let mut object = config_map(name, "1");
            object.metadata.namespace = Some(namespace.into());
            informer.set(object);
        }
        let names: Vec<_> = informer.list_in("b").iter().map(|object| object.name_any()).collect();
        assert_eq!(names, ["y", "z"]);
    }
}
