//! A pod's volumes: prepared below its own directory, one driver per file. Everything here blocks
//! and runs on the kubelet's lane.

pub mod atomic;
pub mod content;
pub mod empty_dir;
pub mod host_path;
pub mod mounts;
pub mod ownership;
pub mod sub_path;
pub mod tokens;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Pod, Volume};

use crate::kubelet::{container::downward, container::downward::Context, objects::Snapshot};
use tokens::TokenKey;

/// Why a volume cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {cause}")]
pub struct Error {
    /// The volume's name.
    pub volume: String,
    /// What went wrong; part of the sentence, as upstream's events have it.
    pub cause: Cause,
}

/// What went wrong with a volume.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// A ConfigMap or Secret does not exist.
    #[error("{kind} \"{name}\" not found")]
    NotFound {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// An item names a key that the object does not have.
    #[error("references non-existent {kind} key: {key}")]
    Key {
        /// `config` or `secret`.
        kind: &'static str,
        /// The key.
        key: String,
    },
    /// A path inside the volume would leave it.
    #[error("invalid path: {0}")]
    Path(String),
    /// A token could not be had.
    #[error("failed to fetch token: {0}")]
    Token(String),
    /// A host path is not what its type says.
    #[error("hostPath type check failed: {path} is not a {expected}")]
    HostPath {
        /// The path.
        path: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A field or resource of the pod cannot be given.
    #[error(transparent)]
    Downward(#[from] downward::Error),
    /// The volume's source is none this kubelet has a driver for.
    #[error("no volume plugin matched")]
    Unsupported,
    /// The host's file system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Cause {
    /// An IO error at a path.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// Everything the contents of volumes come from.
pub struct Request<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The pod's own directory.
    pub directory: &'a Path,
    /// ConfigMaps and Secrets.
    pub objects: &'a Snapshot,
    /// Service account tokens, or why there is none.
    pub tokens: &'a BTreeMap<TokenKey, Result<String, String>>,
    /// Addresses and the node's resources.
    pub context: &'a Context,
}

/// Prepares or refreshes all volumes; tries all and returns the first error.
pub fn prepare(request: &Request<'_>) -> Result<(), Error> {
    let volumes = request.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut result = Ok(());
    for volume in volumes {
        let prepared = prepare_one(request, volume).map_err(|cause| Error { volume: volume.name.clone(), cause });
        result = result.and(prepared);
    }
    result
}

/// Where a volume is on the host.
pub fn path(directory: &Path, volume: &Volume) -> Option<PathBuf> {
    let below = |driver: &str| Some(directory.join("volumes").join(driver).join(&volume.name));
    match volume {
        Volume { host_path: Some(source), .. } => Some(PathBuf::from(&source.path)),
        Volume { empty_dir: Some(_), .. } => below("kubernetes.io~empty-dir"),
        Volume { config_map: Some(_), .. } => below("kubernetes.io~configmap"),
        Volume { secret: Some(_), .. } => below("kubernetes.io~secret"),
        Volume { projected: Some(_), .. } => below("kubernetes.io~projected"),
        Volume { downward_api: Some(_), .. } => below("kubernetes.io~downward-api"),
        _ => None,
    }
}

/// Whether containers may only read the volume, whatever they ask for.
pub fn is_read_only(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
}

/// Takes all mounts below the pod's directory away, then the directory itself. Does all it can and
/// returns the first error.
pub fn remove(directory: &Path) -> io::Result<()> {
    let unmounted = mounts::unmount_below(directory);
    // What could not be unmounted must not be deleted: it may be somebody's data.
    unmounted?;
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn prepare_one(request: &Request<'_>, volume: &Volume) -> Result<(), Cause> {
    let group = request.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()).and_then(|c| c.fs_group);
    let path = path(request.directory, volume).ok_or(Cause::Unsupported)?;
    if let Some(source) = &volume.host_path {
        return host_path::prepare(source);
    }
    if let Some(source) = &volume.empty_dir {
        let is_new = empty_dir::prepare(&path, source)?;
        if let Some(group) = group.filter(|_| is_new) {
            ownership::set_group(&path, group, ownership::Access::ReadWrite).map_err(Cause::io(&path))?;
        }
        return Ok(());
    }
    let payload = content::of(request, volume)?;
    if atomic::write(&path, &payload).map_err(Cause::io(&path))?
        && let Some(group) = group
    {
        ownership::set_group(&path, group, ownership::Access::ReadOnly).map_err(Cause::io(&path))?;
    }
    Ok(())
}
