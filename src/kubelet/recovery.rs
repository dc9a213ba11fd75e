//! After a restart of the agent: matching what runs on this node with the pods it is to run.
//! Running containers are taken over without disturbing them; what belongs to no pod is removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use crate::{
    kubelet::{
        container::config::annotation,
        host::{self, RecoveredSandbox},
        jobs::{checkpoint, exit},
        names,
        record::{self, ContainerRecord, Instance, Record, Sandbox, State, Volumes},
        shared::Shared,
        volumes,
    },
    oci::{ContainerState, ContainerStatus},
};

/// A pod that this node had, and how far it is.
pub struct Known {
    /// The pod as it was last kept.
    pub pod: Arc<Pod>,
    /// Its record.
    pub record: Record,
}

/// Finds the pods that were kept and what is left of them. Removes what belongs to no pod.
pub async fn recover(shared: &Arc<Shared>) -> Result<Vec<Known>, host::Error> {
    let sandboxes = shared.containers.recover().await?;
    let mounted = shared.images.mounted().await?;
    let directory = shared.config.pods_dir();
    let (pods, orphans) = shared.lane.run(move || checkpoint::load_pods(&directory)).await;
    let mut alive: BTreeMap<String, RecoveredSandbox> = BTreeMap::new();
    for sandbox in sandboxes {
        let wanted = pods.iter().any(|pod| names::uid(pod) == sandbox.id && !record::is_terminal(pod));
        if wanted && sandbox.alive {
            let sandbox = without_unstarted(shared, sandbox).await;
            alive.insert(sandbox.id.clone(), sandbox);
        } else {
            remove_sandbox(shared, &sandbox.id).await;
        }
    }
    let used: BTreeSet<&str> = alive.values().flat_map(|s| &s.containers).map(|c| c.id.as_str()).collect();
    for container in mounted.iter().filter(|container| !used.contains(container.as_str())) {
        if let Err(error) = shared.images.unmount(container).await {
            tracing::warn!(container, error = %error, "root file system of an unknown container not removed");
        }
    }
    remove_directories(shared, orphans).await;
    detach_ended(shared, &pods);
    let mut known = Vec::new();
    for pod in pods {
        known.push(take_over(shared, pod, &alive).await);
    }
    Ok(known)
}

async fn remove_sandbox(shared: &Shared, id: &str) {
    if let Err(error) = shared.containers.remove_sandbox(id).await {
        tracing::warn!(sandbox = id, error = %error, "unknown sandbox not removed");
    }
}

/// Removes the containers that an agent created and did not live to start: the pod's worker makes
/// new ones, and would not know of these.
async fn without_unstarted(shared: &Shared, mut sandbox: RecoveredSandbox) -> RecoveredSandbox {
    let is_unstarted = |status: &ContainerStatus| status.state == ContainerState::Created;
    for status in sandbox.containers.iter().filter(|status| is_unstarted(status)) {
        if let Err(error) = shared.containers.remove(&sandbox.id, &status.id).await {
            tracing::warn!(container = status.id, error = %error, "container that was never started not removed");
        }
    }
    sandbox.containers.retain(|status| !is_unstarted(status));
    sandbox
}

async fn remove_directories(shared: &Shared, orphans: Vec<PathBuf>) {
    let remove = move || {
        for directory in orphans {
            if let Err(error) = volumes::remove(&directory) {
                tracing::warn!(path = %directory.display(), error = %error, "directory of an unknown pod not removed");
            }
        }
    };
    shared.lane.run(remove).await;
}

/// Addresses of pods that are no more are freed when the network comes, and those of pods that have
/// ended: the agent may have been killed between their last report and the end of their teardown.
fn detach_ended(shared: &Arc<Shared>, pods: &[Pod]) {
    let uids = |terminal: bool| -> BTreeSet<String> {
        let pods = pods.iter().filter(|pod| record::is_terminal(pod) == terminal);
        pods.map(|pod| names::uid(pod).to_owned()).collect()
    };
    let (mut keep, ended, shared_with) = (uids(false), uids(true), shared.clone());
    shared.supervisor.spawn("network recovery", async move {
        shared_with.network.became_ready().await;
        // Pods that came meanwhile are kept as well.
        keep.extend(shared_with.views.read().keys().filter(|uid| !ended.contains(*uid)).cloned());
        if let Err(error) = shared_with.network.retain(&keep).await {
            tracing::warn!(error = %error, "addresses of pods that are gone not freed");
        }
    });
}

async fn take_over(shared: &Arc<Shared>, pod: Pod, alive: &BTreeMap<String, RecoveredSandbox>) -> Known {
    let uid = names::uid(&pod).to_owned();
    let directory = names::directory(&shared.config, &uid);
    shared.tokens.restore(&uid, shared.lane.run(move || checkpoint::load_tokens(&directory)).await);
    let pod = Arc::new(pod);
    let Some(sandbox) = alive.get(&uid).cloned() else {
        let record = Record::from_status(&pod, Timestamp::now());
        return Known { pod, record };
    };
    let (shared_with, taken) = (shared.clone(), pod.clone());
    let record = shared.lane.run(move || record_of(&shared_with, &taken, &sandbox)).await;
    Known { pod, record }
}

/// The record of a pod whose sandbox lives. Blocks: it reads termination messages.
fn record_of(shared: &Shared, pod: &Pod, sandbox: &RecoveredSandbox) -> Record {
    let note = |key: &str| sandbox.annotations.get(key);
    let addresses = note(annotation::POD_IPS).map(String::as_str).unwrap_or_default();
    let mut containers: BTreeMap<String, ContainerRecord> = BTreeMap::new();
    let mut runs: Vec<(i32, &ContainerStatus)> =
        sandbox.containers.iter().map(|status| (restart_count(status), status)).collect();
    runs.sort_by_key(|(attempt, _)| *attempt);
    for (attempt, status) in runs {
        let Some(name) = status.annotations.get(annotation::CONTAINER_NAME) else { continue };
        add_run(shared, pod, containers.entry(name.clone()).or_default(), name, attempt, status);
    }
    restore_probes(pod, &mut containers);
    let start = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    Record {
        start_time: start.unwrap_or_else(Timestamp::now),
        sandbox: Sandbox::Ready {
            id: sandbox.id.clone(),
            netns: note(annotation::NETNS).map(PathBuf::from),
            addresses: addresses.split(',').filter_map(|address| address.parse().ok()).collect(),
        },
        volumes: Volumes::Mounted { refresh_at: Some(Instant::now()) },
        containers,
        failed: None,
    }
}

fn add_run(
    shared: &Shared,
    pod: &Pod,
    known: &mut ContainerRecord,
    name: &str,
    attempt: i32,
    status: &ContainerStatus,
) {
    let note = |key: &str| status.annotations.get(key).cloned().unwrap_or_default();
    let state = match &status.state {
        // It was never started: the next start makes a new one.
        ContainerState::Created => return,
        ContainerState::Running { started_at_ns, .. } => {
            let started_at = Timestamp::from_nanosecond(i128::from(*started_at_ns));
            State::Running { started_at: started_at.unwrap_or_else(|_| Timestamp::now()) }
        }
        exited @ ContainerState::Exited { .. } => {
            let container = pod.spec.as_ref().and_then(|spec| record::find_container(spec, name)).unwrap_or_default();
            State::Exited(exit::terminated(shared, pod, &container, &status.id, attempt, exited))
        }
    };
    if let Some(before) = known.instance.take() {
        known.last = before.terminated().cloned();
        known.last_id = Some(before.id);
    }
    known.restarts = attempt;
    known.instance = Some(Instance {
        id: status.id.clone(),
        image: note(annotation::IMAGE),
        image_id: note(annotation::IMAGE_ID),
        stop_signal: note(annotation::STOP_SIGNAL).parse().unwrap_or(15),
        state,
    });
}

/// What probes had found stays true until they find something else; the last end of a container
/// whose earlier run is gone is taken from the status that was reported.
fn restore_probes(pod: &Pod, containers: &mut BTreeMap<String, ContainerRecord>) {
    let Some(spec) = &pod.spec else { return };
    let status = pod.status.clone().unwrap_or_default();
    let statuses = [status.init_container_statuses, status.container_statuses, status.ephemeral_container_statuses];
    let statuses: Vec<_> = statuses.into_iter().flatten().flatten().collect();
    for (name, known) in containers {
        let Some(container) = record::find_container(spec, name) else { continue };
        known.started = container.startup_probe.is_none();
        known.ready = container.readiness_probe.is_none();
        let id = known.instance.as_ref().map(|instance| format!("nauplius://{}", instance.id));
        let Some(reported) = statuses.iter().find(|status| status.name == *name) else { continue };
        if reported.container_id == id {
            known.started |= reported.started == Some(true);
            known.ready |= reported.ready;
        }
        if known.last.is_none() {
            known.last = reported.last_state.clone().and_then(|state| state.terminated);
        }
    }
}

fn restart_count(status: &ContainerStatus) -> i32 {
    status.annotations.get(annotation::RESTART_COUNT).and_then(|count| count.parse().ok()).unwrap_or(0)
}
