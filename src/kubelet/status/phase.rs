//! The pod's phase (API reference, "Pod phase"), with upstream's precedence.

use k8s_openapi::api::core::v1::{Container, PodSpec, PodStatus};

use crate::kubelet::{
    plan,
    record::{Record, Sandbox, is_sidecar},
};

/// The phase. It becomes final only when nothing of the pod runs any more, and never changes after.
pub fn of(spec: &PodSpec, record: &Record, status: &PodStatus, deleted: bool) -> &'static str {
    let before = status.phase.as_deref();
    match before {
        Some("Failed") => return "Failed",
        Some("Succeeded") => return "Succeeded",
        _ => {}
    }
    let ending = deleted || record.failed.is_some() || plan::is_finished(spec, record);
    let over = ending && (matches!(record.sandbox, Sandbox::Removing | Sandbox::Removed) || !is_busy(record));
    if over {
        return final_phase(spec, record);
    }
    current_phase(spec, record, before)
}

fn is_busy(record: &Record) -> bool {
    use crate::kubelet::record::Operation;
    record.any_running() || record.containers.values().any(|known| known.operation != Operation::Idle)
}

fn final_phase(spec: &PodSpec, record: &Record) -> &'static str {
    let succeeded = |container: &Container| {
        let terminated = record.containers.get(&container.name).and_then(|known| known.terminated());
        terminated.is_some_and(|terminated| terminated.exit_code == 0)
    };
    let good = record.failed.is_none() && spec.containers.iter().all(succeeded);
    if good { "Succeeded" } else { "Failed" }
}

fn current_phase(spec: &PodSpec, record: &Record, before: Option<&str>) -> &'static str {
    let sidecars_up = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| is_sidecar(container))
        .all(|container| record.containers.get(&container.name).is_some_and(|known| known.instance.is_some()));
    if !plan::is_initialised(spec, record) || (!sidecars_up && before != Some("Running")) {
        return "Pending";
    }
    let has_run = |container: &Container| {
        let known = record.containers.get(&container.name);
        known.is_some_and(|known| known.last.is_some() || known.instance.is_some())
    };
    if spec.containers.iter().all(has_run) { "Running" } else { "Pending" }
}
