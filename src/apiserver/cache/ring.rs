//! Recent events of one resource, shared by all its watchers. Each event keeps what the object was
//! before, which is what selectors need to tell an update from an appearance, and what lets a list
//! be continued at the revision it began with.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    apiserver::cache::object::{Change, Object},
    store::Revision,
};

/// Events that are kept at most.
const EVENTS_LIMIT: usize = 8192;
/// Events that are kept whatever they weigh.
const EVENTS_ALWAYS: usize = 256;
/// Bytes of superseded objects that are kept at most: current ones are in memory anyway.
const BYTES_LIMIT: usize = 8 << 20;

/// Something that happened to an object.
#[derive(Debug)]
pub struct Event {
    /// When.
    pub revision: Revision,
    /// What.
    pub change: Change,
    /// The object; for a deletion, its last state at the revision of the deletion.
    pub object: Arc<Object>,
    /// The object as it was before, if it was.
    pub previous: Option<Arc<Object>>,
}

/// A bounded queue of events.
#[derive(Debug)]
pub struct Ring {
    events: VecDeque<Arc<Event>>,
    /// All events after this revision are here.
    floor: Revision,
    /// Bytes of previous objects.
    bytes: usize,
}

impl Ring {
    /// An empty ring that knows everything after `floor`.
    pub fn new(floor: Revision) -> Self {
        Self { events: VecDeque::new(), floor, bytes: 0 }
    }

    /// Adds an event and drops the oldest beyond the limits.
    pub fn push(&mut self, event: Event) {
        if event.revision <= self.floor {
            return;
        }
        self.bytes += weight(&event);
        self.events.push_back(Arc::new(event));
        while self.events.len() > EVENTS_LIMIT || (self.bytes > BYTES_LIMIT && self.events.len() > EVENTS_ALWAYS) {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= weight(&oldest);
            self.floor = oldest.revision;
        }
    }

    /// Whether everything after `revision` is here.
    pub fn reaches(&self, revision: Revision) -> bool {
        revision >= self.floor
    }

    /// Events after `revision`, oldest first, at most `limit`. `None` if some of them are gone.
    pub fn after(&self, revision: Revision, limit: usize) -> Option<Vec<Arc<Event>>> {
        if !self.reaches(revision) {
            return None;
        }
        let first = self.events.partition_point(|event| event.revision <= revision);
        Some(self.events.range(first..).take(limit).cloned().collect())
    }

    /// What must be changed about the current objects to have those of `revision`: for each key
    /// that was touched since, the object of then, or `None` if it was not there.
    pub fn undo(&self, revision: Revision) -> Option<HashMap<Arc<str>, Option<Arc<Object>>>> {
        if !self.reaches(revision) {
            return None;
        }
        let first = self.events.partition_point(|event| event.revision <= revision);
        let mut then = HashMap::new();
        for event in self.events.range(first..) {
            then.entry(event.object.key.clone()).or_insert_with(|| event.previous.clone());
        }
        Some(then)
    }
}

fn weight(event: &Event) -> usize {
    let deletion = if event.change == Change::Deleted { event.object.size() } else { 0 };
    deletion + event.previous.as_ref().map_or(0, |previous| previous.size())
}
