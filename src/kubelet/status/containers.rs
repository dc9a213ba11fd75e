//! Statuses of the pod's containers.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateWaiting, ContainerStatus, PodSpec, PodStatus,
        ResourceRequirements, VolumeMountStatus,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
};

use crate::kubelet::{
    plan,
    record::{ContainerRecord, Operation, Record, State, all_containers, is_sidecar},
};

/// Scheme of container IDs in statuses.
const ID_SCHEME: &str = "nauplius://";

/// Sets the three lists of container statuses.
pub fn fill(spec: &PodSpec, record: &Record, status: &mut PodStatus) {
    let initialised = plan::is_initialised(spec, record);
    let init = spec.init_containers.iter().flatten();
    let default_reason = |is_init: bool| {
        let has_init = spec.init_containers.as_ref().is_some_and(|list| !list.is_empty());
        if has_init && (is_init || !initialised) { "PodInitializing" } else { "ContainerCreating" }
    };
    let empty = ContainerRecord::default();
    let known = |name: &str| record.containers.get(name).unwrap_or(&empty);
    let init: Vec<_> =
        init.map(|c| container_status(c, known(&c.name), default_reason(true), !is_sidecar(c))).collect();
    let mut main: Vec<_> =
        spec.containers.iter().map(|c| container_status(c, known(&c.name), default_reason(false), false)).collect();
    main.sort_by(|left, right| left.name.cmp(&right.name));
    let ephemeral_names = spec.ephemeral_containers.as_ref().map_or(0, Vec::len);
    let skip = spec.init_containers.as_ref().map_or(0, Vec::len) + spec.containers.len();
    let ephemeral: Vec<_> = all_containers(spec)
        .skip(skip)
        .map(|c| container_status(&c, known(&c.name), default_reason(false), false))
        .collect();
    status.init_container_statuses = (!init.is_empty()).then_some(init);
    status.container_statuses = Some(main);
    status.ephemeral_container_statuses = (ephemeral_names > 0).then_some(ephemeral);
}

fn container_status(
    container: &Container,
    known: &ContainerRecord,
    default_reason: &str,
    runs_to_completion: bool,
) -> ContainerStatus {
    let (state, last_state) = states(known, default_reason);
    let ready = if runs_to_completion {
        known.terminated().is_some_and(|terminated| terminated.exit_code == 0)
    } else {
        known.is_up() && known.ready
    };
    let started = state.running.is_some() && known.is_up();
    let running = state.running.is_some();
    let instance = known.instance.as_ref();
    ContainerStatus {
        name: container.name.clone(),
        ready,
        started: Some(started),
        restart_count: known.restarts,
        image: instance.map_or_else(|| container.image.clone().unwrap_or_default(), |instance| instance.image.clone()),
        image_id: instance.map(|instance| instance.image_id.clone()).unwrap_or_default(),
        container_id: instance
            .map(|instance| format!("{ID_SCHEME}{}", instance.id))
            .or_else(|| known.last.as_ref().and_then(|last| last.container_id.clone())),
        state: Some(state),
        last_state: Some(last_state),
        allocated_resources: container.resources.as_ref().filter(|_| running).and_then(|r| r.requests.clone()),
        resources: Some(resources(container)).filter(|_| running),
        volume_mounts: mounts(container),
        ..ContainerStatus::default()
    }
}

/// The current and the last state.
fn states(known: &ContainerRecord, default_reason: &str) -> (ContainerState, ContainerState) {
    let last = ContainerState { terminated: known.last.clone(), ..ContainerState::default() };
    let waiting = |reason: &str, message: Option<String>| ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..ContainerState::default()
    };
    let why = known.waiting.as_ref().map(|why| waiting(&why.reason, Some(why.message.clone())));
    match known.instance.as_ref().map(|instance| &instance.state) {
        None => (why.unwrap_or_else(|| waiting(default_reason, None)), last),
        Some(State::Running { .. }) if known.operation == Operation::PostStart => (waiting(default_reason, None), last),
        Some(State::Running { started_at }) => {
            let running = ContainerStateRunning { started_at: Some(Time(*started_at)) };
            (ContainerState { running: Some(running), ..ContainerState::default() }, last)
        }
        Some(State::Exited(terminated)) => {
            let ended = ContainerState { terminated: Some(terminated.clone()), ..ContainerState::default() };
            match why {
                Some(why) => (why, ended),
                None => (ended, last),
            }
        }
    }
}

fn resources(container: &Container) -> ResourceRequirements {
    let of = |list: Option<&BTreeMap<String, Quantity>>| list.filter(|list| !list.is_empty()).cloned();
    let resources = container.resources.as_ref();
    ResourceRequirements {
        claims: None,
        limits: of(resources.and_then(|resources| resources.limits.as_ref())),
        requests: of(resources.and_then(|resources| resources.requests.as_ref())),
    }
}

fn mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref().filter(|mounts| !mounts.is_empty())?;
    let status = |mount: &k8s_openapi::api::core::v1::VolumeMount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: (mount.read_only == Some(true)).then(|| match mount.recursive_read_only.as_deref() {
            Some("Enabled" | "IfPossible") => "Enabled".to_owned(),
            _ => "Disabled".to_owned(),
        }),
        volume_status: None,
    };
    Some(mounts.iter().map(status).collect())
}
