//! One probe of one container: tries it in its rhythm and tells the pod's worker of verdicts.

use std::{net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    client::events::Type,
    kubelet::{
        names,
        probe::{self, Kind, Thresholds},
        shared::Shared,
    },
};

/// A verdict that differs from the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The container.
    pub container: String,
    /// The run that was probed.
    pub id: String,
    /// Which probe.
    pub kind: Kind,
    /// What it says.
    pub good: bool,
}

/// What to probe.
pub struct Request {
    /// The kubelet.
    pub shared: Arc<Shared>,
    /// The pod.
    pub pod: Arc<Pod>,
    /// Its container.
    pub container: Container,
    /// The run.
    pub id: String,
    /// The pod's address.
    pub address: Option<IpAddr>,
    /// Which probe.
    pub kind: Kind,
    /// Whom to tell.
    pub verdicts: mpsc::Sender<Verdict>,
}

/// Probes until nobody listens any more. A startup probe ends with its first verdict.
pub async fn run(request: Request) {
    let Some(probe) = request.kind.of(&request.container).cloned() else { return };
    let period = seconds(probe.period_seconds.unwrap_or(10).max(1));
    let mut next = Instant::now() + seconds(probe.initial_delay_seconds.unwrap_or(0));
    let mut thresholds = Thresholds::default();
    let mut known = None;
    loop {
        tokio::time::sleep_until(next).await;
        let answer = try_once(&request, &probe).await;
        let verdict = thresholds.count(&probe, answer).filter(|verdict| known != Some(*verdict));
        if let Some(good) = verdict {
            known = Some(good);
            if !tell(&request, good).await || request.kind == Kind::Startup {
                return;
            }
        }
        // A try that took longer than the period is not made up for.
        next = (next + period).max(Instant::now());
    }
}

async fn try_once(request: &Request, probe: &Probe) -> bool {
    let Request { shared, pod, container, .. } = request;
    match probe::once(shared, pod, container, &request.id, request.address, probe).await {
        Ok(()) => true,
        Err(output) => {
            let kind = request.kind.as_str();
            tracing::debug!(pod = names::full(pod), container = container.name, kind, output, "probe failed");
            let note = format!("{kind} probe failed: {output}");
            shared.container_event(pod, &container.name, Type::Warning, "Unhealthy", note);
            false
        }
    }
}

async fn tell(request: &Request, good: bool) -> bool {
    let verdict =
        Verdict { container: request.container.name.clone(), id: request.id.clone(), kind: request.kind, good };
    request.verdicts.send(verdict).await.is_ok()
}

fn seconds(seconds: i32) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
