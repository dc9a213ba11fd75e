//! One pod at a time: environment, init containers and sidecars, probes, limits, identity, how it
//! ends and what its state says.

use crate::harness::{Kubectl, PATIENCE, Scenario, eventually, scenario};

/// A pod of busybox with these further fields in its spec and in its container.
pub fn pod(name: &str, spec: &str, container: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {name}}}}}, spec: {{\
         terminationGracePeriodSeconds: 1, {spec} containers: [{{name: main, image: busybox, \
         imagePullPolicy: IfNotPresent, {container}}}]}}}}\n---\n"
    )
}

/// The same, running a shell script.
pub fn script(name: &str, spec: &str, container: &str, script: &str) -> String {
    pod(name, spec, &format!("{container} command: [sh, -c, {}]", serde_json::to_string(script).unwrap()))
}

/// Waits until a value of an object is as expected.
pub fn becomes(kubectl: &Kubectl, what: &str, path: &str, expected: &str) {
    eventually(&format!("{path} of {what} is {expected:?}"), PATIENCE, || match kubectl.path(what, path) {
        value if value == expected => Ok(()),
        other => Err(other),
    });
}

/// Runs a script to its end in a pod and returns what it printed.
fn printed(scenario: &Scenario, spec: &str, container: &str, line: &str) -> String {
    let kubectl = &scenario.kubectl;
    kubectl.apply(&script("printer", &format!("restartPolicy: Never, {spec}"), container, line));
    becomes(kubectl, "pod printer", "{.status.phase}", "Succeeded");
    let output = kubectl.run("logs printer");
    kubectl.run("delete pod printer");
    output
}

#[test]
fn environment_comes_from_all_its_sources() {
    let Some(scenario) = scenario("pod-env") else { return };
    scenario.kubectl.apply(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {COLOUR: blue, SIZE: big}}\n---\n\
         {apiVersion: v1, kind: Secret, metadata: {name: keys}, stringData: {password: hush}}",
    );
    let environment = "envFrom: [{configMapRef: {name: settings}, prefix: S_}], env: [{name: PLAIN, value: one}, \
        {name: MADE, value: '$(PLAIN)-$(NONE)-$$(PLAIN)'}, \
        {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: COLOUR}}}, \
        {name: PASSWORD, valueFrom: {secretKeyRef: {name: keys, key: password}}}, \
        {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, \
        {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}, \
        {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory}}}], \
        resources: {limits: {memory: 16Mi}},";
    let line = "echo $PLAIN $MADE $COLOUR $S_SIZE $PASSWORD $POD $NODE $LIMIT $KUBERNETES_SERVICE_HOST; hostname";
    assert_eq!(
        printed(&scenario, "", environment, line),
        "one one-$(NONE)-$(PLAIN) blue big hush printer node-1 16777216 10.43.0.1\nprinter\n"
    );
}

#[test]
fn init_containers_run_in_order_and_sidecars_stay() {
    let Some(scenario) = scenario("pod-init") else { return };
    let kubectl = &scenario.kubectl;
    let init = |name: &str, more: &str, line: &str| {
        format!(
            "{{name: {name}, image: busybox, imagePullPolicy: Never, {more} command: [sh, -c, '{line}'], \
             volumeMounts: [{{name: shared, mountPath: /shared}}]}}"
        )
    };
    let spec = format!(
        "restartPolicy: Never, volumes: [{{name: shared, emptyDir: {{}}}}], initContainers: [{}, {}, {}],",
        init("first", "", "echo first >> /shared/order"),
        init("beside", "restartPolicy: Always,", "echo beside >> /shared/order; sleep 1000"),
        init("second", "", "until grep -q beside /shared/order; do sleep 0.1; done; echo second >> /shared/order"),
    );
    let mount = "volumeMounts: [{name: shared, mountPath: /shared}],";
    kubectl.apply(&script("ordered", &spec, mount, "cat /shared/order"));
    becomes(kubectl, "pod ordered", "{.status.phase}", "Succeeded");
    assert_eq!(kubectl.run("logs ordered -c main"), "first\nbeside\nsecond\n");
    let failing = format!(
        "restartPolicy: Never, volumes: [{{name: shared, emptyDir: {{}}}}], initContainers: [{}],",
        init("bad", "", "exit 7")
    );
    kubectl.apply(&script("never", &failing, "", "true"));
    becomes(kubectl, "pod never", "{.status.phase}", "Failed");
    assert!(kubectl.run("get pod never").contains("Init:Error"));
}

#[test]
fn a_crashing_container_backs_off() {
    let Some(scenario) = scenario("pod-crash") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(&script("crash", "", "", "echo dying; exit 3"));
    becomes(kubectl, "pod crash", "{.status.containerStatuses[0].state.waiting.reason}", "CrashLoopBackOff");
    becomes(kubectl, "pod crash", "{.status.containerStatuses[0].lastState.terminated.exitCode}", "3");
    assert_eq!(kubectl.run("logs crash --previous"), "dying\n");
    eventually("an event tells", PATIENCE, || {
        let events = kubectl.run("events --for pod/crash");
        if events.contains("Back-off restarting failed container main in pod crash_pod-crash") {
            Ok(())
        } else {
            Err(events)
        }
    });
    assert!(kubectl.run("get pods").contains("CrashLoopBackOff"));
}

#[test]
fn restart_policies_hold() {
    let Some(scenario) = scenario("pod-restart") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(&script("done", "restartPolicy: OnFailure,", "", "true"));
    kubectl.apply(&script("failed", "restartPolicy: Never,", "", "exit 4"));
    kubectl.apply(&script("late", "restartPolicy: Never, activeDeadlineSeconds: 2,", "", "sleep 1000"));
    becomes(kubectl, "pod done", "{.status.phase}", "Succeeded");
    becomes(kubectl, "pod failed", "{.status.phase}", "Failed");
    becomes(kubectl, "pod late", "{.status.reason}", "DeadlineExceeded");
    let table = kubectl.run("get pods");
    assert!(table.contains("Completed") && table.contains("Error"), "{table}");
}

#[test]
fn probes_restart_gate_and_wait() {
    let Some(scenario) = scenario("pod-probes") else { return };
    let kubectl = &scenario.kubectl;
    let liveness =
        "livenessProbe: {exec: {command: [test, '!', -e, /tmp/ill]}, periodSeconds: 1, failureThreshold: 1},";
    kubectl.apply(&script("live", "", liveness, "sleep 3600"));
    let readiness = "readinessProbe: {httpGet: {path: /ready, port: 80}, periodSeconds: 1}, \
                     startupProbe: {tcpSocket: {port: 80}, periodSeconds: 1, failureThreshold: 60},";
    kubectl.apply(&script("gate", "", readiness, "mkdir /www; exec httpd -f -p 80 -h /www"));
    kubectl.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: gate}, spec: {selector: {app: gate}, ports: [{port: 80}]}}",
    );
    kubectl.run("wait --for=condition=Ready pod/live --timeout=60s");
    becomes(kubectl, "pod gate", "{.status.containerStatuses[0].started}", "true");
    let endpoint = "{.items[0].endpoints[0].conditions.ready}";
    becomes(kubectl, "endpointslices -l kubernetes.io/service-name=gate", endpoint, "false");
    kubectl.run("exec gate -- touch /www/ready");
    becomes(kubectl, "endpointslices -l kubernetes.io/service-name=gate", endpoint, "true");
    kubectl.run("exec gate -- rm /www/ready");
    becomes(kubectl, "endpointslices -l kubernetes.io/service-name=gate", endpoint, "false");
    kubectl.run("exec live -- touch /tmp/ill");
    becomes(kubectl, "pod live", "{.status.containerStatuses[0].restartCount}", "1");
    let events = kubectl.run("events --for pod/live");
    assert!(events.contains("Container main failed liveness probe, will be restarted"), "{events}");
}

#[test]
fn identity_and_privileges_are_as_the_security_context_says() {
    let Some(scenario) = scenario("pod-security") else { return };
    let context = "securityContext: {runAsUser: 1000, runAsGroup: 2000, readOnlyRootFilesystem: true, \
                   allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}},";
    let line = "id -u; id -g; id -G; touch /x 2>&1; grep -E 'NoNewPrivs|CapBnd' /proc/self/status";
    assert_eq!(
        printed(&scenario, "securityContext: {fsGroup: 3000},", context, line),
        "1000\n2000\n2000 3000\ntouch: /x: Read-only file system\nCapBnd:\t0000000000000400\nNoNewPrivs:\t1\n"
    );
    let line = "mount -t tmpfs tmpfs /mnt 2>&1 || true; grep Seccomp: /proc/self/status";
    let plain = printed(
        &scenario,
        "securityContext: {seccompProfile: {type: RuntimeDefault}},",
        "",
        &format!("mkdir /mnt; {line}"),
    );
    assert!(plain.contains("ermi") && plain.contains("Seccomp:\t2"), "{plain}");
    let privileged =
        printed(&scenario, "", "securityContext: {privileged: true},", &format!("mkdir /mnt; {line}; ls /dev/vda"));
    assert!(!privileged.contains("denied"), "{privileged}");
    let refused = scenario.kubectl.apply(&script("root", "securityContext: {runAsNonRoot: true},", "", "true"));
    assert_eq!(refused, "pod/root created\n");
    becomes(
        &scenario.kubectl,
        "pod root",
        "{.status.containerStatuses[0].state.waiting.reason}",
        "CreateContainerConfigError",
    );
}

#[test]
fn limits_hold() {
    let Some(scenario) = scenario("pod-limits") else { return };
    let kubectl = &scenario.kubectl;
    let limits = "resources: {limits: {memory: 16Mi, cpu: 200m}},";
    kubectl.apply(&script("greedy", "restartPolicy: Never,", limits, "tail /dev/zero"));
    kubectl.apply(&script("small", "", limits, "sleep 3600"));
    becomes(kubectl, "pod greedy", "{.status.containerStatuses[0].state.terminated.reason}", "OOMKilled");
    becomes(kubectl, "pod greedy", "{.status.containerStatuses[0].state.terminated.exitCode}", "137");
    kubectl.run("wait --for=condition=Ready pod/small --timeout=60s");
    let id = kubectl.path("pod small", "{.status.containerStatuses[0].containerID}").replace("nauplius://", "");
    let quota = scenario
        .host
        .sh(&format!("find /sys/fs/cgroup -path '*{id}/cpu.cfs_quota_us' -o -path '*{id}/cpu.max' | xargs cat"));
    assert!(quota.starts_with("20000"), "{quota}");
    assert_eq!(kubectl.path("pod small", "{.status.qosClass}"), "Guaranteed");
}

#[test]
fn a_pod_ends_gracefully() {
    let Some(scenario) = scenario("pod-end") else { return };
    let kubectl = &scenario.kubectl;
    let spec = "volumes: [{name: out, hostPath: {path: OUT, type: DirectoryOrCreate}}],";
    let out = scenario.host.directory().join("graceful");
    let container = "lifecycle: {postStart: {exec: {command: [sh, -c, 'echo started >> /out/log']}}, \
         preStop: {exec: {command: [sh, -c, 'echo stopping >> /out/log; sleep 1']}}}, \
         volumeMounts: [{name: out, mountPath: /out}],";
    let line = "trap 'echo term >> /out/log; exit 0' TERM; while :; do sleep 0.1; done";
    let manifest = script("polite", &spec.replace("OUT", out.to_str().unwrap()), container, line);
    kubectl.apply(&manifest.replace("terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 20"));
    kubectl.run("wait --for=condition=Ready pod/polite --timeout=60s");
    kubectl.run("delete pod polite --timeout=30s");
    assert_eq!(std::fs::read_to_string(out.join("log")).unwrap(), "started\nstopping\nterm\n");

    kubectl.apply(&script("deaf", "", "", "trap '' TERM; while :; do sleep 1; done"));
    kubectl.run("wait --for=condition=Ready pod/deaf --timeout=60s");
    kubectl.run("delete pod deaf --timeout=30s");
}

#[test]
fn what_cannot_be_scheduled_says_why() {
    let Some(scenario) = scenario("pod-pending") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(&script("huge", "", "resources: {requests: {cpu: '1000'}},", "true"));
    kubectl.apply(&script("picky", "nodeSelector: {disk: fast},", "", "sleep 3600"));
    let condition = "{.status.conditions[?(@.type=='PodScheduled')].message}";
    eventually("the message is upstream's", PATIENCE, || {
        match kubectl
            .run(&format!("get pod huge -o 'jsonpath={condition}'").replace("=='PodScheduled'", "==\"PodScheduled\""))
        {
            message if message.starts_with("0/1 nodes are available: 1 Insufficient cpu.") => Ok(()),
            other => Err(other),
        }
    });
    eventually("an event tells", PATIENCE, || {
        let events = kubectl.run("events --for pod/picky");
        let expected = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
        if events.contains("FailedScheduling") && events.contains(expected) { Ok(()) } else { Err(events) }
    });
    kubectl.run("label node node-1 disk=fast");
    kubectl.run("wait --for=condition=Ready pod/picky --timeout=60s");
    kubectl.run("label node node-1 disk-");
}
