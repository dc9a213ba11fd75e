//! What can go wrong in the store, and what an operator does about it.

use std::{path::PathBuf, sync::Arc};

use crate::store::{Event, Revision};

/// A failed operation of the store. Cloned for every writer of a commit that failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The key is not what the change expected; `current` is what it is.
    #[error("{key} is not as the change expected")]
    Conflict {
        /// The key.
        key: Arc<str>,
        /// Its entry now; `None` if it is not there.
        current: Option<Box<Event>>,
    },
    /// The asked-for part of the history is gone.
    #[error("history up to revision {compacted} is gone")]
    Compacted {
        /// History is complete after this revision.
        compacted: Revision,
    },
    /// The key or its value is larger than the store takes.
    #[error("key or value of {key:.64} is too large")]
    TooLarge {
        /// The key.
        key: Arc<str>,
    },
    /// The disk is full. Reads go on; writes work again as soon as there is space.
    #[error("no space left for {}: free some space on that file system, writes then work again", path.display())]
    DiskFull {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The file is not a sound database.
    #[error("{} is damaged: stop the server, keep a copy of the file and restore a backup", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The file was written by a program that knows more than this one.
    #[error("{} has format {found}, this program knows formats up to {known}: use a newer one", path.display())]
    Format {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format this program reads.
        known: i64,
    },
    /// Another process has the store open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// Any other failure of SQLite.
    #[error("failed to {action} {}", path.display())]
    Database {
        /// What was tried.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// A file operation beside the database failed.
    #[error("failed to {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The writer thread could not be started.
    #[error("failed to start the writer thread")]
    Thread {
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
