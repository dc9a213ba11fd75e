//! Pulls: resolve the name, choose the platform, download the layers that are missing, unpack
//! them, and make the image visible as the last step.

use std::{collections::HashMap, fs::File, io::BufReader, path::PathBuf, sync::Arc};

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    Credential, Image,
    compression::decompress,
    digest::Digest,
    error::{Error, LayerError},
    manifest::{Blob, Config, Document, Manifest},
    platform::Platform,
    records::NewImage,
    reference::Reference,
    registry::{self, Session},
    store::{ImageStore, Inner},
};
use crate::base::log::chain;

/// Layers of one image that are downloaded at once (containerd's default).
const LAYERS_AT_ONCE: usize = 3;
/// Indexes may point to indexes; more than this is a loop or an attack.
const INDEX_DEPTH: usize = 3;

impl ImageStore {
    /// Pulls an image by its name with those of `credentials` that are meant for its registry.
    ///
    /// The registry is asked even if the image is here: only it knows what a tag means now, and
    /// whether these credentials may have it. Pulls that run at once share their layers.
    pub async fn pull(&self, name: &str, credentials: &[Credential]) -> Result<Image, Error> {
        let reference = Reference::parse(name)?;
        let sessions = self.inner.registries.sessions(&reference, credentials);
        let mut last = None;
        for session in &sessions {
            match self.pull_from(session, &reference).await {
                Ok(image) => return Ok(image),
                Err(error) => {
                    tracing::debug!(image = %reference, host = session.host(), error = %chain(&error), "pull failed");
                    last = Some(error);
                }
            }
        }
        let source = last.unwrap_or_else(|| registry::Error::NotFound { what: reference.to_string() });
        Err(Error::Pull { reference: reference.to_string(), source: Box::new(source) })
    }

    async fn pull_from(&self, session: &Session, reference: &Reference) -> Result<Image, registry::Error> {
        let resolved = resolve(session, reference).await.map_err(|source| registry::Error::Resolve {
            reference: reference.to_string(),
            source: Box::new(source),
        })?;
        let Resolved { manifest, digest } = resolved;
        let bytes = session.document(&manifest.config).await?;
        let id = manifest.config.digest.clone();
        let unreadable = |source| registry::Error::Manifest { digest: id.clone(), source };
        let config = Config::decode(&bytes, manifest.layers.len()).map_err(unreadable)?;
        let inner = &self.inner;
        let _lease = inner.leases.take(&config.diff_ids);
        let pairs = manifest.layers.iter().zip(&config.diff_ids);
        let stop = CancellationToken::new();
        // Collected first: a lazy closure over pairs of references would keep this future from
        // being sent between threads.
        let fetches: Vec<_> =
            pairs.map(|(blob, diff_id)| fetch_or_stop(inner, session, blob, diff_id, &stop)).collect();
        // All of them are waited for: what is being unpacked cannot be stopped, only left to its end.
        let results: Vec<_> = stream::iter(fetches).buffer_unordered(LAYERS_AT_ONCE).collect().await;
        results.into_iter().collect::<Result<(), _>>()?;
        let new = NewImage {
            id,
            tags: reference.tagged().into_iter().collect(),
            digests: vec![reference.with_digest(&digest)],
            size_bytes: config.diff_ids.iter().map(|layer| inner.layers.size_bytes(layer)).sum(),
            layers: config.diff_ids,
            config: config.run,
            pinned: false,
        };
        // Published before the lease ends: from then on the image itself keeps its layers.
        Ok(self.publish(new).await?)
    }
}

struct Resolved {
    manifest: Manifest,
    /// Of what the name points to: the index, where there is one.
    digest: Digest,
}

/// The manifest for this machine that a name points to.
async fn resolve(session: &Session, reference: &Reference) -> Result<Resolved, registry::Error> {
    let platform = Platform::current();
    let (mut bytes, mut current) = session.manifest(&reference.version()).await?;
    let digest = current.clone();
    for _ in 0..INDEX_DEPTH {
        let unreadable = |source| registry::Error::Manifest { digest: current.clone(), source };
        match Document::decode(&bytes).map_err(unreadable)? {
            Document::Manifest(manifest) => return Ok(Resolved { manifest, digest }),
            Document::Index(index) => {
                let none = || registry::Error::Platform { platform: platform.name() };
                let chosen = Blob::from_oci(platform.select(&index).ok_or_else(none)?).map_err(unreadable)?;
                (bytes, current) = session.manifest(&chosen.digest.to_string()).await?;
            }
        }
    }
    Err(registry::Error::Platform { platform: platform.name() })
}

/// Fetches a layer, and stops the image's other downloads if that fails.
async fn fetch_or_stop(
    inner: &Arc<Inner>,
    session: &Session,
    blob: &Blob,
    diff_id: &Digest,
    stop: &CancellationToken,
) -> Result<(), registry::Error> {
    fetch_layer(inner, session, blob, diff_id, stop).await.inspect_err(|_| stop.cancel())
}

/// Downloads and unpacks a layer, unless it is here or comes meanwhile. Once another layer of the
/// image has failed nothing more is downloaded.
async fn fetch_layer(
    inner: &Arc<Inner>,
    session: &Session,
    blob: &Blob,
    diff_id: &Digest,
    stop: &CancellationToken,
) -> Result<(), registry::Error> {
    let _turn = inner.turns.take(diff_id).await;
    if inner.layers.contains(diff_id) {
        return Ok(());
    }
    let scratch = inner.layers.scratch()?;
    let path = scratch.path.join("blob");
    {
        let _permit = inner.registries.downloads.acquire().await;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            result = registry::download(session, blob, &path) => result?,
        }
    }
    let (unpacking, wanted) = (inner.clone(), diff_id.clone());
    let result = inner.lane.run(move || {
        // Given away to the closure: it must live until the blob has been read.
        let _scratch = scratch;
        unpacking.install_file(&wanted, path)
    });
    result.await.map_err(|source| registry::Error::Layer { digest: blob.digest.clone(), source })
}

impl Inner {
    fn install_file(&self, diff_id: &Digest, path: PathBuf) -> Result<(), LayerError> {
        let file = File::open(path).map_err(LayerError::Read)?;
        let input = decompress(BufReader::with_capacity(256 * 1024, file)).map_err(LayerError::Read)?;
        self.layers.install(diff_id, input)
    }
}

/// Lets one task at a time work on a layer, so that it is downloaded once.
#[derive(Default)]
pub(super) struct Turns {
    locks: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl Turns {
    /// Waits for the layer's turn, which ends when the guard is dropped.
    pub(super) async fn take(&self, layer: &Digest) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock();
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry(layer.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }
}
