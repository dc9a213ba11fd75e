//! Stopping a container: preStop hook, stop signal, patience, SIGKILL.

use std::{net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    client::events::Type,
    kubelet::{jobs::hook, names, shared::Shared},
};

/// What the process is given to end after its preStop hook has used up the grace period.
const LEAST_GRACE: Duration = Duration::from_secs(2);
const SIGKILL: i32 = 9;

/// What to stop.
pub struct Request {
    /// The kubelet.
    pub shared: Arc<Shared>,
    /// The pod.
    pub pod: Arc<Pod>,
    /// Its container.
    pub container: Container,
    /// ID of the run.
    pub id: String,
    /// The signal that asks.
    pub signal: i32,
    /// For the hook.
    pub address: Option<IpAddr>,
    /// When patience ends; may come closer while the container is being stopped.
    pub deadline: watch::Receiver<Instant>,
    /// Why, for the event.
    pub reason: Option<String>,
}

/// Resolves when the process is gone.
pub async fn run(mut request: Request) {
    let Request { shared, pod, container, id, .. } = &request;
    let note = request.reason.clone().unwrap_or_else(|| format!("Stopping container {}", container.name));
    shared.container_event(pod, &container.name, Type::Normal, "Killing", note);
    let sandbox = names::uid(pod).to_owned();
    let (shared, id) = (shared.clone(), id.clone());
    let gone = shared.containers.wait(&sandbox, &id);
    tokio::pin!(gone);
    let mut deadline = request.deadline.clone();
    tokio::select! {
        _ = &mut gone => return,
        () = passed(&mut deadline) => {}
        () = pre_stop(&request) => {}
    }
    if let Err(error) = shared.containers.signal(&sandbox, &id, request.signal).await {
        tracing::debug!(container = id, error = %error, "stop signal not delivered");
    }
    let least = Instant::now() + LEAST_GRACE;
    let end = async {
        // With a grace period of a second or less there is no patience beyond it.
        let short = *request.deadline.borrow() <= Instant::now() + Duration::from_secs(1);
        passed(&mut request.deadline).await;
        if !short {
            sleep_until(least).await;
        }
    };
    tokio::select! {
        _ = &mut gone => return,
        () = end => {}
    }
    if let Err(error) = shared.containers.signal(&sandbox, &id, SIGKILL).await {
        tracing::warn!(container = id, error = %error, "container not killed");
    }
    // An error means that it is gone already; the end itself is seen by whoever waits for it.
    let _ = gone.await;
}

async fn pre_stop(request: &Request) {
    let lifecycle = request.container.lifecycle.as_ref();
    let Some(handler) = lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref()) else { return };
    let limit = request.deadline.borrow().saturating_duration_since(Instant::now());
    let Request { shared, pod, container, .. } = request;
    let ended = hook::run(shared, pod, container, &request.id, request.address, handler, limit).await;
    if let Err(error) = ended {
        tracing::debug!(pod = names::full(pod), container = container.name, error, "preStop hook failed");
        shared.container_event(pod, &container.name, Type::Warning, "FailedPreStopHook", "PreStopHook failed");
    }
}

/// Resolves at the deadline, also when it is moved closer meanwhile.
async fn passed(deadline: &mut watch::Receiver<Instant>) {
    loop {
        let at = *deadline.borrow_and_update();
        tokio::select! {
            () = sleep_until(at) => return,
            changed = deadline.changed() => if changed.is_err() {
                sleep_until(at).await;
                return;
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_come_closer() {
        let start = Instant::now();
        let (sender, mut receiver) = watch::channel(start + Duration::from_secs(30));
        let waiting = passed(&mut receiver);
        let moving = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            sender.send(start + Duration::from_secs(2)).unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = waiting => {}
            () = moving => {}
        }
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }
}
