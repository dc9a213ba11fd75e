//! What to do next about a pod: a pure function of its spec, what is known of it, and the time.
//! The worker asks after every change and carries out whatever comes back; an action that is
//! under way shows in the record and is not planned twice.

use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, Pod, PodSpec};
use tokio::time::Instant;

use crate::kubelet::record::{ContainerRecord, Now, Operation, Record, Sandbox, Volumes, all_containers, is_sidecar};

/// Message of a pod that has outlived its `activeDeadlineSeconds` (upstream's wording).
pub const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Prepare all volumes, or renew those whose contents have changed or expire.
    MountVolumes,
    /// Attach the pod to the network and start its shim.
    CreateSandbox,
    /// Bring the image if need be, create and start a container.
    Start(String),
    /// Stop a running container.
    Stop {
        /// Its name.
        name: String,
        /// Why, for the event; `None` when the whole pod ends.
        reason: Option<String>,
    },
    /// The pod has failed as a whole.
    Fail {
        /// `status.reason`.
        reason: &'static str,
        /// `status.message`.
        message: &'static str,
    },
    /// Nothing runs any more: remove sandbox and volumes.
    TearDown,
}

/// What to do now, and when to ask again if nothing happens before.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order; all may be carried out at once.
    pub actions: Vec<Action>,
    /// Ask again then.
    pub wake_at: Option<Instant>,
}

impl Plan {
    fn wake(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// What to do about a pod. `deleted` says that it is to end because the API says so.
pub fn plan(pod: &Pod, record: &Record, deleted: bool, now: Now) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = &pod.spec else { return plan };
    if record.sandbox == Sandbox::Removed {
        return plan;
    }
    if deleted || record.failed.is_some() || is_finished(spec, record) {
        plan_end(spec, record, &mut plan);
        return plan;
    }
    if let Some(deadline) = deadline(spec, record, now) {
        if deadline <= now.instant {
            plan.actions.push(Action::Fail { reason: "DeadlineExceeded", message: DEADLINE_MESSAGE });
            return plan;
        }
        plan.wake(deadline);
    }
    if plan_ground(record, now, &mut plan) {
        plan_containers(spec, record, now, &mut plan);
    }
    plan
}

/// Whether every container has ended and none will be started again, or initialisation failed
/// for good.
pub fn is_finished(spec: &PodSpec, record: &Record) -> bool {
    let ended = |container: &Container| {
        let terminated = record.containers.get(&container.name).and_then(ContainerRecord::terminated);
        terminated.is_some_and(|terminated| !wants_restart(spec, container, terminated))
    };
    spec.containers.iter().all(ended) || initialisation_failed(spec, record)
}

/// Whether an init container has failed and will not be tried again.
pub fn initialisation_failed(spec: &PodSpec, record: &Record) -> bool {
    spec.init_containers.iter().flatten().filter(|container| !is_sidecar(container)).any(|container| {
        let terminated = record.containers.get(&container.name).and_then(ContainerRecord::terminated);
        terminated
            .is_some_and(|terminated| terminated.exit_code != 0 && !wants_init_restart(spec, container, terminated))
    })
}

/// Whether the container has been initialised: its main containers may start or have started.
pub fn is_initialised(spec: &PodSpec, record: &Record) -> bool {
    let has_run = |container: &Container| record.containers.get(&container.name).is_some_and(|c| c.instance.is_some());
    if spec.containers.iter().any(has_run) {
        return true;
    }
    spec.init_containers.iter().flatten().all(|container| {
        let Some(known) = record.containers.get(&container.name) else { return false };
        if is_sidecar(container) { known.is_up() } else { succeeded(known) }
    })
}

/// Whether a container that ended so is started again (`restartPolicy` of container and pod, and
/// `restartPolicyRules`, KEP-5307).
pub fn wants_restart(spec: &PodSpec, container: &Container, terminated: &ContainerStateTerminated) -> bool {
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else { continue };
        let listed = codes.values.iter().flatten().any(|code| *code == terminated.exit_code);
        if listed == (codes.operator == "In") {
            return rule.action == "Restart";
        }
    }
    let policy = container.restart_policy.as_deref().or(spec.restart_policy.as_deref());
    match policy.unwrap_or("Always") {
        "Never" => false,
        "OnFailure" => terminated.exit_code != 0,
        _ => true,
    }
}

/// An init container is restarted only when it failed; `Always` of the pod means `OnFailure` here.
fn wants_init_restart(spec: &PodSpec, container: &Container, terminated: &ContainerStateTerminated) -> bool {
    terminated.exit_code != 0 && wants_restart(spec, container, terminated)
}

fn deadline(spec: &PodSpec, record: &Record, now: Now) -> Option<Instant> {
    let seconds = spec.active_deadline_seconds?;
    let end = record.start_time.as_millisecond().saturating_add(seconds.saturating_mul(1000));
    let left = end.saturating_sub(now.timestamp.as_millisecond()).max(0);
    now.instant.checked_add(std::time::Duration::from_millis(left.unsigned_abs()))
}

/// Sandbox and volumes, both at once. True when both are there.
fn plan_ground(record: &Record, now: Now, plan: &mut Plan) -> bool {
    let mut ready = true;
    match &record.volumes {
        Volumes::Unmounted => {
            plan.actions.push(Action::MountVolumes);
            ready = false;
        }
        Volumes::Mounting => ready = false,
        Volumes::Mounted { refresh_at: Some(at) } if *at <= now.instant => plan.actions.push(Action::MountVolumes),
        Volumes::Mounted { refresh_at } => refresh_at.iter().for_each(|at| plan.wake(*at)),
        Volumes::Failed { retry_at } => {
            retry(*retry_at, now, Action::MountVolumes, plan);
            ready = false;
        }
    }
    match &record.sandbox {
        Sandbox::Ready { .. } => {}
        Sandbox::Absent => {
            plan.actions.push(Action::CreateSandbox);
            ready = false;
        }
        Sandbox::Failed { retry_at } => {
            retry(*retry_at, now, Action::CreateSandbox, plan);
            ready = false;
        }
        Sandbox::Creating | Sandbox::Removing | Sandbox::Removed => ready = false,
    }
    ready
}

fn retry(at: Instant, now: Now, action: Action, plan: &mut Plan) {
    if at <= now.instant {
        plan.actions.push(action);
    } else {
        plan.wake(at);
    }
}

fn plan_containers(spec: &PodSpec, record: &Record, now: Now, plan: &mut Plan) {
    if !is_initialised(spec, record) {
        plan_initialisation(spec, record, now, plan);
        return;
    }
    for container in spec.init_containers.iter().flatten().filter(|container| is_sidecar(container)) {
        plan_container(spec, container, record, now, plan);
    }
    // Containers are started one after the other, as upstream does and sidecar injectors rely on;
    // one that waits for its back-off does not hold up the next.
    for container in all_containers(spec).filter(|container| !is_init(spec, &container.name)) {
        if plan_container(spec, &container, record, now, plan) == Progress::Starting {
            break;
        }
    }
}

/// Init containers one by one: each must have succeeded, or be up if it is a sidecar, before the
/// next one starts.
fn plan_initialisation(spec: &PodSpec, record: &Record, now: Now, plan: &mut Plan) {
    for container in spec.init_containers.iter().flatten() {
        let known = record.containers.get(&container.name);
        if is_sidecar(container) {
            plan_container(spec, container, record, now, plan);
            if !known.is_some_and(ContainerRecord::is_up) {
                return;
            }
        } else if !known.is_some_and(succeeded) {
            plan_container(spec, container, record, now, plan);
            return;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// It is being started for the first time or again.
    Starting,
    /// It runs, has ended, or waits.
    Settled,
}

fn plan_container(spec: &PodSpec, container: &Container, record: &Record, now: Now, plan: &mut Plan) -> Progress {
    let name = &container.name;
    let Some(known) = record.containers.get(name) else {
        plan.actions.push(Action::Start(name.clone()));
        return Progress::Starting;
    };
    match known.operation {
        Operation::Starting | Operation::PostStart => return Progress::Starting,
        Operation::Stopping => return Progress::Settled,
        Operation::Idle => {}
    }
    if known.is_running() {
        if let Some(reason) = restart_reason(container, known) {
            plan.actions.push(Action::Stop { name: name.clone(), reason: Some(reason) });
        }
        return Progress::Settled;
    }
    if let Some(terminated) = known.terminated()
        && !is_restarted(spec, container, terminated)
    {
        return Progress::Settled;
    }
    match known.retry_at {
        Some(at) if at > now.instant => {
            plan.wake(at);
            Progress::Settled
        }
        _ => {
            plan.actions.push(Action::Start(name.clone()));
            Progress::Starting
        }
    }
}

/// Whether a container of the pod that ended so is started again, be it a sidecar, an init, an
/// ephemeral or an ordinary container.
pub fn is_restarted(spec: &PodSpec, container: &Container, terminated: &ContainerStateTerminated) -> bool {
    if is_sidecar(container) {
        true
    } else if is_init(spec, &container.name) {
        wants_init_restart(spec, container, terminated)
    } else if is_ephemeral(spec, &container.name) {
        false
    } else {
        wants_restart(spec, container, terminated)
    }
}

/// Why a running container must be restarted, in the words of upstream's Killing event.
fn restart_reason(container: &Container, known: &ContainerRecord) -> Option<String> {
    if let Some(reason) = &known.restart_reason {
        return Some(reason.clone());
    }
    let image = &known.instance.as_ref()?.image;
    let changed = container.image.as_ref().is_some_and(|wanted| wanted != image);
    changed.then(|| format!("Container {} definition changed, will be restarted", container.name))
}

/// Containers first, all at once; then sidecars, the last one first; then sandbox and volumes.
fn plan_end(spec: &PodSpec, record: &Record, plan: &mut Plan) {
    let sidecars: Vec<&str> =
        spec.init_containers.iter().flatten().filter(|c| is_sidecar(c)).map(|c| c.name.as_str()).collect();
    let mut busy = false;
    for (name, known) in record.containers.iter().filter(|(name, _)| !sidecars.contains(&name.as_str())) {
        busy |= plan_stop(name, known, plan);
    }
    for name in sidecars.iter().rev() {
        if busy {
            return;
        }
        busy |= record.containers.get(*name).is_some_and(|known| plan_stop(name, known, plan));
    }
    let settled = !matches!(record.sandbox, Sandbox::Creating | Sandbox::Removing);
    if !busy && settled && record.volumes != Volumes::Mounting {
        plan.actions.push(Action::TearDown);
    }
}

/// True while the container keeps the pod from being torn down.
fn plan_stop(name: &str, known: &ContainerRecord, plan: &mut Plan) -> bool {
    match known.operation {
        Operation::Starting | Operation::Stopping => true,
        Operation::Idle | Operation::PostStart if known.is_running() => {
            plan.actions.push(Action::Stop { name: name.to_owned(), reason: None });
            true
        }
        Operation::Idle | Operation::PostStart => false,
    }
}

fn succeeded(known: &ContainerRecord) -> bool {
    known.operation == Operation::Idle && known.terminated().is_some_and(|terminated| terminated.exit_code == 0)
}

fn is_init(spec: &PodSpec, name: &str) -> bool {
    spec.init_containers.iter().flatten().any(|container| container.name == name)
}

fn is_ephemeral(spec: &PodSpec, name: &str) -> bool {
    spec.ephemeral_containers.iter().flatten().any(|container| container.name == name)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
