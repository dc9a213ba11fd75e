//! A streaming reader of tar archives (POSIX ustar and pax, GNU long names) for untrusted input:
//! every length is bounded before anything is allocated, and every error says where it is.
//!
//! The `tar` crate decodes the header blocks. Its own iteration is not used because it reads pax
//! and long-name records of any announced size into memory.

use std::{
    ffi::OsString,
    io::{self, Read, Seek, SeekFrom},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use tar::EntryType;

const BLOCK: u64 = 512;
/// Most bytes of the extended records (names, attributes) of one entry.
const EXTENSION_LIMIT: u64 = 1024 * 1024;
/// Longest path (Linux's PATH_MAX).
const PATH_LIMIT: usize = 4096;
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It ends in the middle of an entry.
    #[error("the archive is truncated")]
    Truncated,
    /// A header does not add up: this is no tar archive, or it is damaged.
    #[error("the header's checksum is wrong")]
    Checksum,
    /// A header field cannot be decoded.
    #[error("the header has an invalid {0}")]
    Field(&'static str),
    /// Extended records larger than anything real.
    #[error("the extended header is too large")]
    ExtensionTooLarge,
    /// A path longer than the kernel takes.
    #[error("the path is too long")]
    PathTooLong,
    /// An entry type that file systems do not have.
    #[error("entry type {0:?} is not supported")]
    Unsupported(char),
    /// Reading failed; damaged compression shows here.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
}

/// A problem, and where it is.
#[derive(Debug, thiserror::Error)]
#[error("entry {} at offset {offset}", if entry.is_empty() { "(header)" } else { entry })]
pub struct Error {
    /// The entry's path, if it is known already.
    pub entry: String,
    /// Bytes from the start of the uncompressed archive.
    pub offset: u64,
    /// What is wrong.
    #[source]
    pub problem: Problem,
}

/// What kind of file an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink(PathBuf),
    /// Another name of an earlier entry.
    HardLink(PathBuf),
    /// A character device.
    CharacterDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path as it is written.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Bytes of data.
    pub size: u64,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds since the epoch and nanoseconds.
    pub modified: (i64, u32),
    /// Extended attributes.
    pub xattrs: Vec<(OsString, Vec<u8>)>,
    /// Where its data starts.
    pub offset: u64,
}

/// A reader that can leave out bytes.
pub trait Skip: Read {
    /// Leaves out `count` bytes; fewer are an `UnexpectedEof`.
    fn skip(&mut self, count: u64) -> io::Result<()>;
}

/// A stream that must be read to be skipped.
pub struct Stream<R>(pub R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Skip for Stream<R> {
    fn skip(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.by_ref().take(count), &mut io::sink())?;
        if skipped < count { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

impl Skip for std::fs::File {
    fn skip(&mut self, count: u64) -> io::Result<()> {
        let end = self.stream_position()?.checked_add(count);
        if end.is_none_or(|end| end > self.metadata().map_or(0, |metadata| metadata.len())) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.seek(SeekFrom::Current(i64::try_from(count).map_err(io::Error::other)?)).map(|_| ())
    }
}

/// Reads entries one after the other.
pub struct Reader<R> {
    inner: R,
    position: u64,
    unread: u64,
    padding: u64,
    entry: String,
}

impl<R: Skip> Reader<R> {
    /// Reads from the start of an uncompressed archive.
    pub fn new(inner: R) -> Self {
        Self { inner, position: 0, unread: 0, padding: 0, entry: String::new() }
    }

    /// The next entry, or `None` at the end. What was left of the previous one's data is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.step().map_err(|problem| self.error(problem))
    }

    /// The data of the current entry.
    pub fn data(&mut self) -> Data<'_, R> {
        Data { reader: self }
    }

    /// `problem` at the place that is being read.
    pub fn error(&self, problem: Problem) -> Error {
        Error { entry: self.entry.clone(), offset: self.position, problem }
    }

    /// The underlying reader, behind the last entry.
    pub fn into_inner(self) -> R {
        self.inner
    }

    fn step(&mut self) -> Result<Option<Entry>, Problem> {
        self.finish_entry()?;
        self.entry.clear();
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let size = or_blank(&header.as_old().size, header.entry_size()).ok_or(Problem::Field("size"))?;
            match header.entry_type() {
                EntryType::XHeader => extensions.parse_pax(&self.extension(size)?)?,
                EntryType::XGlobalHeader => drop(self.extension(size)?),
                EntryType::GNULongName => extensions.path = Some(without_nul(self.extension(size)?)),
                EntryType::GNULongLink => extensions.link = Some(without_nul(self.extension(size)?)),
                _ => return self.entry(&header, size, extensions).map(Some),
            }
        }
    }

    fn entry(&mut self, header: &tar::Header, size: u64, extensions: Extensions) -> Result<Entry, Problem> {
        let path = path_from(extensions.path.unwrap_or_else(|| header.path_bytes().into_owned()))?;
        self.entry = path.display().to_string();
        let link = match extensions.link {
            Some(link) => Some(link),
            None => header.link_name_bytes().map(|link| link.into_owned()),
        };
        let kind = kind_of(header, &path, link)?;
        let size = if kind == Kind::File { extensions.size.unwrap_or(size) } else { 0 };
        self.unread = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
        let old = header.as_old();
        let modified = || header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok()).map(|s| (s, 0));
        Ok(Entry {
            path,
            kind,
            size,
            mode: mode_of(header).ok_or(Problem::Field("mode"))?,
            uid: number(extensions.uid, or_blank(&old.uid, header.uid())).ok_or(Problem::Field("uid"))?,
            gid: number(extensions.gid, or_blank(&old.gid, header.gid())).ok_or(Problem::Field("gid"))?,
            modified: extensions.modified.or_else(modified).unwrap_or_default(),
            xattrs: extensions.xattrs,
            offset: self.position,
        })
    }

    /// The next header block, or `None` at the end marker or the end of the input.
    fn header(&mut self) -> Result<Option<tar::Header>, Problem> {
        let mut header = tar::Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < block.len() {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(Problem::Truncated),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_problem(error)),
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum: u32 = block.iter().enumerate().map(|(at, byte)| checksum_byte(at, *byte)).sum();
        if header.cksum().ok() != Some(sum) {
            return Err(Problem::Checksum);
        }
        self.position += BLOCK;
        Ok(Some(header))
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Problem> {
        if size > EXTENSION_LIMIT {
            return Err(Problem::ExtensionTooLarge);
        }
        self.unread = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
        let mut record = Vec::new();
        self.data().read_to_end(&mut record).map_err(read_problem)?;
        self.finish_entry()?;
        Ok(record)
    }

    fn finish_entry(&mut self) -> Result<(), Problem> {
        let rest = self.unread.checked_add(self.padding).ok_or(Problem::Field("size"))?;
        if rest > 0 {
            self.inner.skip(rest).map_err(read_problem)?;
            self.position += rest;
        }
        (self.unread, self.padding) = (0, 0);
        Ok(())
    }
}

/// The data of one entry. An archive that ends too early is an error, never a short read.
pub struct Data<'a, R> {
    reader: &'a mut Reader<R>,
}

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.reader.unread).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.reader.inner.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.reader.unread -= count as u64;
        self.reader.position += count as u64;
        Ok(count)
    }
}

/// An input that ended too early is a truncated archive; anything else is what it says.
pub fn read_problem(error: io::Error) -> Problem {
    if error.kind() == io::ErrorKind::UnexpectedEof { Problem::Truncated } else { Problem::Read(error) }
}

/// What extended headers say about the entry after them.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<(i64, u32)>,
    xattrs: Vec<(OsString, Vec<u8>)>,
}

impl Extensions {
    /// Records of the form `length key=value\n`; the length counts the whole record (POSIX pax).
    fn parse_pax(&mut self, mut records: &[u8]) -> Result<(), Problem> {
        const BAD: Problem = Problem::Field("pax record");
        while !records.is_empty() && records[0] != 0 {
            let space = records.iter().position(|byte| *byte == b' ').ok_or(BAD)?;
            let length: usize = text(&records[..space]).and_then(|digits| digits.parse().ok()).ok_or(BAD)?;
            let record = records.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or(BAD)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(BAD)?;
            self.set(&record[..equals], &record[equals + 1..])?;
            records = &records[length..];
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        let integer = || text(value).and_then(|digits| digits.parse::<u64>().ok());
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(integer().ok_or(Problem::Field("size"))?),
            b"uid" => self.uid = Some(integer().ok_or(Problem::Field("uid"))?),
            b"gid" => self.gid = Some(integer().ok_or(Problem::Field("gid"))?),
            b"mtime" => self.modified = Some(text(value).and_then(pax_time).ok_or(Problem::Field("mtime"))?),
            _ => {
                if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                    self.xattrs.push((OsString::from_vec(name.to_vec()), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// `1700000000.123456789`, possibly negative.
fn pax_time(value: &str) -> Option<(i64, u32)> {
    let (seconds, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let (seconds, nanoseconds): (i64, u32) = (seconds.parse().ok()?, digits.parse().ok()?);
    if value.starts_with('-') && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

fn kind_of(header: &tar::Header, path: &Path, link: Option<Vec<u8>>) -> Result<Kind, Problem> {
    let target = || path_from(link.filter(|link| !link.is_empty()).ok_or(Problem::Field("link name"))?);
    let device = || {
        let part = |number: io::Result<Option<u32>>| number.ok().flatten().ok_or(Problem::Field("device number"));
        Ok((part(header.device_major())?, part(header.device_minor())?))
    };
    Ok(match header.entry_type() {
        // Archives from before POSIX mark a directory by a trailing slash alone.
        EntryType::Regular | EntryType::Continuous if path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            Kind::Directory
        }
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(target()?),
        EntryType::Link => Kind::HardLink(target()?),
        EntryType::Char => device().map(|(major, minor)| Kind::CharacterDevice(major, minor))?,
        EntryType::Block => device().map(|(major, minor)| Kind::BlockDevice(major, minor))?,
        EntryType::Fifo => Kind::Fifo,
        other => return Err(Problem::Unsupported(char::from(other.as_byte()))),
    })
}

fn path_from(bytes: Vec<u8>) -> Result<PathBuf, Problem> {
    if bytes.len() >= PATH_LIMIT {
        return Err(Problem::PathTooLong);
    }
    if bytes.contains(&0) {
        return Err(Problem::Field("path"));
    }
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

fn without_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(nul) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(nul);
    }
    bytes
}

fn number(extended: Option<u64>, header: Option<u64>) -> Option<u32> {
    extended.or(header).and_then(|value| u32::try_from(value).ok())
}

fn mode_of(header: &tar::Header) -> Option<u32> {
    let mode = or_blank(&header.as_old().mode, header.mode().map(u64::from))?;
    u32::try_from(mode & 0o7777).ok()
}

/// A numeric field that was left blank is 0.
fn or_blank(field: &[u8], parsed: io::Result<u64>) -> Option<u64> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Some(0) } else { parsed.ok() }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// The checksum's own field counts as spaces.
fn checksum_byte(at: usize, byte: u8) -> u32 {
    if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(byte) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn archive() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(5);
        header.set_mode(0o4755);
        header.set_uid(7);
        header.set_mtime(1_700_000_000);
        let attributes = [("SCHILY.xattr.user.a", &b"b\n=\xff"[..]), ("mtime", b"12.5")];
        builder.append_pax_extensions(attributes).unwrap();
        builder.append_data(&mut header, format!("{}/x", "d".repeat(150)), &b"hello"[..]).unwrap();
        builder.into_inner().unwrap()
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<Entry>, Error> {
        let mut reader = Reader::new(Stream(bytes));
        let mut entries = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }

    #[test]
    fn reads_long_names_attributes_and_fractional_times() {
        let entries = read_all(&archive()).unwrap();
        let [entry] = entries.as_slice() else { panic!("{entries:?}") };
        assert!(entry.path.ends_with("x"));
        assert_eq!((entry.size, entry.mode, entry.uid, entry.modified), (5, 0o4755, 7, (12, 500_000_000)));
        assert_eq!(entry.xattrs, [("user.a".into(), b"b\n=\xff".to_vec())]);
    }

    #[test]
    fn names_the_entry_that_a_truncation_hits() {
        let bytes = archive();
        let error = read_all(&bytes[..bytes.len() - 1024 - 300]).unwrap_err();
        assert!(matches!(error.problem, Problem::Truncated), "{error:?}");
        assert!(error.entry.ends_with("/x"), "{error:?}");
    }

    #[test]
    fn an_absurd_extended_header_is_refused_before_it_is_read() {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(1 << 40);
        header.set_cksum();
        assert!(matches!(read_all(header.as_bytes()).unwrap_err().problem, Problem::ExtensionTooLarge));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0usize..3000, flip in 1u8.., cut in 0usize..4000, noise: Vec<u8>) {
            let mut bytes = archive();
            let length = bytes.len();
            bytes[at % length] ^= flip;
            bytes.truncate(cut);
            let _ = read_all(&bytes);
            let _ = read_all(&noise);
            let mut extensions = Extensions::default();
            let _ = extensions.parse_pax(&noise);
        }
    }
}
