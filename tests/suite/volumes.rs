//! Volumes of every built-in source that needs no storage beyond the node.

use crate::harness::{PATIENCE, eventually, scenario};
use crate::pods::script;

const OBJECTS: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {colour: blue, size: big}}\n---\n\
    {apiVersion: v1, kind: Secret, metadata: {name: keys}, stringData: {password: hush}}\n---\n";

#[test]
fn all_sources_show_their_contents() {
    let Some(scenario) = scenario("volumes") else { return };
    let kubectl = &scenario.kubectl;
    let host_path = scenario.host.directory().join("shared");
    std::fs::create_dir_all(&host_path).unwrap();
    std::fs::write(host_path.join("greeting"), "from the host\n").unwrap();
    let volumes = format!(
        "volumes: [{{name: scratch, emptyDir: {{}}}}, {{name: memory, emptyDir: {{medium: Memory, sizeLimit: 1Mi}}}}, \
         {{name: host, hostPath: {{path: {}, type: Directory}}}}, \
         {{name: settings, configMap: {{name: settings, items: [{{key: colour, path: paint/colour}}]}}}}, \
         {{name: keys, secret: {{secretName: keys, defaultMode: 256}}}}, \
         {{name: pod, downwardAPI: {{items: [{{path: labels, fieldRef: {{fieldPath: metadata.labels}}}}]}}}}, \
         {{name: mixed, projected: {{sources: [{{configMap: {{name: settings}}}}, {{secret: {{name: keys}}}}, \
           {{serviceAccountToken: {{path: token, audience: vault, expirationSeconds: 600}}}}]}}}}],",
        host_path.display()
    );
    let mounts = "volumeMounts: [{name: scratch, mountPath: /scratch}, {name: memory, mountPath: /memory}, \
        {name: host, mountPath: /host}, {name: settings, mountPath: /settings}, {name: keys, mountPath: /keys, readOnly: true}, \
        {name: pod, mountPath: /pod}, {name: mixed, mountPath: /mixed}, {name: settings, mountPath: /one, subPath: paint/colour}],";
    kubectl.apply(OBJECTS);
    kubectl.apply(&script("reader", &volumes, mounts, "sleep 3600"));
    kubectl.run("wait --for=condition=Ready pod/reader --timeout=60s");
    let sees = |line: &str, expected: &str| {
        assert_eq!(kubectl.run(&format!("exec reader -- sh -c '{line}'")), expected, "{line}");
    };
    sees("echo x > /scratch/file && cat /scratch/file", "x\n");
    sees("grep -c \" /memory tmpfs\" /proc/mounts", "1\n");
    sees("cat /host/greeting; echo back > /host/answer", "from the host\n");
    sees("cat /settings/paint/colour /one; ls /settings", "bluebluepaint\n");
    sees("cat /keys/password; stat -L -c %a /keys/password", "hush400\n");
    sees("cat /pod/labels", "app=\"reader\"");
    sees("cat /mixed/colour /mixed/password; wc -w < /mixed/token", "bluehush1\n");
    sees("touch /settings/x 2>&1 || true", "touch: /settings/x: Read-only file system\n");
    sees("ls /var/run/secrets/kubernetes.io/serviceaccount", "ca.crt\nnamespace\ntoken\n");
    assert_eq!(std::fs::read_to_string(host_path.join("answer")).unwrap(), "back\n");
}

#[test]
fn a_changed_config_map_reaches_its_readers() {
    let Some(scenario) = scenario("volumes-live") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(OBJECTS);
    let volumes = "volumes: [{name: settings, configMap: {name: settings}}],";
    kubectl.apply(&script("reader", volumes, "volumeMounts: [{name: settings, mountPath: /settings}],", "sleep 3600"));
    kubectl.run("wait --for=condition=Ready pod/reader --timeout=60s");
    kubectl.apply(&OBJECTS.replace("blue", "green"));
    eventually("the file has the new value", PATIENCE, || match kubectl.run("exec reader -- cat /settings/colour") {
        value if value == "green" => Ok(()),
        other => Err(other),
    });
}

#[test]
fn an_object_that_is_missing_holds_the_pod_until_it_comes() {
    let Some(scenario) = scenario("volumes-late") else { return };
    let kubectl = &scenario.kubectl;
    let volumes =
        "volumes: [{name: keys, secret: {secretName: keys}}, {name: maybe, configMap: {name: none, optional: true}}],";
    let mounts = "volumeMounts: [{name: keys, mountPath: /keys}, {name: maybe, mountPath: /maybe}],";
    kubectl.apply(&script("waiter", volumes, mounts, "sleep 3600"));
    eventually("an event tells", PATIENCE, || {
        let events = kubectl.run("events --for pod/waiter");
        if events.contains("secret \"keys\" not found") { Ok(()) } else { Err(events) }
    });
    kubectl.apply(OBJECTS);
    kubectl.run("wait --for=condition=Ready pod/waiter --timeout=150s");
}
