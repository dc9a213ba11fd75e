//! Two machines that are one cluster, a server with its own node and an agent, each with a web server
//! that also writes a numbered line every 20 ms: a lost line shows as a gap.

use std::{process::Output, time::Duration};

use crate::harness::{Host, Image, Kubectl, Lan, PATIENCE, can_make_hosts, eventually};

/// Two hosts on one network.
pub struct Pair {
    /// Runs the server; its node is `node-1`.
    pub server: Host,
    /// Runs an agent; its node is `node-2`.
    pub agent: Host,
}

impl Pair {
    /// Both, with the agent joined; nothing where there can be no hosts.
    pub fn start() -> Option<Self> {
        if !can_make_hosts() {
            return None;
        }
        let lan = Lan::new();
        let pair = Self { server: lan.host(1), agent: lan.host(2) };
        pair.server.add_image(Image::Busybox);
        pair.agent.add_image(Image::Busybox);
        pair.server.start_server(&[]);
        pair.server.wait_for_api();
        pair.agent.start_agent(&pair.server, &[]);
        pair.server.wait_for_node(&pair.server);
        pair.server.wait_for_node(&pair.agent);
        pair.kubectl().run("wait --for=create serviceaccount/default --timeout=60s");
        Some(pair)
    }

    /// kubectl of the server's administrator.
    pub fn kubectl(&self) -> Kubectl {
        self.server.kubectl()
    }

    /// Makes `web-1` on the server's node and `web-2` on the agent's, each behind a Service of its
    /// name at node port 30081 or 30082, and waits until both are Ready.
    pub fn serve(&self) {
        self.kubectl().apply(&format!("{SHARED}{}{}", web(1), web(2)));
        self.wait_for_webs();
    }

    /// Waits until both web servers are Ready.
    pub fn wait_for_webs(&self) {
        self.kubectl().run("wait --for=condition=Ready pod/web-1 pod/web-2 --timeout=90s");
    }
}

/// What both web servers mount.
const SHARED: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: page}
data: {index.html: "hello from a ConfigMap"}
---
apiVersion: v1
kind: Secret
metadata: {name: word}
stringData: {word: sesame}
"#;

/// A web server on node `number`, and its Service.
pub fn web(number: u8) -> String {
    format!(
        r#"
---
apiVersion: v1
kind: Service
metadata: {{name: web-{number}}}
spec:
  type: NodePort
  selector: {{app: web-{number}}}
  ports: [{{port: 80, nodePort: 3008{number}}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: web-{number}, labels: {{app: web-{number}}}}}
spec:
  nodeName: node-{number}
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: busybox
    imagePullPolicy: IfNotPresent
    command:
    - sh
    - -c
    - 'httpd -p 80 -h /www; i=0; while :; do echo line $i; i=$((i+1)); sleep 0.02; done'
    readinessProbe:
      httpGet: {{path: /index.html, port: 80}}
      periodSeconds: 1
      timeoutSeconds: 10
    volumeMounts:
    - {{name: www, mountPath: /www}}
    - {{name: word, mountPath: /word}}
    - {{name: memory, mountPath: /memory}}
  volumes:
  - {{name: www, configMap: {{name: page}}}}
  - {{name: word, secret: {{secretName: word}}}}
  - {{name: memory, emptyDir: {{medium: Memory}}}}
"#
    )
}

/// Waits until `from` gets the page of the web servers from `address`.
pub fn wait_for_page(from: &Host, address: &str) {
    let fetch = format!("curl -s -m 3 http://{address}/index.html");
    eventually(&format!("the page is at {address}"), PATIENCE, || from.sees(&fetch, "hello from a ConfigMap"));
}

/// Container ID and restarts of a pod.
pub fn identity(kubectl: &Kubectl, pod: &str) -> (String, String) {
    let status =
        |field: &str| kubectl.path(&format!("pod {pod}"), &format!("{{.status.containerStatuses[0].{field}}}"));
    (status("containerID"), status("restartCount"))
}

/// Fails if a line is missing in the log of a pod, and returns how many there are.
pub fn count_lines(kubectl: &Kubectl, pod: &str) -> usize {
    let log = eventually("the log can be read", PATIENCE, || {
        kubectl.try_run(&format!("logs {pod}")).map_err(|failure| failure.to_string())
    });
    for (number, line) in log.lines().enumerate() {
        assert_eq!(line, format!("line {number}"), "a line of {pod} is lost or doubled");
    }
    log.lines().count()
}

/// Waits until a command in a pod prints `part`.
pub fn wait_for_exec(kubectl: &Kubectl, pod: &str, command: &str, part: &str) {
    eventually(&format!("{command} in {pod} prints {part}"), PATIENCE, || {
        match kubectl.try_run(&format!("exec {pod} -- {command}")) {
            Ok(output) if output.contains(part) => Ok(()),
            Ok(output) => Err(output),
            Err(failure) => Err(failure.to_string()),
        }
    });
}

/// Fails unless a command failed with exit code 1 and said `part`.
#[track_caller]
pub fn assert_refused(output: &Output, part: &str) {
    let text = crate::harness::text(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(part), "{part:?} is not said: {text}");
}

/// Longest time in which nodes are noticed to be gone, with what the machine's load adds.
pub const SILENCE: Duration = Duration::from_secs(120);
