//! The namespace controller: empties a namespace that is being deleted, of every kind that the API
//! serves, and then lets it go. What cannot be looked at keeps the namespace, but nothing else in it.

mod conditions;

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    client::{
        ObjectKey,
        discovery::{Resource, Served},
        informer::Informer,
        queue::{Outcome, WorkQueue},
    },
    controllers::{Context, ignore_not_found, service_account},
};

use conditions::Leftovers;

const NAME: &str = "namespace-controller";
/// Namespaces emptied at once.
const WIDTH: usize = 4;
/// Objects that take their time (finalizers, pods with grace) are looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let namespaces = service_account::watch_namespaces(&context.informers, &queue);
    namespaces.synced().await;
    let controller = Controller { client: context.client(NAME), namespaces };
    queue.run(NAME, WIDTH, |name| controller.reconcile(name)).await;
}

struct Controller {
    client: Client,
    namespaces: Informer<Namespace>,
}

impl Controller {
    async fn reconcile(&self, name: String) -> kube::Result<Outcome> {
        let Some(namespace) = self.namespaces.get(&ObjectKey::new("", &*name)) else { return Ok(Outcome::Done) };
        let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_deref()).unwrap_or_default();
        if namespace.metadata.deletion_timestamp.is_none() || !finalizers.iter().any(|name| name == "kubernetes") {
            return Ok(Outcome::Done);
        }
        let leftovers = self.empty(&name).await?;
        if leftovers.is_empty() {
            self.finalize(&namespace).await?;
            return Ok(Outcome::Done);
        }
        self.report(&namespace, &leftovers).await?;
        Ok(Outcome::After(LOOK_AGAIN))
    }

    /// Deletes everything, and says what is still there afterwards.
    async fn empty(&self, namespace: &str) -> kube::Result<Leftovers> {
        let served = Served::discover(&self.client).await?;
        let mut leftovers = Leftovers { unknown: served.unknown, ..Leftovers::default() };
        let deletable = |one: &&Resource| {
            let deletes = one.supports(&["list", "deletecollection"]) || one.supports(&["list", "delete"]);
            one.is_namespaced && deletes
        };
        // Pods go first: they may need all else until they have ended (KEP-5080).
        let is_pods = |one: &&Resource| one.resource.group.is_empty() && one.resource.plural == "pods";
        let (pods, rest): (Vec<_>, Vec<_>) = served.resources.iter().filter(deletable).partition(is_pods);
        for one in pods.into_iter().chain(rest) {
            if let Err(error) = self.empty_of(namespace, one, &mut leftovers).await {
                leftovers.failures.push(format!("{}: {error}", qualified(&one.resource)));
            }
            if is_pods(&one) && !leftovers.content.is_empty() {
                break;
            }
        }
        Ok(leftovers)
    }

    async fn empty_of(&self, namespace: &str, one: &Resource, left: &mut Leftovers) -> kube::Result<()> {
        let resource = &one.resource;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, resource);
        let list = ListParams::default();
        // What is no longer served has nothing left.
        let Some(found) = ignore_not_found(api.list_metadata(&list).await)? else { return Ok(()) };
        if found.items.is_empty() {
            return Ok(());
        }
        if one.supports(&["deletecollection"]) {
            ignore_not_found(api.delete_collection(&DeleteParams::background(), &list).await)?;
        } else {
            for object in &found.items {
                let name = object.metadata.name.as_deref().unwrap_or_default();
                ignore_not_found(api.delete(name, &DeleteParams::background()).await)?;
            }
        }
        let remaining = api.list_metadata(&list).await?.items;
        for finalizer in remaining.iter().flat_map(|object| object.metadata.finalizers.iter().flatten()) {
            *left.finalizers.entry(finalizer.clone()).or_insert(0) += 1;
        }
        if !remaining.is_empty() {
            left.content.insert(qualified(resource), remaining.len());
        }
        Ok(())
    }

    /// Takes the `kubernetes` finalizer away: the namespace is then deleted.
    async fn finalize(&self, namespace: &Namespace) -> kube::Result<()> {
        let mut namespace = namespace.clone();
        if let Some(finalizers) = namespace.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|name| name != "kubernetes");
        }
        let api: Api<Namespace> = Api::all(self.client.clone());
        let name = namespace.metadata.name.clone().unwrap_or_default();
        ignore_not_found(api.replace_subresource("finalize", &name, &PostParams::default(), &namespace).await)
            .map(|_: Option<Namespace>| ())
    }

    /// Says in the namespace's conditions what keeps it.
    async fn report(&self, namespace: &Namespace, leftovers: &Leftovers) -> kube::Result<()> {
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap_or_default(),
        );
        let told = namespace.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let Some(conditions) = leftovers.conditions(told, &now) else { return Ok(()) };
        let api: Api<Namespace> = Api::all(self.client.clone());
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let patch = Patch::Strategic(json!({"status": {"conditions": conditions}}));
        ignore_not_found(api.patch_status(name, &PatchParams::default(), &patch).await).map(|_| ())
    }
}

fn qualified(resource: &ApiResource) -> String {
    if resource.group.is_empty() {
        format!("{}.", resource.plural)
    } else {
        format!("{}.{}", resource.plural, resource.group)
    }
}
