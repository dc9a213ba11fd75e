//! Following APIServices: one task takes in their changes, and one per server behind this one keeps its
//! condition and what is known of it up to date. A server is asked again every half minute, because it
//! may stop answering without anything changing in the cluster, and sooner if its service changes.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use super::{
    API_SERVICES, Aggregator, Known,
    availability::{self, Circumstances, Verdict},
    discovery::{self, Heard},
    target::Target,
};
use crate::{
    api::{Status, kind::GroupResource, kinds::api_service, meta},
    apiserver::{
        nodes::endpoints,
        reader::Reader,
        registry::{Warnings, own, update::Endpoint},
    },
    base::{backoff::Backoff, task::Supervisor},
    store::Revision,
};

/// How long after a check that passed the next is due.
const RECHECK: Duration = Duration::from_secs(30);
/// How long after one that did not, at first.
const RETRY: Duration = Duration::from_secs(1);
/// How long a server may take to be asked again once its service has changed: changes come in bursts.
const SETTLE: Duration = Duration::from_millis(100);

impl Aggregator {
    /// Takes in changes of APIServices for as long as the server runs.
    pub(super) async fn run(self: Arc<Self>, supervisor: Supervisor) {
        let Some(cache) = self.registry.caches().of(API_SERVICES) else { return };
        let mut changes = cache.changes();
        loop {
            changes.mark_unchanged();
            self.read();
            self.follow_new(&supervisor);
            self.declare_local().await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Starts a task for each server that has none.
    fn follow_new(self: &Arc<Self>, supervisor: &Supervisor) {
        for (name, known) in self.known.lock().iter_mut().filter(|(_, known)| known.ended.is_none()) {
            let ended = supervisor.token().child_token();
            known.ended = Some(ended.clone());
            let (aggregator, name) = (self.clone(), name.clone());
            supervisor.spawn("aggregated api", async move {
                tokio::select! {
                    () = ended.cancelled() => {}
                    () = aggregator.follow(&name) => {}
                }
            });
        }
    }

    /// Group versions that this server serves itself are available, whoever had them before.
    async fn declare_local(&self) {
        for object in self.registry.caches().list(API_SERVICES, None) {
            let Ok(object) = serde_json::from_slice::<Value>(&object) else { continue };
            if object.pointer("/spec/service").is_none_or(Value::is_null) {
                self.report(meta::name(&object), &Verdict::local()).await;
            }
        }
    }

    async fn follow(&self, name: &str) {
        let mut backoff = Backoff::new(RETRY, RECHECK);
        while let Some(target) = self.named(name) {
            let mut changes = self.changes();
            let circumstances = self.circumstances(&target);
            let verdict = availability::check(&self.way, &target, &circumstances).await;
            self.report(name, &verdict).await;
            let before = self.heard(name);
            let heard = if verdict.is_available {
                discovery::ask(&self.way, &target, before).await
            } else {
                discovery::unheard(before)
            };
            let pause = if verdict.is_available && heard.is_current {
                backoff.reset();
                RECHECK
            } else {
                backoff.next_delay()
            };
            self.hear(name, heard);
            let until = Instant::now() + pause;
            loop {
                let changed = tokio::time::timeout_at(until, next(&mut changes)).await;
                if changed.is_err() || self.has_changed(&target, &circumstances) {
                    break;
                }
            }
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// Whether the server is another one than `target` was, or reached in another way.
    fn has_changed(&self, target: &Target, circumstances: &Circumstances) -> bool {
        let Some(now) = self.named(&target.name) else { return true };
        !now.leads_where(target) || self.circumstances(&now) != *circumstances
    }

    fn circumstances(&self, target: &Target) -> Circumstances {
        Circumstances::of(&**self.registry.caches(), &target.service)
    }

    /// Wakes when an APIService, a service or an endpoint changes.
    fn changes(&self) -> Vec<watch::Receiver<Revision>> {
        let resources = [API_SERVICES, availability::SERVICES, endpoints::SLICES];
        let cache = |resource: GroupResource<'_>| self.registry.caches().of(resource);
        resources.into_iter().filter_map(cache).map(|cache| cache.changes()).collect()
    }

    fn heard(&self, name: &str) -> Heard {
        self.known.lock().get(name).map(|known| known.heard.clone()).unwrap_or_default()
    }

    fn hear(&self, name: &str, heard: Heard) {
        if let Some(known) = self.known.lock().get_mut(name) {
            *known = Known { heard, ended: known.ended.take() };
        }
        self.publish();
    }

    /// Writes a condition, if it says anything new.
    async fn report(&self, name: &str, verdict: &Verdict) {
        let Some(cache) = self.registry.caches().of(API_SERVICES) else { return };
        let current = cache.get(&cache.key("", name)).map(|object| object.json()).unwrap_or_default();
        let current: Value = serde_json::from_slice(&current).unwrap_or_default();
        if verdict.status(&current, Timestamp::now()).is_none() {
            return;
        }
        let kind = cache.kind();
        let (attributes, warnings) = (own::attributes(&kind, "", name), Warnings::default());
        let write = |object: &Value| -> Result<Value, Status> {
            let mut object = object.clone();
            if let Some(status) = verdict.status(&object, Timestamp::now()) {
                object["status"] = status;
            }
            Ok(object)
        };
        let written = self.registry.modify(&own::call(&attributes, &kind, &warnings), Endpoint::Status, write).await;
        if written.is_ok() && !verdict.is_available && api_service::is_available(&current) {
            self.registry.metrics().became_unavailable(name, verdict.reason);
        }
        match written {
            Ok(_) => tracing::debug!(name, reason = verdict.reason, "availability of an API service changed"),
            Err(status) if status.code() == 404 => {}
            Err(status) => tracing::warn!(name, error = status.message, "a condition could not be written"),
        }
    }
}

/// Waits for the first of several changes.
async fn next(changes: &mut [watch::Receiver<Revision>]) {
    let each = changes.iter_mut().map(|change| Box::pin(change.changed()));
    // A cache that is gone changes no more: the timer goes on.
    if futures_util::future::select_all(each).await.0.is_err() {
        std::future::pending::<()>().await;
    }
}
