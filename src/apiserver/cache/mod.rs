//! The watch cache: every stored object, encoded, and the recent events, per resource. It is told
//! of each commit before its writer is answered, so what it serves is never behind what a client
//! has seen acknowledged, and neither reads nor watches touch the store.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;

use crate::{
    api::{
        Status, custom, encode,
        kind::{Descriptor, GroupResource},
        kinds,
    },
    apiserver::reader::Reader,
    store::{self, Observer, Revision, Store},
};

mod history;
pub mod object;
pub mod resource;
pub mod ring;
pub mod selectable;
pub mod watcher;

pub use resource::ResourceCache;

use resource::{Slice, prefix};
use selectable::{Selectable, Selector};

/// The caches of all resources.
#[derive(Default)]
pub struct Caches {
    /// By `/registry/<group>/<plural>/`.
    resources: RwLock<HashMap<Box<str>, Arc<ResourceCache>>>,
    /// Caches of kinds that are another shape of a stored one, by the stored one's prefix.
    views: RwLock<HashMap<Box<str>, Vec<View>>>,
    /// All caches are complete up to this revision.
    revision: AtomicU64,
    /// Lists of earlier revisions are refused ([`history`]).
    oldest_listed: AtomicU64,
    /// What is known of values that are being committed, by the address of their bytes.
    staged: Mutex<HashMap<usize, Arc<Selectable>>>,
}

/// A kind whose objects are made of another one's.
struct View {
    /// Such as `events.k8s.io/v1`.
    api_version: String,
    cache: Arc<ResourceCache>,
    from_stored: fn(Value) -> Result<Value, Status>,
}

/// Keeps a value's labels and fields at hand while it is committed, so that the writer thread need
/// not decode it.
pub struct Staged<'a> {
    caches: &'a Caches,
    address: usize,
}

impl Caches {
    /// Fills caches for `kinds` from the store and follows it from there on. Blocking: reads the
    /// whole log.
    pub fn load(store: &Store, kinds: &[Descriptor]) -> Result<Arc<Self>, store::Error> {
        let caches = Arc::new(Self::default());
        let floor = store.compacted();
        for kind in kinds {
            caches.add(kind, floor);
        }
        // Objects of kinds that are only known once the definitions were read.
        let mut others: HashMap<String, Vec<store::Event>> = HashMap::new();
        store.replay(0, &mut |event| match resource_of(&event.key).filter(|prefix| !caches.knows(prefix)) {
            Some(prefix) => others.entry(prefix.to_owned()).or_default().push(event),
            None => caches.committed(&[event]),
        })?;
        caches.load_custom(others, floor);
        let revision = store.subscribe(caches.clone());
        caches.revision.fetch_max(revision, Ordering::Release);
        Ok(caches)
    }

    /// The cache of a kind, whose objects have that kind's shape.
    pub fn of_kind(&self, kind: &Descriptor) -> Option<Arc<ResourceCache>> {
        let Some(shared) = kinds::shared_storage(kind) else { return self.of(kind.group_resource()) };
        let (views, api_version) = (self.views.read(), kind.api_version());
        let views = views.get(&*prefix(shared.stored.group, shared.stored.resource))?;
        views.iter().find(|view| view.api_version == api_version).map(|view| view.cache.clone())
    }

    /// The cache of a resource, in the version that is stored if it has several.
    pub fn of(&self, resource: GroupResource<'_>) -> Option<Arc<ResourceCache>> {
        self.resources.read().get(&*prefix(resource.group, resource.resource)).cloned()
    }

    /// All caches.
    pub fn all(&self) -> Vec<Arc<ResourceCache>> {
        self.resources.read().values().cloned().collect()
    }

    /// All caches are complete up to this revision.
    pub fn revision(&self) -> Revision {
        self.revision.load(Ordering::Acquire)
    }

    /// Tells what selectors will look at in `value`, as long as the result lives.
    pub fn stage(&self, value: &Bytes, selectable: Selectable) -> Staged<'_> {
        // The bytes are shared, never copied, on their way through the store: no other value can
        // have this address while the caller holds this one.
        let address = value.as_ptr() as usize;
        self.staged.lock().insert(address, Arc::new(selectable));
        Staged { caches: self, address }
    }

    /// Keeps caches for exactly these kinds beside the built-in ones.
    pub fn serve(&self, custom: &[Descriptor]) {
        let floor = self.revision();
        let mut wanted: HashMap<String, &Descriptor> = HashMap::new();
        for kind in custom {
            let wanted = wanted.entry(prefix(&kind.group, &kind.plural)).or_insert(kind);
            if is_stored(kind) {
                *wanted = kind;
            }
        }
        self.resources.write().retain(|prefix, cache| {
            let kept = cache.kind().strategy.custom().is_none() || wanted.contains_key(&**prefix);
            if !kept {
                cache.close();
            }
            kept
        });
        for (prefix, kind) in wanted {
            let known = self.resources.read().get(&*prefix).cloned();
            match known {
                Some(cache) if cache.kind().strategy.custom().is_some() => cache.redefine(kind.clone()),
                Some(_) => {}
                None => self.add(kind, floor),
            }
        }
    }

    fn load_custom(&self, mut events: HashMap<String, Vec<store::Event>>, floor: Revision) {
        let definitions = self.list(GroupResource { group: custom::GROUP, resource: custom::DEFINITIONS }, None);
        for kind in definitions.iter().flat_map(custom::kinds) {
            self.add(&kind, floor);
            for event in events.remove(&prefix(&kind.group, &kind.plural)).unwrap_or_default() {
                self.committed(&[event]);
            }
            if let Some(cache) = self.of(kind.group_resource()) {
                cache.refresh();
            }
        }
    }

    fn knows(&self, prefix: &str) -> bool {
        self.resources.read().contains_key(prefix) || self.views.read().contains_key(prefix)
    }

    fn add(&self, kind: &Descriptor, floor: Revision) {
        // Kinds that are only ever posted are not stored.
        if !kind.verbs.contains(&"get") {
            return;
        }
        let own = prefix(&kind.group, &kind.plural);
        let shared = kinds::shared_storage(kind);
        let stored = shared.map_or_else(|| own.clone(), |shared| prefix(shared.stored.group, shared.stored.resource));
        let cache = Arc::new(ResourceCache::new(kind.clone(), &stored, floor));
        let known = self.resources.write().entry(own.into()).or_insert_with(|| cache.clone()).clone();
        if is_stored(kind) {
            known.redefine(kind.clone());
        }
        if let Some(shared) = shared {
            let view = View { api_version: kind.api_version(), cache, from_stored: shared.from_stored };
            self.views.write().entry(stored.into()).or_default().push(view);
        }
    }

    fn staged_of(&self, event: &store::Event) -> Option<Arc<Selectable>> {
        let address = event.value.as_ref()?.as_ptr() as usize;
        self.staged.lock().get(&address).cloned()
    }
}

impl Observer for Caches {
    fn committed(&self, events: &[store::Event]) {
        let mut by_resource: BTreeMap<&str, Vec<&store::Event>> = BTreeMap::new();
        for event in events {
            if let Some(prefix) = resource_of(&event.key) {
                by_resource.entry(prefix).or_default().push(event);
            }
        }
        let resources = self.resources.read();
        for (prefix, events) in by_resource {
            for view in self.views.read().get(prefix).into_iter().flatten() {
                view.apply(&events);
            }
            if let Some(cache) = resources.get(prefix) {
                cache.apply(events.into_iter().map(|event| (event, self.staged_of(event))));
            }
        }
        if let Some(last) = events.last() {
            self.revision.fetch_max(last.revision, Ordering::Release);
        }
    }

    fn answered(&self, events: &[store::Event]) {
        let touched: BTreeSet<&str> = events.iter().filter_map(|event| resource_of(&event.key)).collect();
        for prefix in touched {
            self.views.read().get(prefix).into_iter().flatten().for_each(|view| view.cache.announce());
            if let Some(cache) = self.resources.read().get(prefix) {
                cache.announce();
            }
        }
    }
}

impl View {
    fn apply(&self, events: &[&store::Event]) {
        let shaped: Vec<store::Event> = events.iter().filter_map(|event| self.shape(event)).collect();
        self.cache.apply(shaped.iter().map(|event| (event, None)));
    }

    fn shape(&self, event: &store::Event) -> Option<store::Event> {
        let Some(value) = &event.value else { return Some(event.clone()) };
        let stored = serde_json::from_slice(value).ok()?;
        let shaped = (self.from_stored)(stored).ok()?;
        Some(store::Event { value: Some(encode::encode(&shaped)), ..event.clone() })
    }
}

impl Reader for Caches {
    fn get(&self, resource: GroupResource<'_>, namespace: &str, name: &str) -> Option<Bytes> {
        let cache = self.of(resource)?;
        cache.get(&cache.key(namespace, name)).map(|object| object.json())
    }

    fn list(&self, resource: GroupResource<'_>, namespace: Option<&str>) -> Vec<Bytes> {
        let Some(cache) = self.of(resource) else { return Vec::new() };
        let slice = Slice { namespace, after: None, limit: 0, selector: &Selector::everything() };
        cache.list(&slice, 0).objects.iter().map(|object| object.json()).collect()
    }

    fn versions(&self, resource: GroupResource<'_>, namespace: &str) -> Vec<(String, u64)> {
        let Some(cache) = self.of(resource) else { return Vec::new() };
        let slice = Slice { namespace: Some(namespace), after: None, limit: 0, selector: &Selector::everything() };
        cache.list(&slice, 0).objects.iter().map(|object| (object.name().to_owned(), object.revision)).collect()
    }

    fn generation(&self, resource: GroupResource<'_>) -> u64 {
        self.of(resource).map_or(0, |cache| cache.revision())
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        self.caches.staged.lock().remove(&self.address);
    }
}

/// Whether a custom resource is stored in this version: the one that its cache should know.
fn is_stored(kind: &Descriptor) -> bool {
    kind.strategy.custom().is_some_and(|custom| custom.api_version == custom.stored_version)
}

/// `/registry/<group>/<plural>/` of a key.
fn resource_of(key: &str) -> Option<&str> {
    let rest = key.strip_prefix("/registry/")?;
    let group = rest.find('/')?;
    let plural = rest[group + 1..].find('/')?;
    Some(&key[.."/registry/".len() + group + 1 + plural + 1])
}

#[cfg(test)]
mod tests;
