//! `/metrics`: what the API server counts, under upstream's names where there are such, in the
//! Prometheus text format.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, text},
    metrics::{MetricType, TypedMetric, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use serde_json::Value;

use crate::{
    api::{kinds::api_service, meta},
    apiserver::{aggregator::API_SERVICES, attributes::Attributes, cache::Caches, fairness, reader::Reader},
};

/// Seconds; from the cost of a cached read to that of a slow disk.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Verbs that are counted by name: clients can make up any number of methods.
const VERBS: [&str; 11] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "post", "put", "head"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: String,
    group: String,
    resource: String,
    subresource: String,
    code: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LatencyLabels {
    verb: String,
    resource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabels {
    resource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiServiceLabels {
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnavailableLabels {
    name: String,
    reason: String,
}

/// A counter that is registered under its whole name, because a gauge has the name without `_total`.
#[derive(Debug, Default)]
struct Total(Counter);

impl TypedMetric for Total {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Total {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        encoder.encode_gauge(&i64::try_from(self.0.get()).unwrap_or(i64::MAX))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// Counters of the API server.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<LatencyLabels, Histogram>,
    commits: Histogram,
    watchers: Gauge,
    objects: Family<ObjectLabels, Gauge>,
    refused: Counter,
    unavailable: Family<ApiServiceLabels, Gauge>,
    became_unavailable: Family<UnavailableLabels, Total>,
    /// Of priority and fairness.
    pub fairness: fairness::metrics::Metrics,
}

/// A watch that is counted as long as this lives.
pub struct Watching(Gauge);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let mut registry = Registry::default();
        let fairness = fairness::metrics::Metrics::register(&mut registry);
        let mut metrics = Self {
            fairness,
            registry,
            requests: Family::default(),
            latency: Family::new_with_constructor(histogram),
            commits: histogram(),
            watchers: Gauge::default(),
            objects: Family::default(),
            refused: Counter::default(),
            unavailable: Family::default(),
            became_unavailable: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("apiserver_request", "Requests by verb, resource and answer", metrics.requests.clone());
        let help = "Time to answer requests that are no watches or streams";
        registry.register("apiserver_request_duration_seconds", help, metrics.latency.clone());
        let help = "Time a writer waits until its change is durable";
        registry.register("nauplius_store_commit_duration_seconds", help, metrics.commits.clone());
        registry.register("apiserver_longrunning_watches", "Watches that are open", metrics.watchers.clone());
        registry.register("apiserver_storage_objects", "Objects by resource", metrics.objects.clone());
        let help = "Requests refused because too many were being served";
        registry.register("apiserver_dropped_requests", help, metrics.refused.clone());
        let help = "Whether an APIService is unavailable";
        registry.register("aggregator_unavailable_apiservice", help, metrics.unavailable.clone());
        let help = "How often an APIService became unavailable, and why";
        registry.register("aggregator_unavailable_apiservice_total", help, metrics.became_unavailable.clone());
        metrics
    }
}

impl Metrics {
    /// Counts an answered request; `took` is `None` for those that last as long as clients like.
    pub fn answered(&self, attributes: &Attributes, known: bool, code: u16, took: Option<Duration>) {
        // Paths and names that do not exist must not become series of their own.
        let label = |text: &str| if known { text.to_owned() } else { String::new() };
        let verb = VERBS.iter().find(|verb| **verb == attributes.verb).unwrap_or(&"other").to_ascii_uppercase();
        let labels = RequestLabels {
            verb: verb.clone(),
            group: label(&attributes.group),
            resource: label(&attributes.resource),
            subresource: label(&attributes.subresource),
            code: code.into(),
        };
        self.requests.get_or_create(&labels).inc();
        if let Some(took) = took {
            let labels = LatencyLabels { verb, resource: label(&attributes.resource) };
            self.latency.get_or_create(&labels).observe(took.as_secs_f64());
        }
    }

    /// Counts a commit.
    pub fn committed(&self, took: Duration) {
        self.commits.observe(took.as_secs_f64());
    }

    /// Counts a request that was refused because too many were being served.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// Counts a watch as long as the result lives.
    pub fn watching(&self) -> Watching {
        self.watchers.inc();
        Watching(self.watchers.clone())
    }

    /// Counts that an APIService which was available is so no more.
    pub fn became_unavailable(&self, name: &str, reason: &str) {
        let labels = UnavailableLabels { name: name.to_owned(), reason: reason.to_owned() };
        self.became_unavailable.get_or_create(&labels).0.inc();
    }

    fn count_unavailable(&self, caches: &Caches) {
        self.unavailable.clear();
        for object in caches.list(API_SERVICES, None) {
            let Ok(object) = serde_json::from_slice::<Value>(&object) else { continue };
            let labels = ApiServiceLabels { name: meta::name(&object).to_owned() };
            self.unavailable.get_or_create(&labels).set(i64::from(!api_service::is_available(&object)));
        }
    }

    /// The text.
    pub fn render(&self, caches: &Arc<Caches>) -> String {
        for cache in caches.all() {
            let kind = cache.kind();
            let resource =
                if kind.group.is_empty() { kind.plural.to_string() } else { format!("{}.{}", kind.plural, kind.group) };
            let count = i64::try_from(cache.len()).unwrap_or(i64::MAX);
            self.objects.get_or_create(&ObjectLabels { resource }).set(count);
        }
        self.count_unavailable(caches);
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
