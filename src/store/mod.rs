//! The revisioned key-value log: an append-only SQLite table, one writer thread, group commit.
//!
//! Keys are paths (`/registry/core/pods/default/web`), values opaque bytes. Every change gets the
//! next revision; the index of current keys is in memory. What is acknowledged as strict has been
//! fsynced. Relaxed changes are visible at once and written along with the next strict commit, or
//! after some time; a crash may lose them, but never makes a revision be given twice.
//!
//! - `database` the file: tables, statements, what its errors mean for an operator
//! - `index` what is in memory: where each key's current value is, relaxed values not yet written
//! - `queue` changes on their way to the writer; bounded
//! - `writer` the thread that decides, commits, and tells observers
//! - `sweep` removal of superseded rows
//! - `backup` copies of the whole store, made and put back

use std::{panic::AssertUnwindSafe, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::base::lane::Lane;

mod backup;
mod database;
mod error;
mod index;
mod queue;
mod sweep;
mod writer;

pub use backup::restore;
pub use error::Error;

use database::Reader;
use index::Shared;
use queue::{Queue, Request};

/// A revision of the store. The first change is revision 1; 0 is "before everything".
pub type Revision = u64;

/// Largest value that is accepted, in bytes. Above the API's own object limit, so that it is only
/// ever met by other users of the store.
pub const VALUE_LIMIT_BYTES: usize = 4 << 20;
/// Longest key, in bytes.
pub const KEY_LIMIT_BYTES: usize = 1024;

/// How soon a change must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before it is acknowledged.
    Strict,
    /// With the next strict commit, or after some time. For Leases and Events.
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The events of one commit, by revision. Runs on the writer thread: must be quick and not block.
    fn committed(&self, events: &[Event]);
    /// The writers of these events have been answered. Whoever wakes others does it here: thousands may
    /// wait for a change, and its writer would stand behind them.
    fn answered(&self, _events: &[Event]) {}
}

/// How a store behaves. The defaults suit a small machine with flash storage.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long superseded revisions are kept.
    pub history: Duration,
    /// How many revisions are kept at most, however young.
    pub history_revisions: u64,
    /// How long a relaxed change to a key that is not yet on disk may wait.
    pub relaxed_first: Duration,
    /// How long a relaxed change to a key that is already on disk may wait. Renewals of Leases are
    /// all of this kind, and would otherwise wake the disk of an idle machine every few seconds.
    pub relaxed_again: Duration,
    /// Superseded rows that may gather before they are removed.
    pub sweep_batch: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            history: Duration::from_secs(300),
            history_revisions: 20_000,
            relaxed_first: Duration::from_secs(10),
            relaxed_again: Duration::from_secs(900),
            sweep_batch: 1_000,
        }
    }
}

/// An open store. Cheap to clone; the last clone to go closes it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    reader: Arc<Mutex<Reader>>,
    lane: Lane,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Store {
    /// Opens the database file at `path`, creating it (mode 0600) and its directory if needed.
    /// Reads the index of all keys: blocking, to be called before serving starts.
    pub fn open(path: &Path, options: Options) -> Result<Self, Error> {
        let mut database = database::Database::open(path)?;
        let shared = Arc::new(Shared::new(database.load()?));
        let reader = Arc::new(Mutex::new(Reader::open(path)?));
        let queue = Arc::new(Queue::default());
        let writer = writer::Writer::new(database, shared.clone(), queue.clone(), options);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                // What the panic was is in the log. Without its writer the server would only seem to work.
                if std::panic::catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                    std::process::abort();
                }
            })
            .map_err(|source| Error::Thread { source: Arc::new(source) })?;
        let thread = Mutex::new(Some(thread));
        // One reading connection: reads happen at start and for history, never on the hot path.
        Ok(Self { inner: Arc::new(Inner { shared, queue, reader, lane: Lane::new(1), thread }) })
    }

    /// Makes a change. Strict changes are on disk when this returns; all are visible to
    /// observers and readers. Fails with [`Error::Conflict`] when the key is not as expected.
    pub async fn commit(&self, change: Change) -> Result<Event, Error> {
        if change.key.len() > KEY_LIMIT_BYTES || change.value.as_ref().is_some_and(|v| v.len() > VALUE_LIMIT_BYTES) {
            return Err(Error::TooLarge { key: change.key });
        }
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.inner.queue.push(Request::Change { change, reply }).await?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// The current entry of `key`.
    pub async fn get(&self, key: &str) -> Result<Option<Event>, Error> {
        let key: Arc<str> = key.into();
        self.read(move |shared, reader| reader.get(shared, &key)).await
    }

    /// Current entries whose keys begin with `prefix` and are not before `start` (empty: from the
    /// first), in key order, at most `limit`.
    pub async fn range(&self, prefix: &str, start: &str, limit: usize) -> Result<Vec<Event>, Error> {
        let keys = self.inner.shared.keys(prefix, start, limit);
        self.read(move |shared, reader| {
            let entries = keys.iter().map(|key| reader.get(shared, key));
            entries.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// Hands every known change after revision `after` to `sink`, in order: with 0, all current
    /// entries with as much history as there is. Changes up to [`Store::compacted`] may be
    /// missing where later ones replaced them, so asking for those alone is [`Error::Compacted`].
    /// Blocking; reads the disk.
    pub fn replay(&self, after: Revision, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let compacted = self.compacted();
        if after != 0 && after < compacted {
            return Err(Error::Compacted { compacted });
        }
        let pending = self.inner.shared.pending();
        let reader = self.inner.reader.lock();
        let mut pending = pending.into_iter().filter(|event| event.revision > after).peekable();
        let mut last = after;
        reader.scan(after, &mut |event| {
            while let Some(earlier) = pending.next_if(|waiting| waiting.revision <= event.revision) {
                if earlier.revision < event.revision {
                    sink(earlier);
                }
            }
            last = event.revision;
            sink(event);
        })?;
        pending.for_each(&mut *sink);
        Ok(())
    }

    /// Whether changes can be written: fails as the last write to disk did, or once the writer has gone.
    pub fn health(&self) -> Result<(), Error> {
        if self.inner.thread.lock().as_ref().is_none_or(std::thread::JoinHandle::is_finished) {
            return Err(Error::Closed);
        }
        self.inner.shared.failure().map_or(Ok(()), Err)
    }

    /// The revision of the last commit.
    pub fn revision(&self) -> Revision {
        self.inner.shared.revision()
    }

    /// History is complete after this revision and gone before it.
    pub fn compacted(&self) -> Revision {
        self.inner.shared.compacted()
    }

    /// Registers an observer for all commits to come and returns the revision it starts after.
    pub fn subscribe(&self, observer: Arc<dyn Observer>) -> Revision {
        self.inner.shared.subscribe(observer)
    }

    /// Writes relaxed changes that are still waiting, and waits until they are on disk.
    pub async fn flush(&self) -> Result<(), Error> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.inner.queue.push(Request::Flush { reply }).await?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Drops all history up to now and gives its space back. Blocks no reader; writers wait
    /// between the steps only.
    pub async fn compact(&self) -> Result<(), Error> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.inner.queue.push(Request::Compact { reply }).await?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Writes a consistent copy of the store to a new file at `path` while it stays in use.
    pub async fn backup(&self, path: &Path) -> Result<(), Error> {
        self.flush().await?;
        let path = path.to_owned();
        self.read(move |_, reader| backup::write(reader, &path)).await
    }

    /// Writes what waits and closes the files. Changes asked for afterwards fail with
    /// [`Error::Closed`].
    pub async fn close(&self) {
        self.inner.queue.close();
        let thread = self.inner.thread.lock().take();
        if let Some(thread) = thread {
            self.inner.lane.run(move || drop(thread.join())).await;
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, &Reader) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (shared, reader) = (self.inner.shared.clone(), self.inner.reader.clone());
        self.inner.lane.run(move || work(&shared, &reader.lock())).await
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.get_mut().take() {
            // What still waits must be on disk before the process may end.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
