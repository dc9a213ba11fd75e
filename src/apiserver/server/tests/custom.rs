//! Custom resources, from the definition to its deletion.

use super::*;

pub(super) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub(super) const FOOS: &str = "/apis/example.com/v1/namespaces/default/foos";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// `foos.example.com` in a stored version `v1` and another, `v1beta1`.
pub(super) fn definition() -> Value {
    let schema = json!({"type": "object", "required": ["spec"], "properties": {
        "spec": {"type": "object", "properties": {
            "replicas": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
            "color": {"type": "string", "enum": ["red", "blue"]},
            "note": {"type": "string", "nullable": true},
        }},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}},
    }});
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
            "selectableFields": [{"jsonPath": ".spec.color"}],
            "additionalPrinterColumns": [{"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"}],
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "foos.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList", "shortNames": ["fo"]},
            "versions": [version("v1", true), version("v1beta1", false)],
        },
    })
}

pub(super) fn foo(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": name}, "spec": spec})
}

pub(super) async fn eventually<T>(mut probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    let mut last = String::new();
    for _ in 0..200 {
        match probe().await {
            Ok(found) => return found,
            Err(state) => last = state,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still not there: {last}");
}

impl Fixture {
    /// A server with the definition, served.
    pub(super) async fn with_foos() -> (Self, Supervisor) {
        let (server, supervisor) = (Self::new(), Supervisor::new());
        server.server.start(&supervisor);
        let (code, created) = server.json(Method::POST, DEFINITIONS, &definition()).await;
        assert_eq!(code, 201, "{created}");
        server.established("foos").await;
        (server, supervisor)
    }

    pub(super) async fn established(&self, plural: &str) {
        let path = format!("{DEFINITIONS}/{plural}.example.com");
        let probe = async || {
            let definition = self.get(&path).await.1;
            let conditions = definition["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let holds = |condition: &Value| condition["type"] == "Established" && condition["status"] == "True";
            if conditions.iter().any(holds) { Ok(()) } else { Err(definition.to_string()) }
        };
        eventually(probe).await;
        // Who is told that it is established may use it at once.
        let (code, body) = self.get(&format!("/apis/example.com/v1/{plural}")).await;
        assert_eq!(code, 200, "{body}");
    }

    pub(super) async fn create_foo(&self, name: &str, spec: Value) -> Value {
        let (code, created) = self.json(Method::POST, FOOS, &foo(name, spec)).await;
        assert_eq!(code, 201, "{created}");
        created
    }
}

#[tokio::test]
async fn objects_are_defaulted_validated_changed_and_deleted() {
    let (server, _supervisor) = Fixture::with_foos().await;
    let created = server.create_foo("a", json!({"color": "red", "note": null})).await;
    assert_eq!(created["spec"], json!({"color": "red", "note": null, "replicas": 1}));
    assert_eq!(created["metadata"]["generation"], 1);
    let (code, refused) = server.json(Method::POST, FOOS, &foo("b", json!({"replicas": 11, "color": "x"}))).await;
    assert_eq!(code, 422);
    let message = refused["message"].as_str().unwrap();
    assert!(message.starts_with("Foo.example.com \"b\" is invalid: ["), "{message}");
    assert!(
        message.contains("spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10")
    );
    assert!(message.contains("spec.color: Unsupported value: \"x\": supported values: \"red\", \"blue\""));
    let path = format!("{FOOS}/a");
    let (code, patched) = server.patch(&path, MERGE, &json!({"spec": {"replicas": 3}})).await;
    assert_eq!((code.as_u16(), &patched["metadata"]["generation"]), (200, &json!(2)));
    let json_patch = json!([{"op": "replace", "path": "/spec/color", "value": "blue"}]);
    assert_eq!(server.patch(&path, "application/json-patch+json", &json_patch).await.1["spec"]["color"], "blue");
    let (code, _) = server.patch(&path, "application/strategic-merge-patch+json", &json!({})).await;
    assert_eq!(code, 415);
    assert_eq!(server.json(Method::DELETE, &path, &Value::Null).await.0, 200);
    assert_eq!(server.get(&path).await.0, 404);
}

#[tokio::test]
async fn unknown_fields_are_dropped_and_told_as_asked() {
    let (server, _supervisor) = Fixture::with_foos().await;
    let object = foo("a", json!({"x": 1})).to_string();
    let json = [("content-type", "application/json")];
    let strict = format!("{FOOS}?fieldValidation=Strict");
    let response = server.send(Method::POST, &strict, &json, object.clone()).await;
    let message = text(&value(response).await["message"]);
    assert!(message.ends_with("strict decoding error: unknown field \"spec.x\""), "{message}");
    let response = server.send(Method::POST, FOOS, &json, object).await;
    assert_eq!(response.headers()["warning"], "299 - \"unknown field \\\"spec.x\\\"\"");
    assert!(value(response).await["spec"].get("x").is_none());
}

#[tokio::test]
async fn status_and_scale_are_apart() {
    let (server, _supervisor) = Fixture::with_foos().await;
    server.create_foo("a", json!({})).await;
    let path = format!("{FOOS}/a");
    let status = json!({"status": {"replicas": 1, "selector": "a=b"}, "spec": {"replicas": 9}});
    let (code, updated) = server.patch(&format!("{path}/status"), MERGE, &status).await;
    assert_eq!(code, 200, "{updated}");
    assert_eq!((&updated["spec"]["replicas"], &updated["status"]["replicas"]), (&json!(1), &json!(1)));
    let (_, scale) = server.get(&format!("{path}/scale")).await;
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(1), &json!("a=b")));
    let (code, scale) = server.patch(&format!("{path}/scale"), MERGE, &json!({"spec": {"replicas": 5}})).await;
    assert_eq!((code.as_u16(), &scale["spec"]["replicas"]), (200, &json!(5)));
    assert_eq!(server.get(&path).await.1["spec"]["replicas"], 5);
    let table = value(server.send(Method::GET, &format!("{path}/scale"), &[("accept", TABLE)], "").await).await;
    assert_eq!(table["columnDefinitions"][1]["name"], "Desired");
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("a"), json!(5), json!(1)]);
}

#[tokio::test]
async fn all_versions_show_the_same_objects() {
    let (server, _supervisor) = Fixture::with_foos().await;
    server.create_foo("a", json!({"color": "red"})).await;
    let beta = FOOS.replace("v1", "v1beta1");
    let mut other = foo("b", json!({"color": "blue"}));
    other["apiVersion"] = "example.com/v1beta1".into();
    let (code, created) = server.json(Method::POST, &beta, &other).await;
    assert_eq!((code.as_u16(), &created["apiVersion"]), (201, &json!("example.com/v1beta1")));
    assert_eq!(server.get(&format!("{beta}/a")).await.1["apiVersion"], "example.com/v1beta1");
    assert_eq!(server.get(&format!("{FOOS}/b")).await.1["apiVersion"], "example.com/v1");
    let (_, list) = server.get(&beta).await;
    let versions: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| &item["apiVersion"]).collect();
    assert_eq!(versions, [&json!("example.com/v1beta1"); 2]);
    let (_, chosen) = server.get(&format!("{FOOS}?fieldSelector=spec.color%3Dblue")).await;
    assert_eq!(chosen["items"].as_array().unwrap().len(), 1);
    assert_eq!(server.get(&format!("{FOOS}?fieldSelector=spec.replicas%3D1")).await.0, 400);
}

#[tokio::test]
async fn discovery_and_openapi_show_the_kind() {
    let (server, _supervisor) = Fixture::with_foos().await;
    let (_, group) = server.get("/apis/example.com").await;
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let (_, resources) = server.get("/apis/example.com/v1").await;
    let names: Vec<String> = resources["resources"].as_array().unwrap().iter().map(|one| text(&one["name"])).collect();
    assert_eq!(names, ["foos", "foos/status", "foos/scale"]);
    assert_eq!(resources["resources"][0]["shortNames"], json!(["fo"]));
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let all = value(server.send(Method::GET, "/apis", &[("accept", aggregated)], "").await).await;
    assert!(all["items"].as_array().unwrap().iter().any(|group| group["metadata"]["name"] == "example.com"));
    let (_, document) = server.get("/openapi/v3/apis/example.com/v1").await;
    let schema = &document["components"]["schemas"]["com.example.v1.Foo"];
    assert_eq!(schema["properties"]["spec"]["properties"]["replicas"]["maximum"].as_f64(), Some(10.0));
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "Foo");
    assert!(text(&schema["properties"]["metadata"]["description"]).starts_with("Standard object's metadata."));
    // By these, kubectl decides how it patches.
    let patch = &document["paths"]["/apis/example.com/v1/namespaces/{namespace}/foos/{name}"]["patch"];
    let patches: Vec<&String> = patch["requestBody"]["content"].as_object().unwrap().keys().collect();
    assert_eq!(
        patches,
        ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"]
    );
    let (_, whole) = server.get("/openapi/v2").await;
    assert!(whole["definitions"]["com.example.v1.Foo"].is_object());
}

#[tokio::test]
async fn tables_and_watches_are_those_of_the_kind() {
    let (server, _supervisor) = Fixture::with_foos().await;
    let created = server.create_foo("a", json!({"replicas": 4})).await;
    let table = value(server.send(Method::GET, FOOS, &[("accept", TABLE)], "").await).await;
    assert_eq!(table["rows"][0]["cells"], json!(["a", 4]));
    assert_eq!(table["columnDefinitions"][1]["name"], "Replicas");
    let query = format!("{FOOS}?watch=1&resourceVersion={}", version(&created));
    let response = server.send(Method::GET, &query, &[], "").await;
    let mut events = Events { body: BodyStream::new(response.into_body()), buffer: Vec::new() };
    server.create_foo("b", json!({})).await;
    assert_eq!(events.seen().await, ("ADDED".into(), "b".into()));
    assert_eq!(server.json(Method::DELETE, &format!("{FOOS}/b"), &Value::Null).await.0, 200);
    assert_eq!(events.seen().await, ("DELETED".into(), "b".into()));
}

#[tokio::test]
async fn a_deleted_definition_takes_its_objects_along() {
    let (server, _supervisor) = Fixture::with_foos().await;
    server.create_foo("a", json!({})).await;
    server.create_foo("b", json!({})).await;
    let path = format!("{DEFINITIONS}/foos.example.com");
    let (code, pending) = server.json(Method::DELETE, &path, &Value::Null).await;
    assert_eq!(code, 200);
    assert_eq!(pending["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    eventually(async || match server.get(&path).await {
        (StatusCode::NOT_FOUND, _) => Ok(()),
        (_, definition) => Err(definition.to_string()),
    })
    .await;
    eventually(async || if server.get(FOOS).await.0 == 404 { Ok(()) } else { Err("served".into()) }).await;
    assert_eq!(server.json(Method::POST, DEFINITIONS, &definition()).await.0, 201);
    server.established("foos").await;
    assert_eq!(server.get(FOOS).await.1["items"], json!([]));
}

#[tokio::test]
async fn objects_are_there_after_a_restart() {
    let (server, supervisor) = Fixture::with_foos().await;
    let created = server.create_foo("a", json!({})).await;
    supervisor.token().cancel();
    drop(supervisor);
    let server = server.restart().await;
    assert_eq!(server.get(&format!("{FOOS}/a")).await, (StatusCode::OK, created));
}

#[tokio::test]
async fn names_that_are_taken_are_not_accepted() {
    let (server, _supervisor) = Fixture::with_foos().await;
    let mut other = definition();
    other["metadata"]["name"] = "bars.example.com".into();
    other["spec"]["names"] = json!({"plural": "bars", "singular": "bar", "kind": "Foo", "listKind": "BarList"});
    assert_eq!(server.json(Method::POST, DEFINITIONS, &other).await.0, 201);
    let path = format!("{DEFINITIONS}/bars.example.com");
    let status = eventually(async || {
        let definition = server.get(&path).await.1;
        if definition["status"]["conditions"].is_array() {
            Ok(definition["status"].clone())
        } else {
            Err(definition.to_string())
        }
    })
    .await;
    assert_eq!(status["conditions"][0]["reason"], "KindConflict");
    assert_eq!(status["conditions"][0]["message"], "\"Foo\" is already in use");
    assert_eq!(server.get("/apis/example.com/v1/bars").await.0, 404);
}
