//! The database file: its tables, its statements, and what SQLite's errors mean.
//!
//! `log` has one row per change; the value comes last so that reading the index of a large store
//! never touches the pages that values overflow into. `meta` has three numbers: `reserved`, the
//! revision up to which numbers may have been given out; `compacted`, up to which history is
//! incomplete; `swept`, up to which superseded rows have been removed.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};

use crate::store::{
    Error, Event, Revision,
    index::{Loaded, Shared, Slot},
};

/// Version of the tables, kept in the file's `user_version`.
const FORMAT: i64 = 1;
/// Size to which the write-ahead log shrinks again after a burst.
const JOURNAL_LIMIT_BYTES: u32 = 8 << 20;
/// Pages in the write-ahead log after which SQLite moves them into the database.
const CHECKPOINT_PAGES: u32 = 1000;
/// Memory for cached pages, per connection.
const PAGE_CACHE_KIB: i32 = 1024;
/// How long a statement waits for a lock that another process of ours (a backup) holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the lock of the file is waited for, and how often it is tried.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// How often a read is repeated when the entry it looked for was replaced meanwhile.
const READ_ATTEMPTS: usize = 16;

const COLUMNS: &str = "revision, key, create_revision, previous, value";

/// A change as it is written: the event, and the row on disk that it supersedes (which may be older
/// than the event's own predecessor, if that was never written).
pub struct Record<'a> {
    /// The change.
    pub event: &'a Event,
    /// Revision of the superseded row; 0 for none.
    pub previous_row: Revision,
}

/// The writer's connection. Holds the lock that keeps other processes out.
pub struct Database {
    connection: Connection,
    path: PathBuf,
    _lock: File,
}

impl Database {
    /// Opens or creates the file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let lock = prepare_files(path)?;
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let database = Self { connection, path: path.to_owned(), _lock: lock };
        database.set_up().map_err(|source| explain("open", path, source))?;
        database.migrate()?;
        Ok(database)
    }

    /// Reads the index of current keys and the counters.
    pub fn load(&mut self) -> Result<Loaded, Error> {
        self.try_load().map_err(|source| self.explain("read", source))
    }

    /// Writes records, and `reserved` if given, as one transaction that is on disk afterwards.
    pub fn write(&mut self, records: &[Record<'_>], reserved: Option<Revision>) -> Result<(), Error> {
        self.try_write(records, reserved).map_err(|source| self.explain("write to", source))
    }

    /// The change that made `revision`, if it is on disk.
    pub fn row(&self, revision: Revision) -> Result<Option<Event>, Error> {
        row(&self.connection, revision).map_err(|source| self.explain("read", source))
    }

    /// Removes what the rows in `(after, upto]` supersede, and those of them that are deletions.
    pub fn sweep(&mut self, after: Revision, upto: Revision, compacted: Revision) -> Result<(), Error> {
        self.try_sweep(after, upto, compacted).map_err(|source| self.explain("compact", source))
    }

    /// Revision that is `count` rows after `after`, and not beyond `upto`: the end of a sweep's step.
    pub fn step(&self, after: Revision, count: u64, upto: Revision) -> Result<Revision, Error> {
        let sql = "SELECT revision FROM log WHERE revision > ?1 ORDER BY revision LIMIT 1 OFFSET ?2";
        let found = self.connection.prepare_cached(sql).and_then(|mut statement| {
            statement.query_row(params![signed(after), signed(count)], |row| row.get::<_, i64>(0)).optional()
        });
        let found = found.map_err(|source| self.explain("read", source))?;
        Ok(found.map_or(upto, |revision| unsigned(revision).min(upto)))
    }

    /// Gives at most `pages` pages that removed rows left empty back to the file system.
    pub fn shrink(&mut self, pages: u32) -> Result<(), Error> {
        let shrink = || {
            let mut vacuum = self.connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut freed = vacuum.query([])?;
            while freed.next()?.is_some() {}
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        };
        shrink().map_err(|source| self.explain("shrink", source))
    }

    fn set_up(&self) -> rusqlite::Result<()> {
        let connection = &self.connection;
        // Must come before the first table is made.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "journal_size_limit", JOURNAL_LIMIT_BYTES)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        // Secrets that were deleted must not be found in free pages.
        connection.pragma_update(None, "secure_delete", "FAST")
    }

    fn migrate(&self) -> Result<(), Error> {
        let version = self.connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
        match version.map_err(|source| self.explain("open", source))? {
            FORMAT => Ok(()),
            0 => self.connection.execute_batch(&schema()).map_err(|source| self.explain("create", source)),
            found => Err(Error::Format { path: self.path.clone(), found, known: FORMAT }),
        }
    }

    fn try_load(&self) -> rusqlite::Result<Loaded> {
        let mut loaded = Loaded {
            revision: self.meta("reserved")?,
            compacted: self.meta("compacted")?,
            swept: self.meta("swept")?,
            ..Loaded::default()
        };
        let sql = "SELECT revision, key, create_revision, value IS NULL FROM log ORDER BY revision";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let revision = unsigned(row.get(0)?);
            let key = row.get_ref(1)?.as_str()?;
            loaded.revision = loaded.revision.max(revision);
            if row.get(3)? {
                loaded.entries.remove(key);
            } else {
                let slot = Slot { revision, create_revision: unsigned(row.get(2)?) };
                loaded.entries.insert(key.into(), slot);
            }
        }
        Ok(loaded)
    }

    fn try_write(&mut self, records: &[Record<'_>], reserved: Option<Revision>) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached(&format!("INSERT INTO log ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5)"))?;
            for Record { event, previous_row } in records {
                insert.execute(params![
                    signed(event.revision),
                    &*event.key,
                    signed(event.create_revision),
                    signed(*previous_row),
                    event.value.as_deref(),
                ])?;
            }
            if let Some(reserved) = reserved {
                set_meta(&transaction, "reserved", reserved)?;
            }
        }
        transaction.commit()
    }

    fn try_sweep(&mut self, after: Revision, upto: Revision, compacted: Revision) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let range = params![signed(after), signed(upto)];
        let superseded = "DELETE FROM log WHERE revision IN
            (SELECT previous FROM log WHERE revision > ?1 AND revision <= ?2 AND previous > 0)";
        transaction.prepare_cached(superseded)?.execute(range)?;
        let deletions = "DELETE FROM log WHERE revision > ?1 AND revision <= ?2 AND value IS NULL";
        transaction.prepare_cached(deletions)?.execute(range)?;
        set_meta(&transaction, "swept", upto)?;
        set_meta(&transaction, "compacted", compacted)?;
        transaction.commit()
    }

    fn meta(&self, name: &str) -> rusqlite::Result<Revision> {
        let sql = "SELECT value FROM meta WHERE name = ?1";
        self.connection.query_row(sql, [name], |row| row.get(0)).map(unsigned)
    }

    fn explain(&self, action: &'static str, source: rusqlite::Error) -> Error {
        explain(action, &self.path, source)
    }
}

/// The connection of those who only read.
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl Reader {
    /// Opens an existing database for reading.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// The current entry of a key.
    pub fn get(&self, shared: &Shared, key: &str) -> Result<Option<Event>, Error> {
        for _ in 0..READ_ATTEMPTS {
            let Some(slot) = shared.slot(key) else { return Ok(None) };
            if let Some(pending) = shared.pending_of(key) {
                return Ok(pending.event.value.is_some().then_some(pending.event));
            }
            if let Some(event) = row(&self.connection, slot.revision).map_err(|source| self.explain(source))? {
                return Ok(Some(event));
            }
        }
        Err(self.explain(rusqlite::Error::QueryReturnedNoRows))
    }

    /// All rows after a revision, in order.
    pub fn scan(&self, after: Revision, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let mut scan = || {
            let sql = format!("SELECT {COLUMNS} FROM log WHERE revision > ?1 ORDER BY revision");
            let mut statement = self.connection.prepare_cached(&sql)?;
            let mut rows = statement.query([signed(after)])?;
            while let Some(row) = rows.next()? {
                sink(event(row)?);
            }
            Ok(())
        };
        scan().map_err(|source| self.explain(source))
    }

    /// Writes a compact copy of everything to a new file.
    pub fn copy_to(&self, path: &Path) -> Result<(), Error> {
        let copied = self.connection.execute("VACUUM INTO ?1", [path.to_string_lossy()]);
        copied.map(drop).map_err(|source| explain("copy the database to", path, source))
    }

    fn explain(&self, source: rusqlite::Error) -> Error {
        explain("read", &self.path, source)
    }
}

/// Turns SQLite's error into one that says what to do.
pub fn explain(action: &'static str, path: &Path, source: rusqlite::Error) -> Error {
    let (path, code) = (path.to_owned(), source.sqlite_error_code());
    let source = Arc::new(source);
    match code {
        Some(ErrorCode::DiskFull) => Error::DiskFull { path, source },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Corrupt { path, source },
        _ => Error::Database { action, path, source },
    }
}

/// Sets one of the counters.
pub fn set_meta(connection: &Connection, name: &str, value: Revision) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    connection.prepare_cached(sql)?.execute(params![name, signed(value)]).map(drop)
}

/// Revisions fit SQLite's integers: at a million changes a second they last 290,000 years.
pub fn signed(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> Revision {
    Revision::try_from(value).unwrap_or(0)
}

fn schema() -> String {
    format!(
        "BEGIN;
         CREATE TABLE log (
             revision INTEGER PRIMARY KEY,
             key TEXT NOT NULL,
             create_revision INTEGER NOT NULL,
             previous INTEGER NOT NULL,
             value BLOB);
         CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
         INSERT INTO meta VALUES ('reserved', 0), ('compacted', 0), ('swept', 0);
         PRAGMA user_version = {FORMAT};
         COMMIT;"
    )
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    let open = || {
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "cache_size", -PAGE_CACHE_KIB)?;
        Ok(connection)
    };
    open().map_err(|source| explain("open", path, source))
}

/// Makes the directory and the file with modes that keep others out (SQLite gives its side files
/// the mode of the database), and takes the lock.
fn prepare_files(path: &Path) -> Result<File, Error> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { action, path, source: Arc::new(source) }
    };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        created.map_err(failed("create", directory))?;
    }
    let open = |path: &Path| OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    open(path).map_err(failed("create", path))?;
    let lock_path = path.with_extension("lock");
    let lock = open(&lock_path).map_err(failed("create", &lock_path))?;
    if !is_taken(&lock) {
        return Err(Error::InUse { path: path.to_owned() });
    }
    Ok(lock)
}

/// Takes the lock, if it is free or soon becomes so: a child that this process has just forked holds it, too,
/// until it executes something else.
fn is_taken(lock: &File) -> bool {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return true,
            Err(_) if Instant::now() >= deadline => return false,
            Err(_) => std::thread::sleep(LOCK_PAUSE),
        }
    }
}

fn row(connection: &Connection, revision: Revision) -> rusqlite::Result<Option<Event>> {
    let sql = format!("SELECT {COLUMNS} FROM log WHERE revision = ?1");
    connection.prepare_cached(&sql)?.query_row([signed(revision)], event).optional()
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        revision: unsigned(row.get(0)?),
        key: row.get_ref(1)?.as_str()?.into(),
        create_revision: unsigned(row.get(2)?),
        previous_revision: unsigned(row.get(3)?),
        value: row.get_ref(4)?.as_blob_or_null()?.map(Bytes::copy_from_slice),
    })
}
