//! The audit log, as requests fill it.

use super::*;
use crate::apiserver::audit::{Policy, file::Retention};

const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: Metadata, resources: [{resources: [secrets]}]}
- {level: RequestResponse, verbs: [create, patch], resources: [{resources: [configmaps]}], omitManagedFields: true}
- {level: Metadata, verbs: [watch, delete], omitStages: [RequestReceived]}
";

/// A server that writes an audit log, and the log.
struct Audited {
    server: Fixture,
    auditor: Auditor,
}

impl Audited {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let policy = Arc::new(Policy::parse(POLICY).unwrap());
        let log = directory.path().join("audit.log");
        let auditor = Auditor::open(policy, &log, Retention::default(), &Supervisor::new()).unwrap();
        Self { server: Fixture::open_with(directory, Some(auditor.clone())), auditor }
    }

    /// Everything that was written.
    fn events(&self) -> Vec<Value> {
        self.auditor.close();
        let text = std::fs::read_to_string(self.server.directory.path().join("audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn stages(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| text(&event["stage"])).collect()
}

#[tokio::test]
async fn a_write_is_told_of_with_what_was_asked_and_answered() {
    let audited = Audited::new();
    let headers = [("content-type", "application/json"), ("user-agent", "kubectl"), ("x-forwarded-for", "192.0.2.7")];
    let response = audited.server.send(Method::POST, MAPS, &headers, map("a", json!({"x": "1"})).to_string()).await;
    let id = response.headers()["audit-id"].to_str().unwrap().to_owned();
    let created = value(response).await;
    let events = audited.events();
    assert_eq!(stages(&events), ["RequestReceived", "ResponseComplete"]);
    let event = &events[1];
    assert_eq!((&event["kind"], &event["apiVersion"]), (&json!("Event"), &json!("audit.k8s.io/v1")));
    assert_eq!((&event["auditID"], &event["level"]), (&json!(id), &json!("RequestResponse")));
    assert_eq!((&event["verb"], &event["requestURI"]), (&json!("create"), &json!(MAPS)));
    assert_eq!(event["user"], json!({"username": "tester", "groups": ["system:authenticated"]}));
    assert_eq!((&event["userAgent"], &event["sourceIPs"]), (&json!("kubectl"), &json!(["192.0.2.7", "127.0.0.1"])));
    let reference = json!({"resource": "configmaps", "namespace": "default", "name": "a", "apiVersion": "v1"});
    assert_eq!(event["objectRef"], reference);
    assert_eq!(event["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert_eq!(event["requestObject"]["data"], json!({"x": "1"}));
    assert_eq!(event["responseObject"]["metadata"]["uid"], created["metadata"]["uid"]);
    assert!(event["responseObject"]["metadata"].get("managedFields").is_none());
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "allow");
    assert!(events[0].get("requestObject").is_none() && events[0].get("responseStatus").is_none());
}

#[tokio::test]
async fn every_answer_names_its_request_whether_or_not_it_is_recorded() {
    let audited = Audited::new();
    let unrecorded = audited.server.send(Method::GET, MAPS, &[("audit-id", "mine")], String::new()).await;
    assert_eq!(unrecorded.headers()["audit-id"], "mine");
    let silent = Fixture::open(tempfile::tempdir().unwrap());
    let (first, second) =
        (silent.send(Method::GET, MAPS, &[], "").await, silent.send(Method::GET, MAPS, &[], "").await);
    assert_ne!(first.headers()["audit-id"], second.headers()["audit-id"]);
}

#[tokio::test]
async fn a_patch_is_told_of_as_it_was_sent() {
    let audited = Audited::new();
    audited.server.create("a", json!({})).await;
    audited.server.patch(&format!("{MAPS}/a"), MERGE, &json!({"data": {"y": "2"}})).await;
    let events = audited.events();
    assert_eq!(events[3]["requestObject"], json!({"data": {"y": "2"}}));
    assert_eq!(events[3]["responseObject"]["data"], json!({"y": "2"}));
}

#[tokio::test]
async fn what_the_policy_leaves_out_is_not_written() {
    let audited = Audited::new();
    let path = "/api/v1/namespaces/default/secrets";
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "opensesame"}});
    assert_eq!(audited.server.json(Method::POST, path, &secret).await.0, 201);
    audited.server.get(MAPS).await;
    let events = audited.events();
    assert_eq!(events.len(), 2);
    assert_eq!((&events[1]["level"], &events[1]["objectRef"]["name"]), (&json!("Metadata"), &json!("s")));
    let written = format!("{events:?}");
    assert!(!written.contains("opensesame") && !written.contains("requestObject"));
}

#[tokio::test]
async fn a_refusal_is_told_of_with_its_reason() {
    let audited = Audited::new();
    audited.server.json(Method::DELETE, &format!("{MAPS}/forbidden"), &Value::Null).await;
    let events = audited.events();
    assert_eq!(stages(&events), ["ResponseComplete"]);
    let status = &events[0]["responseStatus"];
    assert_eq!(
        (&status["code"], &status["reason"], &status["status"]),
        (&json!(403), &json!("Forbidden"), &json!("Failure"))
    );
    assert_eq!(events[0]["annotations"]["authorization.k8s.io/decision"], "forbid");
}

#[tokio::test]
async fn who_acts_as_another_is_told_of_with_both_names() {
    let audited = Audited::new();
    audited.server.send(Method::DELETE, &format!("{MAPS}/none"), &[("impersonate-user", "tester")], "").await;
    let event = &audited.events()[0];
    assert_eq!(
        (&event["user"]["username"], &event["impersonatedUser"]["username"]),
        (&json!("admin"), &json!("tester"))
    );
    assert_eq!(event["authenticationMetadata"], json!({"impersonationConstraint": "impersonate:user-info"}));
}

#[tokio::test]
async fn a_watch_is_told_of_when_it_begins_and_ends() {
    let audited = Audited::new();
    let mut events = audited.server.watch("").await;
    audited.server.create("a", json!({})).await;
    events.next().await;
    drop(events);
    let events: Vec<Value> = audited.events().into_iter().filter(|event| event["verb"] == "watch").collect();
    assert_eq!(stages(&events), ["ResponseStarted", "ResponseComplete"]);
    assert_eq!(events[0]["auditID"], events[1]["auditID"]);
}
