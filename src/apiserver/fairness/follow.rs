//! Follows the objects that configure priority and fairness, and tells each flow schema whether
//! the level that it refers to is there.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::FlowSchema;
use serde_json::{Value, json};

use super::{Fairness, LEVELS, SCHEMAS, configuration::level_of};
use crate::{
    api::{Status, kind::Descriptor, meta, time},
    apiserver::{
        cache::ResourceCache,
        registry::{Call, Registry, Warnings, own, update::Endpoint},
    },
};

const DANGLING: &str = "Dangling";
/// Who writes, in managed fields.
const MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";
/// Pause after statuses were written, so that a quarrel with another writer does not take all time.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows them for as long as the server runs.
pub async fn follow(fairness: Arc<Fairness>, registry: Registry) {
    let (Some(levels), Some(schemas)) = (registry.caches().of(LEVELS), registry.caches().of(SCHEMAS)) else { return };
    let (mut level_changes, mut schema_changes) = (levels.changes(), schemas.changes());
    loop {
        level_changes.mark_unchanged();
        schema_changes.mark_unchanged();
        fairness.configure();
        if report(&fairness, &registry, &schemas).await {
            tokio::time::sleep(PAUSE).await;
        }
        let changed = tokio::select! {
            changed = level_changes.changed() => changed,
            changed = schema_changes.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Writes the statuses that are not as they should be; whether there were any.
async fn report(fairness: &Fairness, registry: &Registry, schemas: &ResourceCache) -> bool {
    let kind = schemas.kind();
    let mut wrote = false;
    for schema in fairness.objects::<FlowSchema>(SCHEMAS) {
        let name = schema.metadata.name.as_deref().unwrap_or_default();
        let level = level_of(&schema);
        let wanted = condition(level, fairness.current.load().has(level));
        if is_told(&schema, &wanted) {
            continue;
        }
        wrote = true;
        match write(registry, &kind, name, &wanted).await {
            Err(status) if status.code() != 404 => {
                tracing::debug!(name, error = status.message, "the status of a flow schema could not be written");
            }
            _ => {}
        }
    }
    wrote
}

fn condition(level: &str, found: bool) -> Value {
    let (status, reason, end) =
        if found { ("False", "Found", "it exists") } else { ("True", "NotFound", "there is no such object") };
    let joined = if found { "and" } else { "but" };
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named \"{level}\" {joined} {end}");
    json!({"type": DANGLING, "status": status, "reason": reason, "message": message})
}

fn is_told(schema: &FlowSchema, wanted: &Value) -> bool {
    let mut conditions = schema.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|found| {
        found.type_.as_deref() == Some(DANGLING)
            && found.status.as_deref() == wanted["status"].as_str()
            && found.reason.as_deref() == wanted["reason"].as_str()
            && found.message.as_deref() == wanted["message"].as_str()
    })
}

async fn write(registry: &Registry, kind: &Descriptor, name: &str, wanted: &Value) -> Result<(), Status> {
    let attributes = own::attributes(kind, "", name);
    let warnings = Warnings::default();
    let call = Call { manager: MANAGER, ..own::call(&attributes, kind, &warnings) };
    let change = |schema: &Value| {
        let mut schema = schema.clone();
        let mut wanted = wanted.clone();
        wanted["lastTransitionTime"] = time::format(Timestamp::now()).into();
        let mut conditions = schema["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|condition| condition["type"] != DANGLING);
        conditions.push(wanted);
        schema["status"]["conditions"] = conditions.into();
        meta::set(&mut schema, "resourceVersion", Value::Null);
        Ok(schema)
    };
    registry.modify(&call, Endpoint::Status, change).await.map(drop)
}
