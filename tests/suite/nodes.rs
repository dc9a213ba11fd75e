//! Two nodes: joining and what it takes, pods and Services across the overlay, and the tunnel through
//! which kubectl reaches pods of a node that listens nowhere.

use crate::{
    harness::{Host, Lan, PATIENCE, can_make_hosts, eventually},
    pair::{Pair, assert_refused, wait_for_exec, wait_for_page},
};

#[test]
fn pods_of_two_nodes_reach_each_other_and_are_reached() {
    let Some(pair) = Pair::start() else { return };
    pair.serve();
    services_lead_across_nodes(&pair);
    streams_reach_a_pod_behind_the_tunnel(&pair);
    node_ports_lead_everywhere(&pair);
}

fn services_lead_across_nodes(pair: &Pair) {
    let kubectl = pair.kubectl();
    for (host, from, to) in [(&pair.server, "web-1", "web-2"), (&pair.agent, "web-2", "web-1")] {
        let address = kubectl.path(&format!("service {to}"), "{.spec.clusterIP}");
        wait_for_exec(&kubectl, from, &format!("nslookup {to}.default.svc.cluster.local"), &address);
        // Debian's static busybox crashes in wget: the machine's curl is run in the pod's network.
        let uid = kubectl.path(&format!("pod {from}"), "{.metadata.uid}");
        let fetch = format!("nsenter --net=/run/netns/nauplius-{uid} curl -s -m 3 http://{address}/index.html");
        eventually(&format!("{from} reaches {to}"), PATIENCE, || host.sees(&fetch, "hello from a ConfigMap"));
    }
}

fn streams_reach_a_pod_behind_the_tunnel(pair: &Pair) {
    let kubectl = pair.kubectl();
    assert!(kubectl.run("logs web-2 --tail=5").contains("line "));
    wait_for_exec(&kubectl, "web-2", "cat /word/word", "sesame");
    let (there, back) = (pair.server.directory().join("there"), pair.server.directory().join("back"));
    std::fs::write(&there, "carried").unwrap();
    kubectl.run(&format!("cp {} web-2:/memory/file", there.display()));
    kubectl.run(&format!("cp web-2:/memory/file {}", back.display()));
    assert_eq!(std::fs::read_to_string(&back).unwrap(), "carried");
    let _forward = kubectl.spawn("port-forward pod/web-2 18080:80");
    wait_for_page(&pair.server, "127.0.0.1:18080");
}

fn node_ports_lead_everywhere(pair: &Pair) {
    for from in [&pair.server, &pair.agent] {
        for to in [&pair.server, &pair.agent] {
            for port in [30081, 30082] {
                wait_for_page(from, &format!("{}:{port}", to.address()));
            }
        }
    }
}

#[test]
fn joining_takes_the_token_and_a_name_of_ones_own() {
    if !can_make_hosts() {
        return;
    }
    let lan = Lan::new();
    let (server, agent, thief) = (lan.host(1), lan.host(2), lan.host(3));
    server.start_server(&[]);
    server.wait_for_api();
    let token = server.token();
    refuses_wrong_tokens(&server, &agent, &token);
    let short = token.rsplit(':').next().unwrap();
    agent.start_agent_with(&server, &["--token", short]);
    server.wait_for_node(&agent);
    let taken = thief.run_agent(&server, &["--token", &token, "--node-name", &agent.node_name()]);
    assert_refused(&taken, "another machine has joined as node \"node-2\"");
    agent.stop();
    server.kubectl().run("delete node node-2");
    // It is a member still, and registers as a new node without a token.
    agent.start_agent_with(&server, &[]);
    server.wait_for_node(&agent);
    roles_and_names_follow_the_nodes(&server, &agent, &thief, &token);
}

fn roles_and_names_follow_the_nodes(server: &Host, agent: &Host, heir: &Host, token: &str) {
    let kubectl = server.kubectl();
    let roles = kubectl.run("get nodes --no-headers");
    let role =
        |node: &str| roles.lines().find(|line| line.starts_with(node)).map(|line| line.contains("control-plane"));
    assert_eq!((role("node-1"), role("node-2")), (Some(true), Some(false)), "{roles}");
    // With its node, the name of a machine that is gone becomes free.
    agent.stop();
    kubectl.run("delete node node-2");
    kubectl.run("wait --for=delete secret/node-2.node-secret.nauplius -n kube-system --timeout=30s");
    heir.start_agent_with(server, &["--token", token, "--node-name", &agent.node_name()]);
    server.wait_for_node(agent);
}

fn refuses_wrong_tokens(server: &Host, agent: &Host, token: &str) {
    let run = |flags: &[&str]| agent.run_agent(server, flags);
    assert_refused(&run(&[]), "a token is needed");
    assert_refused(&run(&["--token", "not-the-secret"]), "the server does not accept the token");
    let other_authority = format!("K10{}::server:secret", "0".repeat(64));
    assert_refused(&run(&["--token", &other_authority]), "does not match the hash in the token");
    let (start, _) = token.rsplit_once(':').unwrap();
    assert_refused(&run(&["--token", &format!("{start}:wrong")]), "the server does not accept the token");
}

#[test]
fn pods_of_a_node_that_dies_are_replaced_elsewhere() {
    let Some(mut pair) = Pair::start() else { return };
    let kubectl = pair.kubectl();
    kubectl.apply(MOVER);
    kubectl.run("rollout status deployment/mover --timeout=60s");
    assert_eq!(kubectl.path("pods -l app=mover", "{.items[*].spec.nodeName}"), "node-2");
    pair.agent.power_off();
    eventually("the silent node is Unknown", crate::pair::SILENCE, || {
        let ready = kubectl.path("node node-2", "{.status.conditions[?(@.type==\"Ready\")].status}");
        if ready == "Unknown" { Ok(()) } else { Err(ready) }
    });
    let running = "{.items[?(@.status.phase==\"Running\")].spec.nodeName}";
    eventually("another pod runs on the other node", PATIENCE, || {
        let nodes = kubectl.path("pods -l app=mover", running);
        if nodes.contains("node-1") { Ok(()) } else { Err(nodes) }
    });
    pair.agent.power_on();
    pair.agent.start_agent_with(&pair.server, &[]);
    eventually("the node that is back has let go of its pod", PATIENCE, || {
        let nodes = kubectl.path("pods -l app=mover", "{.items[*].spec.nodeName}");
        if nodes == "node-1" { Ok(()) } else { Err(nodes) }
    });
    eventually("nothing of the pod is left", PATIENCE, || {
        let left = pair.agent.sh("ls /run/nauplius/shim /run/netns 2>/dev/null; true");
        if left.contains("-") { Err(left) } else { Ok(()) }
    });
}

/// One pod that prefers the second node and leaves it soon after it falls silent.
const MOVER: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: mover}
spec:
  selector: {matchLabels: {app: mover}}
  template:
    metadata: {labels: {app: mover}}
    spec:
      terminationGracePeriodSeconds: 1
      affinity:
        nodeAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
          - weight: 100
            preference: {matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node-2]}]}
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
      containers: [{name: c, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, '10000']}]
";
