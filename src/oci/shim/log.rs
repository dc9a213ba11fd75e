//! A container's log file in the CRI format (KEP "CRI: Log Management"): each line with its time,
//! its stream and a tag, `F` for a full line and `P` for a part of one. The shim rotates the file
//! itself, so that no agent is needed to keep a disk from filling up.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

/// Longer lines are written in parts of this size.
const PART: usize = 16 << 10;
const FILE_MODE: u32 = 0o640;

/// The stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::oci) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The log file and the beginnings of lines whose ends have not come yet.
#[derive(Debug)]
pub(in crate::oci) struct Log {
    path: PathBuf,
    limit_bytes: u64,
    files: u32,
    file: fs::File,
    size_bytes: u64,
    unfinished: [Vec<u8>; 2],
}

impl Log {
    /// Opens or creates the file and its directory. A limit of 0 bytes is no limit.
    pub fn open(path: &Path, limit_bytes: u64, files: u32) -> io::Result<Self> {
        let (file, size_bytes) = open(path)?;
        let unfinished = [Vec::new(), Vec::new()];
        Ok(Self { path: path.to_owned(), limit_bytes, files, file, size_bytes, unfinished })
    }

    /// Opens the path again, after somebody has renamed or removed the file.
    pub fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.size_bytes) = open(&self.path)?;
        Ok(())
    }

    /// Adds output; lines that are not finished wait for their end.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let mut entries = Vec::with_capacity(bytes.len() + 64);
        let unfinished = &mut self.unfinished[stream as usize];
        let now = Timestamp::now();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            unfinished.extend_from_slice(text);
            while unfinished.len() > PART {
                let rest = unfinished.split_off(PART);
                entry(&mut entries, now, stream, 'P', unfinished);
                *unfinished = rest;
            }
            if ended {
                entry(&mut entries, now, stream, 'F', unfinished);
                unfinished.clear();
            }
        }
        self.append(&entries)
    }

    /// Writes what has no end, as the stream itself has ended.
    pub fn finish(&mut self, stream: Stream) -> io::Result<()> {
        let rest = std::mem::take(&mut self.unfinished[stream as usize]);
        if rest.is_empty() {
            return Ok(());
        }
        let mut entries = Vec::new();
        entry(&mut entries, Timestamp::now(), stream, 'P', &rest);
        self.append(&entries)
    }

    fn append(&mut self, entries: &[u8]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        if self.limit_bytes > 0 && self.size_bytes > 0 && self.size_bytes + entries.len() as u64 > self.limit_bytes {
            self.rotate()?;
        }
        self.file.write_all(entries)?;
        self.size_bytes += entries.len() as u64;
        Ok(())
    }

    /// Renames the file to `<path>.<time>`, as the kubelet names rotated logs. Never twice within
    /// one second, in which the name would be the same.
    fn rotate(&mut self) -> io::Result<()> {
        let rotated = with_suffix(&self.path, &Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string());
        if rotated.exists() {
            return Ok(());
        }
        fs::rename(&self.path, &rotated)?;
        self.reopen()?;
        let mut old = rotated_files(&self.path);
        old.sort();
        let keep = self.files.saturating_sub(1) as usize;
        let surplus = old.len().saturating_sub(keep);
        old.drain(..surplus).try_for_each(fs::remove_file)
    }
}

fn open(path: &Path) -> io::Result<(fs::File, u64)> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let file = fs::OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)?;
    let size_bytes = file.metadata()?.len();
    Ok((file, size_bytes))
}

fn entry(entries: &mut Vec<u8>, time: Timestamp, stream: Stream, tag: char, text: &[u8]) {
    // Writing to a vector cannot fail.
    let _ = write!(entries, "{time:.9} {} {tag} ", stream.name());
    entries.extend_from_slice(text);
    entries.push(b'\n');
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn rotated_files(path: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let prefix = format!("{}.", name.to_string_lossy());
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let rotated = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    rotated.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn joins_pieces_to_lines_and_tags_what_has_no_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pod/c/0.log");
        let mut log = Log::open(&path, 0, 5).unwrap();
        log.write(Stream::Stdout, b"one\ntw").unwrap();
        log.write(Stream::Stderr, b"\n").unwrap();
        log.write(Stream::Stdout, b"o\nrest").unwrap();
        log.finish(Stream::Stdout).unwrap();
        log.finish(Stream::Stderr).unwrap();
        let found: Vec<String> = lines(&path).iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
        assert_eq!(found, ["stdout F one", "stderr F ", "stdout F two", "stdout P rest"]);
        let time = lines(&path)[0].split_once(' ').unwrap().0.to_owned();
        assert_eq!((time.len(), time.ends_with('Z')), (30, true), "{time}");
    }

    #[test]
    fn splits_long_lines_into_parts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let mut log = Log::open(&path, 0, 5).unwrap();
        log.write(Stream::Stdout, &[b'x'; PART * 2 + 1]).unwrap();
        log.write(Stream::Stdout, b"\n").unwrap();
        let tags: Vec<(String, usize)> = lines(&path)
            .iter()
            .map(|line| line.splitn(4, ' ').skip(2).map(str::to_owned).collect::<Vec<_>>())
            .map(|fields| (fields[0].clone(), fields[1].len()))
            .collect();
        assert_eq!(tags, [("P".into(), PART), ("P".into(), PART), ("F".into(), 1)]);
    }

    #[test]
    fn rotates_by_size_and_keeps_a_number_of_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        for old in ["20200101-000000", "20200101-000001", "20200101-000002"] {
            fs::write(with_suffix(&path, old), "old").unwrap();
        }
        let mut log = Log::open(&path, 100, 3).unwrap();
        for _ in 0..4 {
            log.write(Stream::Stdout, b"a line of some length\n").unwrap();
        }
        let mut files = rotated_files(&path);
        files.sort();
        assert_eq!(files.len(), 2, "{files:?}");
        assert_eq!(files[0], with_suffix(&path, "20200101-000002"));
        assert_eq!(lines(&files[1]).len(), 1);
        fs::remove_file(&path).unwrap();
        log.reopen().unwrap();
        log.write(Stream::Stdout, b"after\n").unwrap();
        assert!(lines(&path)[0].ends_with("stdout F after"));
    }
}
