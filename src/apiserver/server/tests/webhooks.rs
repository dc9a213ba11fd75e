//! Admission webhooks, asked over TLS on the loopback interface.

use std::{net::SocketAddr, time::Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;

const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";

/// What a webhook is asked: its requests, in order.
type Asked = Arc<parking_lot::Mutex<Vec<Value>>>;

impl Fixture {
    /// A server with all of admission, and the namespace `default`.
    async fn admitted() -> Self {
        let server = Self::with_admission();
        let namespace = json!({"metadata": {"name": "default", "labels": {"env": "test"}}});
        assert_eq!(server.json(Method::POST, "/api/v1/namespaces", &namespace).await.0, 201);
        server
    }

    /// A webhook that answers with what `answer` makes of a request.
    async fn hook(&self, answer: impl Fn(&Value) -> Value + Clone + Send + Sync + 'static) -> (SocketAddr, Asked) {
        let asked = Asked::default();
        let seen = asked.clone();
        let address = self.peers.serve(&["127.0.0.1"], move |request| {
            let review: Value = serde_json::from_slice(request.body()).unwrap();
            let mut response = answer(&review["request"]);
            response["uid"] = review["request"]["uid"].clone();
            seen.lock().push(review["request"].clone());
            let answer = json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response});
            async move { (200, answer.to_string()) }
        });
        (address.await, asked)
    }

    /// Configures a webhook at `address` for config maps. `more` is added to it.
    async fn configure(&self, kind: &str, name: &str, address: SocketAddr, more: Value) {
        let mut hook = json!({
            "name": format!("{name}.example.com"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": format!("https://{address}/ask"), "caBundle": STANDARD.encode(self.peers.authority())},
            "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        });
        for (field, value) in more.as_object().unwrap() {
            hook[field] = value.clone();
        }
        let configuration = json!({"metadata": {"name": name}, "webhooks": [hook]});
        let (code, made) = self.json(Method::POST, &format!("{REGISTRATION}/{kind}"), &configuration).await;
        assert_eq!(code, 201, "{made}");
    }

    async fn validated_by(&self, name: &str, address: SocketAddr, more: Value) {
        self.configure("validatingwebhookconfigurations", name, address, more).await;
    }

    async fn mutated_by(&self, name: &str, address: SocketAddr, more: Value) {
        self.configure("mutatingwebhookconfigurations", name, address, more).await;
    }

    async fn denied(&self, name: &str) -> Value {
        let (code, status) = self.json(Method::POST, MAPS, &map(name, json!({}))).await;
        assert!(code.as_u16() >= 400, "{status}");
        status
    }
}

fn patch(operations: Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

/// A webhook that adds a key to the data of a config map that has it not.
fn adding(key: &'static str) -> impl Fn(&Value) -> Value + Clone + Send + Sync + 'static {
    move |request| match request["object"]["data"].get(key) {
        None => patch(json!([{"op": "add", "path": format!("/data/{key}"), "value": "x"}])),
        Some(_) => json!({"allowed": true}),
    }
}

#[tokio::test]
async fn a_webhook_denies_in_its_own_words() {
    let server = Fixture::admitted().await;
    let (address, asked) = server
        .hook(|request| match request["name"].as_str() {
            Some("bad") => json!({"allowed": false, "warnings": ["mind"], "status": {"message": "no", "code": 403}}),
            _ => json!({"allowed": true, "warnings": ["fine"]}),
        })
        .await;
    server.validated_by("v", address, json!({})).await;
    let status = server.denied("bad").await;
    assert_eq!(status["message"], "admission webhook \"v.example.com\" denied the request: no");
    assert_eq!((&status["code"], &status["status"]), (&json!(403), &json!("Failure")));
    let body = map("good", json!({})).to_string();
    let created = server.send(Method::POST, MAPS, &[("content-type", "application/json")], body).await;
    assert_eq!(created.headers()["warning"], "299 - \"fine\"");
    let deleted = server.json(Method::DELETE, &format!("{MAPS}/good"), &Value::Null).await;
    assert_eq!(deleted.0, 200);
    let asked = asked.lock();
    let review = &asked[1];
    assert_eq!((&review["operation"], &review["namespace"]), (&json!("CREATE"), &json!("default")));
    assert_eq!((&review["userInfo"]["username"], &review["oldObject"]), (&json!("tester"), &Value::Null));
    assert_eq!(review["object"]["metadata"]["name"], "good");
    assert_eq!(review["options"]["kind"], "CreateOptions");
    assert_eq!((&asked[2]["operation"], &asked[2]["object"]), (&json!("DELETE"), &Value::Null));
    assert_eq!(asked[2]["oldObject"]["metadata"]["name"], "good");
}

#[tokio::test]
async fn webhooks_change_objects_one_after_another_and_are_asked_again_if_needed() {
    let server = Fixture::admitted().await;
    let (first, asked_first) = server.hook(adding("first")).await;
    let (second, asked_second) = server.hook(adding("second")).await;
    server.mutated_by("b", second, json!({})).await;
    server.mutated_by("a", first, json!({"reinvocationPolicy": "IfNeeded"})).await;
    let created = server.create("m", json!({"own": "1"})).await;
    assert_eq!(created["data"], json!({"own": "1", "first": "x", "second": "x"}));
    // What admission adds belongs to nobody.
    let owned = &created["metadata"]["managedFields"][0]["fieldsV1"]["f:data"];
    assert_eq!(owned, &json!({".": {}, "f:own": {}}));
    let seen = |asked: &Asked| -> Vec<bool> {
        asked.lock().iter().map(|review| review["object"]["data"]["second"] == "x").collect()
    };
    assert_eq!((seen(&asked_first), seen(&asked_second)), (vec![false, true], vec![false]));
}

#[tokio::test]
async fn a_changed_object_is_still_one_of_its_kind() {
    let server = Fixture::admitted().await;
    let (address, _) = server.hook(|_| patch(json!([{"op": "replace", "path": "/data", "value": 7}]))).await;
    server.mutated_by("m", address, json!({})).await;
    assert_eq!(server.denied("a").await["code"], 500);
    let path = format!("{REGISTRATION}/mutatingwebhookconfigurations/m");
    assert_eq!(server.json(Method::DELETE, &path, &Value::Null).await.0, 200);
    server.create("a", json!({})).await;
}

#[tokio::test]
async fn failures_go_by_the_policy() {
    let server = Fixture::admitted().await;
    let (address, _) = server.hook(|_| json!({"allowed": true})).await;
    let stranger = STANDARD.encode(Peers::stranger());
    let client = json!({"url": format!("https://{address}/ask"), "caBundle": stranger});
    server.validated_by("open", address, json!({"clientConfig": client, "failurePolicy": "Ignore"})).await;
    server.create("a", json!({})).await;
    server.validated_by("shut", address, json!({"clientConfig": client})).await;
    assert_eq!(
        server.denied("b").await["message"],
        format!(
            "Internal error occurred: failed calling webhook \"shut.example.com\": failed to call webhook: Post \
             \"https://{address}/ask?timeout=10s\": tls: failed to verify certificate: x509: certificate signed by \
             unknown authority"
        )
    );
    let service = json!({"service": {"namespace": "default", "name": "none"}});
    let away = json!({"clientConfig": service});
    server.mutated_by("away", address, away).await;
    assert_eq!(
        server.denied("b").await["message"],
        "Internal error occurred: failed calling webhook \"away.example.com\": failed to call webhook: Post \
         \"https://none.default.svc:443/?timeout=10s\": service \"none\" not found"
    );
}

#[tokio::test]
async fn a_slow_webhook_is_not_waited_for() {
    let server = Fixture::admitted().await;
    let address = server.peers.serve(&["127.0.0.1"], |_| async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        (200, String::new())
    });
    server.validated_by("slow", address.await, json!({"timeoutSeconds": 1})).await;
    let began = Instant::now();
    let message = text(&server.denied("a").await["message"]);
    assert!(message.ends_with("ask?timeout=1s\": context deadline exceeded"), "{message}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn what_is_not_going_to_happen_is_told_to_those_who_know_that_alone() {
    let server = Fixture::admitted().await;
    let (address, asked) = server.hook(|_| json!({"allowed": true})).await;
    server.validated_by("v", address, json!({"sideEffects": "NoneOnDryRun"})).await;
    let (code, _) = server.json(Method::POST, &format!("{MAPS}?dryRun=All"), &map("a", json!({}))).await;
    assert_eq!((code.as_u16(), &asked.lock()[0]["dryRun"]), (201, &json!(true)));
    assert_eq!(server.get(&format!("{MAPS}/a")).await.0, 404);
}

#[tokio::test]
async fn selectors_decide_who_is_asked() {
    let server = Fixture::admitted().await;
    let (address, asked) = server.hook(|_| json!({"allowed": false})).await;
    server.validated_by("n", address, json!({"namespaceSelector": {"matchLabels": {"env": "live"}}})).await;
    server.validated_by("o", address, json!({"objectSelector": {"matchLabels": {"tier": "web"}}})).await;
    server.create("a", json!({})).await;
    assert!(asked.lock().is_empty());
    let mut web = map("b", json!({}));
    web["metadata"]["labels"] = json!({"tier": "web"});
    let (_, status) = server.json(Method::POST, MAPS, &web).await;
    assert_eq!(status["message"], "admission webhook \"o.example.com\" denied the request without explanation");
    // Nobody is asked about the configurations themselves.
    let all = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
    server.validated_by("all", address, json!({"rules": all})).await;
    let path = format!("{REGISTRATION}/validatingwebhookconfigurations/all");
    assert_eq!(server.json(Method::DELETE, &path, &Value::Null).await.0, 200);
}

#[tokio::test]
async fn a_request_is_shown_in_the_version_that_a_rule_names() {
    let server = Fixture::admitted().await;
    let (address, asked) =
        server.hook(|_| patch(json!([{"op": "replace", "path": "/note", "value": "changed"}]))).await;
    let rules = json!([{"operations": ["CREATE"], "apiGroups": ["events.k8s.io"], "apiVersions": ["v1"],
                        "resources": ["events"]}]);
    server.mutated_by("e", address, json!({"rules": rules})).await;
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "message": "hello"});
    let (code, created) = server.json(Method::POST, "/api/v1/namespaces/default/events", &event).await;
    assert_eq!((code.as_u16(), &created["message"]), (201, &json!("changed")), "{created}");
    let asked = asked.lock();
    assert_eq!(asked[0]["resource"]["group"], "events.k8s.io");
    assert_eq!(asked[0]["requestResource"]["group"], "");
    assert_eq!(asked[0]["object"]["note"], "hello");
}

#[tokio::test]
async fn conditions_decide_who_is_asked() {
    let server = Fixture::admitted().await;
    let (address, _) = server.hook(|_| json!({"allowed": false})).await;
    let condition = |expression: &str| json!({"matchConditions": [{"name": "c", "expression": expression}]});
    let guarded = "object.metadata.name.startsWith('x') && request.userInfo.username == 'tester'";
    server.validated_by("c", address, condition(guarded)).await;
    server.create("a", json!({})).await;
    assert_eq!(server.denied("x").await["code"], 400);
    let failing = condition("object.data.missing == 'x'");
    let mut open = failing.clone();
    open["failurePolicy"] = "Ignore".into();
    server.validated_by("open", address, open).await;
    server.create("b", json!({})).await;
    server.validated_by("shut", address, failing).await;
    let status = server.denied("d").await;
    assert_eq!(status["code"], 403);
    assert!(text(&status["message"]).contains("no such key: data"), "{status}");
    let wrong = json!({"metadata": {"name": "w"}, "webhooks": [{"name": "w.example.com", "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://example.com"},
        "matchConditions": [{"name": "c", "expression": "object.("}]}]});
    let path = format!("{REGISTRATION}/validatingwebhookconfigurations");
    assert_eq!(server.json(Method::POST, &path, &wrong).await.0, 422);
}

#[tokio::test]
async fn a_scale_is_shown_as_one() {
    let server = Fixture::admitted().await;
    let (address, asked) =
        server.hook(|_| patch(json!([{"op": "replace", "path": "/spec/replicas", "value": 2}]))).await;
    let rules = json!([{"operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"],
                        "resources": ["deployments/scale"]}]);
    server.mutated_by("s", address, json!({"rules": rules})).await;
    let labels = json!({"app": "web"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "b"}]}});
    let web = json!({"metadata": {"name": "web"},
                     "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}});
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let (code, made) = server.json(Method::POST, path, &web).await;
    assert_eq!(code, 201, "{made}");
    let (code, scale) = server.patch(&format!("{path}/web/scale"), MERGE, &json!({"spec": {"replicas": 5}})).await;
    assert_eq!((code.as_u16(), &scale["spec"]["replicas"]), (200, &json!(2)), "{scale}");
    let asked = asked.lock();
    assert_eq!((&asked[0]["kind"]["kind"], &asked[0]["object"]["spec"]), (&json!("Scale"), &json!({"replicas": 5})));
    assert_eq!(asked[0]["oldObject"]["spec"], json!({"replicas": 1}));
}

#[tokio::test]
async fn an_eviction_is_admitted_as_one() {
    let server = Fixture::admitted().await;
    let (address, asked) = server.hook(|_| json!({"allowed": false, "status": {"message": "stay"}})).await;
    let rules =
        json!([{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/eviction"]}]);
    server.validated_by("e", address, json!({"rules": rules})).await;
    let account = json!({"metadata": {"name": "default"}});
    assert_eq!(server.json(Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await.0, 201);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "b"}]}});
    let (code, made) = server.json(Method::POST, "/api/v1/namespaces/default/pods", &pod).await;
    assert_eq!(code, 201, "{made}");
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let path = "/api/v1/namespaces/default/pods/p";
    let (_, status) = server.json(Method::POST, &format!("{path}/eviction"), &eviction).await;
    assert_eq!(status["message"], "admission webhook \"e.example.com\" denied the request: stay");
    let review = asked.lock()[0].clone();
    assert_eq!((&review["operation"], &review["kind"]["kind"]), (&json!("CREATE"), &json!("Eviction")));
    assert_eq!(server.json(Method::DELETE, path, &Value::Null).await.0, 200);
}
