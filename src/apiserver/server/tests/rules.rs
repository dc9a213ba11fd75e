//! Validation rules of custom resources, and what a changed definition makes of stored objects.

use super::{
    custom::{DEFINITIONS, FOOS, definition, eventually, foo},
    *,
};

const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/foos.example.com";
const APPLY: &str = "application/apply-patch+yaml";

/// The definition with another schema of `spec` in all versions.
fn with_spec(spec: &Value) -> Value {
    let mut definition = definition();
    for version in definition["spec"]["versions"].as_array_mut().unwrap() {
        version["schema"]["openAPIV3Schema"]["properties"]["spec"] = spec.clone();
        version["selectableFields"] = json!([]);
    }
    definition
}

impl Fixture {
    async fn with_schema(spec: &Value) -> (Self, Supervisor) {
        let (server, supervisor) = (Self::new(), Supervisor::new());
        server.server.start(&supervisor);
        let (code, created) = server.json(Method::POST, DEFINITIONS, &with_spec(spec)).await;
        assert_eq!(code, 201, "{created}");
        server.established("foos").await;
        (server, supervisor)
    }

    /// Changes the schema, and waits until it counts.
    async fn redefine(&self, spec: &Value) {
        let mut wanted = with_spec(spec);
        let sentinel = json!({"type": "string", "enum": ["sentinel"]});
        for version in wanted["spec"]["versions"].as_array_mut().unwrap() {
            version["schema"]["openAPIV3Schema"]["properties"]["sentinel"] = sentinel.clone();
        }
        let patch = json!({"spec": {"versions": wanted["spec"]["versions"]}});
        let (code, changed) = self.patch(PATH, MERGE, &patch).await;
        assert_eq!(code, 200, "{changed}");
        eventually(async || {
            let mut probe = foo("probe", json!({}));
            probe["sentinel"] = "x".into();
            let (_, refused) = self.json(Method::POST, FOOS, &probe).await;
            let message = text(&refused["message"]);
            if message.contains("sentinel: Unsupported value") { Ok(()) } else { Err(refused.to_string()) }
        })
        .await;
    }
}

#[tokio::test]
async fn objects_are_held_against_the_rules_of_their_schema() {
    let spec = json!({"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"},
                      "num": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > oldSelf"}]}},
                      "x-kubernetes-validations": [{"rule": "self.x + self.y > 0"}]});
    let (server, _supervisor) = Fixture::with_schema(&spec).await;
    server.create_foo("a", json!({"x": 1, "y": 0, "num": 10})).await;
    let (code, refused) = server.json(Method::POST, FOOS, &foo("b", json!({"x": 0, "y": 0}))).await;
    assert_eq!(
        (code.as_u16(), &refused["message"]),
        (422, &json!("Foo.example.com \"b\" is invalid: spec: Invalid value: failed rule: self.x + self.y > 0"))
    );
    let path = format!("{FOOS}/a");
    let (code, refused) = server.patch(&path, MERGE, &json!({"spec": {"num": 9}})).await;
    assert_eq!(code, 422);
    assert!(text(&refused["message"]).ends_with("spec.num: Invalid value: 9: failed rule: self > oldSelf"));
    assert_eq!(server.patch(&path, MERGE, &json!({"spec": {"num": 11}})).await.0, 200);
    // What is of the wrong type is not evaluated.
    let (_, refused) = server.json(Method::POST, FOOS, &foo("c", json!({"x": "0"}))).await;
    assert!(text(&refused["message"]).contains("<nil>: Invalid value: null: some validation rules were not checked"));
}

#[tokio::test]
async fn a_definition_with_a_rule_that_is_none_is_refused() {
    let server = Fixture::new();
    let spec = json!({"type": "object", "properties": {"x": {"type": "integer"}},
                      "x-kubernetes-validations": [{"rule": "self.z == 100"}]});
    let (code, refused) = server.json(Method::POST, DEFINITIONS, &with_spec(&spec)).await;
    assert_eq!(code, 422);
    let message = text(&refused["message"]);
    let path = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule";
    assert!(message.contains(path) && message.contains("undefined field 'z'"), "{message}");
}

#[tokio::test]
async fn what_was_stored_before_a_rule_may_stay() {
    let text_field = json!({"type": "string"});
    let schema = |field: &Value| {
        let item = json!({"type": "object", "required": ["key"],
                          "properties": {"key": {"type": "string"}, "field": field, "other": {"type": "string"}}});
        json!({"type": "object", "properties": {
            "field": field, "other": {"type": "string"},
            "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"],
                     "items": item},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": field},
            "map": {"type": "object", "additionalProperties": item}}})
    };
    let (server, _supervisor) = Fixture::with_schema(&schema(&text_field)).await;
    let spec = json!({"field": "notfoo", "list": [{"key": "a", "field": "notfoo"}], "set": ["notfoo"],
                      "map": {"k": {"key": "k", "field": "notfoo"}}});
    let path = format!("{FOOS}/a?fieldManager=m");
    assert_eq!(server.patch(&path, APPLY, &foo("a", spec.clone())).await.0, 201);
    server
        .redefine(&schema(&json!({"type": "string", "x-kubernetes-validations": [{"rule": "self == \"foo\""}]})))
        .await;
    let mut kept = spec.clone();
    kept["other"] = "x".into();
    kept["list"] = json!([{"key": "a", "field": "notfoo", "other": "x"}, {"key": "b", "field": "foo"}]);
    kept["map"]["k"]["other"] = "x".into();
    let headers = [("content-type", APPLY)];
    let changed = server.send(Method::PATCH, &path, &headers, foo("a", kept).to_string()).await;
    assert_eq!(changed.status(), 200);
    // What stays as it was is warned of.
    let warnings: Vec<&str> =
        changed.headers().get_all("warning").iter().map(|warning| warning.to_str().unwrap()).collect();
    let warned = "299 - \"spec.field: Invalid value: \\\"notfoo\\\": failed rule: self == \\\"foo\\\"\"";
    assert!(warnings.contains(&warned), "{warnings:?}");
    let mut worse = spec;
    worse["set"] = json!(["notfoo", "foo"]);
    worse["map"]["k"]["field"] = "bar".into();
    let (code, refused) = server.patch(&path, APPLY, &foo("a", worse)).await;
    assert_eq!(code, 422);
    let message = text(&refused["message"]);
    assert!(
        message.contains("spec.set[0]: Invalid value: \"notfoo\"") && message.contains("spec.map[k].field"),
        "{message}"
    );
    assert!(!message.contains("spec.field"), "{message}");
}

#[tokio::test]
async fn stored_objects_are_shown_as_their_definition_has_them_now() {
    let before = json!({"type": "object", "properties": {"old": {"type": "string"}, "kept": {"type": "string"}}});
    let (server, supervisor) = Fixture::with_schema(&before).await;
    server.create_foo("a", json!({"old": "x", "kept": "y"})).await;
    let after = json!({"type": "object", "properties": {
        "kept": {"type": "string"}, "added": {"type": "string", "default": "z"}}});
    server.redefine(&after).await;
    let path = format!("{FOOS}/a");
    let (_, shown) = server.get(&path).await;
    assert_eq!(shown["spec"], json!({"kept": "y", "added": "z"}));
    assert_eq!(server.get(FOOS).await.1["items"][0]["spec"], shown["spec"]);
    supervisor.token().cancel();
    drop(supervisor);
    let server = server.restart().await;
    assert_eq!(server.get(&path).await.1, shown);
    assert_eq!(server.json(Method::DELETE, &path, &json!({})).await.0, 200, "what was refreshed can go");
}
