//! Turns a layer (a tar stream of changes, OCI image specification "Layer") into a directory that
//! overlayfs can use: whiteouts become 0/0 character devices and opaque attributes.

use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    tar::{self, Entry, Kind, Problem, Reader, Skip},
    tree::{Attributes, Tree},
};

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names that begin so are aufs's own bookkeeping.
const WHITEOUT_META_PREFIX: &[u8] = b".wh..wh.";
/// Attributes by which overlayfs redirects and hides: a layer must not forge them.
const OVERLAY_XATTRS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
const BUFFER: usize = 128 * 1024;

/// How large a layer may become.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most entries.
    pub entries: u64,
    /// Most bytes of all files together.
    pub bytes: u64,
}

/// Far above what real images have, far below what exhausts a machine's inodes or patience.
pub const DEFAULT_LIMITS: Limits = Limits { entries: 4_000_000, bytes: 256 << 30 };

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive is damaged.
    #[error("invalid layer archive")]
    Archive(#[from] tar::Error),
    /// An entry cannot be created.
    #[error("failed to create {}", path.display())]
    Create {
        /// The entry's path in the layer.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The layer has more entries or bytes than allowed.
    #[error("the layer is larger than {limit} {unit}")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// `entries` or `bytes`.
        unit: &'static str,
    },
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Unpacks the uncompressed archive `input` below `root`, an empty directory.
pub fn unpack<R: Skip>(input: R, root: &Path, limits: Limits) -> Result<(Unpacked, R), Error> {
    let tree = Tree::open(root).map_err(|source| Error::Create { path: "/".into(), source })?;
    let mut unpacker =
        Unpacker { tree, limits, done: Unpacked::default(), directories: Vec::new(), buffer: vec![0; BUFFER] };
    let mut reader = Reader::new(input);
    while let Some(entry) = reader.next_entry()? {
        unpacker.count(&entry)?;
        unpacker.entry(&mut reader, &entry)?;
    }
    unpacker.finish()?;
    Ok((unpacker.done, reader.into_inner()))
}

struct Unpacker {
    tree: Tree,
    limits: Limits,
    done: Unpacked,
    directories: Vec<(PathBuf, (i64, u32))>,
    buffer: Vec<u8>,
}

impl Unpacker {
    fn count(&mut self, entry: &Entry) -> Result<(), Error> {
        self.done.entries += 1;
        self.done.bytes = self.done.bytes.saturating_add(entry.size);
        if self.done.entries > self.limits.entries {
            return Err(Error::TooLarge { limit: self.limits.entries, unit: "entries" });
        }
        if self.done.bytes > self.limits.bytes {
            return Err(Error::TooLarge { limit: self.limits.bytes, unit: "bytes" });
        }
        Ok(())
    }

    fn entry<R: Skip>(&mut self, reader: &mut Reader<R>, entry: &Entry) -> Result<(), Error> {
        let create = |source| Error::Create { path: entry.path.clone(), source };
        let name = entry.path.file_name().unwrap_or_default();
        if name.as_bytes().starts_with(WHITEOUT_PREFIX) {
            return self.whiteout(&entry.path, name).map_err(create);
        }
        let attributes = attributes_of(entry);
        match &entry.kind {
            Kind::File => self.file(reader, entry, &attributes),
            Kind::Directory => {
                self.directories.push((entry.path.clone(), entry.modified));
                self.tree.create_directory(&entry.path, &attributes).map_err(create)
            }
            special => self.tree.create_special(&entry.path, special, &attributes).map_err(create),
        }
    }

    fn file<R: Skip>(&mut self, reader: &mut Reader<R>, entry: &Entry, attributes: &Attributes) -> Result<(), Error> {
        let create = |source| Error::Create { path: entry.path.clone(), source };
        let mut file = self.tree.create_file(&entry.path).map_err(create)?;
        loop {
            let count = match reader.data().read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(reader.error(tar::read_problem(error)).into()),
            };
            file.write_all(&self.buffer[..count]).map_err(create)?;
        }
        drop(file);
        self.tree.set_file_attributes(&entry.path, attributes).map_err(create)
    }

    fn whiteout(&mut self, path: &Path, name: &OsStr) -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new(""));
        match name.as_bytes() {
            WHITEOUT_OPAQUE => self.tree.set_opaque(directory),
            name if name.starts_with(WHITEOUT_META_PREFIX) => Ok(()),
            name => self.tree.create_whiteout(&directory.join(hidden_name(&name[WHITEOUT_PREFIX.len()..])?)),
        }
    }

    /// Directories get their times last, because creating something in them changes them.
    fn finish(&mut self) -> Result<(), Error> {
        for (path, modified) in std::mem::take(&mut self.directories).into_iter().rev() {
            match self.tree.set_modified(&path, modified) {
                // A later entry of the layer may have replaced the directory.
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
                result => result.map_err(|source| Error::Create { path, source })?,
            }
        }
        Ok(())
    }
}

/// `.wh.` alone, `.wh..` and `.wh...` would hide the directory itself or its parent.
fn hidden_name(name: &[u8]) -> io::Result<&OsStr> {
    if matches!(name, b"" | b"." | b"..") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, Problem::Field("whiteout")));
    }
    Ok(OsStr::from_bytes(name))
}

fn attributes_of(entry: &Entry) -> Attributes {
    let forged = |name: &OsStr| OVERLAY_XATTRS.iter().any(|prefix| name.as_bytes().starts_with(prefix));
    Attributes {
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        modified: entry.modified,
        xattrs: entry.xattrs.iter().filter(|(name, _)| !forged(name)).cloned().collect(),
    }
}
