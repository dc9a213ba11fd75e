//! The revisioned key-value log: an append-only SQLite table, one writer lane, group commit.
//!
//! Keys are paths (`/registry/pods/default/web`), values opaque bytes. Every change gets the next
//! revision; the index of current keys is in memory. What is acknowledged has been fsynced, except
//! for relaxed writes, which may be lost by a power cut (never by a crash of the process).

use std::sync::Arc;

use bytes::Bytes;

/// A revision of the store. The first change is revision 1; 0 is "before everything".
pub type Revision = u64;

/// How soon a change must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before it is acknowledged.
    Strict,
    /// With the next strict commit, or after some seconds. For Leases and Events.
    Relaxed,
}

/// What the key must be for a change to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Any,
    /// Not there.
    Absent,
    /// Last changed at this revision.
    Revision(Revision),
}

/// A change that is asked for.
#[derive(Debug, Clone)]
pub struct Change {
    /// The key.
    pub key: Arc<str>,
    /// The new value; `None` deletes the key.
    pub value: Option<Bytes>,
    /// The condition.
    pub expect: Expect,
    /// The durability class.
    pub durability: Durability,
}

/// A change that has happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// The revision it made; for an entry that was read, the revision that made it.
    pub revision: Revision,
    /// The key.
    pub key: Arc<str>,
    /// The value it now has; `None` after a deletion.
    pub value: Option<Bytes>,
    /// The revision at which the key was created (of this incarnation).
    pub create_revision: Revision,
    /// The revision that this change replaced; 0 if the key did not exist.
    pub previous_revision: Revision,
}

/// Told of every commit, in order, after it happened and before its writers are answered: what it
/// keeps therefore never lags behind what a writer has seen acknowledged.
pub trait Observer: Send + Sync {
    /// The events of one commit, by revision. Runs on the writer lane: must be quick and not block.
    fn committed(&self, events: &[Event]);
}
