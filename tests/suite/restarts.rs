//! kill -9 of what runs: containers are not disturbed, no line of a log and no acknowledged write is
//! lost.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
};

use crate::{
    harness::{Host, Image, Kubectl, PATIENCE, can_make_hosts, eventually},
    pair::{Pair, count_lines, identity, wait_for_exec},
};

/// Creates ConfigMaps as fast as it can and prints each that the API has acknowledged.
const WRITER: &str = include_str!("writer.py");

#[test]
fn containers_do_not_notice_that_agent_and_server_are_killed() {
    let Some(pair) = Pair::start() else { return };
    pair.serve();
    let kubectl = pair.kubectl();
    let before = [identity(&kubectl, "web-1"), identity(&kubectl, "web-2")];
    for _ in 0..2 {
        pair.agent.kill();
        pair.agent.start_agent_with(&pair.server, &[]);
        pair.server.kill();
        pair.server.start_server(&[]);
    }
    pair.server.wait_for_api();
    for pod in ["web-1", "web-2"] {
        wait_for_exec(&kubectl, pod, "cat /word/word", "sesame");
        assert!(count_lines(&kubectl, pod) > 0);
    }
    assert_eq!([identity(&kubectl, "web-1"), identity(&kubectl, "web-2")], before);
    // Probes go on: they notice that the web server ends, and that it is back.
    kubectl.run("exec web-2 -- killall httpd");
    kubectl.run("wait --for=condition=Ready=false pod/web-2 --timeout=60s");
    kubectl.run("exec web-2 -- httpd -p 80 -h /www");
    pair.wait_for_webs();
}

#[test]
fn an_agent_killed_in_the_middle_of_pods_leaves_nothing_behind() {
    if !can_make_hosts() {
        return;
    }
    let host = Host::new();
    host.add_image(Image::Busybox);
    host.start_server(&[]);
    host.wait_for_api();
    host.wait_for_node(&host);
    let kubectl = host.kubectl();
    kubectl.run("wait --for=create serviceaccount/default --timeout=60s");
    for round in 0..4 {
        kubectl.run("create deployment churn --image=busybox:latest --replicas=6 -- sleep 10000");
        std::thread::sleep(std::time::Duration::from_millis(100 + 150 * round));
        host.kill();
        host.start_server(&[]);
        host.wait_for_api();
        kubectl.run("delete deployment churn");
        std::thread::sleep(std::time::Duration::from_millis(50 * round));
        host.kill();
        host.start_server(&[]);
        host.wait_for_api();
    }
    kubectl.run("delete pods --all --force --grace-period=0");
    eventually("nothing of the pods is left", PATIENCE, || nothing_of_pods_left(&host));
}

fn nothing_of_pods_left(host: &Host) -> Result<(), String> {
    let data = host.data_dir();
    let data = data.display();
    let script = format!(
        "ls -A /run/nauplius/shim /run/netns {data}/agent/pods {data}/agent/containers 2>/dev/null | grep -v ':$' | grep . ;
         ip -o link | grep nau-; grep -e overlay -e {data} /proc/self/mounts; ps ax | grep '[n]auplius shim';
         find /sys/fs/cgroup -maxdepth 5 -path '*/{}/*' -name '*pod*' -type d; true",
        host.name()
    );
    let left = host.sh(&script);
    if left.trim().is_empty() { Ok(()) } else { Err(left) }
}

#[test]
fn a_server_killed_under_writes_has_lost_none_it_acknowledged() {
    if !can_make_hosts() {
        return;
    }
    let host = Host::new();
    host.start_server(&["--disable-agent"]);
    host.wait_for_api();
    let kubectl = host.kubectl();
    kubectl.run("wait --for=create namespace/default --timeout=60s");
    let first = revision(&list(&kubectl));
    let writer = start_writer(&host);
    eventually("some hundred writes are acknowledged", PATIENCE, || {
        let lines = std::fs::read_to_string(acknowledged_path(&host)).unwrap_or_default().lines().count();
        if lines >= 200 { Ok(()) } else { Err(format!("{lines}")) }
    });
    host.kill();
    end(writer);
    host.start_server(&["--disable-agent"]);
    host.wait_for_api();
    let acknowledged = acknowledged(&host);
    let list = list(&kubectl);
    let found: BTreeMap<&str, u64> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| (object["metadata"]["name"].as_str().unwrap(), revision(object)))
        .collect();
    for (name, revision) in &acknowledged {
        assert_eq!(found.get(name.as_str()), Some(revision), "{name} was acknowledged");
    }
    let last = acknowledged.values().max().copied().unwrap();
    assert!(revision(&list) >= last, "revisions do not go back");
    assert!(revision(&kubectl.get("namespace kube-system")) < last);
    kubectl.run("create configmap after");
    assert!(revision(&kubectl.get("configmap after")) > last);
    let watch =
        format!("get --raw /api/v1/namespaces/default/configmaps?watch=1&resourceVersion={first}&timeoutSeconds=2");
    let events = kubectl.run(&watch);
    for name in acknowledged.keys().map(String::as_str).chain(["after"]) {
        assert!(events.contains(&format!("\"name\":\"{name}\"")), "the watch resumes without {name}");
    }
}

fn start_writer(host: &Host) -> Child {
    let mut writer = Command::new("nsenter");
    writer.arg(format!("--net=/run/netns/{}", host.name())).args(["python3", "-c", WRITER]).arg(host.kubeconfig());
    let output = std::fs::File::create(acknowledged_path(host)).unwrap();
    writer.stdin(Stdio::null()).stdout(output).spawn().unwrap()
}

fn end(mut writer: Child) {
    eventually("the writer has noticed", PATIENCE, || match writer.try_wait().unwrap() {
        Some(status) if status.success() => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

fn acknowledged_path(host: &Host) -> std::path::PathBuf {
    host.directory().join("acknowledged")
}

/// Names and revisions.
fn acknowledged(host: &Host) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(acknowledged_path(host)).unwrap();
    let line = |line: &str| {
        let (name, revision) = line.split_once(' ')?;
        Some((name.to_owned(), revision.parse().unwrap()))
    };
    text.lines().filter_map(line).collect()
}

/// The API's own list: kubectl's `-o json` makes a new one without a revision.
fn list(kubectl: &Kubectl) -> serde_json::Value {
    serde_json::from_str(&kubectl.run("get --raw /api/v1/namespaces/default/configmaps")).unwrap()
}

fn revision(object: &serde_json::Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}
