//! The audit log of a server whose operator wants one.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::harness::{Host, PATIENCE, can_make_hosts, eventually};

const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, userGroups: ['system:nodes', 'system:serviceaccounts']}
- {level: None, users: ['system:kube-controller-manager', 'system:kube-scheduler']}
- {level: Metadata, resources: [{resources: [secrets]}]}
- {level: Request, verbs: [create, delete], resources: [{group: apps}]}
- {level: RequestResponse, namespaces: [default], resources: [{resources: [configmaps]}]}
- {level: Metadata, nonResourceURLs: ['/metrics']}
";

/// A server that keeps a log, of which a file holds a megabyte and two are kept.
struct Audited {
    host: Host,
    log: PathBuf,
}

impl Audited {
    fn start() -> Self {
        let host = Host::new();
        let (policy, log) = (host.directory().join("policy.yaml"), host.directory().join("audit/audit.log"));
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        fs::write(&policy, POLICY).unwrap();
        let flags = [
            format!("audit-policy-file={}", policy.display()),
            format!("audit-log-path={}", log.display()),
            "audit-log-maxsize=1".to_owned(),
            "audit-log-maxbackup=2".to_owned(),
        ];
        let flags = flags.iter().flat_map(|flag| ["--kube-apiserver-arg", flag.as_str()]);
        host.start_server(&["--disable-agent"].into_iter().chain(flags).collect::<Vec<_>>());
        host.wait_for_api();
        Self { host, log }
    }

    /// What was written so far, once there is what `wanted` says.
    fn event(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, PATIENCE, || {
            let written = self.written();
            let found = written.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(&wanted);
            found.ok_or_else(|| format!("{} lines", written.lines().count()))
        })
    }

    fn written(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.log.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

/// Whether an event is of this verb on this resource, complete.
fn is(event: &Value, verb: &str, resource: &str) -> bool {
    event["verb"] == verb && event["objectRef"]["resource"] == resource && event["stage"] == "ResponseComplete"
}

#[test]
fn the_audit_log_tells_what_kubectl_did_as_far_as_the_policy_wants() {
    if !can_make_hosts() {
        return;
    }
    let audited = Audited::start();
    let kubectl = audited.host.kubectl();
    kubectl.run("create secret generic s --from-literal=password=opensesame");
    kubectl.run("create configmap c --from-literal=colour=white");
    kubectl.run("create deployment d --image=busybox --replicas=0");
    let refused = kubectl.fails("get configmap c --as=jane");
    assert!(refused.contains("User \"jane\" cannot get resource \"configmaps\""), "{refused}");
    audited.host.sh("curl -sk -o /dev/null https://127.0.0.1:6443/metrics");

    let secret = audited.event("the secret's creation is told of", |event| is(event, "create", "secrets"));
    assert_eq!((&secret["level"], &secret["kind"]), (&json!("Metadata"), &json!("Event")));
    assert_eq!((&secret["user"]["username"], &secret["sourceIPs"]), (&json!("system:admin"), &json!(["127.0.0.1"])));
    assert!(secret["userAgent"].as_str().unwrap().starts_with("kubectl/"));
    assert!(secret["user"]["extra"]["authentication.kubernetes.io/credential-id"].is_array());
    assert_eq!((&secret["responseStatus"]["code"], &secret["objectRef"]["name"]), (&json!(201), &json!("s")));
    let written = audited.written();
    assert!(!written.contains("opensesame") && !written.contains("b3BlbnNlc2FtZQ"), "the secret is in the log");

    let map = audited.event("the map's creation is told of", |event| is(event, "create", "configmaps"));
    assert_eq!(map["level"], "RequestResponse");
    assert_eq!(map["requestObject"]["data"], json!({"colour": "white"}));
    assert!(map["responseObject"]["metadata"]["uid"].is_string());
    let deployment = audited.event("the deployment's creation is told of", |event| is(event, "create", "deployments"));
    assert!(deployment["requestObject"]["spec"].is_object() && deployment["responseObject"].is_null());

    let forbidden = audited.event("the refusal is told of", |event| {
        is(event, "get", "configmaps") && event["responseStatus"]["code"] == 403
    });
    assert_eq!(forbidden["impersonatedUser"]["username"], "jane");
    assert_eq!(forbidden["authenticationMetadata"]["impersonationConstraint"], "impersonate:user-info");
    assert_eq!(forbidden["annotations"]["authorization.k8s.io/decision"], "forbid");
    let nobody = audited.event("who is nobody is told of", |event| event["requestURI"] == "/metrics");
    assert_eq!((&nobody["responseStatus"]["code"], &nobody["stage"]), (&json!(401), &json!("ResponseStarted")));

    let watch = kubectl.spawn("get configmaps --watch-only");
    let began = |event: &Value| event["verb"] == "watch" && event["stage"] == "ResponseStarted";
    let began = audited.event("the watch's beginning is told of", began);
    drop(watch);
    let ended = |event: &Value| is(event, "watch", "configmaps") && event["auditID"] == began["auditID"];
    audited.event("the watch's end is told of", ended);
    assert!(!audited.written().contains("RequestReceived"));
    assert!(!audited.written().contains("system:kube-controller-manager\""));
}

#[test]
fn the_audit_log_begins_a_new_file_and_forgets_the_oldest() {
    if !can_make_hosts() {
        return;
    }
    let audited = Audited::start();
    let kubectl = audited.host.kubectl();
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"x": "x".repeat(300_000)}});
    for number in 0..10 {
        kubectl.run_with("create -f -", map(&format!("c{number}")).to_string().as_bytes());
    }
    let last = |event: &Value| is(event, "create", "configmaps") && event["objectRef"]["name"] == "c9";
    audited.event("the last creation is told of", last);
    eventually("two files are kept beside the log", PATIENCE, || {
        let files = audited.files();
        if files.len() == 3 { Ok(()) } else { Err(format!("{files:?}")) }
    });
    for file in audited.files() {
        let (text, size) = (fs::read_to_string(&file).unwrap(), fs::metadata(&file).unwrap().len());
        assert!(size <= 1024 * 1024, "{} holds {size} bytes", file.display());
        assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", file.display());
    }
}
