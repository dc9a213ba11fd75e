//! A pod's row: how many containers are ready, and its state in one word. The word is found the
//! way kubectl's users know it: the first init container that is not done, else what the regular
//! containers wait for or ended with, else the phase.

use jiff::Timestamp;
use k8s_openapi::{api::core::v1, apimachinery::pkg::apis::meta::v1::Time};
use serde_json::{Value, json};

use super::shown::{ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus};
use crate::api::{kind::Column, kinds::cells};

/// Columns of a pod's table.
pub const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::column("Ready", "string", "Ready containers of all that should be."),
    cells::column("Status", "string", "State of the pod in one word."),
    cells::column("Restarts", "string", "How often containers were restarted, and when last."),
    cells::AGE,
    cells::wide("IP", "string", "Address of the pod."),
    cells::wide("Node", "string", "Node that the pod is bound to."),
    cells::wide("Nominated Node", "string", "Node on which room is made for the pod."),
    cells::wide("Readiness Gates", "string", "Conditions that hold, of those that readiness waits for."),
];

/// The row of a pod.
pub fn cells(pod: &Pod, now: Timestamp) -> Vec<Value> {
    let Pod { metadata, spec, status } = pod;
    let state = State::of(pod);
    let ip = status.pod_ips.iter().flatten().next().map(|ip| ip.ip.as_str()).or(status.pod_ip.as_deref());
    vec![
        json!(metadata.name),
        json!(format!("{}/{}", state.ready, state.total)),
        json!(state.reason),
        json!(state.restarts.shown(now)),
        json!(cells::since(metadata.creation_timestamp.as_ref(), now)),
        json!(cells::or_none(ip)),
        json!(cells::or_none(spec.node_name.as_deref())),
        json!(cells::or_none(status.nominated_node_name.as_deref())),
        json!(readiness_gates(spec, status)),
    ]
}

/// Whether an init container runs beside the regular ones (KEP-753).
pub fn is_sidecar(container: &v1::Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// What the containers of a pod add up to.
struct State {
    ready: usize,
    total: usize,
    reason: String,
    restarts: Restarts,
}

/// Count and time of restarts.
#[derive(Default)]
struct Restarts {
    count: i32,
    last: Option<Time>,
}

impl State {
    fn of(pod: &Pod) -> Self {
        let Pod { spec, status, .. } = pod;
        let sidecars = spec.init_containers.iter().flatten().filter(|container| container.is_sidecar()).count();
        let mut state = Self {
            ready: 0,
            total: spec.containers.len() + sidecars,
            reason: phase_reason(status),
            restarts: Restarts::default(),
        };
        let mut of_sidecars = Restarts::default();
        let initializing = state.initialize(spec, status, &mut of_sidecars);
        if !initializing || condition_is_true(status, "Initialized") {
            state.restarts = of_sidecars;
            state.run(status);
        }
        if let Some(reason) = leaving(pod, status) {
            state.reason = reason.to_owned();
        }
        state
    }

    /// Goes through the init containers until the first that is not done. Tells whether there is one.
    fn initialize(&mut self, spec: &PodSpec, status: &PodStatus, of_sidecars: &mut Restarts) -> bool {
        let inits = spec.init_containers.as_deref().unwrap_or_default();
        for (index, status) in status.init_container_statuses.iter().flatten().enumerate() {
            let sidecar = inits.iter().any(|container| container.name == status.name && container.is_sidecar());
            self.restarts.add(status);
            if sidecar {
                of_sidecars.add(status);
            }
            if terminated(status).is_some_and(|end| end.exit_code == 0) {
                continue;
            }
            if sidecar && status.started == Some(true) {
                self.ready += usize::from(status.ready);
                continue;
            }
            self.reason = init_reason(status, index, inits.len());
            return true;
        }
        false
    }

    /// Goes through the regular containers from the last to the first, so that the first one's word stays.
    fn run(&mut self, status: &PodStatus) {
        let mut running = false;
        for container in status.container_statuses.iter().flatten().rev() {
            self.restarts.add(container);
            if let Some(reason) = waiting_reason(container) {
                self.reason = reason.to_owned();
            } else if let Some(end) = terminated(container) {
                self.reason = end_reason(end, "");
            } else if container.ready && container.state.as_ref().is_some_and(|state| state.running.is_some()) {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            self.reason = if condition_is_true(status, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }
}

impl Restarts {
    fn add(&mut self, status: &ContainerStatus) {
        self.count += status.restart_count;
        let ended = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        self.last = self.last.take().max(ended.and_then(|end| end.finished_at.clone()));
    }

    /// `0`, or `2 (5m ago)`.
    fn shown(&self, now: Timestamp) -> String {
        match &self.last {
            Some(last) if self.count != 0 => format!("{} ({} ago)", self.count, cells::since(Some(last), now)),
            _ => self.count.to_string(),
        }
    }
}

fn phase_reason(status: &PodStatus) -> String {
    let gated = |condition: &&PodCondition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("SchedulingGated")
    };
    if status.conditions.iter().flatten().any(|condition| gated(&condition)) {
        return "SchedulingGated".to_owned();
    }
    let reason = status.reason.as_deref().filter(|reason| !reason.is_empty());
    reason.or(status.phase.as_deref()).unwrap_or_default().to_owned()
}

fn init_reason(status: &ContainerStatus, index: usize, total: usize) -> String {
    match (terminated(status), waiting_reason(status)) {
        (Some(end), _) => end_reason(end, "Init:"),
        (None, Some(reason)) if reason != "PodInitializing" => format!("Init:{reason}"),
        _ => format!("Init:{index}/{total}"),
    }
}

fn end_reason(end: &ContainerStateTerminated, prefix: &str) -> String {
    match (end.reason.as_deref().unwrap_or_default(), end.signal.unwrap_or_default()) {
        ("", 0) => format!("{prefix}ExitCode:{}", end.exit_code),
        ("", signal) => format!("{prefix}Signal:{signal}"),
        (reason, _) => format!("{prefix}{reason}"),
    }
}

/// The word for a pod that is being deleted.
fn leaving(pod: &Pod, status: &PodStatus) -> Option<&'static str> {
    pod.metadata.deletion_timestamp.as_ref()?;
    if status.reason.as_deref() == Some("NodeLost") {
        return Some("Unknown");
    }
    let terminal = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    (!terminal).then_some("Terminating")
}

fn readiness_gates(spec: &PodSpec, status: &PodStatus) -> String {
    let gates = spec.readiness_gates.as_deref().unwrap_or_default();
    if gates.is_empty() {
        return cells::NONE.to_owned();
    }
    let holding = gates.iter().filter(|gate| condition_is_true(status, &gate.condition_type)).count();
    format!("{holding}/{}", gates.len())
}

fn condition_is_true(status: &PodStatus, kind: &str) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
}

fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref()?.terminated.as_ref()
}

fn waiting_reason(status: &ContainerStatus) -> Option<&str> {
    status.state.as_ref()?.waiting.as_ref()?.reason.as_deref().filter(|reason| !reason.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pod: Value) -> Vec<Value> {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        cells(&serde_json::from_value(pod).unwrap(), now)
    }

    fn status(pod: Value) -> String {
        row(pod)[2].as_str().unwrap().to_owned()
    }

    fn container(name: &str) -> Value {
        json!({"name": name, "image": "i"})
    }

    #[test]
    fn a_running_pod_shows_its_restarts() {
        let cells = row(json!({
            "metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [container("a"), container("b")], "nodeName": "n"},
            "status": {"phase": "Running", "podIP": "10.42.0.2", "containerStatuses": [
                {"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 2, "state": {"running": {}},
                 "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:05:00Z"}}},
                {"name": "b", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"running": {}}},
            ]},
        }));
        assert_eq!(cells[1], "1/2");
        assert_eq!(cells[2], "Running");
        assert_eq!(cells[3], "2 (5m ago)");
        assert_eq!(cells[4], "10m");
        assert_eq!((&cells[5], &cells[6], &cells[7]), (&json!("10.42.0.2"), &json!("n"), &json!("<none>")));
    }

    #[test]
    fn init_containers_are_counted() {
        let pod = |state: Value| {
            json!({"metadata": {}, "spec": {"containers": [container("a")], "initContainers": [container("i"), container("j")]},
                "status": {"phase": "Pending", "initContainerStatuses": [
                    {"name": "i", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                     "state": {"terminated": {"exitCode": 0}}},
                    {"name": "j", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]}})
        };
        assert_eq!(status(pod(json!({"running": {}}))), "Init:1/2");
        assert_eq!(status(pod(json!({"waiting": {"reason": "PodInitializing"}}))), "Init:1/2");
        assert_eq!(status(pod(json!({"waiting": {"reason": "CrashLoopBackOff"}}))), "Init:CrashLoopBackOff");
        assert_eq!(status(pod(json!({"terminated": {"exitCode": 3}}))), "Init:ExitCode:3");
        assert_eq!(status(pod(json!({"terminated": {"exitCode": 1, "reason": "Error"}}))), "Init:Error");
    }

    #[test]
    fn one_word_says_what_a_container_is_about() {
        let pod = |state: Value| {
            json!({"metadata": {}, "spec": {"containers": [container("a")]}, "status": {"phase": "Pending",
                "containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]}})
        };
        assert_eq!(status(pod(json!({"waiting": {"reason": "ContainerCreating"}}))), "ContainerCreating");
        assert_eq!(status(pod(json!({"waiting": {"reason": "CrashLoopBackOff"}}))), "CrashLoopBackOff");
        assert_eq!(status(pod(json!({"terminated": {"exitCode": 0, "reason": "Completed"}}))), "Completed");
        assert_eq!(status(pod(json!({"terminated": {"exitCode": 137, "signal": 9}}))), "Signal:9");
        let mut deleted = pod(json!({"waiting": {"reason": "ContainerCreating"}}));
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(status(deleted), "Terminating");
    }

    #[test]
    fn a_sidecar_counts_as_a_container() {
        let cells = row(json!({"metadata": {}, "spec": {"containers": [container("a")],
                "initContainers": [{"name": "s", "image": "i", "restartPolicy": "Always"}]},
            "status": {"phase": "Running",
                "initContainerStatuses": [{"name": "s", "image": "", "imageID": "", "ready": true, "started": true,
                    "restartCount": 0, "state": {"running": {}}}],
                "containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                    "state": {"running": {}}}]}}));
        assert_eq!(cells[1], "2/2");
        assert_eq!(cells[3], "0");
    }
}
