//! Plans, table by table: spec and record in, actions out.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::kubelet::record::{Failure, Instance, State};

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

fn now() -> Now {
    Now { instant: Instant::now(), timestamp: Timestamp::UNIX_EPOCH }
}

fn record() -> Record {
    Record {
        start_time: Timestamp::UNIX_EPOCH,
        sandbox: Sandbox::Ready { id: "u".into(), netns: None, addresses: Vec::new() },
        volumes: Volumes::Mounted { refresh_at: None },
        containers: BTreeMap::new(),
        failed: None,
    }
}

fn instance(state: State) -> Option<Instance> {
    Some(Instance { id: "c".into(), image: "i".into(), image_id: "i".into(), stop_signal: 15, state })
}

fn run(record: &mut Record, name: &str) {
    let known = record.container(name);
    known.instance = instance(State::Running { started_at: Timestamp::UNIX_EPOCH });
    known.started = true;
}

fn exit(record: &mut Record, name: &str, exit_code: i32) {
    let terminated = ContainerStateTerminated { exit_code, ..ContainerStateTerminated::default() };
    record.container(name).instance = instance(State::Exited(terminated));
}

fn actions(pod: &Pod, record: &Record) -> Vec<Action> {
    plan(pod, record, false, now()).actions
}

fn start(name: &str) -> Action {
    Action::Start(name.into())
}

fn stop(name: &str) -> Action {
    Action::Stop { name: name.into(), reason: None }
}

#[test]
fn a_new_pod_gets_volumes_and_sandbox_at_once() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let record = Record::from_status(&pod, Timestamp::UNIX_EPOCH);
    assert_eq!(actions(&pod, &record), [Action::MountVolumes, Action::CreateSandbox]);
}

#[test]
fn containers_start_one_after_the_other() {
    let pod = pod(json!({"containers": [{"name": "b"}, {"name": "a"}]}));
    let mut record = record();
    assert_eq!(actions(&pod, &record), [start("b")]);
    record.container("b").operation = Operation::Starting;
    assert_eq!(actions(&pod, &record), []);
    record.container("b").operation = Operation::Idle;
    run(&mut record, "b");
    assert_eq!(actions(&pod, &record), [start("a")]);
}

#[test]
fn a_container_in_back_off_does_not_hold_up_the_next() {
    let pod = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let mut record = record();
    let at = Instant::now() + Duration::from_secs(10);
    record.container("a").retry_at = Some(at);
    let plan = plan(&pod, &record, false, now());
    assert_eq!((plan.actions, plan.wake_at), (vec![start("b")], Some(at)));
}

#[test]
fn init_containers_run_in_order_and_gate_the_others() {
    let pod = pod(json!({"initContainers": [{"name": "i1"}, {"name": "i2"}], "containers": [{"name": "a"}]}));
    let mut record = record();
    assert_eq!(actions(&pod, &record), [start("i1")]);
    run(&mut record, "i1");
    assert_eq!(actions(&pod, &record), []);
    exit(&mut record, "i1", 0);
    assert_eq!(actions(&pod, &record), [start("i2")]);
    exit(&mut record, "i2", 0);
    assert_eq!(actions(&pod, &record), [start("a")]);
}

#[test]
fn a_failed_init_container_is_retried_unless_the_policy_is_never() {
    for (policy, expected) in [("Always", start("i")), ("OnFailure", start("i")), ("Never", Action::TearDown)] {
        let pod =
            pod(json!({"restartPolicy": policy, "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
        let mut record = record();
        exit(&mut record, "i", 1);
        assert_eq!(actions(&pod, &record), [expected], "{policy}");
    }
}

#[test]
fn a_sidecar_gates_until_it_is_up_and_is_restarted_beside_the_containers() {
    let pod = pod(json!({"restartPolicy": "Never",
        "initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}]}));
    let mut record = record();
    run(&mut record, "s");
    record.container("s").started = false;
    assert_eq!(actions(&pod, &record), []);
    record.container("s").started = true;
    assert_eq!(actions(&pod, &record), [start("a")]);
    run(&mut record, "a");
    exit(&mut record, "s", 0);
    assert_eq!(actions(&pod, &record), [start("s")]);
}

#[test]
fn sidecars_stop_after_the_containers_in_reverse_order() {
    let pod = pod(json!({"restartPolicy": "Never", "initContainers": [
        {"name": "s1", "restartPolicy": "Always"}, {"name": "s2", "restartPolicy": "Always"}],
        "containers": [{"name": "a"}]}));
    let mut record = record();
    for name in ["s1", "s2", "a"] {
        run(&mut record, name);
    }
    let end = |record: &Record| plan(&pod, record, true, now()).actions;
    assert_eq!(end(&record), [stop("a")]);
    record.container("a").operation = Operation::Stopping;
    assert_eq!(end(&record), []);
    record.container("a").operation = Operation::Idle;
    exit(&mut record, "a", 0);
    assert_eq!(end(&record), [stop("s2")]);
    exit(&mut record, "s2", 0);
    assert_eq!(end(&record), [stop("s1")]);
    exit(&mut record, "s1", 0);
    assert_eq!(end(&record), [Action::TearDown]);
}

#[test]
fn restart_policies_decide_about_ended_containers() {
    let restart = Some(start("a"));
    let over = Some(Action::TearDown);
    for (policy, code, expected) in [
        ("Always", 0, &restart),
        ("Always", 1, &restart),
        ("OnFailure", 0, &over),
        ("OnFailure", 1, &restart),
        ("Never", 0, &over),
        ("Never", 1, &over),
    ] {
        let pod = pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
        let mut record = record();
        exit(&mut record, "a", code);
        assert_eq!(actions(&pod, &record).pop(), *expected, "{policy} {code}");
    }
}

#[test]
fn restart_rules_of_a_container_come_before_the_policy() {
    let pod = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a", "restartPolicy": "Never",
        "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}]}));
    let mut record = record();
    exit(&mut record, "a", 42);
    assert_eq!(actions(&pod, &record), [start("a")]);
    exit(&mut record, "a", 1);
    assert_eq!(actions(&pod, &record), [Action::TearDown]);
}

#[test]
fn a_failed_liveness_probe_or_a_new_image_restarts_a_container() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "i"}]}));
    let mut record = record();
    run(&mut record, "a");
    assert_eq!(actions(&pod, &record), []);
    record.container("a").restart_reason = Some("liveness".into());
    assert_eq!(actions(&pod, &record), [Action::Stop { name: "a".into(), reason: Some("liveness".into()) }]);
    record.container("a").restart_reason = None;
    record.container("a").instance.as_mut().unwrap().image = "older".into();
    assert!(matches!(&actions(&pod, &record)[..], [Action::Stop { reason: Some(reason), .. }]
        if reason == "Container a definition changed, will be restarted"));
}

#[test]
fn a_deadline_fails_the_pod_and_is_woken_for() {
    let pod = pod(json!({"activeDeadlineSeconds": 30, "containers": [{"name": "a"}]}));
    let mut record = record();
    run(&mut record, "a");
    let mut at = now();
    assert_eq!(plan(&pod, &record, false, at).wake_at, Some(at.instant + Duration::from_secs(30)));
    at.timestamp += Duration::from_secs(30);
    let reason = "DeadlineExceeded";
    assert_eq!(plan(&pod, &record, false, at).actions, [Action::Fail { reason, message: DEADLINE_MESSAGE }]);
    record.failed = Some(Failure { reason: reason.into(), message: DEADLINE_MESSAGE.into() });
    assert_eq!(plan(&pod, &record, false, at).actions, [stop("a")]);
}

#[test]
fn deletion_waits_for_what_is_under_way_then_tears_down() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let mut record = record();
    record.container("a").operation = Operation::Starting;
    assert_eq!(plan(&pod, &record, true, now()).actions, []);
    record.container("a").operation = Operation::Idle;
    record.sandbox = Sandbox::Creating;
    assert_eq!(plan(&pod, &record, true, now()).actions, []);
    record.sandbox = Sandbox::Failed { retry_at: Instant::now() };
    assert_eq!(plan(&pod, &record, true, now()).actions, [Action::TearDown]);
    record.sandbox = Sandbox::Removed;
    assert_eq!(plan(&pod, &record, true, now()).actions, []);
}

#[test]
fn an_expiring_token_is_renewed_beside_running_containers() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let mut record = record();
    run(&mut record, "a");
    record.containers.get_mut("a").unwrap().instance.as_mut().unwrap().image = "i".into();
    record.volumes = Volumes::Mounted { refresh_at: Some(Instant::now()) };
    assert_eq!(actions(&pod, &record), [Action::MountVolumes]);
}
