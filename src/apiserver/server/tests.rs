//! Tests of the server as clients see it: requests in, responses out, over a store on disk.

use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture};
use http::{Method, StatusCode, header, request::Parts};
use http_body_util::BodyStream;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::kinds,
    apiserver::{
        admission::{self, Admission},
        authn::Impersonator,
        authz::Authorizer,
        outbound::{Outbound, fixture::Peers},
    },
    http::{body, identity::User},
    pki::authority::{Authority, Issued, Profile, Usage},
    store::{Options, Store},
};

mod aggregation;
mod apply;
mod audit;
mod conversion;
mod custom;
mod encodings;
mod fairness;
mod policies;
mod rules;
mod versions;
mod watches;
mod webhooks;

/// Lets everybody be anybody and do anything.
struct Open;

impl Authenticate for Open {
    fn authenticate(&self, request: &Parts) -> Result<User, Status> {
        Ok(request.extensions.get().cloned().unwrap_or_else(|| User::component("tester")))
    }

    fn impersonator(&self, request: &Parts) -> Option<Impersonator> {
        // Whom somebody put there has made the request, as the real one has it.
        let user = request.extensions.get().cloned().unwrap_or_else(|| User::component("admin"));
        let constraint = Some("impersonate:user-info".to_owned());
        request.headers.contains_key("impersonate-user").then_some(Impersonator { user, constraint })
    }
}

impl Authorize for Open {
    fn authorize(&self, attributes: &Attributes) -> Result<(), Status> {
        match attributes.name.as_str() {
            "forbidden" => Err(Status::forbidden("", &attributes.resource, "forbidden", "no")),
            _ => Ok(()),
        }
    }
}

impl Admit for Open {
    fn mutate<'a>(
        &'a self,
        _: &'a admission::Request<'_>,
        object: &'a mut Value,
    ) -> BoxFuture<'a, Result<Vec<String>, Status>> {
        if object["data"]["mutate"].is_string() {
            object["data"]["mutate"] = "done".into();
        }
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn validate<'a>(
        &'a self,
        _: &'a admission::Request<'_>,
        object: &'a Value,
    ) -> BoxFuture<'a, Result<Vec<String>, Status>> {
        let warnings =
            if object["data"]["warn"].is_string() { vec!["mind the \"gap\"".to_owned()] } else { Vec::new() };
        Box::pin(std::future::ready(Ok(warnings)))
    }
}

struct Fixture {
    server: ApiServer,
    directory: tempfile::TempDir,
    store: Store,
    peers: Peers,
}

impl Fixture {
    fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }

    fn open(directory: tempfile::TempDir) -> Self {
        Self::open_with(directory, None)
    }

    fn open_with(directory: tempfile::TempDir, auditor: Option<Auditor>) -> Self {
        Self::made_of(directory, Handlers::default(), auditor, |_, _, _| Arc::new(Open))
    }

    fn with(directory: tempfile::TempDir, handlers: Handlers) -> Self {
        Self::made_of(directory, handlers, None, |_, _, _| Arc::new(Open))
    }

    /// A server with all of admission.
    fn with_admission() -> Self {
        Self::made_of(tempfile::tempdir().unwrap(), Handlers::default(), None, |caches, outbound, converter| {
            let authorizer = Arc::new(Authorizer::new(caches.clone()));
            Arc::new(Admission::new(caches, authorizer, outbound, converter))
        })
    }

    /// A server whose admission is made over its caches.
    fn made_of(
        directory: tempfile::TempDir,
        handlers: Handlers,
        auditor: Option<Auditor>,
        admission: impl FnOnce(Arc<Caches>, Outbound, Arc<Converter>) -> Arc<dyn Admit>,
    ) -> Self {
        let store = Store::open(&directory.path().join("state.db"), Options::default()).unwrap();
        let kinds = kinds::all();
        let caches = Caches::load(&store, &kinds).unwrap();
        let peers = Peers::new(caches.clone());
        let converter = Arc::new(Converter::new(peers.outbound.clone()));
        let server = ApiServer::new(Components {
            store: store.clone(),
            way: way(peers.outbound.clone()),
            admission: admission(caches.clone(), peers.outbound.clone(), converter.clone()),
            caches,
            kinds,
            authenticator: Arc::new(Open),
            authorizer: Arc::new(Open),
            auditor,
            allocator: Arc::new(Allocator::new(&["10.43.0.0/16".parse().unwrap()], 30000..=32767)),
            handlers,
            converter,
            address: "127.0.0.1:6443".into(),
            spent: Arc::default(),
        });
        Self { server, directory, store, peers }
    }

    async fn restart(self) -> Self {
        self.store.close().await;
        let Self { server, directory, store, peers } = self;
        drop((server, store, peers));
        Self::open(directory)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        content: impl Into<Bytes>,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.server.handle(request.body(body::full(content)).unwrap()).await
    }

    async fn json(&self, method: Method, path: &str, content: &Value) -> (StatusCode, Value) {
        let content = if content.is_null() { String::new() } else { content.to_string() };
        let response = self.send(method, path, &[("content-type", "application/json")], content).await;
        let code = response.status();
        (code, value(response).await)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.json(Method::GET, path, &Value::Null).await
    }

    async fn create(&self, name: &str, data: Value) -> Value {
        let (code, created) = self.json(Method::POST, MAPS, &map(name, data)).await;
        assert_eq!(code, 201, "{created}");
        created
    }

    async fn patch(&self, path: &str, media: &str, patch: &Value) -> (StatusCode, Value) {
        let response = self.send(Method::PATCH, path, &[("content-type", media)], patch.to_string()).await;
        (response.status(), value(response).await)
    }

    async fn watch(&self, query: &str) -> Events {
        let response = self.send(Method::GET, &format!("{MAPS}?watch=1&{query}"), &[], "").await;
        assert_eq!(response.status(), 200);
        Events { body: BodyStream::new(response.into_body()), buffer: Vec::new() }
    }
}

/// The authority of the proxy in front of other servers, PEM, and the proxy's certificate.
static PROXY: LazyLock<(String, Arc<Issued>)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::open(directory.path(), "request-header-ca").unwrap();
    let profile = Profile { common_name: "proxy", organization: None, names: &[], usage: Usage::Client };
    (authority.pem().to_owned(), Arc::new(authority.issue(profile).unwrap()))
});

/// Calls services as `outbound` does.
fn way(outbound: Outbound) -> Way {
    Way { outbound, identity: Arc::new(|| PROXY.1.clone()), supervisor: Supervisor::new() }
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MERGE: &str = "application/merge-patch+json";

struct Events {
    body: BodyStream<Body>,
    buffer: Vec<u8>,
}

impl Events {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(Duration::from_secs(3600), self.body.next()).await.unwrap()?;
            self.buffer.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }

    async fn seen(&mut self) -> (String, String) {
        let event = self.next().await.unwrap();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

async fn value(response: Response<Body>) -> Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_is_created_can_be_read_listed_changed_and_deleted() {
    let server = Fixture::new();
    let created = server.create("a", json!({"x": "1"})).await;
    assert!(created["metadata"]["uid"].is_string() && created["metadata"]["creationTimestamp"].is_string());
    let path = format!("{MAPS}/a");
    assert_eq!(server.get(&path).await, (StatusCode::OK, created.clone()));
    let (_, list) = server.get("/api/v1/configmaps").await;
    assert_eq!((&list["kind"], &list["items"][0]["data"]["x"]), (&json!("ConfigMapList"), &json!("1")));
    assert!(list["items"][0].get("kind").is_none() && version(&list) >= version(&created));
    let mut changed = created.clone();
    changed["data"]["x"] = "2".into();
    let (code, updated) = server.json(Method::PUT, &path, &changed).await;
    assert!(code == 200 && version(&updated) > version(&created), "{updated}");
    let (code, status) = server.json(Method::DELETE, &path, &Value::Null).await;
    assert_eq!((code.as_u16(), &status["status"], &status["details"]["name"]), (200, &json!("Success"), &json!("a")));
    let (code, status) = server.get(&path).await;
    assert_eq!((code.as_u16(), &status["message"]), (404, &json!("configmaps \"a\" not found")));
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let server = Fixture::new();
    let created = server.create("a", json!({"x": "1"})).await;
    let server = server.restart().await;
    assert_eq!(server.get(&format!("{MAPS}/a")).await.1, created);
    let mut events = server.watch(&format!("resourceVersion={}", version(&created) - 1)).await;
    assert_eq!(events.seen().await, ("ADDED".into(), "a".into()));
}

#[tokio::test]
async fn conflicts_are_told_from_unconditional_updates() {
    let server = Fixture::new();
    let created = server.create("a", json!({})).await;
    assert_eq!(server.json(Method::POST, MAPS, &map("a", json!({}))).await.1["reason"], "AlreadyExists");
    let path = format!("{MAPS}/a");
    assert_eq!(server.json(Method::PUT, &path, &map("a", json!({"x": "1"}))).await.0, 200);
    let (code, status) = server.json(Method::PUT, &path, &created).await;
    assert_eq!((code.as_u16(), &status["reason"]), (409, &json!("Conflict")));
    assert!(text(&status["message"]).starts_with("Operation cannot be fulfilled on configmaps \"a\": the object has"));
    assert_eq!(server.json(Method::PUT, &path, &map("b", json!({}))).await.0, 400);
    assert_eq!(server.json(Method::PUT, &format!("{MAPS}/none"), &map("none", json!({}))).await.0, 404);
}

#[tokio::test]
async fn an_update_that_changes_nothing_makes_no_revision() {
    let server = Fixture::new();
    let created = server.create("a", json!({"x": "1"})).await;
    let (_, same) = server.json(Method::PUT, &format!("{MAPS}/a"), &created).await;
    assert_eq!(same, created);
}

#[tokio::test]
async fn patches_of_all_three_forms() {
    let server = Fixture::new();
    server.create("a", json!({"x": "1", "y": "1"})).await;
    let path = format!("{MAPS}/a");
    let (code, patched) = server.patch(&path, MERGE, &json!({"data": {"x": "2", "y": null}})).await;
    assert_eq!((code.as_u16(), &patched["data"]), (200, &json!({"x": "2"})));
    let operations =
        json!([{"op": "test", "path": "/data/x", "value": "2"}, {"op": "add", "path": "/data/z", "value": "3"}]);
    let (_, patched) = server.patch(&path, "application/json-patch+json", &operations).await;
    assert_eq!(patched["data"], json!({"x": "2", "z": "3"}));
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let (_, patched) = server.patch(&path, "application/strategic-merge-patch+json", &labels).await;
    assert_eq!(patched["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(server.patch(&path, "application/xml", &json!({})).await.0, 415);
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"x": "9"}});
    assert_eq!(server.patch(&path, MERGE, &stale).await.1["reason"], "Conflict");
}

#[tokio::test]
async fn concurrent_patches_all_take_effect() {
    let server = Fixture::new();
    server.create("a", json!({})).await;
    let path = format!("{MAPS}/a");
    let patches = (0..8).map(|n| {
        let (server, path) = (&server, &path);
        async move { server.patch(path, MERGE, &json!({"data": {format!("k{n}"): "x"}})).await.0 }
    });
    for code in futures_util::future::join_all(patches).await {
        assert_eq!(code, 200);
    }
    assert_eq!(server.get(&path).await.1["data"].as_object().unwrap().len(), 8);
}

#[tokio::test]
async fn names_are_generated() {
    let server = Fixture::new();
    let body = json!({"metadata": {"generateName": "web-"}});
    let (code, created) = server.json(Method::POST, MAPS, &body).await;
    assert_eq!(code, 201);
    let name = text(&created["metadata"]["name"]);
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
}

#[tokio::test]
async fn pages_are_of_one_revision() {
    let server = Fixture::new();
    for n in 0..5 {
        server.create(&format!("m{n}"), json!({})).await;
    }
    let (_, first) = server.get(&format!("{MAPS}?limit=2")).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    server.json(Method::DELETE, &format!("{MAPS}/m3"), &Value::Null).await;
    server.create("m2a", json!({})).await;
    server.patch(&format!("{MAPS}/m4"), MERGE, &json!({"data": {"x": "new"}})).await;
    let token = text(&first["metadata"]["continue"]);
    let (_, rest) = server.get(&format!("{MAPS}?limit=10&continue={token}")).await;
    let names: Vec<String> =
        rest["items"].as_array().unwrap().iter().map(|item| text(&item["metadata"]["name"])).collect();
    assert_eq!(names, ["m2", "m3", "m4"]);
    assert_ne!(rest["items"][2]["data"]["x"], "new");
    assert_eq!(version(&rest), version(&first));
    assert!(rest["metadata"].get("continue").is_none());
    assert_eq!(server.get(&format!("{MAPS}?continue=nonsense")).await.0, 400);
}

#[tokio::test]
async fn selectors_select() {
    let server = Fixture::new();
    for (name, tier) in [("a", "web"), ("b", "db"), ("c", "web")] {
        let mut object = map(name, json!({}));
        object["metadata"]["labels"] = json!({"tier": tier});
        server.json(Method::POST, MAPS, &object).await;
    }
    let names = |list: Value| -> Vec<String> {
        list["items"].as_array().unwrap().iter().map(|item| text(&item["metadata"]["name"])).collect()
    };
    assert_eq!(names(server.get(&format!("{MAPS}?labelSelector=tier%3Dweb")).await.1), ["a", "c"]);
    assert_eq!(names(server.get(&format!("{MAPS}?fieldSelector=metadata.name%3Db")).await.1), ["b"]);
    let (code, status) = server.get(&format!("{MAPS}?fieldSelector=spec.x%3Db")).await;
    assert_eq!(
        (code.as_u16(), &status["message"]),
        (400, &json!("\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""))
    );
    assert_eq!(server.get(&format!("{MAPS}?labelSelector=%21%21")).await.0, 400);
    let (_, deleted) = server.json(Method::DELETE, &format!("{MAPS}?labelSelector=tier%3Dweb"), &Value::Null).await;
    assert_eq!(names(deleted), ["a", "c"]);
    assert_eq!(names(server.get(MAPS).await.1), ["b"]);
}

#[tokio::test]
async fn a_watch_sees_every_change_in_order() {
    let server = Fixture::new();
    server.create("old", json!({})).await;
    let mut events = server.watch("").await;
    assert_eq!(events.seen().await, ("ADDED".into(), "old".into()));
    server.create("a", json!({})).await;
    server.patch(&format!("{MAPS}/a"), MERGE, &json!({"data": {"x": "1"}})).await;
    server.json(Method::DELETE, &format!("{MAPS}/a"), &Value::Null).await;
    let before = server.server.registry().caches().revision();
    for change in ["ADDED", "MODIFIED", "DELETED"] {
        assert_eq!(events.seen().await, (change.into(), "a".into()));
    }
    assert_eq!(before, server.server.registry().caches().revision());
}

#[tokio::test]
async fn a_watch_with_a_selector_sees_objects_come_and_go() {
    let server = Fixture::new();
    let mut events = server.watch("labelSelector=on").await;
    server.create("a", json!({})).await;
    let label = |value: Value| json!({"metadata": {"labels": {"on": value}}});
    let path = format!("{MAPS}/a");
    server.patch(&path, MERGE, &label("yes".into())).await;
    server.patch(&path, MERGE, &label("still".into())).await;
    server.patch(&path, MERGE, &label(Value::Null)).await;
    for change in ["ADDED", "MODIFIED", "DELETED"] {
        assert_eq!(events.seen().await, (change.into(), "a".into()));
    }
}

#[tokio::test]
async fn a_streaming_list_ends_with_a_marked_bookmark() {
    let server = Fixture::new();
    server.create("a", json!({})).await;
    let query = "allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let mut events = server.watch(query).await;
    assert_eq!(events.seen().await.0, "ADDED");
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn a_watch_from_before_history_is_told_so() {
    let server = Fixture::new();
    for n in 0..3 {
        server.create(&format!("m{n}"), json!({})).await;
    }
    server.store.compact().await.unwrap();
    let server = server.restart().await;
    let mut events = server.watch("resourceVersion=1").await;
    let error = events.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_time_is_over_and_says_how_far_it_came() {
    let server = Fixture::new();
    let mut events = server.watch("timeoutSeconds=90&allowWatchBookmarks=true&resourceVersion=1").await;
    assert_eq!(events.next().await.unwrap()["type"], "BOOKMARK");
    assert_eq!(events.next().await.unwrap()["type"], "BOOKMARK");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn finalizers_hold_up_a_deletion() {
    let server = Fixture::new();
    let mut object = map("a", json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    server.json(Method::POST, MAPS, &object).await;
    let path = format!("{MAPS}/a");
    let (code, pending) = server.json(Method::DELETE, &path, &Value::Null).await;
    assert!(code == 200 && pending["metadata"]["deletionTimestamp"].is_string(), "{pending}");
    let (_, status) = server.json(Method::POST, MAPS, &map("a", json!({}))).await;
    assert!(text(&status["message"]).starts_with("object is being deleted: "));
    let (code, gone) = server.patch(&path, MERGE, &json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(code, 200, "{gone}");
    assert_eq!(server.get(&path).await.0, 404);
}

#[tokio::test]
async fn deletions_have_preconditions_and_propagation() {
    let server = Fixture::new();
    let created = server.create("a", json!({})).await;
    let path = format!("{MAPS}/a");
    let wrong = json!({"preconditions": {"uid": "other"}});
    assert_eq!(server.json(Method::DELETE, &path, &wrong).await.1["reason"], "Conflict");
    let dry = json!({"dryRun": ["All"], "preconditions": {"uid": created["metadata"]["uid"]}});
    assert_eq!(server.json(Method::DELETE, &path, &dry).await.0, 200);
    let orphan = json!({"propagationPolicy": "Orphan"});
    let (_, pending) = server.json(Method::DELETE, &path, &orphan).await;
    assert_eq!(pending["metadata"]["finalizers"], json!(["orphan"]));
}

#[tokio::test]
async fn a_namespace_waits_for_its_controller() {
    let server = Fixture::new();
    let (code, _) = server.json(Method::POST, "/api/v1/namespaces", &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(code, 201);
    let (_, pending) = server.json(Method::DELETE, "/api/v1/namespaces/a", &Value::Null).await;
    assert_eq!(pending["status"]["phase"], "Terminating", "{pending}");
    let mut finalized = pending.clone();
    finalized["spec"]["finalizers"] = json!([]);
    let (code, answer) = server.json(Method::PUT, "/api/v1/namespaces/a/finalize", &finalized).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(server.get("/api/v1/namespaces/a").await.0, 404);
}

#[tokio::test]
async fn dry_runs_store_nothing() {
    let server = Fixture::new();
    let (code, _) = server.json(Method::POST, &format!("{MAPS}?dryRun=All"), &map("a", json!({}))).await;
    assert_eq!(code, 201);
    assert_eq!(server.get(&format!("{MAPS}/a")).await.0, 404);
}

#[tokio::test]
async fn admission_changes_and_warns() {
    let server = Fixture::new();
    let body = map("a", json!({"mutate": "me", "warn": "yes"})).to_string();
    let response = server.send(Method::POST, MAPS, &[("content-type", "application/json")], body).await;
    assert_eq!(response.headers()[header::WARNING], r#"299 - "mind the \"gap\"""#);
    assert_eq!(value(response).await["data"]["mutate"], "done");
}

#[tokio::test]
async fn deprecated_kinds_warn() {
    let server = Fixture::new();
    let response = server.send(Method::GET, "/api/v1/namespaces/default/endpoints", &[], "").await;
    assert_eq!(
        response.headers()[header::WARNING],
        r#"299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice""#
    );
    assert!(!server.send(Method::GET, MAPS, &[], "").await.headers().contains_key(header::WARNING));
}

#[tokio::test]
async fn unknown_fields_are_warned_of_or_refused() {
    let server = Fixture::new();
    let mut body = map("a", json!({}));
    body["bogus"] = 1.into();
    let headers = [("content-type", "application/json")];
    let response = server.send(Method::POST, MAPS, &headers, body.to_string()).await;
    assert_eq!(response.headers()[header::WARNING], r#"299 - "unknown field \"bogus\"""#);
    let (code, status) = server.json(Method::POST, &format!("{MAPS}?fieldValidation=Strict"), &body).await;
    assert!(code == 400 && text(&status["message"]).contains("unknown field"), "{status}");
}

#[tokio::test]
async fn bad_input_gets_the_status_that_upstream_gives() {
    let server = Fixture::new();
    let code = |method, path: &'static str, media: &'static str, content: Bytes| {
        let server = &server;
        async move { server.send(method, path, &[("content-type", media)], content).await.status().as_u16() }
    };
    let json_media = "application/json";
    assert_eq!(code(Method::POST, MAPS, json_media, "{".into()).await, 400);
    assert_eq!(code(Method::POST, MAPS, "text/csv", "{}".into()).await, 415);
    assert_eq!(code(Method::POST, MAPS, json_media, vec![b' '; 4 << 20].into()).await, 413);
    assert_eq!(code(Method::POST, MAPS, json_media, r#"{"metadata":{"name":"A_"}}"#.into()).await, 422);
    assert_eq!(code(Method::POST, "/api/v1/configmaps", json_media, "{}".into()).await, 405);
    assert_eq!(code(Method::PUT, MAPS, json_media, "{}".into()).await, 405);
    assert_eq!(code(Method::POST, "/api/v1/namespaces/default/configmaps/a", json_media, "{}".into()).await, 405);
    assert_eq!(code(Method::OPTIONS, MAPS, json_media, "".into()).await, 405);
    assert_eq!(code(Method::GET, "/api/v1/nothings", "", "".into()).await, 404);
    assert_eq!(code(Method::GET, "/nothing", "", "".into()).await, 404);
    assert_eq!(code(Method::GET, "/api/v1/namespaces/x/nodes", "", "".into()).await, 404);
    assert_eq!(code(Method::GET, "/api/v1/namespaces/default/configmaps/forbidden", "", "".into()).await, 403);
    let mismatch = r#"{"metadata":{"name":"a","namespace":"other"}}"#;
    assert_eq!(code(Method::POST, MAPS, json_media, mismatch.into()).await, 400);
    let large = map("a", json!({"x": "y".repeat(2 << 20)})).to_string();
    assert!(matches!(code(Method::POST, MAPS, json_media, large.into()).await, 413 | 422));
    let accept = server.send(Method::GET, MAPS, &[("accept", "text/csv")], "").await;
    assert_eq!(accept.status(), 406);
}

#[tokio::test]
async fn tables_metadata_and_yaml() {
    let server = Fixture::new();
    server.create("a", json!({"x": "1"})).await;
    let get = |accept: &'static str| {
        let server = &server;
        async move { server.send(Method::GET, MAPS, &[("accept", accept)], "").await }
    };
    let table = value(get("application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await).await;
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    let partial = value(get("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").await).await;
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    let yaml = get("application/yaml").await;
    assert_eq!(yaml.headers()[header::CONTENT_TYPE], "application/yaml");
    let text = yaml.into_body().collect().await.unwrap().to_bytes();
    assert!(std::str::from_utf8(&text).unwrap().contains("kind: ConfigMapList"));
    let body = "metadata:\n  name: from-yaml\ndata:\n  x: '1'\n";
    let created = server.send(Method::POST, MAPS, &[("content-type", "application/yaml")], body).await;
    assert_eq!(created.status(), 201);
}

#[tokio::test]
async fn a_list_of_many_objects_is_whole() {
    let server = Fixture::new();
    let creates = (0..300).map(|n| {
        let server = &server;
        async move { server.create(&format!("m{n}"), json!({"x": "y".repeat(1000)})).await }
    });
    futures_util::future::join_all(creates).await;
    let (_, list) = server.get(MAPS).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 300);
}

#[tokio::test]
async fn lists_know_revisions() {
    let server = Fixture::new();
    let first = server.create("a", json!({})).await;
    server.create("b", json!({})).await;
    let exact = format!("{MAPS}?resourceVersion={}&resourceVersionMatch=Exact", version(&first));
    assert_eq!(server.get(&exact).await.1["items"].as_array().unwrap().len(), 1);
    let later = format!("{MAPS}?resourceVersion={}", version(&first));
    assert_eq!(server.get(&later).await.1["items"].as_array().unwrap().len(), 2);
    assert_eq!(server.get(&format!("{MAPS}?resourceVersion=x")).await.0, 400);
}

#[tokio::test(start_paused = true)]
async fn a_revision_of_the_future_times_out() {
    let server = Fixture::new();
    let (code, status) = server.get(&format!("{MAPS}?resourceVersion=99999")).await;
    assert_eq!((code.as_u16(), &status["details"]["causes"][0]["reason"]), (504, &json!("ResourceVersionTooLarge")));
}

#[tokio::test]
async fn events_are_one_thing_in_two_groups() {
    let server = Fixture::new();
    let core = "/api/v1/namespaces/default/events";
    let other = "/apis/events.k8s.io/v1/namespaces/default/events";
    let event = json!({"metadata": {"name": "e"}, "reason": "Started", "type": "Normal", "message": "hello",
                       "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}});
    let (code, created) = server.json(Method::POST, core, &event).await;
    assert_eq!(code, 201, "{created}");
    let (code, seen) = server.get(&format!("{other}/e")).await;
    assert_eq!((code.as_u16(), &seen["note"], &seen["regarding"]["name"]), (200, &json!("hello"), &json!("p")));
    assert_eq!(seen["apiVersion"], "events.k8s.io/v1");
    let (code, patched) =
        server.patch(&format!("{other}/e"), MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(code, 200, "{patched}");
    let (_, seen) = server.get(&format!("{core}/e")).await;
    assert_eq!((&seen["metadata"]["labels"]["a"], &seen["message"]), (&json!("b"), &json!("hello")));
    assert_eq!(server.json(Method::DELETE, &format!("{other}/e"), &Value::Null).await.0, 200);
    assert_eq!(server.get(&format!("{core}/e")).await.0, 404);
}

#[tokio::test]
async fn pods_are_bound_scaled_and_evicted() {
    let server = Fixture::new();
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let (code, created) = server.json(Method::POST, pods, &pod).await;
    assert_eq!(code, 201, "{created}");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "edge1"}});
    let (code, status) = server.json(Method::POST, &format!("{pods}/p/binding"), &binding).await;
    assert_eq!((code.as_u16(), &status["status"]), (201, &json!("Success")));
    let (_, bound) = server.get(&format!("{pods}?fieldSelector=spec.nodeName%3Dedge1")).await;
    let bound = &bound["items"][0];
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled", "{bound}");
    let (_, status) = server.json(Method::POST, "/api/v1/namespaces/default/bindings", &binding).await;
    assert_eq!(
        status["message"],
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"edge1\""
    );
    let running = json!({"status": {"phase": "Running"}});
    let (code, changed) = server.patch(&format!("{pods}/p/status"), MERGE, &running).await;
    assert_eq!((code.as_u16(), &changed["status"]["phase"]), (200, &json!("Running")), "{changed}");
    let eviction = json!({"metadata": {"name": "p"}});
    assert_eq!(server.json(Method::POST, &format!("{pods}/p/eviction"), &eviction).await.0, 201);
    let (_, evicted) = server.get(&format!("{pods}/p")).await;
    assert_eq!(evicted["metadata"]["deletionGracePeriodSeconds"], 30);
    let now = json!({"gracePeriodSeconds": 0});
    assert_eq!(server.json(Method::DELETE, &format!("{pods}/p"), &now).await.0, 200);
    assert_eq!(server.get(&format!("{pods}/p")).await.0, 404);
}

#[tokio::test]
async fn a_deployment_is_scaled() {
    let server = Fixture::new();
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let (code, created) = server.json(Method::POST, path, &json!({"metadata": {"name": "d"}, "spec": spec})).await;
    assert_eq!(code, 201, "{created}");
    let scale = format!("{path}/d/scale");
    let (_, before) = server.get(&scale).await;
    assert_eq!((&before["spec"]["replicas"], &before["status"]["selector"]), (&json!(1), &json!("a=b")));
    let (code, after) = server.patch(&scale, MERGE, &json!({"spec": {"replicas": 3}})).await;
    assert_eq!((code.as_u16(), &after["spec"]["replicas"]), (200, &json!(3)));
    assert_eq!(server.json(Method::PUT, &scale, &before).await.1["reason"], "Conflict");
    assert_eq!(server.patch(&scale, MERGE, &json!({"spec": {"replicas": -1}})).await.0, 422);
    assert_eq!(server.get(&format!("{path}/d")).await.1["metadata"]["generation"], 2);
}

#[tokio::test]
async fn services_get_addresses_and_give_them_back() {
    let server = Fixture::new();
    let path = "/api/v1/namespaces/default/services";
    let service = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"clusterIP": "10.43.0.7", "type": "NodePort",
               "ports": [{"port": 80, "nodePort": 30080}]}})
    };
    assert_eq!(server.json(Method::POST, &format!("{path}?dryRun=All"), &service("a")).await.0, 201);
    let (code, created) = server.json(Method::POST, path, &service("a")).await;
    assert_eq!((code.as_u16(), &created["spec"]["clusterIPs"]), (201, &json!(["10.43.0.7"])), "{created}");
    assert_eq!(server.json(Method::POST, path, &service("b")).await.0, 422);
    let plain = json!({"metadata": {"name": "c"}, "spec": {"ports": [{"port": 80}]}});
    let (_, other) = server.json(Method::POST, path, &plain).await;
    assert!(text(&other["spec"]["clusterIP"]).starts_with("10.43."), "{other}");
    let server = server.restart().await;
    assert_eq!(server.json(Method::POST, path, &service("b")).await.0, 422);
    assert_eq!(server.json(Method::DELETE, &format!("{path}/a"), &Value::Null).await.0, 200);
    assert_eq!(server.json(Method::POST, path, &service("b")).await.0, 201);
}

#[tokio::test]
async fn documents_are_served() {
    let server = Fixture::new();
    assert_eq!(server.get("/version").await.1["minor"], "36");
    assert_eq!(server.get("/api/v1").await.1["kind"], "APIResourceList");
    assert_eq!(server.get("/apis").await.1["kind"], "APIGroupList");
    assert!(server.get("/").await.1["paths"].is_array());
    assert_eq!(server.get("/openapi/v3/api/v1").await.1["openapi"], "3.0.0");
    let zipped = server.send(Method::GET, "/openapi/v2", &[("accept-encoding", "gzip")], "").await;
    assert_eq!(zipped.headers()[header::CONTENT_ENCODING], "gzip");
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    assert_eq!(server.send(Method::GET, "/openapi/v2", &[("accept", protobuf)], "").await.status(), 200);
    assert_eq!(server.send(Method::GET, "/openapi/v3/api/v1", &[("accept", protobuf)], "").await.status(), 406);
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let response = server.send(Method::GET, "/apis", &[("accept", accept)], "").await;
    let tag = response.headers()[header::ETAG].to_str().unwrap().to_owned();
    let again = server.send(Method::GET, "/apis", &[("accept", accept), ("if-none-match", &tag)], "").await;
    assert_eq!(again.status(), 304);
    server.create("a", json!({})).await;
    let metrics = server.send(Method::GET, "/metrics", &[], "").await.into_body().collect().await.unwrap().to_bytes();
    let metrics = std::str::from_utf8(&metrics).unwrap();
    assert!(metrics.contains("apiserver_storage_objects{resource=\"configmaps\"} 1"), "{metrics}");
    assert_eq!(server.send(Method::GET, "/readyz?verbose", &[], "").await.status(), 200);
}
