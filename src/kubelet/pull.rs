//! Bringing a container's image as its pull policy says, with upstream's reasons and events.

use std::time::Instant;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{
    client::events::Type,
    image::{Credential, Image},
    kubelet::{
        host,
        objects::{Reference, Snapshot},
        pull_secret,
        shared::Shared,
    },
};

/// Why a container does not start: the reason its status shows, and a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Failure {
    /// Reason in CamelCase.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Failure {
    /// A failure with a reason.
    pub fn new(reason: &'static str, message: impl ToString) -> Self {
        Self { reason, message: message.to_string() }
    }

    /// Whether it is about the image rather than the container.
    pub fn is_pull(&self) -> bool {
        matches!(self.reason, "ErrImagePull" | "RegistryUnavailable")
    }
}

/// The image, from this node or its registry.
pub async fn ensure(shared: &Shared, pod: &Pod, container: &Container, objects: &Snapshot) -> Result<Image, Failure> {
    let reference = container.image.as_deref().unwrap_or_default();
    let found = shared.images.find(reference).await.map_err(|error| lookup_failed(shared, pod, container, &error))?;
    match (policy(container), found) {
        ("Never", None) => {
            let note = format!("Container image \"{reference}\" is not present with pull policy of Never");
            shared.container_event(pod, &container.name, Type::Warning, "ErrImageNeverPull", note.as_str());
            Err(Failure::new("ErrImageNeverPull", note))
        }
        ("Never" | "IfNotPresent", Some(image)) => {
            let note =
                format!("Container image \"{reference}\" already present on machine and can be accessed by the pod");
            shared.container_event(pod, &container.name, Type::Normal, "Pulled", note);
            Ok(image)
        }
        _ => pull(shared, pod, container, credentials(pod, objects)).await,
    }
}

/// The pull policy in force (API reference, `Container.imagePullPolicy`).
pub fn policy(container: &Container) -> &str {
    match container.image_pull_policy.as_deref() {
        Some(policy @ ("Always" | "Never" | "IfNotPresent")) => policy,
        _ if is_latest(container.image.as_deref().unwrap_or_default()) => "Always",
        _ => "IfNotPresent",
    }
}

fn is_latest(reference: &str) -> bool {
    if reference.contains('@') {
        return false;
    }
    match reference.rsplit('/').next().and_then(|name| name.split_once(':')) {
        Some((_, tag)) => tag == "latest",
        None => true,
    }
}

fn lookup_failed(shared: &Shared, pod: &Pod, container: &Container, error: &host::Error) -> Failure {
    let reference = container.image.as_deref().unwrap_or_default();
    let (reason, message) = match error {
        host::Error::InvalidImageName { .. } => {
            ("InvalidImageName", format!("Failed to apply default image tag \"{reference}\": {error}"))
        }
        _ => ("ImageInspectError", format!("Failed to inspect image \"{reference}\": {error}")),
    };
    shared.container_event(pod, &container.name, Type::Warning, "InspectFailed", message.as_str());
    Failure::new(reason, message)
}

async fn pull(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    credentials: Vec<Credential>,
) -> Result<Image, Failure> {
    let reference = container.image.as_deref().unwrap_or_default();
    let event = |kind, reason, note: String| shared.container_event(pod, &container.name, kind, reason, note);
    let queued = Instant::now();
    event(Type::Normal, "Pulling", format!("Pulling image \"{reference}\""));
    let _permit = shared.pulls.acquire().await.expect("the semaphore is never closed");
    let started = Instant::now();
    match shared.images.pull(reference, credentials).await {
        Ok(image) => {
            shared.disk_changed.notify_one();
            let (took, waited) = (round(started.elapsed()), round(queued.elapsed()));
            let size = image.size_bytes;
            event(
                Type::Normal,
                "Pulled",
                format!(
                    "Successfully pulled image \"{reference}\" in {took} ({waited} including waiting). Image size: {size} bytes."
                ),
            );
            Ok(image)
        }
        Err(error) => {
            event(Type::Warning, "Failed", format!("Failed to pull image \"{reference}\": {error}"));
            Err(Failure::new("ErrImagePull", error))
        }
    }
}

/// Durations to the millisecond, as upstream's event rounds them.
fn round(duration: std::time::Duration) -> String {
    if duration.as_secs() > 0 {
        format!("{}s", duration.as_millis() as f64 / 1000.0)
    } else {
        format!("{}ms", duration.as_millis())
    }
}

fn credentials(pod: &Pod, objects: &Snapshot) -> Vec<Credential> {
    let secrets = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    let known = secrets.filter_map(|secret| objects.get(&Reference::secret(&secret.name)).cloned().flatten());
    known.flat_map(|secret| pull_secret::credentials(&secret)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_follows_the_tag() {
        let of = |image: &str, wish: Option<&str>| {
            let container = Container {
                image: Some(image.into()),
                image_pull_policy: wish.map(Into::into),
                ..Container::default()
            };
            policy(&container).to_owned()
        };
        assert_eq!(of("nginx", None), "Always");
        assert_eq!(of("registry.local:5000/nginx", None), "Always");
        assert_eq!(of("nginx:latest", None), "Always");
        assert_eq!(of("nginx:1.27", None), "IfNotPresent");
        assert_eq!(of("nginx@sha256:0", None), "IfNotPresent");
        assert_eq!(of("nginx", Some("Never")), "Never");
    }
}
