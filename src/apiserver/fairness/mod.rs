//! API priority and fairness (KEP-1040): which requests are served when there are more than the
//! server can serve at once. A flow schema says which level a request is of; levels have seats of
//! their own, so that no level starves another; and within a level fair queuing sees to it that no
//! flow starves another. What is uncontended is let in at once.

use std::{
    hash::RandomState,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{HeaderName, Response};
use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, time::Instant};

use crate::{
    api::{Status, kind::GroupResource},
    apiserver::{attributes::Attributes, cache::Caches, query::Query, reader::Reader, respond},
    http::body::Body,
};

mod allocation;
mod configuration;
mod demand;
pub mod dump;
pub mod follow;
mod level;
pub mod metrics;
mod queues;
mod retry;
mod schema;
mod shuffle;
mod visitors;
pub mod watches;
mod work;

use configuration::Configuration;
use demand::PERIOD;
use metrics::{Counters, Metrics};
use queues::{Execution, Work};
use schema::Schema;
use visitors::{Presence, Visitors};
use watches::Watches;

/// Where the objects are that configure it.
const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const LEVELS: GroupResource<'static> = GroupResource { group: GROUP, resource: "prioritylevelconfigurations" };
const SCHEMAS: GroupResource<'static> = GroupResource { group: GROUP, resource: "flowschemas" };
const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// Lets requests in.
pub struct Fairness {
    caches: Arc<Caches>,
    current: ArcSwap<Configuration>,
    /// Held while the configuration is replaced.
    changing: Mutex<()>,
    keys: RandomState,
    /// Watches that are open.
    pub watches: Arc<Watches>,
    visitors: Arc<Visitors>,
    metrics: Metrics,
    /// Whether anything was asked of the server in this period.
    busy: AtomicBool,
    begun: Notify,
    lingering: Arc<Notify>,
}

/// A request that has been let in; gives its seats back when it is dropped.
pub struct Ticket {
    schema: Arc<Schema>,
    execution: Execution,
    _presence: Presence,
}

/// The seats of a watch, in the extensions of its request: held until all that was there when it began has been
/// handed over. Whoever has something to hand over takes them out; who has not leaves them, or takes them at once.
#[derive(Clone)]
pub struct Initialization(Arc<Mutex<Option<Ticket>>>);

/// What clients are told that their requests were taken for.
pub struct Classification(Arc<Schema>);

/// A request that has not.
pub struct Refused {
    schema: Arc<Schema>,
    retry_after: u32,
}

impl Fairness {
    /// Goes by the objects that are in `caches` already.
    pub fn new(caches: Arc<Caches>, metrics: Metrics) -> Self {
        let fairness = Self {
            caches,
            current: ArcSwap::default(),
            changing: Mutex::default(),
            keys: RandomState::new(),
            watches: Arc::default(),
            visitors: Arc::default(),
            metrics,
            busy: AtomicBool::new(false),
            begun: Notify::new(),
            lingering: Arc::default(),
        };
        fairness.configure();
        fairness
    }

    /// Lets a request in, once it is its turn; `patience` is how long it waits for that.
    pub async fn admit(&self, request: &Arc<Attributes>, query: &Query, patience: Duration) -> Result<Ticket, Refused> {
        let schema = self.classify(request);
        let work = if schema.exempt {
            Work::ONE
        } else {
            self.note();
            work::estimate(request, query, schema.most_seats, &self.caches, &self.watches)
        };
        let (hash, began) = (schema.hash(request, &self.keys), Instant::now());
        let counters = self.counters(&schema);
        counters.waiting.inc();
        let waiting = Decrement(&counters.waiting);
        let until = began + patience.min(level::LONGEST_WAIT);
        let presence = self.visitors.enter(schema.clone(), request.clone(), work);
        let waits = |place| _ = presence.visitor.place.set(place);
        let admitted = schema.level.admit(work, hash, until, waits).await;
        drop(waiting);
        if !schema.exempt {
            counters.waited.observe(began.elapsed().as_secs_f64());
        }
        match admitted {
            Ok(execution) => {
                counters.dispatched.inc();
                counters.executing.inc();
                counters.seats.inc_by(execution.seats().into());
                _ = presence.visitor.served.set((Timestamp::now(), execution));
                Ok(Ticket { schema, execution, _presence: presence })
            }
            Err(why) => {
                self.metrics.refused(&schema.level.name, &schema.name, why);
                let retry_after = schema.level.retry_after();
                Err(Refused { schema, retry_after })
            }
        }
    }

    /// Takes in the objects as they are now.
    pub fn configure(&self) {
        let _changing = self.changing.lock();
        let levels: Vec<PriorityLevelConfiguration> = self.objects(LEVELS);
        let schemas: Vec<FlowSchema> = self.objects(SCHEMAS);
        let before = self.current.load();
        let new = Configuration::new(&before, levels, schemas, &self.lingering, &self.metrics);
        self.current.store(Arc::new(new));
    }

    /// Balances the seats of levels every ten seconds in which there was anything to serve. (What
    /// was lent and is not asked for costs nothing while the server is idle.)
    pub async fn balance(self: Arc<Self>) {
        loop {
            self.begun.notified().await;
            tokio::time::sleep(PERIOD).await;
            self.busy.store(false, Ordering::Relaxed);
            let configuration = self.current.load_full();
            configuration.balance(&self.metrics);
            if configuration.levels.values().any(|level| level.leaving && level.level.is_idle()) {
                self.configure();
            }
        }
    }

    /// Gives seats back that were held beyond the end of their request, when somebody waits for them.
    pub async fn release(self: Arc<Self>) {
        loop {
            self.lingering.notified().await;
            while let Some(next) = self.tick() {
                tokio::time::sleep_until(next).await;
            }
        }
    }

    fn tick(&self) -> Option<Instant> {
        self.current.load().levels.values().filter_map(|level| level.level.tick()).min()
    }

    fn classify(&self, request: &Attributes) -> Arc<Schema> {
        let configuration = self.current.load();
        let found = configuration.classify(|schema| schema.matches(request));
        found.expect("every configuration has the mandatory schemas").clone()
    }

    fn counters<'a>(&self, schema: &'a Schema) -> &'a Counters {
        schema.counters.get_or_init(|| self.metrics.counters(&schema.level.name, &schema.name))
    }

    fn note(&self) {
        if !self.busy.load(Ordering::Relaxed) && !self.busy.swap(true, Ordering::Relaxed) {
            self.begun.notify_one();
        }
    }

    fn objects<T: DeserializeOwned>(&self, resource: GroupResource<'_>) -> Vec<T> {
        let all = self.caches.list(resource, None);
        all.iter().filter_map(|json| serde_json::from_slice(json).ok()).collect()
    }
}

/// A gauge that is one less when this is dropped: a client may go while its request waits.
struct Decrement<'a>(&'a prometheus_client::metrics::gauge::Gauge);

impl Drop for Decrement<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Ticket {
    /// What the request was taken for.
    pub fn classification(&self) -> Classification {
        Classification(self.schema.clone())
    }
}

impl Initialization {
    /// Begins to hold the seats.
    pub fn new(ticket: Ticket) -> Self {
        Self(Arc::new(Mutex::new(Some(ticket))))
    }

    /// The seats, which are given back when the result is dropped; nothing if they are somebody else's by now.
    pub fn take(&self) -> Option<Ticket> {
        self.0.lock().take()
    }
}

impl Classification {
    /// Tells the client.
    pub fn mark(&self, response: &mut Response<Body>) {
        mark(&self.0, response);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.schema.level.finish(&self.execution);
        if let Some(counters) = self.schema.counters.get() {
            counters.executing.dec();
            counters.seats.dec_by(self.execution.seats().into());
        }
    }
}

impl Refused {
    /// 429.
    pub fn status(&self) -> Status {
        respond::too_many(self.retry_after)
    }

    /// Tells the client what its request was taken for.
    pub fn mark(&self, response: &mut Response<Body>) {
        mark(&self.schema, response);
    }
}

/// By UID alone: names might tell more than a client needs to know.
fn mark(schema: &Schema, response: &mut Response<Body>) {
    let [own, level] = &schema.uids;
    response.headers_mut().insert(SCHEMA_UID, own.clone());
    response.headers_mut().insert(LEVEL_UID, level.clone());
}

#[cfg(test)]
mod tests;
