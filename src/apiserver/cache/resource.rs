//! The cache of one resource: its current objects by key, and its recent events.

use std::{
    collections::{BTreeMap, btree_map},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::watch;

use crate::{
    api::kind::Descriptor,
    apiserver::cache::{
        object::Object,
        ring::{Event, Ring},
        selectable::{Selectable, Selector},
    },
    store::{self, Revision},
};

/// Objects and events of one group and resource.
pub struct ResourceCache {
    kind: ArcSwap<Descriptor>,
    /// `/registry/<group>/<plural>/`, of the resource as it is stored.
    prefix: Box<str>,
    closed: AtomicBool,
    state: RwLock<State>,
    /// The last revision, for those who wait for the next.
    wake: watch::Sender<Revision>,
}

struct State {
    objects: BTreeMap<Arc<str>, Arc<Object>>,
    /// Bytes of the objects, encoded.
    bytes: usize,
    ring: Ring,
    /// Revision of the last event.
    revision: Revision,
}

/// Which part of a resource a list is about.
#[derive(Debug, Clone)]
pub struct Slice<'a> {
    /// One namespace, or all.
    pub namespace: Option<&'a str>,
    /// Begin after this key.
    pub after: Option<&'a str>,
    /// Objects at most; 0 for no limit.
    pub limit: usize,
    /// Only those that match.
    pub selector: &'a Selector,
}

/// A part of a resource, all of one revision.
#[derive(Debug)]
pub struct Page {
    /// The objects, by key.
    pub objects: Vec<Arc<Object>>,
    /// The revision they are of.
    pub revision: Revision,
    /// Whether more follow.
    pub more: bool,
    /// How many follow, where that is known without looking at them.
    pub remaining: Option<usize>,
}

/// The history that was asked for is no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired;

impl ResourceCache {
    /// An empty cache whose history begins after `floor`; its objects' keys begin with `prefix`.
    pub fn new(kind: Descriptor, prefix: &str, floor: Revision) -> Self {
        let prefix = prefix.into();
        // Objects that were last changed before the floor are read from the log like all others: only
        // the ring begins there.
        let state = State { objects: BTreeMap::new(), bytes: 0, ring: Ring::new(floor), revision: 0 };
        let kind = ArcSwap::from_pointee(kind);
        Self {
            kind,
            prefix,
            closed: AtomicBool::new(false),
            state: RwLock::new(state),
            wake: watch::Sender::new(floor),
        }
    }

    /// The kind whose objects these are.
    pub fn kind(&self) -> Arc<Descriptor> {
        self.kind.load_full()
    }

    /// The kind's definition has changed.
    pub fn redefine(&self, kind: Descriptor) {
        let tag = |kind: &Descriptor| kind.strategy.custom().map(|custom| custom.tag.clone());
        let same = tag(&kind) == tag(&self.kind.swap(Arc::new(kind.clone())));
        if !same {
            self.refresh();
        }
    }

    /// Shows objects that were stored before the last change of their definition as that has them now.
    pub fn refresh(&self) {
        let kind = self.kind();
        let Some(custom) = kind.strategy.custom() else { return };
        let all = self.state.read().objects.values().filter(|one| one.revision < custom.revision).cloned().collect();
        // Objects are decoded without the lock.
        let changed: Vec<(Arc<Object>, Arc<Object>)> =
            Vec::into_iter(all).filter_map(|object: Arc<Object>| Some((object.refreshed(custom)?, object))).collect();
        let mut state = self.state.write();
        for (refreshed, object) in changed {
            let State { objects, bytes, .. } = &mut *state;
            if let Some(current) = objects.get_mut(&object.key).filter(|current| Arc::ptr_eq(current, &object)) {
                *bytes = *bytes + refreshed.size() - object.size();
                *current = refreshed;
            }
        }
    }

    /// The kind is no longer served: all watches end.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake.send_modify(|_| {});
    }

    /// The store's key of an object.
    pub fn key(&self, namespace: &str, name: &str) -> Arc<str> {
        let separator = if namespace.is_empty() { "" } else { "/" };
        format!("{}{namespace}{separator}{name}", self.prefix).into()
    }

    /// The object at `key`.
    pub fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.state.read().objects.get(key).cloned()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.state.read().objects.len()
    }

    /// How many objects there are, and their bytes.
    pub fn weight(&self) -> (usize, usize) {
        let state = self.state.read();
        (state.objects.len(), state.bytes)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Revision of the last event.
    pub fn revision(&self) -> Revision {
        self.state.read().revision
    }

    /// Objects as they are now; `known` is a revision up to which all caches are complete.
    pub fn list(&self, slice: &Slice<'_>, known: Revision) -> Page {
        let state = self.state.read();
        let revision = state.revision.max(known);
        self.list_current(state, slice, revision)
    }

    fn list_current(&self, state: RwLockReadGuard<'_, State>, slice: &Slice<'_>, revision: Revision) -> Page {
        let range = self.range(&state, slice);
        if slice.selector.is_everything() {
            let mut range = range;
            let objects: Vec<_> = range.by_ref().take(limit(slice)).map(|(_, object)| object.clone()).collect();
            let remaining = range.count();
            return Page { objects, revision, more: remaining > 0, remaining: Some(remaining) };
        }
        let candidates: Vec<_> = range.map(|(_, object)| object.clone()).collect();
        // Selecting may decode objects: not under the lock.
        drop(state);
        self.select(candidates, slice, revision)
    }

    /// Objects as they were at `revision`.
    pub fn list_at(&self, slice: &Slice<'_>, revision: Revision) -> Result<Page, Expired> {
        let state = self.state.read();
        let undo = state.ring.undo(revision).ok_or(Expired)?;
        if undo.is_empty() {
            // A page must not cost more the more objects there are.
            return Ok(self.list_current(state, slice, revision));
        }
        let mut then: BTreeMap<Arc<str>, Arc<Object>> = BTreeMap::new();
        let (namespace, after) = (self.namespace_prefix(slice.namespace), slice.after.unwrap_or_default());
        for (key, object) in &undo {
            if let (Some(object), true) = (object, key.starts_with(&*namespace) && **key > *after) {
                then.insert(key.clone(), object.clone());
            }
        }
        let mut gone = then.into_iter().peekable();
        let mut objects = Vec::new();
        // Objects that were touched since come from `undo`, all others are as they were.
        for (key, object) in self.range(&state, slice) {
            while let Some((_, earlier)) = gone.next_if(|(earlier, _)| earlier <= key) {
                objects.push(earlier);
            }
            if !undo.contains_key(key) {
                objects.push(object.clone());
            }
        }
        objects.extend(gone.map(|(_, object)| object));
        drop(state);
        Ok(self.select(objects, slice, revision))
    }

    /// Events after `revision`, at most `limit`.
    pub fn events_after(&self, revision: Revision, limit: usize) -> Result<Vec<Arc<Event>>, Expired> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Expired);
        }
        self.state.read().ring.after(revision, limit).ok_or(Expired)
    }

    /// Whether a watch can begin after `revision`.
    pub fn reaches(&self, revision: Revision) -> bool {
        self.state.read().ring.reaches(revision)
    }

    /// Changes whenever there is a new event.
    pub fn changes(&self) -> watch::Receiver<Revision> {
        self.wake.subscribe()
    }

    /// How many watch.
    pub fn watchers(&self) -> usize {
        self.wake.receiver_count()
    }

    /// Takes in events of one commit that are of this resource. Nobody is woken: see [`ResourceCache::announce`].
    pub fn apply<'a>(&self, events: impl Iterator<Item = (&'a store::Event, Option<Arc<Selectable>>)>) {
        let mut state = self.state.write();
        for (event, selectable) in events {
            // At the start an event may come both from the log and from the writer.
            if event.revision > state.revision {
                state.apply(event, selectable);
            }
        }
    }

    /// Wakes all who wait for events, of which there may be thousands.
    pub fn announce(&self) {
        self.wake.send_replace(self.revision());
    }

    fn select(&self, candidates: Vec<Arc<Object>>, slice: &Slice<'_>, revision: Revision) -> Page {
        let kind = self.kind.load();
        let strategy = &*kind.strategy;
        let everything = slice.selector.is_everything();
        let total = candidates.len();
        let mut matching = candidates.into_iter().filter(|object| slice.selector.matches(object, strategy));
        let objects: Vec<_> = matching.by_ref().take(limit(slice)).collect();
        let more = matching.next().is_some();
        let remaining = everything.then(|| total - objects.len());
        Page { objects, revision, more, remaining }
    }

    fn range<'s>(&self, state: &'s State, slice: &Slice<'_>) -> btree_map::Range<'s, Arc<str>, Arc<Object>> {
        let prefix = self.namespace_prefix(slice.namespace);
        // Prefixes end with a slash, and this is the character after it.
        let end = format!("{}0", prefix.trim_end_matches('/'));
        let start = match slice.after {
            Some(after) if *after >= *end => Bound::Included(&*end),
            Some(after) if *after > *prefix => Bound::Excluded(after),
            _ => Bound::Included(&*prefix),
        };
        state.objects.range::<str, _>((start, Bound::Excluded(&*end)))
    }

    fn namespace_prefix(&self, namespace: Option<&str>) -> String {
        namespace.map_or_else(|| self.prefix.to_string(), |namespace| format!("{}{namespace}/", self.prefix))
    }
}

impl State {
    fn apply(&mut self, event: &store::Event, selectable: Option<Arc<Selectable>>) {
        self.revision = event.revision;
        let (object, previous) = if event.value.is_some() {
            let Some(object) = Object::stored(event).map(Arc::new) else {
                tracing::warn!(key = &*event.key, "a stored value is no object and is not served");
                return;
            };
            if let Some(selectable) = selectable {
                object.set_selectable(selectable);
            }
            let previous = self.objects.insert(event.key.clone(), object.clone());
            self.bytes += object.size();
            (object, previous)
        } else {
            let Some(previous) = self.objects.remove(&event.key) else { return };
            (Arc::new(previous.deleted(event.revision)), Some(previous))
        };
        self.bytes -= previous.as_ref().map_or(0, |previous| previous.size());
        let change = object.change;
        self.ring.push(Event { revision: event.revision, change, object, previous });
    }
}

/// `/registry/<group>/<plural>/`, with `core` for the group without a name.
pub fn prefix(group: &str, plural: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    format!("/registry/{group}/{plural}/")
}

fn limit(slice: &Slice<'_>) -> usize {
    if slice.limit == 0 { usize::MAX } else { slice.limit }
}
