//! Services together with their EndpointSlices, as the proxy, DNS and ingress need them: events only
//! name a service, and what belongs to it is found without reading all slices.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::client::{
    ObjectKey,
    informer::{Informer, Informers},
};

/// The label that ties an EndpointSlice to its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Names the services that changed, or whose slices changed, to one consumer.
pub struct ServiceChanges {
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    changed: BTreeSet<ObjectKey>,
    /// Slices by service.
    slices: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
}

impl ServiceChanges {
    /// Begins to collect; every service there is counts as changed.
    pub fn subscribe(informers: &Informers) -> Self {
        Self::of(informers.of(), informers.of())
    }

    /// Like [`ServiceChanges::subscribe`] with informers at hand.
    pub fn of(services: Informer<Service>, slices: Informer<EndpointSlice>) -> Self {
        let shared = Arc::<Shared>::default();
        let sink = shared.clone();
        services.on_change(move |delta| sink.mark(ObjectKey::of(&**delta.latest())));
        let sink = shared.clone();
        slices.on_change(move |delta| {
            let key = ObjectKey::of(&**delta.latest());
            if let Some(service) = delta.old.and_then(|slice| owner(slice)) {
                sink.unlink(service, &key);
            }
            if let Some(service) = delta.new.and_then(|slice| owner(slice)) {
                sink.link(service, key);
            }
        });
        Self { services, slices, shared }
    }

    /// Waits until both first lists are complete.
    pub async fn synced(&self) {
        self.services.synced().await;
        self.slices.synced().await;
    }

    /// Waits until something changed. Cancel-safe.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// The services that changed since the last call.
    pub fn take(&self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.shared.state.lock().changed)
    }

    /// Counts services as changed, for another try or because of what only the caller knows.
    pub fn put_back(&self, services: impl IntoIterator<Item = ObjectKey>) {
        self.shared.state.lock().changed.extend(services);
        self.shared.changed.notify_one();
    }

    /// A service as it is now, and its slices.
    pub fn get(&self, key: &ObjectKey) -> Option<(Arc<Service>, Vec<Arc<EndpointSlice>>)> {
        let service = self.services.get(key)?;
        let slices = self.shared.state.lock().slices.get(key).cloned().unwrap_or_default();
        Some((service, slices.iter().filter_map(|slice| self.slices.get(slice)).collect()))
    }
}

impl Shared {
    fn mark(&self, service: ObjectKey) {
        self.state.lock().changed.insert(service);
        self.changed.notify_one();
    }

    fn link(&self, service: ObjectKey, slice: ObjectKey) {
        self.state.lock().slices.entry(service.clone()).or_default().insert(slice);
        self.mark(service);
    }

    fn unlink(&self, service: ObjectKey, slice: &ObjectKey) {
        let mut state = self.state.lock();
        if let Some(slices) = state.slices.get_mut(&service) {
            slices.remove(slice);
            if slices.is_empty() {
                state.slices.remove(&service);
            }
        }
        drop(state);
        self.mark(service);
    }
}

fn owner(slice: &EndpointSlice) -> Option<ObjectKey> {
    let service = slice.labels().get(SERVICE_LABEL)?;
    Some(ObjectKey::new(slice.namespace().unwrap_or_default(), service.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_slice_that_moves_changes_both_services() {
        let (services, slices) = (Informer::detached(), Informer::detached());
        let changes = ServiceChanges::of(services.clone(), slices.clone());
        let service =
            |name: &str| serde_json::from_value(json!({"metadata": {"namespace": "d", "name": name}})).unwrap();
        let slice = |service: &str| {
            let labels = json!({SERVICE_LABEL: service});
            let value = json!({"addressType": "IPv4", "endpoints": [],
                "metadata": {"namespace": "d", "name": "s", "labels": labels}});
            serde_json::from_value(value).unwrap()
        };
        services.set(service("a"));
        services.set(service("b"));
        slices.set(slice("a"));
        changes.changed().await;
        assert_eq!(changes.take().len(), 2);
        assert_eq!(changes.get(&ObjectKey::new("d", "a")).unwrap().1.len(), 1);
        slices.set(slice("b"));
        assert_eq!(changes.take().len(), 2);
        assert!(changes.get(&ObjectKey::new("d", "a")).unwrap().1.is_empty());
        assert_eq!(changes.get(&ObjectKey::new("d", "b")).unwrap().1.len(), 1);
        slices.remove(&ObjectKey::new("d", "s"));
        assert_eq!(changes.take(), [ObjectKey::new("d", "b")].into());
    }
}
