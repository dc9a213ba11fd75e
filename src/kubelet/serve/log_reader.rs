//! Reads the log of one container run: CRI lines (`<time> <stream> <F|P> <text>`) of the current
//! file and the rotated ones beside it, oldest first. Blocking; whoever follows a log waits elsewhere.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::query::LogOptions;

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Longest line; the runtime cuts at 16 KiB, and a file without line breaks is damaged.
const LINE_LIMIT_BYTES: usize = 1024 * 1024;

/// A position in a log.
pub struct LogReader {
    path: PathBuf,
    options: LogOptions,
    current: Option<File>,
    /// Bytes that were read and not written out: the beginning of a line.
    pending: Vec<u8>,
    inside_line: bool,
    left_bytes: u64,
}

impl LogReader {
    /// Stands where `options` ask for. A log that does not exist yet is empty.
    pub fn open(path: &Path, options: LogOptions) -> io::Result<Self> {
        let current = start(path, options.tail_lines)?;
        let left_bytes = options.limit_bytes.unwrap_or(u64::MAX);
        let path = path.to_owned();
        Ok(Self { path, options, current, pending: Vec::new(), inside_line: false, left_bytes })
    }

    /// Appends the next lines to `out`. Returns false if there are no more for now.
    pub fn read(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        if self.current.is_none() {
            self.current = start(&self.path, None)?;
        }
        while !self.is_full() {
            if self.read_chunk()? {
                self.write_lines(out);
                if !out.is_empty() {
                    return Ok(true);
                }
            } else if !self.next_file()? {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Whether as many bytes were given as were asked for.
    pub fn is_full(&self) -> bool {
        self.left_bytes == 0
    }

    fn read_chunk(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.current else { return Ok(false) };
        let count = file.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut self.pending)?;
        Ok(count > 0)
    }

    /// Goes on to the file that followed the one that has ended.
    fn next_file(&mut self) -> io::Result<bool> {
        let Some(file) = &self.current else { return Ok(false) };
        let inode = file.metadata()?.ino();
        let files = files(&self.path)?;
        let position = files.iter().position(|path| fs::metadata(path).is_ok_and(|found| found.ino() == inode));
        // One that rotation has removed meanwhile was older than all that are there.
        let Some(next) = files.get(position.map_or(0, |position| position + 1)) else { return Ok(false) };
        let Some(next) = open_optional(next)? else { return Ok(false) };
        // Something may have been written between the end that was seen and the rotation.
        if self.read_chunk()? {
            return Ok(true);
        }
        self.current = Some(next);
        Ok(true)
    }

    fn write_lines(&mut self, out: &mut Vec<u8>) {
        let pending = std::mem::take(&mut self.pending);
        let mut rest = &pending[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.write_line(&rest[..end], out);
            rest = &rest[end + 1..];
        }
        if rest.len() < LINE_LIMIT_BYTES {
            self.pending = rest.to_vec();
        }
    }

    fn write_line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(line) = Line::parse(line) else { return };
        let other_stream = self.options.stream.is_some_and(|stream| stream.as_bytes() != line.stream);
        if other_stream || self.options.since.is_some_and(|since| line.is_before(since)) {
            return;
        }
        let starts = !std::mem::replace(&mut self.inside_line, !line.full);
        if self.options.timestamps && starts {
            self.put(line.time, out);
            self.put(b" ", out);
        }
        self.put(line.text, out);
        if line.full {
            self.put(b"\n", out);
        }
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let count = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(bytes.len());
        out.extend_from_slice(&bytes[..count]);
        self.left_bytes -= count as u64;
    }
}

struct Line<'a> {
    time: &'a [u8],
    stream: &'a [u8],
    full: bool,
    text: &'a [u8],
}

impl<'a> Line<'a> {
    /// A line that is not in the CRI format is passed over, as upstream does.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (time, stream, tags) = (parts.next()?, parts.next()?, parts.next()?);
        if !matches!(stream, b"stdout" | b"stderr") {
            return None;
        }
        // Tags are separated by colons; the first says whether the line goes on.
        let full = match tags.split(|byte| *byte == b':').next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        Some(Self { time, stream, full, text: parts.next().unwrap_or_default() })
    }

    fn is_before(&self, since: Timestamp) -> bool {
        let time = std::str::from_utf8(self.time).ok().and_then(|time| time.parse::<Timestamp>().ok());
        time.is_some_and(|time| time < since)
    }
}

/// The oldest file, or the one in which the wanted last lines begin.
fn start(path: &Path, tail_lines: Option<u64>) -> io::Result<Option<File>> {
    let files = files(path)?;
    let Some(mut left) = tail_lines else {
        return files.first().map_or(Ok(None), |oldest| open_optional(oldest));
    };
    let mut oldest = None;
    for (age, path) in files.iter().rev().enumerate() {
        let Some(mut file) = open_optional(path)? else { continue };
        let found = seek_to_tail(&mut file, left)?;
        left -= found;
        // With 0 lines wanted the reader stands at the end of the newest file, however old the others.
        if age == 0 || found > 0 {
            oldest = Some(file);
        }
        if left == 0 {
            break;
        }
    }
    Ok(oldest)
}

/// Moves to the start of the last `lines` lines, or of the file, and tells how many there are.
fn seek_to_tail(file: &mut File, lines: u64) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut found = 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    while end > 0 {
        let length = (CHUNK_BYTES as u64).min(end);
        let bytes = &mut chunk[..usize::try_from(length).expect("a chunk fits")];
        file.seek(SeekFrom::Start(end - length))?;
        file.read_exact(bytes)?;
        for (at, _) in bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            if found == lines {
                file.seek(SeekFrom::Start(end - length + at as u64 + 1))?;
                return Ok(found);
            }
            found += 1;
        }
        end -= length;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(found)
}

/// Rotated files, which end with the time of their rotation, and then the current one.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut prefix = path.file_name().unwrap_or_default().to_os_string();
    prefix.push(".");
    let prefix = prefix.to_string_lossy().into_owned();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let rotated = |name: &std::ffi::OsString| {
        let suffix = name.to_string_lossy().strip_prefix(&prefix).map(str::to_owned);
        suffix.is_some_and(|suffix| suffix.starts_with(|first: char| first.is_ascii_digit()))
    };
    let mut found: Vec<PathBuf> = names.filter(rotated).map(|name| directory.join(name)).collect();
    found.sort();
    if path.exists() {
        found.push(path.to_owned());
    }
    Ok(found)
}

fn open_optional(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(second: u32, stream: &str, tag: &str, text: &str) -> String {
        format!("2026-01-01T00:00:{second:02}.000000000Z {stream} {tag} {text}\n")
    }

    fn read(path: &Path, options: LogOptions) -> String {
        let mut reader = LogReader::open(path, options).unwrap();
        let mut out = Vec::new();
        let mut all = Vec::new();
        while reader.read(&mut out).unwrap() {
            all.append(&mut out);
        }
        String::from_utf8(all).unwrap()
    }

    fn log(directory: &Path) -> PathBuf {
        let path = directory.join("0.log");
        let old = line(1, "stdout", "F", "one") + &line(2, "stderr", "F", "two");
        fs::write(directory.join("0.log.20260101-000002"), old).unwrap();
        let new =
            line(3, "stdout", "P", "thr") + &line(3, "stdout", "F", "ee") + "broken\n" + &line(4, "stdout", "F", "");
        fs::write(&path, new).unwrap();
        fs::write(directory.join("1.log"), line(9, "stdout", "F", "other run")).unwrap();
        path
    }

    #[test]
    fn joins_rotated_files_and_parts_of_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = log(directory.path());
        let options = LogOptions::default;
        assert_eq!(read(&path, options()), "one\ntwo\nthree\n\n");
        assert_eq!(read(&path, LogOptions { stream: Some("stderr"), ..options() }), "two\n");
        assert_eq!(read(&path, LogOptions { limit_bytes: Some(6), ..options() }), "one\ntw");
        let since = Some("2026-01-01T00:00:03Z".parse().unwrap());
        let shown = read(&path, LogOptions { since, timestamps: true, ..options() });
        assert_eq!(shown, "2026-01-01T00:00:03.000000000Z three\n2026-01-01T00:00:04.000000000Z \n");
    }

    #[test]
    fn a_tail_reaches_back_into_rotated_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = log(directory.path());
        let tail = |lines| read(&path, LogOptions { tail_lines: Some(lines), ..LogOptions::default() });
        assert_eq!(tail(0), "");
        assert_eq!(tail(1), "\n");
        assert_eq!(tail(5), "two\nthree\n\n");
        assert_eq!(tail(50), "one\ntwo\nthree\n\n");
    }

    #[test]
    fn follows_over_a_rotation_without_losing_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let mut reader = LogReader::open(&path, LogOptions::default()).unwrap();
        let mut out = Vec::new();
        assert!(!reader.read(&mut out).unwrap());
        fs::write(&path, line(1, "stdout", "F", "one")).unwrap();
        assert!(reader.read(&mut out).unwrap());
        assert!(!reader.read(&mut out).unwrap());
        let mut writer = File::options().append(true).open(&path).unwrap();
        io::Write::write_all(&mut writer, line(2, "stdout", "F", "two").as_bytes()).unwrap();
        fs::rename(&path, directory.path().join("0.log.20260101-000002")).unwrap();
        fs::write(directory.path().join("0.log.20260101-000003"), line(3, "stdout", "F", "three")).unwrap();
        fs::write(&path, line(4, "stdout", "F", "four")).unwrap();
        while reader.read(&mut out).unwrap() {}
        assert_eq!(String::from_utf8(out).unwrap(), "one\ntwo\nthree\nfour\n");
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(bytes: Vec<u8>, tail in proptest::option::of(0u64..5)) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("0.log");
            fs::write(&path, bytes).unwrap();
            let mut reader = LogReader::open(&path, LogOptions { tail_lines: tail, ..LogOptions::default() }).unwrap();
            let mut out = Vec::new();
            while reader.read(&mut out).unwrap() {}
        }
    }
}
