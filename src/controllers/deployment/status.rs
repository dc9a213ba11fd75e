//! A Deployment's status: counts over its ReplicaSets, and the conditions that
//! `kubectl rollout status` and people wait for. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::controllers::deployment::plan::{self, Sets};

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const DONE: &str = "NewReplicaSetAvailable";

/// The status now, and when the progress deadline is to be looked at again.
pub fn status(deployment: &Deployment, sets: &Sets, now: Timestamp) -> (DeploymentStatus, Option<Duration>) {
    let mut status = counts(deployment, sets);
    let before = deployment.status.clone().unwrap_or_default();
    status.collision_count = before.collision_count;
    let mut conditions = before.conditions.clone().unwrap_or_default();
    set_condition(&mut conditions, availability(deployment, &status), now);
    let deadline = deadline(deployment);
    let mut look_again = None;
    if let Some(deadline) = deadline {
        let last = conditions.iter().find(|condition| condition.type_ == PROGRESSING).cloned();
        if let Some(next) = progress(deployment, sets, &status, &before, last.as_ref(), deadline, now) {
            set_condition(&mut conditions, next, now);
        }
        look_again = remaining(&conditions, deadline, now);
    }
    conditions.sort_by(|left, right| left.type_.cmp(&right.type_));
    status.conditions = Some(conditions);
    (status, look_again)
}

fn counts(deployment: &Deployment, sets: &Sets) -> DeploymentStatus {
    let sum = |count: fn(&ReplicaSet) -> i32| sets.all().map(|set| count(set)).sum::<i32>();
    let replicas = sum(|set| set.status.as_ref().map_or(0, |status| status.replicas));
    let available = sum(plan::available);
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let current = sets.current.as_ref().and_then(|set| set.status.as_ref());
    let terminating = sum(|set| set.status.as_ref().and_then(|status| status.terminating_replicas).unwrap_or(0));
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: non_zero(replicas),
        updated_replicas: non_zero(current.map_or(0, |status| status.replicas)),
        ready_replicas: non_zero(sum(|set| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0))),
        available_replicas: non_zero(available),
        unavailable_replicas: non_zero((replicas.max(wanted) - available).max(0)),
        terminating_replicas: Some(terminating),
        ..DeploymentStatus::default()
    }
}

/// Counts of zero are left out, as upstream does.
fn non_zero(count: i32) -> Option<i32> {
    Some(count).filter(|count| *count != 0)
}

fn availability(deployment: &Deployment, status: &DeploymentStatus) -> DeploymentCondition {
    let fewest = deployment.spec.as_ref().map_or(0, |spec| plan::bounds(spec).fewest_available());
    if status.available_replicas.unwrap_or(0) >= fewest {
        condition(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.".into())
    } else {
        let message = "Deployment does not have minimum availability.".into();
        condition(AVAILABLE, "False", "MinimumReplicasUnavailable", message)
    }
}

/// The progress deadline in seconds; `None` if there is none (it is then the largest number).
fn deadline(deployment: &Deployment) -> Option<i64> {
    let seconds = deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds).unwrap_or(600);
    (seconds != i32::MAX).then_some(i64::from(seconds))
}

fn progress(
    deployment: &Deployment,
    sets: &Sets,
    status: &DeploymentStatus,
    before: &DeploymentStatus,
    last: Option<&DeploymentCondition>,
    deadline: i64,
    now: Timestamp,
) -> Option<DeploymentCondition> {
    let subject = match &sets.current {
        Some(set) => format!("ReplicaSet \"{}\"", set.metadata.name.as_deref().unwrap_or_default()),
        None => format!("Deployment \"{}\"", deployment.metadata.name.as_deref().unwrap_or_default()),
    };
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true);
    let reason = last.and_then(|last| last.reason.as_deref());
    if paused {
        let note = || condition(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused".into());
        return (reason != Some("DeploymentPaused")).then(note);
    }
    if reason == Some("DeploymentPaused") {
        return Some(condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".into()));
    }
    if is_complete(deployment, status) {
        return Some(condition(PROGRESSING, "True", DONE, format!("{subject} has successfully progressed.")));
    }
    if has_progressed(status, before) || last.is_none() {
        let mut next = condition(PROGRESSING, "True", "ReplicaSetUpdated", format!("{subject} is progressing."));
        // Progress is counted from here, also when nothing but the counts changed.
        next.last_update_time = Some(Time(now));
        return Some(next);
    }
    let late = reason != Some(DONE) && since_progress(last, now).is_some_and(|passed| passed >= deadline);
    let timed_out = || condition(PROGRESSING, "False", TIMED_OUT, format!("{subject} has timed out progressing."));
    (late && reason != Some(TIMED_OUT)).then(timed_out)
}

/// Whether every pod is of the present template and available.
pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn has_progressed(status: &DeploymentStatus, before: &DeploymentStatus) -> bool {
    let old = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    status.updated_replicas > before.updated_replicas
        || old(status) < old(before)
        || status.ready_replicas > before.ready_replicas
        || status.available_replicas > before.available_replicas
}

fn since_progress(condition: Option<&DeploymentCondition>, now: Timestamp) -> Option<i64> {
    Some(now.duration_since(condition?.last_update_time.as_ref()?.0).as_secs())
}

fn remaining(conditions: &[DeploymentCondition], deadline: i64, now: Timestamp) -> Option<Duration> {
    let last = conditions.iter().find(|condition| condition.type_ == PROGRESSING)?;
    if matches!(last.reason.as_deref(), Some(DONE | TIMED_OUT | "DeploymentPaused")) {
        return None;
    }
    let left = deadline - since_progress(Some(last), now)?;
    Some(Duration::from_secs(u64::try_from(left).unwrap_or(0) + 1))
}

fn condition(kind: &str, status: &str, reason: &str, message: String) -> DeploymentCondition {
    DeploymentCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        ..DeploymentCondition::default()
    }
}

/// Puts `next` in the place of the condition of its type. Nothing happens if it says the same; the
/// transition time stays if the status does.
fn set_condition(conditions: &mut Vec<DeploymentCondition>, mut next: DeploymentCondition, now: Timestamp) {
    let whole = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let before = conditions.iter().position(|condition| condition.type_ == next.type_);
    let before = before.map(|index| conditions.remove(index));
    let same_status = before.as_ref().is_some_and(|before| before.status == next.status);
    let same = before.as_ref().is_some_and(|before| same_status && before.reason == next.reason);
    let moved = next.last_update_time.take().is_some();
    if let Some(before) = before.clone().filter(|before| same && !moved && before.message == next.message) {
        conditions.push(before);
        return;
    }
    next.last_update_time = Some(whole.clone());
    next.last_transition_time =
        if same_status { before.and_then(|before| before.last_transition_time) } else { Some(whole) };
    conditions.push(next);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn deployment(status: Option<DeploymentStatus>) -> Deployment {
        let mut deployment: Deployment = serde_json::from_value(json!({
            "metadata": {"name": "web", "generation": 1},
            "spec": {"replicas": 2, "progressDeadlineSeconds": 60, "selector": {}, "template": {}},
        }))
        .unwrap();
        deployment.status = status;
        deployment
    }

    fn sets(available: i32) -> Sets {
        let set = json!({"metadata": {"name": "web-x"}, "spec": {"replicas": 2, "selector": {}},
                         "status": {"replicas": 2, "readyReplicas": available, "availableReplicas": available}});
        Sets { current: Some(Arc::new(serde_json::from_value(set).unwrap())), old: Vec::new() }
    }

    fn reason(status: &DeploymentStatus, kind: &str) -> String {
        let conditions = status.conditions.as_deref().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition.type_ == kind);
        found.and_then(|condition| condition.reason.clone()).unwrap_or_default()
    }

    #[test]
    fn a_rollout_without_progress_times_out_at_its_deadline() {
        let (first, again) = status(&deployment(None), &sets(0), at(0));
        assert_eq!(reason(&first, PROGRESSING), "ReplicaSetUpdated");
        assert_eq!(again, Some(Duration::from_secs(61)));
        let (later, _) = status(&deployment(Some(first.clone())), &sets(0), at(59));
        assert_eq!(later, first);
        let (late, again) = status(&deployment(Some(first)), &sets(0), at(60));
        assert_eq!((reason(&late, PROGRESSING).as_str(), again), (TIMED_OUT, None));
    }

    #[test]
    fn a_complete_rollout_says_so_and_stays_unchanged() {
        let (done, _) = status(&deployment(None), &sets(2), at(0));
        assert_eq!(reason(&done, PROGRESSING), DONE);
        assert_eq!(reason(&done, AVAILABLE), "MinimumReplicasAvailable");
        let (same, _) = status(&deployment(Some(done.clone())), &sets(2), at(500));
        assert_eq!(same, done);
    }
}
