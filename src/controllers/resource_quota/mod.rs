//! The resource quota controller: keeps in every quota's status what is used of it. Admission does
//! not need that, it counts by itself; people and their tools read it.
//!
//! Pods, services and claims are looked at whole, with the informers that others share. Of other
//! kinds only the existence counts: they are watched by their metadata, from the first quota on that
//! names them.

mod counted;
mod plan;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ResourceQuota, Service};
use kube::{Api, Client, api::PostParams};
use serde::Serialize;
use serde_json::Value;

use crate::{
    api::{
        kind::GroupResource,
        pod_resources::Amounts,
        quota::{scope::Facts, usage},
    },
    client::{
        ObjectKey,
        informer::{Informer, Object},
        pod::Pod,
        queue::{Outcome, WorkQueue},
    },
    controllers::{
        Context, is_conflict, is_not_found,
        resource_quota::{counted::Counted, plan::Existing},
    },
};

const NAME: &str = "resourcequota-controller";
/// Changes within this time are summed once.
const PAUSE: Duration = Duration::from_millis(50);

const PODS: GroupResource<'static> = GroupResource { group: "", resource: "pods" };
const SERVICES: GroupResource<'static> = GroupResource { group: "", resource: "services" };
const CLAIMS: GroupResource<'static> = GroupResource { group: "", resource: "persistentvolumeclaims" };

pub(super) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let informers = &context.informers;
    let controller = Controller {
        client: context.client(NAME),
        quotas: informers.of(),
        pods: informers.of(),
        services: informers.of(),
        claims: informers.of(),
        counted: Counted::new(context.client(NAME), informers.supervisor().clone()),
        queue: queue.clone(),
    };
    controller.pods.synced().await;
    controller.services.synced().await;
    controller.claims.synced().await;
    controller.quotas.synced().await;
    let nudged = queue.clone();
    controller.quotas.on_change(move |delta| {
        if delta.new.is_some() {
            nudged.add(ObjectKey::of(&**delta.latest()));
        }
    });
    nudge_quotas(&controller.pods, PODS, &controller.quotas, &queue);
    nudge_quotas(&controller.services, SERVICES, &controller.quotas, &queue);
    nudge_quotas(&controller.claims, CLAIMS, &controller.quotas, &queue);
    queue.run(NAME, 4, |key| controller.reconcile(key)).await;
}

/// Lets the quotas of a namespace be summed again when an object in it comes to count for something
/// else than before.
fn nudge_quotas<K: Object + Serialize>(
    objects: &Informer<K>,
    resource: GroupResource<'static>,
    quotas: &Informer<ResourceQuota>,
    queue: &WorkQueue<ObjectKey>,
) {
    let (quotas, queue) = (quotas.clone(), queue.clone());
    objects.on_change(move |delta| {
        let namespace = delta.latest().meta().namespace.clone().unwrap_or_default();
        let quotas = quotas.list_in(&namespace);
        if quotas.is_empty() || counts(resource, delta.old) == counts(resource, delta.new) {
            return;
        }
        quotas.iter().for_each(|quota| queue.add_after(ObjectKey::of(&**quota), PAUSE));
    });
}

/// What an object counts for, and where.
fn counts<K: Serialize>(resource: GroupResource<'_>, object: Option<&Arc<K>>) -> Option<(Amounts, Facts)> {
    let object = untyped(object?);
    Some((usage::of(resource, &object, Timestamp::now()), Facts::of(resource, &object)))
}

fn untyped<K: Serialize>(object: &Arc<K>) -> Value {
    serde_json::to_value(&**object).unwrap_or_default()
}

struct Controller {
    client: Client,
    quotas: Informer<ResourceQuota>,
    pods: Informer<Pod>,
    services: Informer<Service>,
    claims: Informer<PersistentVolumeClaim>,
    counted: Counted,
    queue: WorkQueue<ObjectKey>,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> kube::Result<Outcome> {
        let Some(quota) = self.quotas.get(&key) else { return Ok(Outcome::Done) };
        let names: Vec<String> =
            quota.spec.iter().flat_map(|spec| spec.hard.iter().flatten()).map(|(name, _)| name.clone()).collect();
        self.watch_counted(&names).await;
        let existing = self.existing(&key.namespace, &names);
        let Some(status) = plan::plan(&quota, &existing) else { return Ok(Outcome::Done) };
        let changed = ResourceQuota { status: Some(status), ..(*quota).clone() };
        let api: Api<ResourceQuota> = Api::namespaced(self.client.clone(), &key.namespace);
        match api.replace_status(&key.name, &PostParams::default(), &changed).await {
            // The watch brings what is there now.
            Err(error) if is_conflict(&error) || is_not_found(&error) => Ok(Outcome::Done),
            result => result.map(|_| Outcome::Done),
        }
    }

    /// Watches the kinds that are only counted, if the quota names any that is not watched yet.
    async fn watch_counted(&self, names: &[String]) {
        let (quotas, queue) = (self.quotas.clone(), self.queue.clone());
        let nudge = move |namespace: &str| {
            quotas.list_in(namespace).iter().for_each(|quota| queue.add_after(ObjectKey::of(&**quota), PAUSE));
        };
        self.counted.watch(names, nudge).await;
    }

    /// What there is in the namespace of the kinds that the quota's `names` are about.
    fn existing(&self, namespace: &str, names: &[String]) -> Vec<Existing> {
        let mut existing = self.counted.existing(namespace, names);
        existing.extend(measured(&self.pods, PODS, namespace, names));
        existing.extend(measured(&self.services, SERVICES, namespace, names));
        existing.extend(measured(&self.claims, CLAIMS, namespace, names));
        existing
    }
}

fn measured<K: Object + Serialize>(
    objects: &Informer<K>,
    resource: GroupResource<'_>,
    namespace: &str,
    names: &[String],
) -> Vec<Existing> {
    if !names.iter().any(|name| usage::tracks(resource, name)) {
        return Vec::new();
    }
    objects.list_in(namespace).iter().map(|object| Existing::new(resource, &untyped(object))).collect()
}
