//! Deployments: what `examples/hello.yaml` promises, the whole of `kubectl rollout`, and healing.

use crate::harness::{Kubectl, PATIENCE, eventually, scenario};

const HELLO: &str = include_str!("../../examples/hello.yaml");

fn image_of(kubectl: &Kubectl) -> String {
    kubectl.path("deployment hello", "{.spec.template.spec.containers[0].env[0].value}")
}

#[test]
fn hello_serves_scales_and_rolls() {
    let Some(scenario) = scenario("hello") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(HELLO);
    kubectl.run("rollout status deployment/hello --timeout=60s");
    let address = kubectl.path("service hello", "{.spec.clusterIP}");
    for url in [format!("http://{address}/"), format!("http://{}:30080/", scenario.host.address())] {
        let fetch = format!("curl -s -m 2 {url}");
        eventually("the Service answers", PATIENCE, || scenario.host.sees(&fetch, "Hello from Nauplius"));
    }

    kubectl.run("scale deployment hello --replicas=4");
    kubectl.run("rollout status deployment/hello --timeout=60s");
    assert_eq!(kubectl.path("deployment hello", "{.status.readyReplicas}"), "4");
    kubectl.run("scale deployment hello --replicas=1");
    kubectl.run("rollout status deployment/hello --timeout=60s");

    kubectl.run("set env deployment/hello VERSION=2");
    kubectl.run("rollout status deployment/hello --timeout=60s");
    kubectl.run("set env deployment/hello VERSION=3");
    kubectl.run("rollout status deployment/hello --timeout=60s");
    let history = kubectl.run("rollout history deployment/hello");
    assert!(["\n1 ", "\n2 ", "\n3 "].iter().all(|revision| history.contains(revision)), "{history}");
    kubectl.run("rollout undo deployment/hello");
    kubectl.run("rollout status deployment/hello --timeout=60s");
    assert_eq!(image_of(kubectl), "2");

    kubectl.run("rollout pause deployment/hello");
    kubectl.run("set env deployment/hello VERSION=4");
    let sets = kubectl.get("replicasets")["items"].as_array().unwrap().len();
    kubectl.run("rollout resume deployment/hello");
    kubectl.run("rollout status deployment/hello --timeout=60s");
    assert_eq!(kubectl.get("replicasets")["items"].as_array().unwrap().len(), sets + 1);
    kubectl.run("rollout undo deployment/hello --to-revision=1");
    kubectl.run("rollout status deployment/hello --timeout=60s");
    assert_eq!(image_of(kubectl), "");
}

#[test]
fn a_rollout_that_cannot_succeed_keeps_the_old_pods() {
    let Some(scenario) = scenario("stuck") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(&HELLO.replace("nodePort: 30080", "nodePort: 30081"));
    kubectl.run("rollout status deployment/hello --timeout=60s");
    kubectl.run("set image deployment/hello web=localhost/missing:1");
    let failure = kubectl.fails("rollout status deployment/hello --timeout=3s");
    assert!(failure.contains("timed out waiting"), "{failure}");
    assert_eq!(kubectl.path("deployment hello", "{.status.availableReplicas}"), "2");
    kubectl.run("rollout undo deployment/hello");
    kubectl.run("rollout status deployment/hello --timeout=60s");
}

#[test]
fn a_deleted_pod_and_a_killed_process_come_back() {
    let Some(scenario) = scenario("healing") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(&HELLO.replace("nodePort: 30080", "nodePort: 30082"));
    kubectl.run("rollout status deployment/hello --timeout=60s");
    let pods = kubectl.run("get pods -l app=hello -o name");
    let (deleted, killed) = pods.trim().split_once('\n').unwrap();
    kubectl.run(&format!("delete {deleted} --grace-period=1"));
    // As process 1 of its PID namespace it can only be killed from outside.
    let id = kubectl.path(killed, "{.status.containerStatuses[0].containerID}").replace("nauplius://", "");
    let procs = format!(
        "/sys/fs/cgroup/*/{}/*/*/{id}/cgroup.procs /sys/fs/cgroup/{}/*/*/{id}/cgroup.procs",
        scenario.host.name(),
        scenario.host.name()
    );
    scenario.host.sh(&format!("kill -9 $(cat {procs} 2>/dev/null | sort -u)"));
    eventually("the killed container runs again", PATIENCE, || {
        let state =
            kubectl.path(killed, "{.status.containerStatuses[0].restartCount}{.status.containerStatuses[0].ready}");
        if state == "1true" { Ok(()) } else { Err(state) }
    });
    let last = &kubectl.get(killed)["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((last["exitCode"].as_i64(), last["reason"].as_str()), (Some(137), Some("Error")));
    kubectl.run("rollout status deployment/hello --timeout=60s");
    assert_eq!(kubectl.path("deployment hello", "{.status.readyReplicas}"), "2");
    assert!(kubectl.fails(&format!("get {deleted}")).contains("NotFound"));
}

const CONTROLLER: &str = "
apiVersion: v1
kind: ReplicationController
metadata: {name: old}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: old}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, infinity]}]
";

#[test]
fn a_replication_controller_keeps_its_pods() {
    let Some(scenario) = scenario("keeper") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(CONTROLLER);
    kubectl.run("wait rc/old --for=jsonpath={.status.readyReplicas}=2 --timeout=60s");
    kubectl.run("scale rc/old --replicas=3");
    kubectl.run("wait rc/old --for=jsonpath={.status.readyReplicas}=3 --timeout=60s");
    kubectl.run("scale rc/old --replicas=1");
    kubectl.run("wait rc/old --for=jsonpath={.status.replicas}=1 --timeout=60s");
    kubectl.run("delete rc/old");
    eventually("its pods go with it", PATIENCE, || {
        let pods = kubectl.run("get pods -o name");
        if pods.trim().is_empty() { Ok(()) } else { Err(pods) }
    });
}
