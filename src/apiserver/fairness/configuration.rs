//! From the objects that configure priority and fairness to what requests go by. Objects that
//! cannot be are left out, and what must be is added; levels stay what they were where they can,
//! with the requests that are in them.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, PriorityLevelConfiguration, PriorityLevelConfigurationSpec as LevelSpec,
};
use tokio::sync::Notify;

use super::{
    allocation::{self, Claim},
    level::Level,
    metrics::Metrics,
    queues::Discipline,
    schema::Schema,
};
use crate::apiserver::bootstrap::{self, flow_control::MANDATORY};

/// Seats of the whole server (upstream: 400 reads and 200 writes at once).
const SEATS: u32 = 600;
/// Part of a level's seats that one request is given at most.
const WIDEST: f64 = 0.15;

/// What requests go by.
#[derive(Default)]
pub struct Configuration {
    /// In the order in which they are asked.
    pub schemas: Vec<Arc<Schema>>,
    /// By name.
    pub levels: BTreeMap<Box<str>, Configured>,
    nominal_sum: u32,
}

/// A level as it is configured.
pub struct Configured {
    /// The level.
    pub level: Arc<Level>,
    /// Whether it stays only until its last request is gone.
    pub leaving: bool,
    discipline: Discipline,
    uid: String,
    shares: u32,
    lendable: u32,
    borrowable: Option<u32>,
}

impl Configuration {
    /// What the objects say, with `before` in force until now.
    pub fn new(
        before: &Self,
        levels: Vec<PriorityLevelConfiguration>,
        schemas: Vec<FlowSchema>,
        lingering: &Arc<Notify>,
        metrics: &Metrics,
    ) -> Self {
        let (mandatory_levels, mandatory_schemas) = bootstrap::flow_control_defaults();
        let mut new = Self::default();
        for object in levels.iter().chain(mandatory_levels.iter().filter(|level| is_mandatory(&level.metadata.name))) {
            new.add_level(before, object, lingering);
        }
        new.keep_busy(before);
        new.divide(metrics);
        new.add_schemas(&schemas, &mandatory_schemas);
        new.forget(before, metrics);
        new.balance(metrics);
        new
    }

    /// The schema of a request, found by `matches`.
    pub fn classify(&self, matches: impl Fn(&Schema) -> bool) -> Option<&Arc<Schema>> {
        // The last one is for everything that has an identity, proven or not; what has none is no
        // better.
        self.schemas.iter().find(|schema| matches(schema)).or(self.schemas.last())
    }

    /// Whether a schema may refer to a level.
    pub fn has(&self, level: &str) -> bool {
        self.levels.get(level).is_some_and(|level| !level.leaving)
    }

    /// Gives each level the seats that it is asked for, as far as others can spare them.
    pub fn balance(&self, metrics: &Metrics) {
        for level in self.levels.values() {
            level.level.observe();
        }
        let (exempt, limited): (Vec<&Configured>, Vec<&Configured>) =
            self.levels.values().partition(|level| level.discipline == Discipline::Exempt);
        let mut rest = f64::from(self.nominal_sum);
        for level in exempt {
            let mut share = level.level.share();
            share.current = share.least.max(share.demand.highest.round() as u32);
            rest -= f64::from(share.current);
        }
        let claims: Vec<Claim> = limited.iter().map(|level| level.claim()).collect();
        let least: f64 = limited.iter().map(|level| f64::from(level.level.share().least)).sum();
        let wanted: f64 = claims.iter().map(|claim| claim.least).sum();
        let seats: Vec<f64> = if rest <= least {
            limited.iter().map(|level| f64::from(level.level.share().least)).collect()
        } else if rest <= wanted {
            let part = (rest - least) / (wanted - least);
            let of = |level: &Configured, claim: &Claim| {
                let least = f64::from(level.level.share().least);
                least + (claim.least - least) * part
            };
            limited.iter().zip(&claims).map(|(level, claim)| of(level, claim)).collect()
        } else {
            let divided = allocation::divide(f64::from(self.nominal_sum), &claims);
            divided.unwrap_or_else(|| limited.iter().map(|level| f64::from(level.level.share().current)).collect())
        };
        for (level, seats) in limited.iter().zip(seats) {
            level.level.share().current = seats.round() as u32;
        }
        for level in self.levels.values() {
            let share = level.level.share();
            metrics.share(&level.level.name, &share);
            level.level.resize(share.current);
        }
    }

    fn add_level(&mut self, before: &Self, object: &PriorityLevelConfiguration, lingering: &Arc<Notify>) {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let spec = object.spec.clone().unwrap_or_default();
        let Some(discipline) = discipline(name, &spec) else { return };
        if self.levels.contains_key(name) {
            return;
        }
        let known = before.levels.get(name).map(|known| known.level.clone());
        let level = known.unwrap_or_else(|| Arc::new(Level::new(name, discipline, lingering.clone())));
        level.configure(discipline);
        let number = |number: Option<i32>| u32::try_from(number.unwrap_or_default()).unwrap_or_default();
        let (shares, lendable, borrowable) = match (&spec.limited, &spec.exempt) {
            (Some(limited), _) => {
                (limited.nominal_concurrency_shares, limited.lendable_percent, limited.borrowing_limit_percent)
            }
            (None, Some(exempt)) => (exempt.nominal_concurrency_shares, exempt.lendable_percent, None),
            (None, None) => (None, None, None),
        };
        let configured = Configured {
            level,
            leaving: false,
            discipline,
            uid: object.metadata.uid.clone().unwrap_or_default(),
            shares: number(shares),
            lendable: number(lendable),
            borrowable: borrowable.map(|percent| number(Some(percent))),
        };
        self.levels.insert(name.into(), configured);
    }

    /// Levels that are gone keep their share until their requests are.
    fn keep_busy(&mut self, before: &Self) {
        for (name, old) in &before.levels {
            if !self.levels.contains_key(name) && !old.level.is_idle() {
                let kept = Configured { level: old.level.clone(), uid: old.uid.clone(), leaving: true, ..*old };
                self.levels.insert(name.clone(), kept);
            }
        }
    }

    /// Gives each level its part of the server's seats.
    fn divide(&mut self, metrics: &Metrics) {
        let shares: f64 = self.levels.values().map(|level| f64::from(level.shares)).sum();
        for level in self.levels.values() {
            let part = if shares > 0.0 { f64::from(level.shares) / shares } else { 0.0 };
            let nominal = (f64::from(SEATS) * part).ceil();
            let percent = |percent: u32| (nominal * f64::from(percent) / 100.0).round() as u32;
            let nominal = nominal as u32;
            let mut share = level.level.share();
            let is_new = share.most == 0;
            share.nominal = nominal;
            share.least = nominal.saturating_sub(percent(level.lendable));
            share.most = nominal.saturating_add(level.borrowable.map_or(SEATS, percent));
            if is_new {
                share.current = nominal - percent(level.lendable).min(nominal) / 2;
            }
            metrics.share(&level.level.name, &share);
            self.nominal_sum += nominal;
        }
    }

    fn add_schemas(&mut self, schemas: &[FlowSchema], mandatory: &[FlowSchema]) {
        let mandatory = mandatory.iter().filter(|schema| is_mandatory(&schema.metadata.name));
        let mut found: Vec<&FlowSchema> = schemas.iter().filter(|schema| self.has(level_of(schema))).collect();
        for schema in mandatory {
            if !found.iter().any(|found| found.metadata.name == schema.metadata.name) {
                found.push(schema);
            }
        }
        let precedence = |schema: &FlowSchema| schema.spec.as_ref().and_then(|spec| spec.matching_precedence);
        found.sort_by_key(|schema| {
            // What is mandatory stands at the ends, whatever else has the same precedence.
            let name = schema.metadata.name.as_deref();
            (precedence(schema), name == Some(MANDATORY[1]), name.map(str::to_owned))
        });
        let compiled = found.into_iter().filter_map(|schema| {
            let level = self.levels.get(level_of(schema))?;
            let exempt = level.discipline == Discipline::Exempt;
            Some(Arc::new(Schema::new(schema, level.level.clone(), &level.uid, exempt, level.widest())))
        });
        self.schemas = compiled.collect();
    }

    fn forget(&self, before: &Self, metrics: &Metrics) {
        for name in before.levels.keys().filter(|name| !self.levels.contains_key(*name)) {
            metrics.forget_level(name);
        }
        let still =
            |old: &Schema| self.schemas.iter().any(|new| new.name == old.name && new.level.name == old.level.name);
        for old in before.schemas.iter().filter(|old| !still(old)) {
            metrics.forget_schema(&old.level.name, &old.name);
        }
    }
}

impl Configured {
    /// Seats that one request is given at most; 0 if there are no queues, and so no wide requests
    /// that wait.
    fn widest(&self) -> u32 {
        let Discipline::Queue { hand, .. } = self.discipline else { return 0 };
        let nominal = self.level.share().nominal;
        let by_part = (f64::from(nominal) * WIDEST).ceil() as u32;
        by_part.min(nominal / u32::try_from(hand.max(1)).unwrap_or(u32::MAX)).max(1)
    }

    /// What it was asked for of late, and is not to be refused as long as it is its own.
    fn claim(&self) -> Claim {
        let share = self.level.share();
        let own = share.nominal.min(share.demand.highest.round() as u32);
        let least = f64::from(share.least.max(own));
        Claim { target: share.demand.smoothed.max(least), least, most: f64::from(share.most) }
    }
}

/// The level that a schema refers to.
pub fn level_of(schema: &FlowSchema) -> &str {
    schema.spec.as_ref().map(|spec| spec.priority_level_configuration.name.as_str()).unwrap_or_default()
}

fn is_mandatory(name: &Option<String>) -> bool {
    name.as_deref().is_some_and(|name| MANDATORY.contains(&name))
}

/// `None` if the object contradicts itself.
fn discipline(name: &str, spec: &LevelSpec) -> Option<Discipline> {
    if (spec.type_ == "Exempt") != (name == MANDATORY[0]) {
        return None;
    }
    let response = match (spec.type_.as_str(), &spec.limited) {
        ("Exempt", None) => return Some(Discipline::Exempt),
        ("Limited", Some(limited)) => limited.limit_response.as_ref()?,
        _ => return None,
    };
    let number = |number: Option<i32>| u32::try_from(number?).ok().filter(|number| *number > 0);
    match (response.type_.as_str(), &response.queuing) {
        ("Reject", None) => Some(Discipline::Reject),
        ("Queue", Some(queuing)) => Some(Discipline::Queue {
            queues: number(queuing.queues)?,
            hand: number(queuing.hand_size)? as usize,
            length: number(queuing.queue_length_limit)? as usize,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::fairness::queues::Work;

    fn fixture() -> (Arc<Notify>, Metrics) {
        (Arc::default(), Metrics::register(&mut prometheus_client::registry::Registry::default()))
    }

    fn defaults() -> Configuration {
        let (lingering, metrics) = fixture();
        let (levels, schemas) = bootstrap::flow_control_defaults();
        Configuration::new(&Configuration::default(), levels, schemas, &lingering, &metrics)
    }

    #[test]
    fn the_defaults_divide_the_seats_as_upstream_does() {
        let configuration = defaults();
        let nominal = |name: &str| configuration.levels[name].level.share().nominal;
        assert_eq!(["exempt", "catch-all", "system", "node-high"].map(nominal), [0, 13, 74, 98]);
        assert_eq!(["leader-election", "workload-high", "workload-low"].map(nominal), [25, 98, 245]);
        assert_eq!(configuration.levels["workload-low"].widest(), 37);
        let order: Vec<&str> = configuration.schemas.iter().map(|schema| &*schema.name).collect();
        assert_eq!((order[0], order[1], order[order.len() - 1]), ("exempt", "probes", "catch-all"));
    }

    #[test]
    fn what_must_be_there_is_there_without_objects() {
        let (lingering, metrics) = fixture();
        let bare = Configuration::new(&Configuration::default(), Vec::new(), Vec::new(), &lingering, &metrics);
        let names: Vec<&str> = bare.schemas.iter().map(|schema| &*schema.name).collect();
        assert_eq!(names, ["exempt", "catch-all"]);
        assert_eq!(bare.levels["catch-all"].level.share().current, 600);
    }

    #[test]
    fn schemas_of_levels_that_are_not_there_are_left_out() {
        let (lingering, metrics) = fixture();
        let schema = json!({"metadata": {"name": "s"}, "spec": {"matchingPrecedence": 7,
            "priorityLevelConfiguration": {"name": "nowhere"}}});
        let schemas = vec![serde_json::from_value(schema).unwrap()];
        let made = Configuration::new(&Configuration::default(), Vec::new(), schemas, &lingering, &metrics);
        assert_eq!((made.schemas.len(), made.has("nowhere"), made.has("catch-all")), (2, false, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_level_that_is_asked_for_more_borrows_and_gives_back() {
        let (_, metrics) = fixture();
        let configuration = defaults();
        let level = &configuration.levels["global-default"].level;
        let (own, soon) = (level.share().current, tokio::time::Instant::now() + std::time::Duration::from_secs(60));
        let mut held = Vec::new();
        for flow in 0..own {
            held.push(level.admit(Work::ONE, flow.into(), soon, drop).await.unwrap());
        }
        let mut waiting: Vec<_> = (0..200).map(|flow| Box::pin(level.admit(Work::ONE, flow, soon, drop))).collect();
        for one in &mut waiting {
            assert!(futures_util::poll!(one).is_pending());
        }
        tokio::time::advance(super::super::demand::PERIOD).await;
        configuration.balance(&metrics);
        let more = level.share().current;
        assert!(more > 2 * own, "{own} {more}");
        for other in ["system", "node-high", "workload-low"] {
            let share = configuration.levels[other].level.share();
            assert!(share.current >= share.least, "{other}");
        }
        drop(waiting);
        for execution in &held {
            level.finish(execution);
        }
        for _ in 0..200 {
            tokio::time::advance(super::super::demand::PERIOD).await;
            configuration.balance(&metrics);
        }
        assert!(level.share().current < own + 10, "{}", level.share().current);
    }

    #[tokio::test]
    async fn a_level_that_is_gone_stays_until_its_requests_are() {
        let (lingering, metrics) = fixture();
        let before = defaults();
        let system = before.levels["system"].level.clone();
        let held = system.admit(Work::ONE, 0, tokio::time::Instant::now(), drop).await.unwrap();
        let after = Configuration::new(&before, Vec::new(), Vec::new(), &lingering, &metrics);
        assert!(after.levels["system"].leaving && !after.has("system"));
        system.finish(&held);
        let last = Configuration::new(&after, Vec::new(), Vec::new(), &lingering, &metrics);
        assert!(!last.levels.contains_key("system"));
    }
}
