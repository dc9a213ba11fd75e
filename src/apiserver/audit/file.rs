//! The file of the audit log: private, and replaced by a new one before it grows too large. What is
//! kept beside it is named by the time it was put aside (`audit-2026-01-02T15-04-05.000.log`).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::base::file::SECRET_MODE;

const MEGABYTE: u64 = 1024 * 1024;
/// Size of a file where none is given (as upstream's log writer has it), in megabytes.
const DEFAULT_SIZE_MB: u64 = 100;
const TIME_FORM: &str = "%Y-%m-%dT%H-%M-%S.%3f";

/// What is kept of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Days after which files that were put aside are removed; 0 for never (`--audit-log-maxage`).
    pub days: u32,
    /// Files that are kept aside; 0 for all (`--audit-log-maxbackup`).
    pub files: u32,
    /// Megabytes of a file; 0 for 100 (`--audit-log-maxsize`).
    pub megabytes: u32,
}

/// A log file that is open.
pub struct LogFile {
    path: PathBuf,
    retention: Retention,
    file: File,
    size: u64,
}

impl LogFile {
    /// Opens or makes the file, and its folder.
    pub fn open(path: &Path, retention: Retention) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let file = open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), retention, file, size })
    }

    fn limit_bytes(&self) -> u64 {
        let megabytes = match self.retention.megabytes {
            0 => DEFAULT_SIZE_MB,
            given => given.into(),
        };
        megabytes * MEGABYTE
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let now = Timestamp::now();
        fs::rename(&self.path, aside(&self.path, now))?;
        self.file = open(&self.path)?;
        self.size = 0;
        // Old files are a nuisance, not a failure of the log.
        if let Err(error) = self.sweep(now) {
            tracing::warn!(%error, "old audit logs could not be removed");
        }
        Ok(())
    }

    fn sweep(&self, now: Timestamp) -> io::Result<()> {
        let kept = find_aside(&self.path)?;
        for path in superfluous(kept, self.retention, now) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let length = event.len() as u64;
        if self.size > 0 && self.size + length > self.limit_bytes() {
            self.rotate()?;
        }
        self.file.write_all(event)?;
        self.size += length;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(SECRET_MODE).open(path)
}

/// Name before and after the time of files that are put aside.
fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let extension = match text(path.extension()) {
        none if none.is_empty() => none,
        extension => format!(".{extension}"),
    };
    (format!("{}-", text(path.file_stem())), extension)
}

fn aside(path: &Path, now: Timestamp) -> PathBuf {
    let (before, after) = parts(path);
    path.with_file_name(format!("{before}{}{after}", now.to_zoned(TimeZone::UTC).strftime(TIME_FORM)))
}

/// Files that were put aside, with the times in their names.
fn find_aside(path: &Path) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let (before, after) = parts(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let time = name.strip_prefix(&before).and_then(|rest| rest.strip_suffix(&after));
        let time = time.and_then(|time| jiff::civil::DateTime::strptime("%Y-%m-%dT%H-%M-%S%.f", time).ok());
        if let Some(Ok(time)) = time.map(|time| time.to_zoned(TimeZone::UTC)) {
            found.push((time.timestamp(), entry.path()));
        }
    }
    Ok(found)
}

fn superfluous(mut kept: Vec<(Timestamp, PathBuf)>, retention: Retention, now: Timestamp) -> Vec<PathBuf> {
    kept.sort_by(|a, b| b.cmp(a));
    let oldest = now - SignedDuration::from_hours(24 * i64::from(retention.days));
    let is_old = |time: Timestamp| retention.days > 0 && time < oldest;
    let is_surplus = |place: usize| retention.files > 0 && place >= retention.files as usize;
    let gone = kept.into_iter().enumerate().filter(|(place, (time, _))| is_old(*time) || is_surplus(*place));
    gone.map(|(_, (_, path))| path).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/audit.log");
        let retention = Retention { megabytes: 1, files: 2, days: 0 };
        let mut log = LogFile::open(&path, retention).unwrap();
        let event = vec![b'x'; 600 * 1024];
        for _ in 0..5 {
            log.write_all(&event).unwrap();
            // Names have the time in milliseconds.
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let kept = find_aside(&path).unwrap();
        assert_eq!(kept.len(), 2);
        assert_eq!(fs::metadata(&path).unwrap().len(), event.len() as u64);
        for path in kept.iter().map(|(_, path)| path).chain([&path]) {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_log_goes_on_where_it_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        for line in ["one\n", "two\n"] {
            LogFile::open(&path, Retention::default()).unwrap().write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn files_go_by_age_and_by_number() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let kept =
            || (1..=9).map(|day| (format!("2026-01-0{day}T00:00:00Z").parse().unwrap(), format!("{day}").into()));
        let gone = |days: u32, files: u32| {
            let retention = Retention { days, files, megabytes: 0 };
            let gone = superfluous(kept().collect(), retention, now);
            gone.iter().map(|path: &PathBuf| path.display().to_string()).collect::<String>()
        };
        assert_eq!([gone(0, 0), gone(7, 0), gone(0, 8), gone(5, 7)], ["", "21", "1", "4321"]);
    }
}
