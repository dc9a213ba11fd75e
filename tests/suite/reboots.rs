//! Machines that are switched off and on: what ran comes back, with or without the server.

use std::time::Duration;

use crate::{
    harness::{Host, Image, PATIENCE, can_make_hosts, eventually},
    pair::{Pair, wait_for_exec, wait_for_page, web},
};

/// Longest time until a node has written what it must know after a reboot.
const CHECKPOINT_TIME: Duration = Duration::from_secs(10);

#[test]
fn a_node_boots_while_its_server_is_down() {
    let Some(pair) = Pair::start() else { return };
    boots_without(pair, |pair| pair.server.kill(), |pair| pair.server.start_server(&[]));
}

#[test]
fn a_node_boots_while_its_server_cannot_be_reached() {
    let Some(pair) = Pair::start() else { return };
    boots_without(pair, |pair| pair.server.lan().set_link(1, false), |pair| pair.server.lan().set_link(1, true));
}

fn boots_without(mut pair: Pair, part: impl Fn(&Pair), meet: impl Fn(&Pair)) {
    pair.serve();
    let kubectl = pair.kubectl();
    kubectl.run(DOOMED);
    kubectl.run("wait --for=condition=Ready pod/doomed --timeout=60s");
    wait_for_services_on_disk(&pair.agent);
    part(&pair);
    pair.agent.power_off();
    pair.agent.power_on();
    pair.agent.start_agent_with(&pair.server, &[]);
    // Pod network, ConfigMap and Service: all from the node's own disk.
    wait_for_page(&pair.agent, &format!("{}:30082", pair.agent.address()));
    eventually("DNS knows the Service", PATIENCE, || {
        pair.agent.sees("busybox nslookup web-2.default.svc.cluster.local 10.43.0.10", "10.43.")
    });
    eventually("the other pod runs as well", PATIENCE, || pair.agent.sees("ps ax", "sleep 54321"));
    meet(&pair);
    pair.server.wait_for_api();
    eventually("the server knows of the restart", PATIENCE, || {
        let restarts = kubectl.path("pod web-2", "{.status.containerStatuses[0].restartCount}");
        if restarts == "1" { Ok(()) } else { Err(restarts) }
    });
    pair.wait_for_webs();
    wait_for_exec(&kubectl, "web-2", "cat /word/word", "sesame");
    pair.agent.power_off();
    kubectl.run("delete pod doomed --force --grace-period=0");
    pair.agent.power_on();
    pair.agent.start_agent_with(&pair.server, &[]);
    wait_for_page(&pair.agent, &format!("{}:30082", pair.agent.address()));
    assert!(pair.agent.sees("ps ax", "sleep 54321").is_err(), "a pod that was deleted meanwhile runs");
}

/// A pod on the agent's node that is known by its process.
const DOOMED: &str = "run doomed --image=busybox:latest --image-pull-policy=IfNotPresent \
    --overrides='{\"spec\":{\"nodeName\":\"node-2\",\"terminationGracePeriodSeconds\":1}}' -- sleep 54321";

fn wait_for_services_on_disk(host: &Host) {
    let path = host.data_dir().join("agent/net/services.json");
    eventually("services are kept on disk", CHECKPOINT_TIME + PATIENCE, || {
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let services: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let endpoints = services["default/web-2/80"]["endpoints"].as_array().map_or(0, Vec::len);
        if endpoints == 1 { Ok(()) } else { Err(text) }
    });
}

#[test]
fn a_single_machine_comes_back_as_it_was() {
    if !can_make_hosts() {
        return;
    }
    let mut host = Host::new();
    host.add_image(Image::Busybox);
    host.start_server(&[]);
    host.wait_for_api();
    host.wait_for_node(&host);
    let kubectl = host.kubectl();
    kubectl.run("wait --for=create serviceaccount/default --timeout=60s");
    kubectl
        .apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: page}, data: {index.html: hello from a ConfigMap}}");
    kubectl.run("create secret generic word --from-literal=word=sesame");
    kubectl.apply(&web(1));
    kubectl.run("wait --for=condition=Ready pod/web-1 --timeout=60s");
    let uid = kubectl.path("pod web-1", "{.metadata.uid}");
    host.power_off();
    host.power_on();
    host.start_server(&[]);
    wait_for_page(&host, &format!("{}:30081", host.address()));
    kubectl.run("wait --for=condition=Ready pod/web-1 --timeout=60s");
    assert_eq!(kubectl.path("pod web-1", "{.metadata.uid}"), uid);
    assert_eq!(kubectl.path("pod web-1", "{.status.containerStatuses[0].restartCount}"), "1");
}
