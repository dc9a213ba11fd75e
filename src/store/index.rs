//! What the store keeps in memory: for each current key the revision its value is at, and relaxed
//! values that are not on disk yet. Written by the writer thread alone, read by everybody.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use parking_lot::RwLock;

use crate::store::{Error, Event, Observer, Revision};

/// Where a key's current value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Revision of the current value.
    pub revision: Revision,
    /// Revision at which the key was created.
    pub create_revision: Revision,
}

/// A relaxed change that is not on disk yet.
#[derive(Debug, Clone)]
pub struct Pending {
    /// The change.
    pub event: Event,
    /// Revision of the key's newest row on disk, which this change supersedes; 0 for none.
    pub on_disk: Revision,
}

/// The state a store starts from.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Current keys.
    pub entries: BTreeMap<Arc<str>, Slot>,
    /// No revision up to this one will be given again.
    pub revision: Revision,
    /// History is complete after this revision.
    pub compacted: Revision,
    /// Superseded rows up to this revision have been removed.
    pub swept: Revision,
}

/// The in-memory state and the observers.
pub struct Shared {
    state: RwLock<State>,
    observers: RwLock<Vec<Arc<dyn Observer>>>,
    /// Why the last write to disk failed, if it did.
    failure: RwLock<Option<Error>>,
    /// As loaded; the writer counts on from there.
    pub swept_at_open: Revision,
}

struct State {
    entries: BTreeMap<Arc<str>, Slot>,
    pending: HashMap<Arc<str>, Pending>,
    revision: Revision,
    compacted: Revision,
}

impl Shared {
    /// Takes over what was loaded.
    pub fn new(loaded: Loaded) -> Self {
        let Loaded { entries, revision, compacted, swept } = loaded;
        let state = State { entries, pending: HashMap::new(), revision, compacted };
        Self {
            state: RwLock::new(state),
            observers: RwLock::default(),
            failure: RwLock::default(),
            swept_at_open: swept,
        }
    }

    /// See [`crate::store::Store::health`].
    pub fn failure(&self) -> Option<Error> {
        self.failure.read().clone()
    }

    /// Remembers how the last write to disk went.
    pub fn wrote(&self, outcome: &Result<(), Error>) {
        let failure = outcome.as_ref().err();
        if failure.is_some() || self.failure.read().is_some() {
            *self.failure.write() = failure.cloned();
        }
    }

    /// See [`crate::store::Store::revision`].
    pub fn revision(&self) -> Revision {
        self.state.read().revision
    }

    /// See [`crate::store::Store::compacted`].
    pub fn compacted(&self) -> Revision {
        self.state.read().compacted
    }

    /// Forgets history up to `revision`.
    pub fn compact(&self, revision: Revision) {
        let mut state = self.state.write();
        state.compacted = state.compacted.max(revision);
    }

    /// Where a key is.
    pub fn slot(&self, key: &str) -> Option<Slot> {
        self.state.read().entries.get(key).copied()
    }

    /// The change to a key that is not on disk yet.
    pub fn pending_of(&self, key: &str) -> Option<Pending> {
        self.state.read().pending.get(key).cloned()
    }

    /// How many changes are not on disk yet.
    pub fn pending_count(&self) -> usize {
        self.state.read().pending.len()
    }

    /// All changes that are not on disk yet, by revision.
    pub fn pending(&self) -> Vec<Event> {
        let mut events: Vec<Event> = self.state.read().pending.values().map(|pending| pending.event.clone()).collect();
        events.sort_unstable_by_key(|event| event.revision);
        events
    }

    /// All changes that are not on disk yet, with what they supersede, by revision.
    pub fn pending_rows(&self) -> Vec<Pending> {
        let mut rows: Vec<Pending> = self.state.read().pending.values().cloned().collect();
        rows.sort_unstable_by_key(|pending| pending.event.revision);
        rows
    }

    /// Keys that begin with `prefix` and are not before `start`, at most `limit`.
    pub fn keys(&self, prefix: &str, start: &str, limit: usize) -> Vec<Arc<str>> {
        let from = if start > prefix { start } else { prefix };
        let state = self.state.read();
        let range = state.entries.range::<str, _>((Bound::Included(from), Bound::Unbounded));
        range.map(|(key, _)| key).take_while(|key| key.starts_with(prefix)).take(limit).cloned().collect()
    }

    /// Makes a commit visible. `written` says that all relaxed changes that waited are on disk now;
    /// `waiting` is what waits for each key that the commit touched.
    pub fn apply(&self, events: &[Event], written: bool, waiting: Vec<(Arc<str>, Option<Pending>)>) {
        let mut state = self.state.write();
        for event in events {
            state.revision = event.revision;
            if event.value.is_some() {
                let slot = Slot { revision: event.revision, create_revision: event.create_revision };
                state.entries.insert(event.key.clone(), slot);
            } else {
                state.entries.remove(&event.key);
            }
        }
        if written {
            state.pending.clear();
        }
        for (key, pending) in waiting {
            match pending {
                Some(pending) => state.pending.insert(key, pending),
                None => state.pending.remove(&key),
            };
        }
    }

    /// Tells all observers of a commit.
    pub fn notify(&self, events: &[Event]) {
        self.each(events, |observer| observer.committed(events));
    }

    /// Tells all observers that its writers know of it.
    pub fn notify_answered(&self, events: &[Event]) {
        self.each(events, |observer| observer.answered(events));
    }

    fn each(&self, events: &[Event], tell: impl Fn(&dyn Observer)) {
        if !events.is_empty() {
            self.observers.read().iter().for_each(|observer| tell(&**observer));
        }
    }

    /// See [`crate::store::Store::subscribe`].
    pub fn subscribe(&self, observer: Arc<dyn Observer>) -> Revision {
        let mut observers = self.observers.write();
        observers.push(observer);
        self.revision()
    }
}
