//! Custom resources whose versions a webhook converts.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{custom::eventually, *};

const DEFINITION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub(super) const V1: &str = "/apis/example.com/v1/namespaces/default/bars";
const V2: &str = "/apis/example.com/v2/namespaces/default/bars";

/// A webhook that knows `v1` with a field `host` and `v2` with `hosts`. Labels say what it has seen.
fn convert(object: &Value, to: &str) -> Value {
    let mut converted = object.clone();
    converted["apiVersion"] = to.into();
    let spec = object["spec"].clone();
    converted["spec"] = match to {
        "example.com/v2" => json!({"hosts": [spec["host"]]}),
        _ => json!({"host": spec["hosts"][0]}),
    };
    converted["metadata"]["labels"]["converted"] = "yes".into();
    converted
}

pub(super) struct Bars {
    pub(super) server: Fixture,
    calls: Arc<AtomicUsize>,
    _supervisor: Supervisor,
}

impl Bars {
    /// A server with `bars.example.com`, stored as `v1`, whose webhook makes `make` of objects.
    async fn served_with(make: impl Fn(&Value, &str) -> Value + Clone + Send + Sync + 'static) -> Self {
        Self::on(Fixture::new(), make).await
    }

    async fn on(server: Fixture, make: impl Fn(&Value, &str) -> Value + Clone + Send + Sync + 'static) -> Self {
        let (supervisor, calls) = (Supervisor::new(), Arc::new(AtomicUsize::new(0)));
        server.server.start(&supervisor);
        let counted = calls.clone();
        let address = server.peers.serve(&["127.0.0.1"], move |request| {
            counted.fetch_add(1, Ordering::SeqCst);
            let review: Value = serde_json::from_slice(request.body()).unwrap();
            let to = text(&review["request"]["desiredAPIVersion"]);
            let objects = review["request"]["objects"].as_array().unwrap();
            let converted: Vec<Value> = objects.iter().map(|object| make(object, &to)).collect();
            let response = json!({"uid": review["request"]["uid"], "result": {"status": "Success"},
                                  "convertedObjects": converted});
            let answer = json!({"apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": response});
            async move { (200, answer.to_string()) }
        });
        let client = json!({"url": format!("https://{}/convert", address.await),
                            "caBundle": STANDARD.encode(server.peers.authority())});
        let (code, made) = server.json(Method::POST, DEFINITION, &definition(&client)).await;
        assert_eq!(code, 201, "{made}");
        eventually(async || match server.get(V2).await {
            (StatusCode::OK, _) => Ok(()),
            (_, body) => Err(body.to_string()),
        })
        .await;
        Self { server, calls, _supervisor: supervisor }
    }

    async fn served() -> Self {
        Self::served_with(convert).await
    }

    /// The same on a server that is there, and which the webhook converts for.
    pub(super) async fn served_on(server: Fixture) -> Self {
        Self::on(server, convert).await
    }

    async fn create(&self, path: &str, version: &str, name: &str, spec: Value) -> Value {
        let bar = json!({"apiVersion": format!("example.com/{version}"), "kind": "Bar", "metadata": {"name": name},
                         "spec": spec});
        let (code, created) = self.server.json(Method::POST, path, &bar).await;
        assert_eq!(code, 201, "{created}");
        created
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn definition(client: &Value) -> Value {
    let version = |name: &str, storage: bool, fields: Value, selectable: &str| {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}});
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema},
               "selectableFields": [{"jsonPath": selectable}]})
    };
    let (one, list) = (json!({"type": "string"}), json!({"type": "array", "items": {"type": "string"}}));
    let mut first = version("v1", true, json!({"host": one}), ".spec.host");
    first["selectableFields"] = json!([{"jsonPath": ".spec.host"}]);
    let mut second = version("v2", false, json!({"hosts": list}), ".spec.hosts");
    second.as_object_mut().unwrap().remove("selectableFields");
    json!({
        "metadata": {"name": "bars.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "bars", "singular": "bar", "kind": "Bar", "listKind": "BarList"},
            "versions": [first, second],
            "conversion": {"strategy": "Webhook",
                           "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]}},
        },
    })
}

#[tokio::test]
async fn objects_are_read_and_written_in_every_version() {
    let bars = Bars::served().await;
    let server = &bars.server;
    let created = bars.create(V1, "v1", "a", json!({"host": "x"})).await;
    assert_eq!(bars.calls(), 0);
    let (_, shown) = server.get(&format!("{V2}/a")).await;
    assert_eq!((&shown["apiVersion"], &shown["spec"]), (&json!("example.com/v2"), &json!({"hosts": ["x"]})));
    assert_eq!(version(&shown), version(&created));
    assert_eq!(server.get(&format!("{V2}/a")).await.1, shown);
    assert_eq!(bars.calls(), 1);
    let created = bars.create(V2, "v2", "b", json!({"hosts": ["y"]})).await;
    assert_eq!((&created["apiVersion"], &created["spec"]), (&json!("example.com/v2"), &json!({"hosts": ["y"]})));
    assert_eq!(server.get(&format!("{V1}/b")).await.1["spec"], json!({"host": "y"}));
    let (code, patched) = server.patch(&format!("{V2}/a"), MERGE, &json!({"spec": {"hosts": ["z"]}})).await;
    assert_eq!((code.as_u16(), &patched["spec"]), (200, &json!({"hosts": ["z"]})), "{patched}");
    assert_eq!(server.get(&format!("{V1}/a")).await.1["spec"], json!({"host": "z"}));
    assert_eq!(server.json(Method::DELETE, &format!("{V2}/a"), &Value::Null).await.0, 200);
}

#[tokio::test]
async fn what_was_stored_before_another_version_is_stored_keeps_its_fields() {
    let bars = Bars::served().await;
    let server = &bars.server;
    bars.create(V1, "v1", "a", json!({"host": "x"})).await;
    let path = format!("{DEFINITION}/bars.example.com");
    let mut versions = server.get(&path).await.1["spec"]["versions"].clone();
    (versions[0]["storage"], versions[1]["storage"]) = (false.into(), true.into());
    let (code, changed) = server.patch(&path, MERGE, &json!({"spec": {"versions": versions}})).await;
    assert_eq!(code, 200, "{changed}");
    bars.create(V1, "v1", "b", json!({"host": "y"})).await;
    for (path, shown) in [(V1, json!({"host": "x"})), (V2, json!({"hosts": ["x"]}))] {
        let (_, list) = server.get(path).await;
        assert_eq!((&list["items"][0]["spec"], list["items"].as_array().unwrap().len()), (&shown, 2), "{list}");
    }
}

#[tokio::test]
async fn lists_are_converted_at_once_and_selected_as_they_are_shown() {
    let bars = Bars::served().await;
    for name in ["a", "b", "c"] {
        bars.create(V1, "v1", name, json!({"host": name})).await;
    }
    let (_, list) = bars.server.get(V2).await;
    let hosts: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|item| &item["spec"]["hosts"][0]).collect();
    assert_eq!((hosts, bars.calls()), (vec![&json!("a"), &json!("b"), &json!("c")], 1));
    let count = async |path: String| bars.server.get(&path).await.1["items"].as_array().unwrap().len();
    assert_eq!(count(format!("{V2}?labelSelector=converted%3Dyes")).await, 3);
    assert_eq!(count(format!("{V2}?labelSelector=converted%3Dyes&limit=2")).await, 2);
    assert_eq!(count(format!("{V1}?labelSelector=converted%3Dyes")).await, 0);
    assert_eq!(count(format!("{V1}?fieldSelector=spec.host%3Db")).await, 1);
    assert_eq!(bars.calls(), 1);
}

#[tokio::test]
async fn watches_see_objects_in_their_version() {
    let bars = Bars::served().await;
    let first = bars.create(V1, "v1", "a", json!({"host": "x"})).await;
    let watch = async |query: &str| {
        let response = bars.server.send(Method::GET, &format!("{V2}?watch=1{query}"), &[], "").await;
        assert_eq!(response.status(), 200);
        Events { body: BodyStream::new(response.into_body()), buffer: Vec::new() }
    };
    let mut all = watch("").await;
    let mut selected = watch(&format!("&labelSelector=converted&resourceVersion={}", version(&first))).await;
    assert_eq!(all.next().await.unwrap()["object"]["spec"], json!({"hosts": ["x"]}));
    bars.create(V1, "v1", "b", json!({"host": "y"})).await;
    bars.server.json(Method::DELETE, &format!("{V1}/b"), &Value::Null).await;
    for events in [&mut all, &mut selected] {
        let added = events.next().await.unwrap();
        assert_eq!((&added["type"], &added["object"]["spec"]), (&json!("ADDED"), &json!({"hosts": ["y"]})));
        let deleted = events.next().await.unwrap();
        assert_eq!((&deleted["type"], &deleted["object"]["apiVersion"]), (&json!("DELETED"), &json!("example.com/v2")));
    }
}

#[tokio::test]
async fn a_webhook_that_changes_identity_is_told_so() {
    let bars = Bars::served_with(|object, to| {
        let mut converted = convert(object, to);
        converted["metadata"]["name"] = "other".into();
        converted
    })
    .await;
    bars.create(V1, "v1", "a", json!({"host": "x"})).await;
    let (code, status) = bars.server.get(&format!("{V2}/a")).await;
    assert_eq!(code, 500);
    assert_eq!(
        status["message"],
        "conversion webhook for example.com/v1, Kind=Bar returned invalid converted object at index 0: must have the same \
         name: a != other"
    );
    assert_eq!(bars.server.get(&format!("{V1}/a")).await.0, 200);
}
