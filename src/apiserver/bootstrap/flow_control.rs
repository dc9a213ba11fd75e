//! Keeps the default objects of priority and fairness: those that are mandatory stay as they are,
//! and the suggested ones until an operator says `apf.kubernetes.io/autoupdate-spec: "false"`.
//! What is missing comes back, and what an earlier version made and this one does not, goes.

use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Map, Value, json};

use crate::{
    api::meta,
    apiserver::bootstrap::{Error, carry_out, found, objects, plan::Step, set},
    base::log,
};

const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// Levels and schemas that are in force even if their objects are not there.
pub const MANDATORY: [&str; 2] = ["exempt", "catch-all"];
/// Pause between a change and what is done about it. Nobody waits for that: what is mandatory is
/// in force without its objects.
const PAUSE: Duration = Duration::from_secs(10);
/// Changes that are answered with one pass.
const CHUNK: usize = 256;

/// Brings all of them into place, once.
pub async fn ensure(client: &Client) -> Result<(), Error> {
    for wanted in [objects::priority_levels(), objects::flow_schemas()] {
        let Some(first) = wanted.first() else { continue };
        let found = found(client, first).await?;
        carry_out(client, steps(wanted, &found).into_iter()).await?;
    }
    Ok(())
}

/// Keeps them in place for as long as the server runs.
pub async fn keep(client: Client) {
    let levels = watcher(Api::<PriorityLevelConfiguration>::all(client.clone()), watcher::Config::default());
    let schemas = watcher(Api::<FlowSchema>::all(client.clone()), watcher::Config::default());
    let levels = levels.default_backoff().map(drop);
    let changes = futures_util::stream::select(levels, schemas.default_backoff().map(drop)).ready_chunks(CHUNK);
    let mut changes = std::pin::pin!(changes);
    while changes.next().await.is_some() {
        tokio::time::sleep(PAUSE).await;
        if let Err(error) = ensure(&client).await {
            let error = log::chain(&error);
            tracing::warn!(error, "the defaults of priority and fairness could not be brought up to date");
        }
    }
}

fn steps(wanted: Vec<Value>, found: &[Value]) -> Vec<(Step, Value)> {
    let unwanted = found.iter().filter(|found| {
        flag(found) == Some(true) && !wanted.iter().any(|wanted| meta::name(wanted) == meta::name(found))
    });
    let mut steps: Vec<(Step, Value)> = unwanted.map(|found| (Step::Delete, found.clone())).collect();
    for wanted in wanted {
        let step = match found.iter().find(|found| meta::name(found) == meta::name(&wanted)) {
            None => Some(Step::Create),
            Some(found) => revise(&wanted, found).map(Step::Merge),
        };
        steps.extend(step.map(|step| (step, wanted)));
    }
    steps
}

/// The merge patch that an object needs, if it needs one.
fn revise(wanted: &Value, found: &Value) -> Option<Value> {
    // Whoever changed the specification without a word about it meant to have it so.
    let keeps =
        MANDATORY.contains(&meta::name(wanted)) || flag(found).unwrap_or_else(|| found["metadata"]["generation"] == 1);
    let mut changes = json!({});
    if keeps {
        let mut spec = wanted["spec"].clone();
        // How much of the server is set aside for what is exempt is up to the operator.
        if meta::name(wanted) == MANDATORY[0] && found["spec"]["exempt"].is_object() {
            spec["exempt"] = found["spec"]["exempt"].clone();
        }
        let spec = difference(&found["spec"], &spec);
        if spec != json!({}) {
            changes["spec"] = spec;
        }
    }
    if flag(found) != Some(keeps) {
        changes["metadata"] = set("annotations", set(AUTOUPDATE, keeps.to_string().into()));
    }
    (changes != json!({})).then_some(changes)
}

/// The merge patch that makes `wanted` of `found`.
fn difference(found: &Value, wanted: &Value) -> Value {
    let (Some(before), Some(after)) = (found.as_object(), wanted.as_object()) else { return wanted.clone() };
    let mut patch: Map<String, Value> =
        before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null)).collect();
    for (key, value) in after.iter().filter(|(key, value)| before.get(*key) != Some(*value)) {
        let changed = before.get(key).map_or_else(|| value.clone(), |before| difference(before, value));
        patch.insert(key.clone(), changed);
    }
    Value::Object(patch)
}

/// What the annotation says, if it says anything that can be understood.
fn flag(object: &Value) -> Option<bool> {
    match meta::annotation(object, AUTOUPDATE)? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kinds;

    fn schema(name: &str, precedence: i32, flag: Option<&str>, generation: i32) -> Value {
        let mut schema = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
            "metadata": {"name": name, "generation": generation}, "spec": {"matchingPrecedence": precedence}});
        if let Some(flag) = flag {
            schema["metadata"]["annotations"][AUTOUPDATE] = flag.into();
        }
        schema
    }

    #[test]
    fn suggestions_are_kept_until_somebody_wants_otherwise() {
        let wanted = schema("probes", 2, Some("true"), 0);
        let revised = |found: &Value| revise(&wanted, found);
        assert_eq!(revised(&schema("probes", 2, Some("true"), 1)), None);
        let spec = json!({"spec": {"matchingPrecedence": 2}});
        assert_eq!(revised(&schema("probes", 5, Some("true"), 2)), Some(spec));
        assert_eq!(revised(&schema("probes", 5, Some("false"), 2)), None);
        let kept = json!({"metadata": {"annotations": {AUTOUPDATE: "false"}}});
        assert_eq!(revised(&schema("probes", 5, None, 2)), Some(kept));
        assert!(revised(&schema("probes", 5, Some("maybe"), 1)).is_some_and(|changes| changes["spec"].is_object()));
    }

    #[test]
    fn what_is_mandatory_stays_as_it_is() {
        let wanted = schema("catch-all", 10_000, Some("true"), 0);
        let mut found = schema("catch-all", 9, Some("false"), 4);
        found["spec"]["more"] = json!({"a": 1});
        let changes = revise(&wanted, &found).unwrap();
        assert_eq!(changes["spec"], json!({"matchingPrecedence": 10_000, "more": null}));
        assert_eq!(changes["metadata"]["annotations"][AUTOUPDATE], "true");
    }

    #[test]
    fn what_is_missing_comes_and_what_was_ours_goes() {
        let found = [schema("old", 3, Some("true"), 1), schema("own", 3, None, 1), schema("kept", 3, Some("false"), 1)];
        let steps = steps(vec![schema("probes", 2, Some("true"), 0)], &found);
        let shown: Vec<(&Step, &str)> = steps.iter().map(|(step, object)| (step, meta::name(object))).collect();
        assert_eq!(shown, [(&Step::Delete, "old"), (&Step::Create, "probes")]);
    }

    #[test]
    fn the_defaults_are_complete() {
        // Otherwise they would differ from what is stored of them for ever.
        let kinds = kinds::all();
        for object in objects::priority_levels().into_iter().chain(objects::flow_schemas()) {
            let kind = kinds.iter().find(|kind| object["kind"] == *kind.kind).unwrap();
            let stored = kind.strategy.prepare_for_create(object.clone()).unwrap();
            assert_eq!(stored["spec"], object["spec"], "{}", object["metadata"]["name"]);
            assert_eq!(revise(&object, &stored), None);
        }
    }
}
