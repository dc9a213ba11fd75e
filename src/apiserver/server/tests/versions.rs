//! Built-in resources that are served in several shapes.

use super::*;

const V1: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
const V2: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";

fn newer(name: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
        "spec": {
            "maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "metrics": [
                {"type": "Resource", "resource": {"name": "memory",
                    "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                {"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 70}}},
            ],
        },
    })
}

#[tokio::test]
async fn both_versions_of_an_autoscaler_show_the_same_object() {
    let server = Fixture::new();
    let (code, created) = server.json(Method::POST, V2, &newer("a")).await;
    assert_eq!(code, 201, "{created}");
    let (code, older) = server.get(&format!("{V1}/a")).await;
    assert_eq!((code.as_u16(), &older["apiVersion"]), (200, &json!("autoscaling/v1")));
    assert_eq!(older["spec"]["targetCPUUtilizationPercentage"], 70);
    assert_eq!(older["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    let annotation = text(&older["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"]);
    let memory = json!({"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "1Gi"}});
    assert_eq!(serde_json::from_str::<Value>(&annotation).unwrap(), json!([memory]));
    let mut changed = older.clone();
    changed["spec"]["targetCPUUtilizationPercentage"] = 50.into();
    let (code, updated) = server.json(Method::PUT, &format!("{V1}/a"), &changed).await;
    assert_eq!(code, 200, "{updated}");
    let (_, newer) = server.get(&format!("{V2}/a")).await;
    assert_eq!(newer["apiVersion"], "autoscaling/v2");
    assert_eq!(newer["spec"]["metrics"][0]["resource"]["name"], "memory");
    assert_eq!(newer["spec"]["metrics"][1]["resource"]["target"]["averageUtilization"], 50);
    assert!(newer["metadata"].get("annotations").is_none());
}

#[tokio::test]
async fn lists_and_watches_have_the_shape_of_their_version() {
    let server = Fixture::new();
    let older = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "b"},
        "spec": {"maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    let (code, created) = server.json(Method::POST, V1, &older).await;
    assert_eq!(code, 201, "{created}");
    assert_eq!(created["spec"]["targetCPUUtilizationPercentage"], 80);
    let query = format!("{V1}?watch=1&resourceVersion={}", version(&created));
    let response = server.send(Method::GET, &query, &[], "").await;
    let mut events = Events { body: BodyStream::new(response.into_body()), buffer: Vec::new() };
    assert_eq!(server.json(Method::POST, V2, &newer("a")).await.0, 201);
    let event = events.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["apiVersion"]), (&json!("ADDED"), &json!("autoscaling/v1")));
    let (_, list) = server.get(V1).await;
    assert_eq!(list["kind"], "HorizontalPodAutoscalerList");
    let targets: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|one| &one["spec"]["targetCPUUtilizationPercentage"]).collect();
    assert_eq!(targets, [&json!(70), &json!(80)]);
    let (_, list) = server.get(V2).await;
    assert_eq!(list["items"][1]["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    assert_eq!(server.json(Method::DELETE, &format!("{V1}/b"), &Value::Null).await.0, 200);
    assert_eq!(server.get(&format!("{V2}/b")).await.0, 404);
    let server = server.restart().await;
    assert_eq!(server.get(&format!("{V1}/a")).await.1["spec"]["targetCPUUtilizationPercentage"], 70);
}

#[tokio::test]
async fn the_parts_of_the_control_plane_are_listed_with_their_health() {
    let server = Fixture::new();
    let health = server.server.health();
    health.readiness("etcd", Arc::new(|| Ok(())));
    health.component("scheduler", Arc::new(|| Err("it is gone".into())));
    health.component("controller-manager", Arc::new(|| Ok(())));
    let response = server.send(Method::GET, "/api/v1/componentstatuses", &[], "").await;
    assert_eq!(response.headers()["warning"], "299 - \"v1 ComponentStatus is deprecated in v1.19+\"");
    let list = value(response).await;
    let shown: Vec<String> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!(
                "{} {} {}",
                text(&one["metadata"]["name"]),
                text(&one["conditions"][0]["status"]),
                text(&one["conditions"][0]["message"])
            )
        })
        .collect();
    assert_eq!(shown, ["controller-manager True ok", "etcd-0 True ok", "scheduler False it is gone"]);
    assert_eq!(server.get("/api/v1/componentstatuses/etcd-0").await.1["conditions"][0]["type"], "Healthy");
    let (code, missing) = server.get("/api/v1/componentstatuses/x").await;
    assert_eq!((code.as_u16(), &missing["message"]), (404, &json!("componentstatus \"x\" not found")));
    assert_eq!(server.get("/readyz").await.0, 200);
}
