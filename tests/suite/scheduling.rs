//! The node as an administrator handles it, and what that means for pods: cordons, taints, drains.

use crate::harness::scenario;
use crate::pods::{becomes, script};

#[test]
fn cordons_and_taints_keep_pods_away() {
    let Some(scenario) = scenario("nodes") else { return };
    let kubectl = &scenario.kubectl;
    let scheduled = "{.status.conditions[0].reason}";
    kubectl.run("cordon node-1");
    assert!(kubectl.run("get nodes").contains("Ready,SchedulingDisabled"));
    kubectl.apply(&script("held", "", "", "sleep 3600"));
    becomes(kubectl, "pod held", scheduled, "Unschedulable");
    let message = kubectl.path("pod held", "{.status.conditions[0].message}");
    assert!(message.starts_with("0/1 nodes are available: 1 node(s) were unschedulable."), "{message}");
    kubectl.run("uncordon node-1");
    kubectl.run("wait --for=condition=Ready pod/held --timeout=60s");

    kubectl.run("taint node node-1 special=yes:NoSchedule");
    kubectl.apply(&script("kept", "", "", "sleep 3600"));
    kubectl.apply(&script("bears", "tolerations: [{key: special, operator: Exists}],", "", "sleep 3600"));
    kubectl.run("wait --for=condition=Ready pod/bears --timeout=60s");
    becomes(kubectl, "pod kept", scheduled, "Unschedulable");
    let message = kubectl.path("pod kept", "{.status.conditions[0].message}");
    assert!(message.contains("1 node(s) had untolerated taint(s)"), "{message}");
    kubectl.run("taint node node-1 special-");
    kubectl.run("wait --for=condition=Ready pod/kept --timeout=60s");
    let described = kubectl.run("describe node node-1");
    assert!(
        described.contains("KubeletReady") && described.contains("nodes                       held"),
        "{described}"
    );
}

#[test]
fn a_drain_evicts_what_a_controller_brings_back() {
    let Some(scenario) = scenario("drain") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: busybox, imagePullPolicy: Never, command: [sleep, '3600']}]
",
    );
    kubectl.run("rollout status deployment/web --timeout=60s");
    let drained = kubectl.run("drain node-1 --pod-selector=app=web --timeout=60s");
    assert!(drained.contains("evicted") && drained.contains("node/node-1 drained"), "{drained}");
    kubectl.run("uncordon node-1");
    kubectl.run("rollout status deployment/web --timeout=60s");
}
