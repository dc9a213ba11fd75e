//! What every cluster has from its first moment: namespaces, default roles and bindings, and the
//! configuration map by which aggregated API servers verify whom they serve. At every start missing
//! parts are added again; what an operator added stays, and so does what is annotated with
//! `rbac.authorization.kubernetes.io/autoupdate: "false"`.

use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{api::kinds, apiserver::bootstrap::plan::Step};

pub mod aggregation;
pub mod flow_control;
mod objects;
mod plan;

/// Writes under way at once: enough for the store to commit them in few groups.
const CONCURRENCY: usize = 32;

/// Why the cluster's first objects could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused or did not answer.
    #[error("{action} {what}")]
    Api {
        /// `list`, `create`, `update`, `replace` or `delete`.
        action: &'static str,
        /// Kind and name.
        what: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
}

/// Authorities that aggregated API servers must know, PEM.
#[derive(Debug, Clone, Copy)]
pub struct Authorities<'a> {
    /// Signs clients.
    pub client: &'a str,
    /// Signs the aggregating proxy.
    pub request_header: &'a str,
}

/// Brings all bootstrap objects into place. `client` must act as a member of `system:masters`:
/// the roles hold more than anybody else may grant.
pub async fn ensure(client: &Client, authorities: Authorities<'_>) -> Result<(), Error> {
    for wanted in [
        objects::namespaces(),
        objects::cluster_roles(),
        objects::cluster_role_bindings(),
        objects::roles(),
        objects::role_bindings(),
        objects::api_services(&kinds::all()),
        vec![objects::extension_authentication(authorities)],
    ] {
        ensure_kind(client, wanted).await?;
    }
    flow_control::ensure(client).await?;
    aggregation::reconcile(client).await
}

/// The objects that configure priority and fairness as every server makes them.
pub fn flow_control_defaults() -> (Vec<PriorityLevelConfiguration>, Vec<FlowSchema>) {
    let levels = objects::priority_levels().into_iter().map(serde_json::from_value).collect::<Result<_, _>>();
    let schemas = objects::flow_schemas().into_iter().map(serde_json::from_value).collect::<Result<_, _>>();
    let valid = "embedded objects are of their types, which a test checks";
    (levels.expect(valid), schemas.expect(valid))
}

/// Reconciles objects that are all of one kind.
async fn ensure_kind(client: &Client, wanted: Vec<Value>) -> Result<(), Error> {
    let Some(first) = wanted.first() else { return Ok(()) };
    let found = found(client, first).await?;
    let steps = wanted.into_iter().filter_map(|wanted| {
        let existing = found.iter().find(|found| {
            found["metadata"]["name"] == wanted["metadata"]["name"]
                && found["metadata"]["namespace"] == wanted["metadata"]["namespace"]
        });
        Some((plan::plan(&wanted, existing)?, wanted))
    });
    carry_out(client, steps).await
}

/// All objects of the kind that `like` is of.
async fn found(client: &Client, like: &Value) -> Result<Vec<Value>, Error> {
    let what = like["kind"].as_str().unwrap_or_default().to_owned();
    let found = Api::<DynamicObject>::all_with(client.clone(), &resource(like))
        .list(&ListParams::default())
        .await
        .map_err(|source| Error::Api { action: "list", what, source })?;
    Ok(found.items.iter().filter_map(|object| serde_json::to_value(object).ok()).collect())
}

async fn carry_out(client: &Client, steps: impl Iterator<Item = (Step, Value)>) -> Result<(), Error> {
    stream::iter(steps)
        .map(|(step, wanted)| apply(client, step, wanted))
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await
}

async fn apply(client: &Client, step: Step, wanted: Value) -> Result<(), Error> {
    let api = api(client, &wanted);
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let what = format!("{} {name}", wanted["kind"].as_str().unwrap_or_default());
    let (action, result) = match step {
        Step::Create => ("create", create(&api, &wanted).await),
        Step::Merge(changes) => {
            ("update", api.patch(&name, &PatchParams::default(), &Patch::Merge(changes)).await.map(drop))
        }
        Step::Delete => ("delete", delete(&api, &name).await),
        Step::Replace => match api.delete(&name, &kube::api::DeleteParams::default()).await {
            Ok(_) => ("replace", create(&api, &wanted).await),
            Err(error) => ("replace", Err(error)),
        },
    };
    result.map_err(|source| Error::Api { action, what, source })
}

async fn create(api: &Api<DynamicObject>, wanted: &Value) -> Result<(), kube::Error> {
    let object: DynamicObject = serde_json::from_value(wanted.clone()).map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &object).await {
        // Another server of the cluster may be starting at the same moment.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        result => result.map(drop),
    }
}

async fn delete(api: &Api<DynamicObject>, name: &str) -> Result<(), kube::Error> {
    match api.delete(name, &kube::api::DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => result.map(drop),
    }
}

fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource(object)),
        None => Api::all_with(client.clone(), &resource(object)),
    }
}

fn resource(object: &Value) -> ApiResource {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = object["kind"].as_str().unwrap_or_default();
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(group, version, kind),
        &format!("{}s", kind.to_ascii_lowercase()),
    )
}

/// The merge patch that sets one top-level field.
fn set(field: &str, value: Value) -> Value {
    json!({ field: value })
}
