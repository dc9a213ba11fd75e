//! A watch on one resource: a position in its ring. It has no queue of its own, so a slow watcher
//! holds nothing up; when the ring has moved past it, its watch ends.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    apiserver::cache::{
        object::{Change, Object},
        resource::{Expired, ResourceCache},
        ring::Event,
        selectable::Selector,
    },
    store::Revision,
};

/// Events that are looked at in one go.
const BATCH: usize = 256;

/// A position in a resource's events.
pub struct Watcher {
    cache: Arc<ResourceCache>,
    selector: Selector,
    /// `/registry/<group>/<plural>/<namespace>/`, or empty for all namespaces.
    prefix: String,
    position: Revision,
    changes: watch::Receiver<Revision>,
}

/// An event as one watcher sees it.
pub struct Seen {
    /// What happened, for this watcher.
    pub change: Change,
    /// The object.
    pub object: Arc<Object>,
    /// The object before, if there was one.
    pub previous: Option<Arc<Object>>,
}

impl Watcher {
    /// A watch on what happens after `position`.
    pub fn new(cache: Arc<ResourceCache>, namespace: Option<&str>, selector: Selector, position: Revision) -> Self {
        let prefix = namespace.map_or_else(String::new, |namespace| cache.key(namespace, "").to_string());
        let changes = cache.changes();
        Self { cache, selector, prefix, position, changes }
    }

    /// The revision up to which everything was seen.
    pub fn position(&self) -> Revision {
        self.position
    }

    /// Moves the position on when nothing of this resource happened up to `revision`.
    pub fn caught_up(&mut self, revision: Revision) {
        self.position = self.position.max(revision);
    }

    /// Waits for events that concern this watcher. Cancel-safe.
    pub async fn next(&mut self) -> Result<Vec<Seen>, Expired> {
        loop {
            self.changes.mark_unchanged();
            let seen = self.ready()?;
            if !seen.is_empty() {
                return Ok(seen);
            }
            if self.changes.changed().await.is_err() {
                return Err(Expired);
            }
        }
    }

    /// Events that concern this watcher and have already happened; empty when there are none.
    pub fn ready(&mut self) -> Result<Vec<Seen>, Expired> {
        loop {
            let events = self.cache.events_after(self.position, BATCH)?;
            let Some(last) = events.last() else { return Ok(Vec::new()) };
            self.position = last.revision;
            let seen: Vec<Seen> = events.iter().filter_map(|event| self.see(event)).collect();
            if !seen.is_empty() {
                return Ok(seen);
            }
        }
    }

    /// An update of an object that did not match before is an addition, and of one that no longer
    /// matches a deletion.
    fn see(&self, event: &Event) -> Option<Seen> {
        if !event.object.key.starts_with(&self.prefix) {
            return None;
        }
        let kind = self.cache.kind();
        let strategy = &*kind.strategy;
        let matches = |object: &Object| self.selector.matches(object, strategy);
        let before = event.previous.as_ref().is_some_and(|previous| matches(previous));
        let now = event.change != Change::Deleted && matches(&event.object);
        see(before, now, event.change, event.object.clone(), event.previous.clone())
    }
}

/// What a watcher sees of a change, for whom the object matched `before` and matches `now`.
pub fn see(
    before: bool,
    now: bool,
    change: Change,
    object: Arc<Object>,
    previous: Option<Arc<Object>>,
) -> Option<Seen> {
    match (before, now) {
        (false, false) => None,
        (false, true) => Some(Seen { change: Change::Added, object, previous }),
        (true, true) => Some(Seen { change: Change::Modified, object, previous }),
        (true, false) if change == Change::Deleted => Some(Seen { change, object, previous }),
        // The object as it was when it still matched, at the revision at which it ceased to.
        (true, false) => {
            let last = Arc::new(previous.as_ref()?.deleted(object.revision));
            Some(Seen { change: Change::Deleted, object: last, previous })
        }
    }
}
