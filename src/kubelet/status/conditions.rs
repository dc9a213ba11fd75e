//! The pod's conditions, with upstream's reasons and messages.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodSpec, PodStatus};

use crate::kubelet::{
    plan,
    record::{Now, Record, Sandbox, is_sidecar},
};

struct Verdict {
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    const fn yes() -> Self {
        Self { status: true, reason: None, message: None }
    }

    const fn no(reason: &'static str, message: Option<String>) -> Self {
        Self { status: false, reason: Some(reason), message }
    }
}

/// Sets the kubelet's conditions and keeps all others.
pub fn fill(pod: &Pod, spec: &PodSpec, record: &Record, status: &mut PodStatus, now: Now) {
    let phase = status.phase.clone().unwrap_or_default();
    let containers = containers_ready(spec, status, &phase);
    let ready = pod_ready(spec, status, &containers);
    let sandbox = matches!(record.sandbox, Sandbox::Ready { .. });
    let ground = Verdict { status: sandbox, reason: None, message: None };
    let initialized = initialized(spec, record, status, &phase);
    let verdicts = [
        ("PodReadyToStartContainers", ground),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", Verdict::yes()),
    ];
    let mut conditions = status.conditions.take().unwrap_or_default();
    for (kind, verdict) in verdicts {
        set(&mut conditions, kind, verdict, pod.metadata.generation, now);
    }
    status.conditions = Some(conditions);
}

/// Changes a condition; its transition time moves only with its status.
fn set(conditions: &mut Vec<PodCondition>, kind: &str, verdict: Verdict, generation: Option<i64>, now: Now) {
    let status = if verdict.status { "True" } else { "False" };
    let existing = conditions.iter_mut().find(|condition| condition.type_ == kind);
    let transition = existing
        .as_ref()
        .filter(|condition| condition.status == status)
        .and_then(|condition| condition.last_transition_time.clone())
        .unwrap_or_else(|| now.time());
    let condition = PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        last_probe_time: None,
        last_transition_time: Some(transition),
        observed_generation: generation,
    };
    match existing {
        Some(existing) => *existing = condition,
        None => conditions.push(condition),
    }
}

fn containers_ready(spec: &PodSpec, status: &PodStatus, phase: &str) -> Verdict {
    match phase {
        "Succeeded" => return Verdict::no("PodCompleted", None),
        "Failed" => return Verdict::no("PodFailed", None),
        _ => {}
    }
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let names = sidecars.chain(&spec.containers).map(|container| container.name.as_str());
    let unready: Vec<&str> = names.filter(|name| !find(status, name).is_some_and(|status| status.ready)).collect();
    if unready.is_empty() {
        Verdict::yes()
    } else {
        Verdict::no("ContainersNotReady", Some(format!("containers with unready status: [{}]", unready.join(" "))))
    }
}

fn pod_ready(spec: &PodSpec, status: &PodStatus, containers: &Verdict) -> Verdict {
    if !containers.status {
        return Verdict { status: false, reason: containers.reason, message: containers.message.clone() };
    }
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let mut missing = Vec::new();
    for gate in spec.readiness_gates.iter().flatten() {
        let kind = &gate.condition_type;
        match conditions.iter().find(|condition| condition.type_ == *kind) {
            None => {
                missing.push(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist."));
            }
            Some(condition) if condition.status != "True" => missing
                .push(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but {}", condition.status)),
            Some(_) => {}
        }
    }
    if missing.is_empty() { Verdict::yes() } else { Verdict::no("ReadinessGatesNotReady", Some(missing.join(", "))) }
}

fn initialized(spec: &PodSpec, record: &Record, status: &PodStatus, phase: &str) -> Verdict {
    if phase == "Succeeded" {
        return Verdict { status: true, reason: Some("PodCompleted"), message: None };
    }
    if plan::is_initialised(spec, record) {
        return Verdict::yes();
    }
    let incomplete: Vec<&str> = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| {
            let status = find(status, &container.name);
            let done = |status: &ContainerStatus| {
                if is_sidecar(container) { status.started == Some(true) } else { status.ready }
            };
            !status.is_some_and(done)
        })
        .map(|container| container.name.as_str())
        .collect();
    let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
    Verdict::no("ContainersNotInitialized", Some(message))
}

fn find<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    let lists = [&status.container_statuses, &status.init_container_statuses];
    lists.into_iter().flatten().flatten().find(|status| status.name == name)
}
