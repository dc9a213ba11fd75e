//! Image archives: what `docker save`, `skopeo copy` to `docker-archive:` and `oci-archive:`, or
//! `ctr images export` write. An uncompressed archive is read where it is; a compressed one is
//! unpacked to a scratch file first, because its parts are needed in another order than they come.

mod docker;
mod oci;

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read, Write},
    os::unix::fs::FileExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use super::{
    compression::{self, Compression},
    digest::Digest,
    error::{Kind, LayerError},
    manifest::{self, Config, DOCUMENT_LIMIT_BYTES},
    tar,
};
use crate::base::file;

/// Most entries of an archive; real ones have dozens.
const ENTRY_LIMIT: usize = 100_000;
/// Most bytes of an uncompressed archive.
const SIZE_LIMIT_BYTES: u64 = 256 << 30;
/// Links that lead to links; more is a loop.
const LINK_DEPTH: usize = 8;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Read(#[source] io::Error),
    /// Its compression is damaged or it ends too early.
    #[error("the compressed archive is damaged or truncated")]
    Compression(#[source] io::Error),
    /// It would become too large.
    #[error("the archive is larger than {SIZE_LIMIT_BYTES} bytes uncompressed or has more than {ENTRY_LIMIT} entries")]
    TooLarge,
    /// It is no tar archive, or a damaged one.
    #[error("invalid archive")]
    Tar(#[from] tar::Error),
    /// It is an archive of something else.
    #[error("neither index.json nor manifest.json is in it: this is no image archive")]
    NoImage,
    /// An entry that another one names is not there.
    #[error("entry {entry} is missing")]
    Missing {
        /// Its path.
        entry: String,
    },
    /// An entry has other contents than its name says.
    #[error("entry {entry} is damaged: its digest is {actual}")]
    Digest {
        /// Its path.
        entry: String,
        /// What its bytes give.
        actual: Digest,
    },
    /// An entry has another size than its descriptor says.
    #[error("entry {entry} has {actual_bytes} bytes instead of {expected_bytes}")]
    Size {
        /// Its path.
        entry: String,
        /// From the descriptor.
        expected_bytes: u64,
        /// What is there.
        actual_bytes: u64,
    },
    /// An entry is not the JSON it should be.
    #[error("entry {entry} is not valid JSON")]
    Json {
        /// Its path.
        entry: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A manifest or configuration cannot be used.
    #[error("entry {entry}")]
    Manifest {
        /// Its path.
        entry: String,
        /// Why.
        #[source]
        source: manifest::Error,
    },
    /// A layer cannot be added to the store.
    #[error("entry {entry}")]
    Layer {
        /// Its path.
        entry: String,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// None of its images is made for this machine.
    #[error("no match for platform {platform} in the archive")]
    Platform {
        /// `linux/arm64`.
        platform: String,
    },
    /// The store's own files failed.
    #[error("image store")]
    File(#[from] file::Error),
}

impl Error {
    /// Sorts the error.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Read(_) | Self::File(_) => Kind::Local,
            Self::Platform { .. } => Kind::NotFound,
            Self::Layer { source, .. } => source.kind(),
            _ => Kind::Corrupt,
        }
    }
}

/// An image in an archive.
#[derive(Debug)]
pub struct Found {
    /// Digest of its configuration.
    pub id: Digest,
    /// Its configuration.
    pub config: Config,
    /// Entries of its layers, the lowest first.
    pub layers: Vec<String>,
    /// Names, not normalised.
    pub names: Vec<String>,
    /// Digest of its manifest or index, where the archive has one.
    pub digest: Option<Digest>,
}

/// An archive and where its entries are.
pub struct Archive {
    file: Arc<File>,
    entries: HashMap<String, (u64, u64)>,
}

impl Archive {
    /// Opens the archive at `path`; a compressed one is unpacked into `scratch`.
    pub fn open(path: &Path, scratch: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::Read)?;
        let mut start = [0; 4];
        let length = file.read_at(&mut start, 0).map_err(Error::Read)?;
        let plain = match compression::detect(&start[..length]) {
            Compression::None => file,
            Compression::Gzip | Compression::Zstd => decompress_to(file, &scratch.join("archive.tar"))?,
        };
        let entries = index(plain.try_clone().map_err(Error::Read)?)?;
        Ok(Self { file: Arc::new(plain), entries })
    }

    /// The images for this machine. `stem` names those that have a tag and nothing else.
    pub fn images(&self, stem: &str) -> Result<Vec<Found>, Error> {
        if self.entries.contains_key(oci::INDEX) {
            oci::images(self, stem)
        } else if self.entries.contains_key(docker::MANIFEST) {
            docker::images(self)
        } else {
            Err(Error::NoImage)
        }
    }

    /// Reads an entry that may be large.
    pub fn section(&self, entry: &str) -> Result<Section, Error> {
        let missing = || Error::Missing { entry: entry.to_owned() };
        let (offset, size) = *self.entries.get(&normalise(Path::new(entry))).ok_or_else(missing)?;
        Ok(Section { file: self.file.clone(), position: offset, end: offset + size })
    }

    /// Reads an entry that must be small.
    fn document(&self, entry: &str) -> Result<Vec<u8>, Error> {
        let mut section = self.section(entry)?;
        if section.remaining() > DOCUMENT_LIMIT_BYTES {
            let actual_bytes = section.remaining();
            return Err(Error::Size { entry: entry.to_owned(), expected_bytes: DOCUMENT_LIMIT_BYTES, actual_bytes });
        }
        let mut bytes = Vec::new();
        section.read_to_end(&mut bytes).map_err(Error::Read)?;
        Ok(bytes)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, entry: &str) -> Result<T, Error> {
        let bytes = self.document(entry)?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Json { entry: entry.to_owned(), source })
    }
}

/// A part of a file as a reader of its own.
pub struct Section {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Section {
    /// Bytes that are left.
    pub fn remaining(&self) -> u64 {
        self.end - self.position
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.remaining()).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.position)?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += count as u64;
        Ok(count)
    }
}

fn decompress_to(file: File, path: &Path) -> Result<File, Error> {
    let input = compression::decompress(BufReader::with_capacity(256 * 1024, file)).map_err(Error::Compression)?;
    let mut input = input.take(SIZE_LIMIT_BYTES + 1);
    let create = File::options().read(true).write(true).create_new(true).open(path);
    let mut output = create.map_err(|source| file::Error { action: "create", path: path.to_owned(), source })?;
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        let count = input.read(&mut buffer).map_err(Error::Compression)?;
        if count == 0 {
            break;
        }
        total += count as u64;
        let written = output.write_all(&buffer[..count]);
        written.map_err(|source| file::Error { action: "write", path: path.to_owned(), source })?;
    }
    if total > SIZE_LIMIT_BYTES {
        return Err(Error::TooLarge);
    }
    io::Seek::rewind(&mut output).map_err(Error::Read)?;
    Ok(output)
}

/// Where each file is. Older Docker versions write a layer that several images share as a link.
fn index(file: File) -> Result<HashMap<String, (u64, u64)>, Error> {
    let mut reader = tar::Reader::new(file);
    let mut entries = HashMap::new();
    let mut links = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        if entries.len() + links.len() >= ENTRY_LIMIT {
            return Err(Error::TooLarge);
        }
        let name = normalise(&entry.path);
        match entry.kind {
            tar::Kind::File => drop(entries.insert(name, (entry.offset, entry.size))),
            tar::Kind::Symlink(target) => {
                links.push((name, normalise(&entry.path.parent().unwrap_or(Path::new("")).join(target))));
            }
            tar::Kind::HardLink(target) => links.push((name, normalise(&target))),
            _ => {}
        }
    }
    for _ in 0..LINK_DEPTH {
        links.retain(|(name, target)| {
            let place = entries.get(target).copied();
            if let Some(place) = place {
                entries.insert(name.clone(), place);
            }
            place.is_none()
        });
    }
    Ok(entries)
}

/// `./a/../b` as `b`; what leads out of the archive names nothing in it.
fn normalise(path: &Path) -> String {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => drop(normal.pop()),
            _ => {}
        }
    }
    normal.to_string_lossy().into_owned()
}
