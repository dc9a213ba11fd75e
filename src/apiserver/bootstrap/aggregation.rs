//! Writes the rules of aggregating cluster roles into them, so that people and tools that read the
//! role see what the authorizer goes by (which computes it itself and never waits for this).

use futures_util::StreamExt;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

use crate::{
    apiserver::{
        authz::rbac,
        bootstrap::{Error, set},
    },
    base::log,
};

/// Brings the rules of all aggregating roles up to date, once.
pub async fn reconcile(client: &Client) -> Result<(), Error> {
    let api = Api::<ClusterRole>::all(client.clone());
    let failed = |action, what: &str| {
        let what = what.to_owned();
        move |source| Error::Api { action, what, source }
    };
    let roles = api.list(&ListParams::default()).await.map_err(failed("list", "ClusterRole"))?.items;
    let objects: Vec<serde_json::Value> = roles.iter().filter_map(|role| serde_json::to_value(role).ok()).collect();
    let wanted = rbac::aggregated_rules(&objects);
    for role in roles.iter().filter(|role| role.aggregation_rule.is_some()) {
        let name = role.name_any();
        let Some(rules) = wanted.get(&name) else { continue };
        if json!(role.rules.clone().unwrap_or_default()) != json!(rules) {
            let patch = Patch::Merge(set("rules", json!(rules)));
            api.patch(&name, &PatchParams::default(), &patch).await.map_err(failed("update", &name))?;
        }
    }
    Ok(())
}

/// Keeps them up to date whenever a cluster role changes, for as long as the server runs.
pub async fn keep_reconciled(client: Client) {
    let api = Api::<ClusterRole>::all(client.clone());
    let changes = watcher(api, watcher::Config::default()).default_backoff().ready_chunks(CHUNK);
    let mut changes = std::pin::pin!(changes);
    while changes.next().await.is_some() {
        if let Err(error) = reconcile(&client).await {
            let error = log::chain(&error);
            tracing::warn!(error, "aggregated cluster roles could not be brought up to date");
        }
    }
}

/// Changes that are answered with one pass.
const CHUNK: usize = 256;
