//! Statuses of pods in every stage of their life.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ContainerStateTerminated;
use serde_json::{Value, json};

use super::*;
use crate::kubelet::record::{Failure, Instance, State, Waiting};

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u", "generation": 1}, "spec": spec})).unwrap()
}

fn now() -> Now {
    Now::get()
}

fn record() -> Record {
    Record {
        start_time: Timestamp::UNIX_EPOCH,
        sandbox: Sandbox::Ready { id: "u".into(), netns: None, addresses: vec!["10.42.0.2".parse().unwrap()] },
        volumes: crate::kubelet::record::Volumes::Mounted { refresh_at: None },
        containers: std::collections::BTreeMap::new(),
        failed: None,
    }
}

fn instance(state: State) -> Option<Instance> {
    Some(Instance { id: "c1".into(), image: "i".into(), image_id: "sha256:1".into(), stop_signal: 15, state })
}

fn run(record: &mut Record, name: &str) {
    let known = record.container(name);
    known.instance = instance(State::Running { started_at: Timestamp::UNIX_EPOCH });
    (known.started, known.ready) = (true, true);
}

fn exit(record: &mut Record, name: &str, exit_code: i32) {
    let terminated = ContainerStateTerminated { exit_code, ..ContainerStateTerminated::default() };
    record.container(name).instance = instance(State::Exited(terminated));
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> &'a k8s_openapi::api::core::v1::PodCondition {
    status.conditions.as_ref().unwrap().iter().find(|condition| condition.type_ == kind).unwrap()
}

#[test]
fn a_new_pod_is_pending_and_its_containers_are_being_created() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "i"}]}));
    let status = generate(&pod, &Record::from_status(&pod, Timestamp::UNIX_EPOCH), false, &[], now());
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    let state = status.container_statuses.as_ref().unwrap()[0].state.clone().unwrap();
    assert_eq!(state.waiting.unwrap().reason.as_deref(), Some("ContainerCreating"));
    assert_eq!(condition(&status, "Ready").reason.as_deref(), Some("ContainersNotReady"));
    assert_eq!(condition(&status, "ContainersReady").message.as_deref(), Some("containers with unready status: [a]"));
    assert_eq!(condition(&status, "PodReadyToStartContainers").status, "False");
}

#[test]
fn a_running_pod_reports_addresses_and_readiness() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "i"}]}));
    let mut record = record();
    run(&mut record, "a");
    let status = generate(&pod, &record, false, &["192.0.2.1".parse().unwrap()], now());
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.42.0.2"));
    assert_eq!(status.host_ip.as_deref(), Some("192.0.2.1"));
    assert_eq!(condition(&status, "Ready").status, "True");
    assert_eq!(status.container_statuses.unwrap()[0].container_id.as_deref(), Some("nauplius://c1"));
    assert_eq!(status.observed_generation, Some(1));
}

#[test]
fn a_crash_loop_shows_how_the_last_run_ended() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "i"}]}));
    let mut record = record();
    exit(&mut record, "a", 3);
    record.container("a").waiting = Some(Waiting { reason: "CrashLoopBackOff".into(), message: "back-off 10s".into() });
    let status = generate(&pod, &record, false, &[], now());
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let container = &status.container_statuses.unwrap()[0];
    assert_eq!(container.state.clone().unwrap().waiting.unwrap().reason.as_deref(), Some("CrashLoopBackOff"));
    assert_eq!(container.last_state.clone().unwrap().terminated.unwrap().exit_code, 3);
}

#[test]
fn waiting_for_init_containers_is_pod_initializing() {
    let pod = pod(json!({"initContainers": [{"name": "i1"}, {"name": "i2"}], "containers": [{"name": "a"}]}));
    let mut record = record();
    exit(&mut record, "i1", 0);
    let status = generate(&pod, &record, false, &[], now());
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    let state = status.container_statuses.as_ref().unwrap()[0].state.clone().unwrap();
    assert_eq!(state.waiting.unwrap().reason.as_deref(), Some("PodInitializing"));
    assert_eq!(condition(&status, "Initialized").message.as_deref(), Some("containers with incomplete status: [i2]"));
}

#[test]
fn the_final_phase_follows_exit_codes() {
    for (code, phase, reason) in [(0, "Succeeded", "PodCompleted"), (1, "Failed", "PodFailed")] {
        let pod = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a"}]}));
        let mut record = record();
        exit(&mut record, "a", code);
        record.sandbox = Sandbox::Removed;
        let status = generate(&pod, &record, false, &[], now());
        assert_eq!(status.phase.as_deref(), Some(phase));
        assert_eq!(condition(&status, "Ready").reason.as_deref(), Some(reason));
    }
}

#[test]
fn a_failed_pod_says_why() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let mut record = record();
    run(&mut record, "a");
    record.failed = Some(Failure { reason: "DeadlineExceeded".into(), message: "too long".into() });
    let running = generate(&pod, &record, false, &[], now());
    assert_eq!(running.phase.as_deref(), Some("Running"));
    exit(&mut record, "a", 137);
    let over = generate(&pod, &record, false, &[], now());
    assert_eq!((over.phase.as_deref(), over.reason.as_deref()), (Some("Failed"), Some("DeadlineExceeded")));
}

#[test]
fn a_readiness_gate_holds_the_pod_back() {
    let mut pod = pod(json!({"containers": [{"name": "a"}], "readinessGates": [{"conditionType": "example.com/x"}]}));
    let mut record = record();
    run(&mut record, "a");
    let status = generate(&pod, &record, false, &[], now());
    assert_eq!(condition(&status, "Ready").reason.as_deref(), Some("ReadinessGatesNotReady"));
    assert_eq!(condition(&status, "ContainersReady").status, "True");
    pod.status = serde_json::from_value(json!({"conditions": [{"type": "example.com/x", "status": "True"}]})).unwrap();
    assert_eq!(condition(&generate(&pod, &record, false, &[], now()), "Ready").status, "True");
}

#[test]
fn a_transition_time_moves_only_with_the_status() {
    let mut pod = pod(json!({"containers": [{"name": "a"}]}));
    let mut record = record();
    let first = generate(&pod, &record, false, &[], now());
    let then = condition(&first, "Ready").last_transition_time.clone();
    pod.status = Some(first);
    let later = Now { instant: tokio::time::Instant::now(), timestamp: Timestamp::now() + Duration::from_secs(60) };
    assert_eq!(condition(&generate(&pod, &record, false, &[], later), "Ready").last_transition_time, then);
    run(&mut record, "a");
    assert_ne!(condition(&generate(&pod, &record, false, &[], later), "Ready").last_transition_time, then);
}
