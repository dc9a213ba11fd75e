//! What priority and fairness counts, under upstream's names.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{level::Share, queues::Refusal};

/// Seconds that requests wait in their queues.
const BUCKETS: [f64; 8] = [0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    priority_level: String,
    flow_schema: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    priority_level: String,
    flow_schema: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabels {
    priority_level: String,
}

/// All of it.
#[derive(Clone)]
pub struct Metrics {
    dispatched: Family<Labels, Counter>,
    rejected: Family<RefusalLabels, Counter>,
    waiting: Family<Labels, Gauge>,
    executing: Family<Labels, Gauge>,
    seats: Family<Labels, Gauge>,
    waited: Family<Labels, Histogram>,
    nominal: Family<LevelLabels, Gauge>,
    least: Family<LevelLabels, Gauge>,
    most: Family<LevelLabels, Gauge>,
    current: Family<LevelLabels, Gauge>,
}

/// What is counted of one schema's requests.
pub struct Counters {
    /// Requests that were let in.
    pub dispatched: Counter,
    /// Requests that wait.
    pub waiting: Gauge,
    /// Requests that are served.
    pub executing: Gauge,
    /// Seats that these hold.
    pub seats: Gauge,
    /// How long requests waited.
    pub waited: Histogram,
}

impl Metrics {
    /// Has them shown with the others.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            dispatched: Family::default(),
            rejected: Family::default(),
            waiting: Family::default(),
            executing: Family::default(),
            seats: Family::default(),
            waited: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            nominal: Family::default(),
            least: Family::default(),
            most: Family::default(),
            current: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("apiserver_flowcontrol");
        registry.register("dispatched_requests", "Requests that were let in", metrics.dispatched.clone());
        registry.register("rejected_requests", "Requests that were refused", metrics.rejected.clone());
        registry.register("current_inqueue_requests", "Requests that wait", metrics.waiting.clone());
        registry.register("current_executing_requests", "Requests that are served", metrics.executing.clone());
        registry.register("current_executing_seats", "Seats that these hold", metrics.seats.clone());
        let help = "Time that requests waited in their queues";
        registry.register("request_wait_duration_seconds", help, metrics.waited.clone());
        registry.register("nominal_limit_seats", "Seats by configuration", metrics.nominal.clone());
        registry.register("lower_limit_seats", "Seats that are never lent", metrics.least.clone());
        registry.register("upper_limit_seats", "Seats with all that may be borrowed", metrics.most.clone());
        registry.register("current_limit_seats", "Seats at the moment", metrics.current.clone());
        metrics
    }

    /// The counters of a schema.
    pub fn counters(&self, level: &str, schema: &str) -> Counters {
        let labels = Labels { priority_level: level.to_owned(), flow_schema: schema.to_owned() };
        Counters {
            dispatched: self.dispatched.get_or_create(&labels).clone(),
            waiting: self.waiting.get_or_create(&labels).clone(),
            executing: self.executing.get_or_create(&labels).clone(),
            seats: self.seats.get_or_create(&labels).clone(),
            waited: self.waited.get_or_create(&labels).clone(),
        }
    }

    /// Counts a request that was refused.
    pub fn refused(&self, level: &str, schema: &str, why: Refusal) {
        let reason = match why {
            Refusal::ConcurrencyLimit => "concurrency-limit",
            Refusal::QueueFull => "queue-full",
            Refusal::TimedOut => "time-out",
            Refusal::Cancelled => "cancelled",
        };
        let labels = RefusalLabels { priority_level: level.to_owned(), flow_schema: schema.to_owned(), reason };
        self.rejected.get_or_create(&labels).inc();
    }

    /// Shows a level's seats.
    pub fn share(&self, level: &str, share: &Share) {
        let labels = LevelLabels { priority_level: level.to_owned() };
        let shown = [
            (&self.nominal, share.nominal),
            (&self.least, share.least),
            (&self.most, share.most),
            (&self.current, share.current),
        ];
        for (family, seats) in shown {
            family.get_or_create(&labels).set(seats.into());
        }
    }

    /// A level is no more, and nothing will be counted of it.
    pub fn forget_level(&self, level: &str) {
        let labels = LevelLabels { priority_level: level.to_owned() };
        for family in [&self.nominal, &self.least, &self.most, &self.current] {
            family.remove(&labels);
        }
    }

    /// A schema is no more, or goes to another level.
    pub fn forget_schema(&self, level: &str, schema: &str) {
        let labels = Labels { priority_level: level.to_owned(), flow_schema: schema.to_owned() };
        self.dispatched.remove(&labels);
        self.waiting.remove(&labels);
        self.executing.remove(&labels);
        self.seats.remove(&labels);
        self.waited.remove(&labels);
        for reason in ["concurrency-limit", "queue-full", "time-out", "cancelled"] {
            let (priority_level, flow_schema) = (level.to_owned(), schema.to_owned());
            self.rejected.remove(&RefusalLabels { priority_level, flow_schema, reason });
        }
    }
}
