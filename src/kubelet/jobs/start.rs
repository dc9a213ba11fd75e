//! Starting a container: image, configuration, root file system, creation, start.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, Pod, Volume, VolumeMount};
use tokio_util::sync::CancellationToken;

use crate::{
    client::events::Type,
    image::Image,
    kubelet::{
        container::{
            config::{self, annotation},
            env,
            expand::expand,
            identity, security, services,
        },
        jobs::{mount, sandbox},
        names,
        objects::Snapshot,
        pull::{self, Failure},
        record::{Instance, State},
        shared::Shared,
        volumes::{self, sub_path},
    },
    oci::{self, ContainerState},
};

/// What to start.
pub struct Request {
    /// The kubelet.
    pub shared: Arc<Shared>,
    /// The pod.
    pub pod: Arc<Pod>,
    /// Its container.
    pub container: Container,
    /// Number of this run, from 0.
    pub attempt: i32,
    /// The pod's sandbox.
    pub sandbox: sandbox::Ready,
    /// ID of the run before, which is cleaned up.
    pub previous: Option<String>,
    /// Cancelled when the pod ends before its image is here.
    pub cancel: CancellationToken,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// It runs.
    Started(Instance),
    /// The runtime could not start its process: a run that ended at once.
    Stillborn(Instance, Failure),
    /// There was nothing to run.
    Failed(Failure),
}

/// Starts the container, and says how it went in events.
pub async fn run(request: Request) -> Outcome {
    if let Some(previous) = &request.previous {
        forget(&request, previous).await;
    }
    let outcome = tokio::select! {
        biased;
        () = request.cancel.cancelled() => return Outcome::Failed(Failure::new("ContainerCreating", "")),
        prepared = prepare(&request) => match prepared {
            Ok(prepared) => create(&request, prepared).await,
            Err(failure) => Outcome::Failed(failure),
        },
    };
    if let Outcome::Failed(failure) | Outcome::Stillborn(_, failure) = &outcome {
        let note = if failure.is_pull() { failure.reason.to_owned() } else { failure.message.clone() };
        let (pod, name) = (&request.pod, &request.container.name);
        request.shared.container_event(pod, name, Type::Warning, "Failed", format!("Error: {note}"));
    }
    outcome
}

struct Prepared {
    image: Image,
    objects: Snapshot,
    security: security::Security,
    env: Vec<(String, String)>,
}

/// Everything that needs no root file system yet.
async fn prepare(request: &Request) -> Result<Prepared, Failure> {
    let Request { shared, pod, container, .. } = request;
    let config_error = |error: &dyn std::fmt::Display| Failure::new("CreateContainerConfigError", error);
    let objects = mount::snapshot(shared, pod).await.map_err(|error| config_error(&error))?;
    let image = pull::ensure(shared, pod, container, &objects).await?;
    let profiles = shared.config.data_dir.join("agent/seccomp");
    let security = security::of(pod, container, &profiles);
    identity::verify_non_root(&security, &image.config.user, &names::full(pod), &container.name)
        .map_err(|error| config_error(&error))?;
    let links = pod.spec.as_ref().is_none_or(|spec| spec.enable_service_links != Some(false));
    let services = services::variables(&shared.services.list(), names::namespace(pod), links);
    let context = mount::context(shared, pod, &request.sandbox.addresses);
    let sources = env::Sources { pod, container, objects: &objects, services: &services, context: &context };
    let env = env::build(&sources).map_err(|error| config_error(&error))?;
    Ok(Prepared { image, objects, security, env })
}

async fn create(request: &Request, prepared: Prepared) -> Outcome {
    let Request { shared, pod, container, sandbox, .. } = request;
    let _permit = shared.creations.acquire().await.expect("the semaphore is never closed");
    let id = new_id();
    let stop_signal = stop_signal(container, &prepared.image.config.stop_signal);
    let instance = Instance {
        id: id.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: image_id(&prepared.image),
        stop_signal,
        state: State::Running { started_at: Timestamp::now() },
    };
    if let Err(failure) = create_container(request, prepared, &instance).await {
        abandon(shared, &sandbox.id, &id).await;
        return Outcome::Failed(failure);
    }
    shared.container_event(pod, &container.name, Type::Normal, "Created", "Container created");
    match shared.containers.start(&sandbox.id, &id).await {
        Ok(status) => {
            shared.container_event(pod, &container.name, Type::Normal, "Started", "Container started");
            Outcome::Started(Instance { state: running(&status.state), ..instance })
        }
        Err(error) => {
            let failure = Failure::new("RunContainerError", error);
            let terminated = stillborn(&id, &failure);
            Outcome::Stillborn(Instance { state: State::Exited(terminated), ..instance }, failure)
        }
    }
}

async fn create_container(request: &Request, prepared: Prepared, instance: &Instance) -> Result<(), Failure> {
    let Request { shared, pod, container, sandbox, .. } = request;
    let failed = |error: &dyn std::fmt::Display| Failure::new("CreateContainerError", error);
    let rootfs = shared.images.mount(&prepared.image.id, &instance.id).await.map_err(|error| failed(&error))?;
    let files = Files {
        shared: shared.clone(),
        pod: pod.clone(),
        container: container.clone(),
        id: instance.id.clone(),
        attempt: request.attempt,
        rootfs: rootfs.clone(),
        env: prepared.env.clone(),
        security: prepared.security.clone(),
        image_user: prepared.image.config.user.clone(),
    };
    let (identity, mounts) = shared.lane.run(move || files.prepare()).await?;
    let config = config::build(config::Inputs {
        config: &shared.config,
        pod,
        container,
        id: &instance.id,
        attempt: request.attempt,
        image: &prepared.image.config,
        rootfs,
        env: &prepared.env,
        identity,
        security: prepared.security,
        mounts,
        node_memory_bytes: shared.memory_bytes,
        annotations: annotations(pod, container, request.attempt, instance),
    })
    .map_err(|error| failed(&error))?;
    drop(prepared.objects);
    shared.containers.create(&sandbox.id, config).await.map_err(|error| failed(&error))
}

/// The blocking part of a creation: account files, mounts, log directory.
struct Files {
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    container: Container,
    id: String,
    attempt: i32,
    rootfs: PathBuf,
    env: Vec<(String, String)>,
    security: security::Security,
    image_user: String,
}

impl Files {
    fn prepare(&self) -> Result<(identity::Identity, Vec<oci::Mount>), Failure> {
        let failed = |error: std::io::Error| Failure::new("CreateContainerError", error);
        let identity = identity::resolve(&self.security, &self.image_user, &self.rootfs)
            .map_err(|error| Failure::new("CreateContainerError", error))?;
        let mut mounts = self.volume_mounts()?;
        self.add_own_files(&mut mounts).map_err(failed)?;
        self.link_log().map_err(failed)?;
        Ok((identity, mounts))
    }

    fn volume_mounts(&self) -> Result<Vec<oci::Mount>, Failure> {
        let volumes = self.pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
        let mounts = self.container.volume_mounts.iter().flatten().enumerate();
        mounts.map(|(index, wanted)| self.volume_mount(index, wanted, volumes)).collect()
    }

    fn volume_mount(&self, index: usize, wanted: &VolumeMount, volumes: &[Volume]) -> Result<oci::Mount, Failure> {
        let failed = |message: String| Failure::new("CreateContainerConfigError", message);
        let directory = names::directory(&self.shared.config, names::uid(&self.pod));
        let volume = volumes.iter().find(|volume| volume.name == wanted.name);
        let volume = volume.ok_or_else(|| failed(format!("volume {} not found", wanted.name)))?;
        let mut source = volumes::path(&directory, volume)
            .ok_or_else(|| failed(format!("cannot find volume \"{}\" to mount into container", wanted.name)))?;
        if let Some(part) = self.sub_path(wanted).filter(|part| !part.is_empty()) {
            let target = directory.join("volume-subpaths").join(&wanted.name).join(&self.container.name);
            let target = target.join(format!("{}-{index}", self.attempt));
            sub_path::bind(&source, Path::new(&part), &target).map_err(|error| {
                failed(format!(
                    "failed to prepare subPath for volumeMount \"{}\" of container \"{}\": {error}",
                    wanted.name, self.container.name
                ))
            })?;
            source = target;
        }
        Ok(oci::Mount {
            source,
            destination: absolute(&wanted.mount_path),
            read_only: wanted.read_only == Some(true) || volumes::is_read_only(volume),
            propagation: match wanted.mount_propagation.as_deref() {
                Some("HostToContainer") => oci::Propagation::HostToContainer,
                Some("Bidirectional") => oci::Propagation::Bidirectional,
                _ => oci::Propagation::Private,
            },
        })
    }

    fn sub_path(&self, wanted: &VolumeMount) -> Option<String> {
        let lookup = |name: &str| self.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match wanted.sub_path_expr.as_deref().filter(|expression| !expression.is_empty()) {
            Some(expression) => Some(expand(expression, lookup)),
            None => wanted.sub_path.clone(),
        }
    }

    /// `/etc/hosts` and its like, unless the pod mounts something there itself, and the file for
    /// the termination message.
    fn add_own_files(&self, mounts: &mut Vec<oci::Mount>) -> std::io::Result<()> {
        let directory = names::directory(&self.shared.config, names::uid(&self.pod));
        for (name, destination) in sandbox::FILES {
            if !mounts.iter().any(|mount| mount.destination == Path::new(destination)) {
                mounts.push(bind(directory.join(name), destination));
            }
        }
        let message = names::termination_file(&directory, &self.container.name, &self.id);
        if let Some(parent) = message.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&message, "")?;
        std::fs::set_permissions(&message, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        let destination = self.container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
        mounts.push(bind(message, destination));
        Ok(())
    }

    fn link_log(&self) -> std::io::Result<()> {
        let config = &self.shared.config;
        let log = names::log_path(config, &self.pod, &self.container.name, self.attempt);
        if let Some(parent) = log.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::create_dir_all(&config.container_logs_dir)?;
        let link = names::log_link(config, &self.pod, &self.container.name, &self.id);
        match std::os::unix::fs::symlink(&log, &link) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }
}

/// Cleans up a run that is over; only its log stays, for `kubectl logs --previous`.
async fn forget(request: &Request, previous: &str) {
    let Request { shared, pod, container, attempt, .. } = request;
    abandon(shared, &request.sandbox.id, previous).await;
    let old_log = names::log_path(&shared.config, pod, &container.name, attempt - 2);
    let link = names::log_link(&shared.config, pod, &container.name, previous);
    let message =
        names::termination_file(&names::directory(&shared.config, names::uid(pod)), &container.name, previous);
    shared
        .lane
        .run(move || {
            for path in [old_log, link, message] {
                // Most of the time some of them are not there.
                let _ = std::fs::remove_file(path);
            }
        })
        .await;
}

async fn abandon(shared: &Shared, sandbox: &str, id: &str) {
    let removed = shared.containers.remove(sandbox, id).await;
    let unmounted = shared.images.unmount(id).await;
    for error in [removed.err(), unmounted.err()].into_iter().flatten() {
        tracing::debug!(container = id, error = %error, "container not cleaned up");
    }
}

fn annotations(pod: &Pod, container: &Container, attempt: i32, instance: &Instance) -> BTreeMap<String, String> {
    let notes = [
        (annotation::POD_UID, names::uid(pod).to_owned()),
        (annotation::POD_NAMESPACE, names::namespace(pod).to_owned()),
        (annotation::POD_NAME, names::name(pod).to_owned()),
        (annotation::CONTAINER_NAME, container.name.clone()),
        (annotation::RESTART_COUNT, attempt.to_string()),
        (annotation::IMAGE, instance.image.clone()),
        (annotation::IMAGE_ID, instance.image_id.clone()),
        (annotation::STOP_SIGNAL, instance.stop_signal.to_string()),
    ];
    notes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn running(state: &ContainerState) -> State {
    let started_at = match state {
        ContainerState::Running { started_at_ns, .. } | ContainerState::Exited { started_at_ns, .. } => {
            Timestamp::from_nanosecond(i128::from(*started_at_ns)).ok()
        }
        ContainerState::Created => None,
    };
    State::Running { started_at: started_at.unwrap_or_else(Timestamp::now) }
}

fn stillborn(id: &str, failure: &Failure) -> ContainerStateTerminated {
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now());
    ContainerStateTerminated {
        exit_code: 128,
        reason: Some("StartError".into()),
        message: Some(failure.message.clone()),
        container_id: Some(format!("nauplius://{id}")),
        finished_at: Some(now),
        started_at: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH)),
        ..ContainerStateTerminated::default()
    }
}

/// The name by which status reports the image: with its digest where one is known.
fn image_id(image: &Image) -> String {
    image.digests.first().cloned().unwrap_or_else(|| image.id.clone())
}

/// The stop signal: the container's own wish (KEP-4960), the image's, or SIGTERM.
fn stop_signal(container: &Container, image: &str) -> i32 {
    let wish = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.as_deref());
    let name = wish.unwrap_or(image);
    if let Ok(number) = name.parse() {
        return number;
    }
    let full = if name.starts_with("SIG") { name.to_owned() } else { format!("SIG{name}") };
    full.parse::<nix::sys::signal::Signal>().unwrap_or(nix::sys::signal::Signal::SIGTERM) as i32
}

fn bind(source: PathBuf, destination: &str) -> oci::Mount {
    oci::Mount { source, destination: absolute(destination), read_only: false, propagation: oci::Propagation::Private }
}

fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

/// 64 random hexadecimal digits.
fn new_id() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}
