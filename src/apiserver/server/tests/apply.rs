//! Server-side apply and managed fields as clients see them.

use super::*;

const APPLY: &str = "application/apply-patch+yaml";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

impl Fixture {
    async fn apply(&self, path: &str, query: &str, config: &Value) -> (StatusCode, Value) {
        self.patch(&format!("{path}?{query}"), APPLY, config).await
    }

    async fn apply_map(&self, manager: &str, data: Value) -> (StatusCode, Value) {
        self.apply(&format!("{MAPS}/a"), &format!("fieldManager={manager}"), &map("a", data)).await
    }

    async fn update_as(&self, agent: &str, path: &str, object: &Value) -> Value {
        let headers = [("content-type", "application/json"), ("user-agent", agent)];
        let response = self.send(Method::PUT, path, &headers, object.to_string()).await;
        assert_eq!(response.status(), 200);
        value(response).await
    }
}

fn deployment(replicas: Option<i32>) -> Value {
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template}});
    if let Some(replicas) = replicas {
        object["spec"]["replicas"] = replicas.into();
    }
    object
}

fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown = |entry: &Value| {
        let subresource = text(&entry["subresource"]);
        let slash = if subresource.is_empty() { "" } else { "/" };
        format!("{} {}{slash}{subresource}", text(&entry["manager"]), text(&entry["operation"]))
    };
    entries.iter().map(shown).collect()
}

fn fields<'a>(object: &'a Value, manager: &str) -> &'a Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    &entries.iter().find(|entry| entry["manager"] == manager).unwrap()["fieldsV1"]
}

#[tokio::test]
async fn an_apply_creates_changes_and_removes() {
    let server = Fixture::new();
    let (code, created) = server.apply_map("me", json!({"x": "1", "y": "1"})).await;
    assert_eq!((code.as_u16(), &created["data"]), (201, &json!({"x": "1", "y": "1"})), "{created}");
    assert_eq!(managers(&created), ["me Apply"]);
    assert_eq!(*fields(&created, "me"), json!({"f:data": {"f:x": {}, "f:y": {}}}));
    let (code, same) = server.apply_map("me", json!({"x": "1", "y": "1"})).await;
    assert_eq!((code.as_u16(), &same), (200, &created));
    let (_, changed) = server.apply_map("me", json!({"x": "2"})).await;
    assert_eq!(changed["data"], json!({"x": "2"}));
    assert_eq!(server.get(&format!("{MAPS}/a")).await.1, changed);
}

#[tokio::test]
async fn conflicts_name_manager_and_field_until_forced() {
    let server = Fixture::new();
    server.apply_map("me", json!({"x": "1"})).await;
    let (code, status) = server.apply_map("you", json!({"x": "2"})).await;
    assert_eq!((code.as_u16(), &status["reason"]), (409, &json!("Conflict")));
    assert_eq!(status["message"], "Apply failed with 1 conflict: conflict with \"me\": .data.x");
    let cause = json!({"reason": "FieldManagerConflict", "message": "conflict with \"me\"", "field": ".data.x"});
    assert_eq!(status["details"]["causes"], json!([cause]));
    let path = format!("{MAPS}/a");
    let (code, forced) = server.apply(&path, "fieldManager=you&force=true", &map("a", json!({"x": "2"}))).await;
    assert_eq!((code.as_u16(), managers(&forced)), (200, vec!["you Apply".to_owned()]));
}

#[tokio::test]
async fn bodies_may_be_yaml_and_dry_runs_store_nothing() {
    let server = Fixture::new();
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: 'yes'\n";
    let path = format!("{MAPS}/a?fieldManager=me");
    let send = |query: &str, body: String| {
        let path = format!("{path}{query}");
        let server = &server;
        async move {
            let response = server.send(Method::PATCH, &path, &[("content-type", APPLY)], body).await;
            (response.status().as_u16(), value(response).await)
        }
    };
    assert_eq!(send("&dryRun=All", yaml.into()).await.0, 201);
    assert_eq!(server.get(&format!("{MAPS}/a")).await.0, 404);
    let (code, created) = send("", yaml.into()).await;
    assert_eq!((code, &created["data"]["x"]), (201, &json!("yes")));
    assert_eq!(send("", "a: [".into()).await.0, 400);
    let twice = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"1","x":"2"}}"#;
    let (code, status) = send("&fieldValidation=Strict", twice.into()).await;
    assert_eq!(code, 400);
    let message = status["message"].as_str().unwrap();
    assert!(message.ends_with("yaml: unmarshal errors:\n  line 1: key \"x\" already set in map"), "{message}");
}

#[tokio::test]
async fn parameters_of_patches_are_checked() {
    let server = Fixture::new();
    let path = format!("{MAPS}/a");
    let (code, status) = server.apply(&path, "", &map("a", json!({}))).await;
    assert_eq!(code, 422);
    assert_eq!(
        status["message"],
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
    assert_eq!(server.patch(&format!("{path}?force=true"), MERGE, &json!({})).await.0, 422);
    let (code, status) = server.apply(&path, "fieldManager=me", &json!({"metadata": {"name": "a"}})).await;
    assert_eq!((code.as_u16(), &status["message"]), (400, &json!("invalid object type: /, Kind=")));
    let mut config = map("a", json!({}));
    config["spec"] = json!({});
    let (code, status) = server.apply(&path, "fieldManager=me", &config).await;
    assert_eq!(code, 500);
    assert!(status.get("reason").is_none(), "{status}");
    assert_eq!(
        status["message"],
        "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .spec: field not declared in schema"
    );
    assert_eq!(server.apply(&path, "fieldManager=me", &map("b", json!({}))).await.0, 400);
}

#[tokio::test]
async fn every_write_is_tracked_by_its_user_agent() {
    let server = Fixture::new();
    let created = server.create("a", json!({"x": "1", "y": "1"})).await;
    assert_eq!(managers(&created), ["unknown Update"]);
    assert_eq!(*fields(&created, "unknown"), json!({"f:data": {".": {}, "f:x": {}, "f:y": {}}}));
    let path = format!("{MAPS}/a");
    let updated = server.update_as("curl/8.0", &path, &map("a", json!({"x": "2", "y": "1"}))).await;
    assert_eq!(*fields(&updated, "curl"), json!({"f:data": {"f:x": {}}}));
    assert_eq!(*fields(&updated, "unknown"), json!({"f:data": {".": {}, "f:y": {}}}));
    let (_, patched) = server.patch(&format!("{path}?fieldManager=p"), MERGE, &json!({"data": {"z": "1"}})).await;
    assert_eq!(*fields(&patched, "p"), json!({"f:data": {"f:z": {}}}));
    assert_eq!(server.update_as("other", &path, &patched).await, patched);
}

#[tokio::test]
async fn defaults_are_their_writers_and_status_has_a_manager_of_its_own() {
    let server = Fixture::new();
    let (code, created) = server.json(Method::POST, DEPLOYMENTS, &deployment(None)).await;
    assert_eq!(code, 201, "{created}");
    let owned = fields(&created, "unknown");
    assert_eq!(owned["f:spec"]["f:replicas"], json!({}));
    assert_eq!(owned["f:spec"]["f:selector"], json!({}));
    let container = &owned["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"];
    assert_eq!((&container["."], &container["f:imagePullPolicy"]), (&json!({}), &json!({})));
    assert!(owned["f:metadata"].get("f:uid").is_none() && owned.get("f:status").is_none());
    let path = format!("{DEPLOYMENTS}/a/status");
    let patch = json!({"status": {"replicas": 1, "observedGeneration": 1}, "spec": {"replicas": 9}});
    let (code, patched) = server.patch(&path, MERGE, &patch).await;
    assert_eq!(code, 200, "{patched}");
    assert_eq!(managers(&patched), ["unknown Update", "unknown Update/status"]);
    assert_eq!(patched["metadata"]["managedFields"][0]["fieldsV1"], *owned);
}

#[tokio::test]
async fn scaling_takes_the_replicas_from_whoever_applied_them() {
    let server = Fixture::new();
    let path = format!("{DEPLOYMENTS}/a");
    let (code, created) = server.apply(&path, "fieldManager=me", &deployment(Some(1))).await;
    assert_eq!(code, 201, "{created}");
    let scale = json!({"spec": {"replicas": 3}});
    assert_eq!(server.patch(&format!("{path}/scale?fieldManager=hpa"), MERGE, &scale).await.0, 200);
    let (_, scaled) = server.get(&path).await;
    assert_eq!(managers(&scaled), ["me Apply", "hpa Update/scale"]);
    let (code, status) = server.apply(&path, "fieldManager=me", &deployment(Some(1))).await;
    assert_eq!(code, 409);
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
    let (code, applied) = server.apply(&path, "fieldManager=me", &deployment(None)).await;
    assert_eq!((code.as_u16(), &applied["spec"]["replicas"]), (200, &json!(3)));
}

#[tokio::test]
async fn a_scale_can_be_applied_too() {
    let server = Fixture::new();
    let path = format!("{DEPLOYMENTS}/a");
    server.apply(&path, "fieldManager=me", &deployment(Some(1))).await;
    let scale = |replicas: i32| {
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"},
               "spec": {"replicas": replicas}})
    };
    let path = format!("{path}/scale");
    let (code, status) = server.apply(&path, "fieldManager=you", &scale(2)).await;
    assert_eq!((code.as_u16(), &status["reason"]), (409, &json!("Conflict")), "{status}");
    let (code, scaled) = server.apply(&path, "fieldManager=you&force=true", &scale(2)).await;
    assert_eq!((code.as_u16(), &scaled["spec"]["replicas"]), (200, &json!(2)), "{scaled}");
    let (_, object) = server.get(&format!("{DEPLOYMENTS}/a")).await;
    assert_eq!(managers(&object), ["me Apply", "you Apply/scale"]);
    assert_eq!(server.apply(&path, "fieldManager=you", &map("a", json!({}))).await.0, 400);
}

#[tokio::test]
async fn managers_of_another_version_conflict_and_lose_in_their_version() {
    let server = Fixture::new();
    let scaler = |version: &str, spec: Value| {
        let mut object = json!({"apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler",
                                "metadata": {"name": "a"}, "spec": spec});
        object["spec"]["maxReplicas"] = 3.into();
        object["spec"]["scaleTargetRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
        object
    };
    let path = |version: &str| format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/a");
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    let metrics = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    let (code, created) =
        server.apply(&path("v2"), "fieldManager=me", &scaler("v2", json!({"metrics": metrics}))).await;
    assert_eq!(code, 201, "{created}");
    // The aim of the first version is one of the metrics of the second.
    let config = scaler("v1", json!({"targetCPUUtilizationPercentage": 70}));
    let (code, status) = server.apply(&path("v1"), "fieldManager=you", &config).await;
    assert_eq!(
        (code.as_u16(), &status["message"]),
        (409, &json!("Apply failed with 1 conflict: conflict with \"me\": .spec.metrics"))
    );
    let (code, forced) = server.apply(&path("v1"), "fieldManager=you&force=true", &config).await;
    assert_eq!((code.as_u16(), managers(&forced)), (200, vec!["me Apply".to_owned(), "you Apply".to_owned()]));
    assert!(fields(&forced, "me")["f:spec"].get("f:metrics").is_none(), "{forced}");
    assert_eq!(fields(&forced, "you")["f:spec"]["f:targetCPUUtilizationPercentage"], json!({}));
}

#[tokio::test]
async fn kubectl_moves_from_client_side_apply() {
    let server = Fixture::new();
    let config = map("a", json!({"x": "1", "y": "1"}));
    let mut object = config.clone();
    object["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": config.to_string()});
    let path = format!("{MAPS}?fieldManager=kubectl-client-side-apply");
    let (_, created) = server.json(Method::POST, &path, &object).await;
    assert_eq!(managers(&created), ["kubectl-client-side-apply Update"]);
    // kubectl renames the manager by a JSON patch that holds on to the version it read.
    let mut entries = created["metadata"]["managedFields"].clone();
    entries[0]["manager"] = "kubectl".into();
    entries[0]["operation"] = "Apply".into();
    let patch = json!([{"op": "replace", "path": "/metadata/managedFields", "value": entries},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": created["metadata"]["resourceVersion"]}]);
    let path = format!("{MAPS}/a");
    let (code, renamed) = server.patch(&path, "application/json-patch+json", &patch).await;
    assert_eq!((code.as_u16(), managers(&renamed)), (200, vec!["kubectl Apply".to_owned()]));
    let (code, applied) = server.apply(&path, "fieldManager=kubectl", &map("a", json!({"x": "2"}))).await;
    assert_eq!((code.as_u16(), &applied["data"]), (200, &json!({"x": "2"})), "{applied}");
}

#[tokio::test]
async fn managed_fields_are_given_up_and_begun_again() {
    let server = Fixture::new();
    server.create("a", json!({"x": "1"})).await;
    let path = format!("{MAPS}/a");
    let (_, reset) = server.patch(&path, MERGE, &json!({"metadata": {"managedFields": [{}]}})).await;
    assert!(reset["metadata"].get("managedFields").is_none(), "{reset}");
    let (_, applied) = server.apply_map("me", json!({"y": "1"})).await;
    assert_eq!(managers(&applied), ["me Apply", "before-first-apply Update"]);
}
