//! What a pod's worker remembers of its pod: how far sandbox, volumes and containers are. The plan
//! and the reported status are functions of the pod's spec and this record.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodSpec},
    apimachinery::pkg::apis::meta::v1::Time,
};
use tokio::time::Instant;

/// Back-off after a container's first quick restart (upstream's `backOffPeriod`).
pub const CRASH_FIRST: Duration = Duration::from_secs(10);
/// Longest back-off between restarts (upstream's `MaxContainerBackOff`).
pub const CRASH_LIMIT: Duration = Duration::from_secs(300);
/// A container that ran this long starts over without back-off.
pub const CRASH_RESET: Duration = Duration::from_secs(600);
/// Exit code that stands for "nobody saw how it ended" (upstream reports the same).
pub const UNKNOWN_EXIT_CODE: i32 = 137;

/// One moment on both clocks: timers run on the monotonic one, people read the other.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Monotonic.
    pub instant: Instant,
    /// Wall clock.
    pub timestamp: Timestamp,
}

impl Now {
    /// The present.
    pub fn get() -> Self {
        Self { instant: Instant::now(), timestamp: Timestamp::now() }
    }

    /// The present as the API writes times.
    pub fn time(&self) -> Time {
        Time(self.timestamp)
    }
}

/// The pod's sandbox.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Sandbox {
    /// There is none.
    #[default]
    Absent,
    /// It is being made.
    Creating,
    /// It is there.
    Ready {
        /// Its ID.
        id: String,
        /// The pod's network namespace; `None` for the host's.
        netns: Option<PathBuf>,
        /// The pod's addresses.
        addresses: Vec<IpAddr>,
    },
    /// It could not be made; tried again later.
    Failed {
        /// When.
        retry_at: Instant,
    },
    /// It is being removed for good.
    Removing,
    /// It is gone for good, volumes too.
    Removed,
}

/// The pod's volumes.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Volumes {
    /// Nothing was prepared.
    #[default]
    Unmounted,
    /// They are being prepared or refreshed for the first time.
    Mounting,
    /// All are there.
    Mounted {
        /// When a token must be renewed.
        refresh_at: Option<Instant>,
    },
    /// Something is missing; tried again later, or when an object they use changes.
    Failed {
        /// When.
        retry_at: Instant,
    },
}

/// What is being done to a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Operation {
    /// Nothing.
    #[default]
    Idle,
    /// Image, configuration, creation, start.
    Starting,
    /// Its postStart hook runs.
    PostStart,
    /// It is being stopped.
    Stopping,
}

/// Why a container does not run yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Reason in CamelCase, such as `ErrImagePull`.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Where an instance of a container is.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It runs.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// It has ended.
    Exited(ContainerStateTerminated),
}

/// One run of a container.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Its ID in the runtime.
    pub id: String,
    /// Image as the spec named it when it was started.
    pub image: String,
    /// The image's ID as status reports it.
    pub image_id: String,
    /// Signal that asks it to stop.
    pub stop_signal: i32,
    /// Its state.
    pub state: State,
}

impl Instance {
    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// How it ended, if it did.
    pub fn terminated(&self) -> Option<&ContainerStateTerminated> {
        match &self.state {
            State::Exited(terminated) => Some(terminated),
            State::Running { .. } => None,
        }
    }
}

/// Back-off of a container that keeps ending.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CrashLoop {
    delay: Duration,
    since: Option<Instant>,
}

impl CrashLoop {
    /// The container ended at `now`: how long to wait before its next start.
    pub fn on_exit(&mut self, now: Instant) -> Duration {
        if self.since.is_some_and(|since| now.duration_since(since) > CRASH_RESET) {
            self.delay = Duration::ZERO;
        }
        self.delay
    }

    /// The container is started again at `now`.
    pub fn on_restart(&mut self, now: Instant) {
        self.delay = if self.delay.is_zero() { CRASH_FIRST } else { (self.delay * 2).min(CRASH_LIMIT) };
        self.since = Some(now);
    }
}

/// What is known of one container of the spec.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerRecord {
    /// How often it was restarted.
    pub restarts: i32,
    /// Its newest run.
    pub instance: Option<Instance>,
    /// How the run before ended.
    pub last: Option<ContainerStateTerminated>,
    /// ID of a dead run whose log is still wanted.
    pub last_id: Option<String>,
    /// What is being done to it.
    pub operation: Operation,
    /// Why it does not run.
    pub waiting: Option<Waiting>,
    /// Not to be started before.
    pub retry_at: Option<Instant>,
    /// Back-off of restarts.
    pub crash: CrashLoop,
    /// The startup probe has passed, or there is none.
    pub started: bool,
    /// The readiness probe says yes, or there is none.
    pub ready: bool,
    /// Why a running instance must be stopped and started anew.
    pub restart_reason: Option<String>,
}

impl ContainerRecord {
    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        self.instance.as_ref().is_some_and(Instance::is_running)
    }

    /// How its newest run ended, if it did.
    pub fn terminated(&self) -> Option<&ContainerStateTerminated> {
        self.instance.as_ref().and_then(Instance::terminated)
    }

    /// Whether it runs and its startup probe and postStart hook are through.
    pub fn is_up(&self) -> bool {
        self.is_running() && self.started && matches!(self.operation, Operation::Idle | Operation::Stopping)
    }

    /// Its process is gone and nobody saw how it ended: as after a reboot.
    pub fn lose(&mut self) {
        let Some(instance) = self.instance.take() else { return };
        self.last = Some(match instance.state {
            State::Exited(terminated) => terminated,
            State::Running { started_at } => lost(&instance.id, Some(Time(started_at))),
        });
        self.restarts += 1;
        self.operation = Operation::Idle;
        self.started = false;
        self.ready = false;
    }
}

/// Why the whole pod has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `status.reason`.
    pub reason: String,
    /// `status.message`.
    pub message: String,
}

/// Everything a worker remembers.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When the kubelet first saw the pod.
    pub start_time: Timestamp,
    /// The sandbox.
    pub sandbox: Sandbox,
    /// The volumes.
    pub volumes: Volumes,
    /// By container name, init and ephemeral ones included.
    pub containers: BTreeMap<String, ContainerRecord>,
    /// Why the pod as a whole has failed, if it has.
    pub failed: Option<Failure>,
}

impl Record {
    /// A pod seen for the first time, or known from its reported status alone: after a reboot
    /// nothing of it runs, and containers that ran count as restarted.
    pub fn from_status(pod: &Pod, now: Timestamp) -> Self {
        let status = pod.status.as_ref();
        let statuses = status.into_iter().flat_map(|status| {
            let lists = [&status.init_container_statuses, &status.container_statuses];
            lists.into_iter().flatten().flatten()
        });
        let terminal = is_terminal(pod);
        Self {
            start_time: status.and_then(|status| status.start_time.as_ref()).map_or(now, |time| time.0),
            sandbox: if terminal { Sandbox::Removed } else { Sandbox::Absent },
            volumes: Volumes::Unmounted,
            containers: statuses.map(|status| (status.name.clone(), from_container_status(status, terminal))).collect(),
            failed: status.filter(|_| terminal).and_then(|status| {
                let reason = status.reason.clone().filter(|reason| !reason.is_empty())?;
                Some(Failure { reason, message: status.message.clone().unwrap_or_default() })
            }),
        }
    }

    /// A container's record; empty if nothing was done about it yet.
    pub fn container(&mut self, name: &str) -> &mut ContainerRecord {
        self.containers.entry(name.to_owned()).or_default()
    }

    /// The sandbox's ID, if it is there.
    pub fn sandbox_id(&self) -> Option<&str> {
        match &self.sandbox {
            Sandbox::Ready { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Whether some container's process runs.
    pub fn any_running(&self) -> bool {
        self.containers.values().any(ContainerRecord::is_running)
    }
}

/// Whether the pod's reported phase is final.
pub fn is_terminal(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether an init container is a sidecar (KEP-753).
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Init containers, containers and ephemeral containers in the order in which they matter.
/// Ephemeral ones are shown as ordinary containers, which they are but for what they may not have.
pub fn all_containers(spec: &PodSpec) -> impl Iterator<Item = std::borrow::Cow<'_, Container>> {
    let ordinary = spec.init_containers.iter().flatten().chain(&spec.containers);
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    ordinary
        .map(std::borrow::Cow::Borrowed)
        .chain(ephemeral.map(|container| std::borrow::Cow::Owned(from_ephemeral(container))))
}

/// A container of the spec by its name.
pub fn find_container(spec: &PodSpec, name: &str) -> Option<Container> {
    all_containers(spec).find(|container| container.name == name).map(std::borrow::Cow::into_owned)
}

fn from_ephemeral(container: &k8s_openapi::api::core::v1::EphemeralContainer) -> Container {
    let container = container.clone();
    Container {
        name: container.name,
        image: container.image,
        args: container.args,
        command: container.command,
        env: container.env,
        env_from: container.env_from,
        image_pull_policy: container.image_pull_policy,
        resources: container.resources,
        security_context: container.security_context,
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        termination_message_path: container.termination_message_path,
        termination_message_policy: container.termination_message_policy,
        tty: container.tty,
        volume_mounts: container.volume_mounts,
        working_dir: container.working_dir,
        ..Container::default()
    }
}

fn from_container_status(status: &ContainerStatus, terminal: bool) -> ContainerRecord {
    let state = status.state.clone().unwrap_or_default();
    let last = status.last_state.clone().and_then(|state| state.terminated);
    let mut record = ContainerRecord { restarts: status.restart_count, last, ..ContainerRecord::default() };
    let id = status.container_id.as_deref().map(|id| id.trim_start_matches("nauplius://").to_owned());
    match state {
        ContainerState { terminated: Some(terminated), .. } if terminal => {
            record.instance = Some(Instance {
                id: id.unwrap_or_default(),
                image: status.image.clone(),
                image_id: status.image_id.clone(),
                stop_signal: 0,
                state: State::Exited(terminated),
            });
        }
        ContainerState { terminated: Some(terminated), .. } => {
            record.last = Some(terminated);
            record.restarts += 1;
        }
        ContainerState { running: Some(running), .. } => {
            record.last = Some(lost(&id.unwrap_or_default(), running.started_at));
            record.restarts += 1;
        }
        // It had ended and waited for its next start, which is what comes now.
        _ if record.last.is_some() => record.restarts += 1,
        _ => {}
    }
    record
}

fn lost(id: &str, started_at: Option<Time>) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: UNKNOWN_EXIT_CODE,
        reason: Some("ContainerStatusUnknown".into()),
        message: Some("The container could not be located when the pod was terminated".into()),
        container_id: (!id.is_empty()).then(|| format!("nauplius://{id}")),
        started_at,
        ..ContainerStateTerminated::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn restarts_at_once_then_backs_off_and_forgets_after_ten_quiet_minutes() {
        let mut crash = CrashLoop::default();
        let mut delays = Vec::new();
        for _ in 0..8 {
            let delay = crash.on_exit(Instant::now());
            delays.push(delay.as_secs());
            tokio::time::advance(delay).await;
            crash.on_restart(Instant::now());
        }
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
        tokio::time::advance(CRASH_RESET + Duration::from_secs(1)).await;
        assert_eq!(crash.on_exit(Instant::now()), Duration::ZERO);
    }

    #[test]
    fn after_a_reboot_running_containers_count_as_restarted() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {
            "phase": "Running", "containerStatuses": [{"name": "a", "image": "i", "imageID": "", "ready": true,
            "restartCount": 2, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}}))
        .unwrap();
        let record = Record::from_status(&pod, Timestamp::UNIX_EPOCH);
        assert_eq!(record.containers["a"].restarts, 3);
        assert_eq!(record.containers["a"].last.as_ref().unwrap().exit_code, UNKNOWN_EXIT_CODE);
        assert_eq!(record.sandbox, Sandbox::Absent);
    }

    #[test]
    fn a_finished_pod_is_not_run_again_after_a_reboot() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {
            "phase": "Succeeded", "containerStatuses": [{"name": "a", "image": "i", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}]}}))
        .unwrap();
        let record = Record::from_status(&pod, Timestamp::UNIX_EPOCH);
        assert_eq!(record.sandbox, Sandbox::Removed);
        assert_eq!(record.containers["a"].restarts, 0);
    }
}
