//! Copies of the whole store: made while it is in use, and put back while it is not.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OpenFlags};

use crate::store::{
    Error, Revision,
    database::{self, Database, Reader},
};

/// Added to the revision after a restore. Changes made after the backup was taken are unknown to
/// it, but clients have seen their revisions: none of those may be given again.
const RESTORE_GAP: Revision = 1_000_000;

/// Puts the backup at `from` in the place of the database at `path`, which must not be in use.
/// All history is dropped, so that every client lists anew. The backup is checked first: a damaged
/// one leaves the database as it is.
pub fn restore(from: &Path, path: &Path) -> Result<(), Error> {
    let temporary = beside(path, "restore");
    let prepared = prepare(from, path, &temporary);
    if prepared.is_err() {
        // The error that led here is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    prepared?;
    for suffix in ["-wal", "-shm"] {
        remove_if_there(&suffixed(path, suffix))?;
        remove_if_there(&suffixed(&temporary, suffix))?;
    }
    fs::rename(&temporary, path).map_err(file_error("replace", path))?;
    sync_directory(path)
}

/// Writes a copy to a new file that is there whole or not at all.
pub fn write(reader: &Reader, path: &Path) -> Result<(), Error> {
    let temporary = beside(path, "part");
    remove_if_there(&temporary)?;
    // Made before SQLite opens it, so that it never exists with a mode others could read.
    private_file(&temporary)?;
    let written = reader
        .copy_to(&temporary)
        .and_then(|()| File::open(&temporary).and_then(|file| file.sync_all()).map_err(file_error("sync", &temporary)))
        .and_then(|()| fs::rename(&temporary, path).map_err(file_error("create", path)));
    if written.is_err() {
        // The error that led here is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_directory(path)
}

fn prepare(from: &Path, path: &Path, temporary: &Path) -> Result<(), Error> {
    check(from)?;
    let replaced = replaced_revision(path)?;
    remove_if_there(temporary)?;
    private_file(temporary)?;
    let copied = File::open(from).and_then(|mut from| io::copy(&mut from, &mut File::create(temporary)?));
    copied.map_err(file_error("copy", from))?;
    let mut copy = Database::open(temporary)?;
    let revision = replaced.max(copy.load()?.revision) + RESTORE_GAP;
    copy.write(&[], Some(revision))?;
    let swept = copy.load()?.swept;
    copy.sweep(swept, swept, revision)?;
    copy.shrink(u32::MAX)?;
    drop(copy);
    remove_if_there(&temporary.with_extension("lock"))?;
    File::open(temporary).and_then(|file| file.sync_all()).map_err(file_error("sync", temporary))
}

/// The last revision of the database that is about to be replaced; 0 if there is none, or none that
/// can be read: a damaged database is what backups are for.
fn replaced_revision(path: &Path) -> Result<Revision, Error> {
    if !path.exists() {
        return Ok(0);
    }
    match Database::open(path).and_then(|mut database| database.load()) {
        Ok(loaded) => Ok(loaded.revision),
        Err(error @ Error::InUse { .. }) => Err(error),
        Err(_) => Ok(0),
    }
}

fn check(path: &Path) -> Result<(), Error> {
    let query = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0))
    };
    let verdict = query().map_err(|source| database::explain("check", path, source))?;
    if verdict == "ok" {
        return Ok(());
    }
    let source = Arc::new(rusqlite::Error::InvalidParameterName(verdict));
    Err(Error::Corrupt { path: path.to_owned(), source })
}

fn private_file(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::OpenOptionsExt;
    let created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.map(drop).map_err(file_error("create", path))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    suffixed(path, &format!(".{suffix}"))
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(file_error("remove", path)(source)),
        _ => Ok(()),
    }
}

fn sync_directory(path: &Path) -> Result<(), Error> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|file| file.sync_all()).map_err(file_error("sync", directory))
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source: Arc::new(source) }
}
