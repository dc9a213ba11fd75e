//! Priority and fairness, from the objects that configure it to who is served under load.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use super::*;
use crate::{
    apiserver::{bootstrap, handler::Handler},
    client::transport,
    http::identity::{AUTHENTICATED, MASTERS},
};

const GROUP: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
/// Where requests are served until the gate opens.
const SLOW: &str = "/slow";

struct Gate {
    open: watch::Receiver<bool>,
    inside: Arc<AtomicUsize>,
}

impl Handler for Gate {
    fn handle<'a>(&'a self, _: &'a Attributes, _: Request<Body>) -> BoxFuture<'a, Result<Response<Body>, Status>> {
        let mut open = self.open.clone();
        Box::pin(async move {
            self.inside.fetch_add(1, Ordering::Relaxed);
            _ = open.wait_for(|open| *open).await;
            Ok(Response::new(body::empty()))
        })
    }
}

fn user(name: &str, groups: &[&str]) -> User {
    let groups = groups.iter().chain(&[AUTHENTICATED]).map(|group| (*group).to_owned()).collect();
    User { name: name.into(), groups, ..User::default() }
}

fn account(name: &str) -> User {
    user(
        &format!("system:serviceaccount:default:{name}"),
        &["system:serviceaccounts", "system:serviceaccounts:default"],
    )
}

impl Fixture {
    async fn with_defaults(handlers: Handlers) -> (Self, Supervisor) {
        let (fixture, supervisor) = (Self::with(tempfile::tempdir().unwrap(), handlers), Supervisor::new());
        fixture.ensure_defaults().await;
        fixture.server.start(&supervisor);
        (fixture, supervisor)
    }

    async fn ensure_defaults(&self) {
        let server = self.server.clone();
        let client =
            transport::in_process(move |request| server.clone().answer(request), user("system:apiserver", &[MASTERS]));
        bootstrap::flow_control::ensure(&client).await.unwrap();
    }

    async fn ask(&self, user: &User, method: Method, path: &str, content: &Value) -> Response<Body> {
        let content = if content.is_null() { String::new() } else { content.to_string() };
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let mut request = request.body(body::full(content)).unwrap();
        request.extensions_mut().insert(user.clone());
        self.server.handle(request).await
    }

    async fn uid(&self, path: &str) -> String {
        text(&self.get(path).await.1["metadata"]["uid"])
    }

    /// The status of a schema's condition, once it is this.
    async fn dangling(&self, schema: &str, wanted: &str) {
        for _ in 0..500 {
            let (_, found) = self.get(&format!("{GROUP}/flowschemas/{schema}")).await;
            if found["status"]["conditions"][0]["status"] == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{schema} is never told that its level is there or not");
    }
}

fn marks(response: &Response<Body>) -> [&str; 2] {
    ["x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid"]
        .map(|name| response.headers().get(name).map_or("", |value| value.to_str().unwrap()))
}

fn level(name: &str, shares: i32) -> Value {
    json!({"metadata": {"name": name}, "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": shares,
        "limitResponse": {"type": "Reject"}}}})
}

fn schema(name: &str, level: &str, who: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"matchingPrecedence": 1000,
        "priorityLevelConfiguration": {"name": level}, "rules": [{
            "subjects": [{"kind": "User", "user": {"name": who}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"],
                "clusterScope": true}]}]}})
}

#[tokio::test]
async fn requests_are_classified_by_objects_and_told_by_their_uids() {
    let (server, _supervisor) = Fixture::with_defaults(Handlers::default()).await;
    assert_eq!(server.json(Method::POST, &format!("{GROUP}/flowschemas"), &schema("s", "l", "noxu")).await.0, 201);
    server.dangling("s", "True").await;
    let path = format!("{GROUP}/prioritylevelconfigurations");
    assert_eq!(server.json(Method::POST, &path, &level("l", 1)).await.0, 201);
    server.dangling("s", "False").await;
    let (_, told) = server.get(&format!("{GROUP}/flowschemas/s")).await;
    assert_eq!(
        told["status"]["conditions"][0]["message"],
        "This FlowSchema references the PriorityLevelConfiguration object named \"l\" and it exists"
    );
    let uids = [server.uid(&format!("{GROUP}/flowschemas/s")).await, server.uid(&format!("{path}/l")).await];
    // Whatever becomes of the request.
    for path in ["/version", MAPS, "/api/v1/namespaces/default/configmaps/forbidden", "/nothing"] {
        let response = server.ask(&user("noxu", &[]), Method::GET, path, &Value::Null).await;
        assert_eq!(marks(&response), [&*uids[0], &*uids[1]], "{path}");
        let other = server.ask(&user("foo", &[]), Method::GET, path, &Value::Null).await;
        assert!(!marks(&other).contains(&"") && marks(&other)[0] != uids[0], "{path}");
    }
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let rows = value(server.send(Method::GET, &format!("{GROUP}/flowschemas"), &[("accept", table)], "").await).await;
    assert!(rows["rows"].as_array().unwrap().iter().all(|row| row["cells"][5] != "?"), "{rows}");
    let metrics = server.send(Method::GET, "/metrics", &[], "").await.into_body().collect().await.unwrap().to_bytes();
    let metrics = std::str::from_utf8(&metrics).unwrap();
    assert!(metrics.contains("apiserver_flowcontrol_nominal_limit_seats{priority_level=\"l\"} 3"), "{metrics}");
}

#[tokio::test]
async fn mandatory_objects_cannot_be_changed_and_come_back() {
    let (server, _supervisor) = Fixture::with_defaults(Handlers::default()).await;
    let path = format!("{GROUP}/flowschemas/catch-all");
    let (code, status) = server.patch(&path, MERGE, &json!({"spec": {"matchingPrecedence": 5}})).await;
    assert!(
        code == 422 && text(&status["message"]).ends_with("spec of 'catch-all' must equal the fixed value"),
        "{status}"
    );
    let exempt = format!("{GROUP}/prioritylevelconfigurations/exempt");
    let aside = json!({"spec": {"exempt": {"nominalConcurrencyShares": 10, "lendablePercent": 50}}});
    assert_eq!(server.patch(&exempt, MERGE, &aside).await.0, 200);
    for schema in ["catch-all", "probes"] {
        assert_eq!(server.json(Method::DELETE, &format!("{GROUP}/flowschemas/{schema}"), &Value::Null).await.0, 200);
    }
    server.ensure_defaults().await;
    assert_eq!(server.get(&path).await.0, 200);
    assert_eq!(server.get(&format!("{GROUP}/flowschemas/probes")).await.0, 200);
    assert_eq!(server.get(&exempt).await.1["spec"]["exempt"]["nominalConcurrencyShares"], 10);
}

#[tokio::test]
async fn one_client_in_a_loop_starves_nobody() {
    let (open, inside) = (watch::Sender::new(false), Arc::new(AtomicUsize::new(0)));
    let mut handlers = Handlers::default();
    handlers.path(SLOW, Arc::new(Gate { open: open.subscribe(), inside: inside.clone() }));
    let (server, _supervisor) = Fixture::with_defaults(handlers).await;
    server.dangling("service-accounts", "False").await;
    let greedy = account("greedy");
    // Within a moment: who refuses for longer asks to stay away for longer.
    tokio::time::pause();
    let mut flood: Vec<_> = (0..700).map(|_| Box::pin(server.ask(&greedy, Method::GET, SLOW, &Value::Null))).collect();
    let mut refused = Vec::new();
    for request in &mut flood {
        if let std::task::Poll::Ready(response) = futures_util::poll!(request) {
            refused.push(response);
        }
    }
    tokio::time::resume();
    // All seats of its level, and all queues of its hand, are taken; what is beyond that is refused.
    assert!(inside.load(Ordering::Relaxed) < 300 && refused.len() > 100, "{inside:?} {}", refused.len());
    for response in &refused {
        assert_eq!(
            (response.status(), &response.headers()["retry-after"]),
            (StatusCode::TOO_MANY_REQUESTS, &"1".parse().unwrap())
        );
        assert!(!marks(response).contains(&""));
    }
    let refused_body = value(refused.pop().unwrap()).await;
    assert_eq!(refused_body["message"], "Too many requests, please try again later.");
    // Meanwhile, nodes and controllers do not even wait.
    let node = user("system:node:a", &["system:nodes"]);
    let lease = json!({"metadata": {"name": "a"}, "spec": {"holderIdentity": "a"}});
    let manager = user("system:kube-controller-manager", &[]);
    let others = async {
        let created = server.ask(&node, Method::POST, LEASES, &lease).await;
        assert_eq!(created.status(), 201);
        let lease = value(created).await;
        for _ in 0..20 {
            assert_eq!(server.ask(&node, Method::PUT, &format!("{LEASES}/a"), &lease).await.status(), 200);
            assert_eq!(server.ask(&manager, Method::GET, MAPS, &Value::Null).await.status(), 200);
        }
        let healthy = server.ask(&user("system:anonymous", &[]), Method::GET, "/livez", &Value::Null).await;
        assert_eq!(healthy.status(), 200);
    };
    tokio::time::timeout(Duration::from_secs(10), others).await.unwrap();
    // Another account waits its turn, and has it before the flood is through.
    let modest = account("modest");
    let mut waiting = Box::pin(server.ask(&modest, Method::GET, MAPS, &Value::Null));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    open.send_replace(true);
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().status(), 200);
    drop(flood);
    let again = server.ask(&greedy, Method::GET, MAPS, &Value::Null).await;
    assert_eq!(again.status(), 200);
}

#[tokio::test]
async fn a_watch_holds_its_seats_until_it_has_shown_what_was_there() {
    let (server, _supervisor) = Fixture::with_defaults(Handlers::default()).await;
    let path = format!("{GROUP}/prioritylevelconfigurations");
    assert_eq!(server.json(Method::POST, &path, &level("l", 1)).await.0, 201);
    assert_eq!(server.json(Method::POST, &format!("{GROUP}/flowschemas"), &schema("s", "l", "noxu")).await.0, 201);
    server.dangling("s", "False").await;
    server.create("a", json!({})).await;
    let noxu = user("noxu", &[]);
    let ask = async |query: &str| server.ask(&noxu, Method::GET, &format!("{MAPS}{query}"), &Value::Null).await;
    let mut watches = Vec::new();
    while let watch = ask("?watch=true").await
        && watch.status() == 200
    {
        assert!(watches.len() < 600, "watches that nobody reads hold no seats");
        watches.push(watch.into_body());
    }
    assert_eq!(ask("").await.status(), 429);
    let mut read = watches.pop().unwrap();
    read.frame().await.unwrap().unwrap();
    assert_eq!(ask("").await.status(), 200);
    // One that shows what comes alone has nothing to hand over, and one that goes needs no seats.
    let _coming = ask("?watch=true&resourceVersion=1").await;
    drop(watches);
    assert_eq!(ask("").await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_quarter_of_its_time() {
    let (open, inside) = (watch::Sender::new(false), Arc::new(AtomicUsize::new(0)));
    let mut handlers = Handlers::default();
    handlers.path(SLOW, Arc::new(Gate { open: open.subscribe(), inside }));
    let server = Fixture::with(tempfile::tempdir().unwrap(), handlers);
    // With nothing but what is mandatory, everybody else is of a level that has no queues.
    let mut served: Vec<_> = (0..600).map(|_| Box::pin(server.send(Method::GET, SLOW, &[], ""))).collect();
    for request in &mut served {
        assert!(futures_util::poll!(request).is_pending());
    }
    assert_eq!(server.send(Method::GET, SLOW, &[], "").await.status(), 429);
    drop(served);
    let began = tokio::time::Instant::now();
    assert_eq!(server.send(Method::GET, &format!("{SLOW}?timeout=20s"), &[], "").await.status(), 504);
    assert_eq!(began.elapsed().as_secs(), 20);
    assert_eq!(server.get("/version?timeout=20").await.0, 400);
}
