//! Server-side apply and the ownership of fields (KEP-555). Every write leaves behind who owns
//! which fields, in `metadata.managedFields`: an [`update`](Tracker::update) takes what it changed;
//! an [`apply`](Tracker::apply) owns exactly what it lists, removes what it no longer lists, and may
//! change what others own only by force.
//!
//! What is owned one by one and what as a whole comes from the kind's schema ([`shape`]). A manager
//! owns fields of the API version that it writes: what a change means to it is found out in that
//! version, where the kind has others ([`Tracker::elsewhere`]).

mod check;
mod conflict;
mod element;
mod fields;
mod last_applied;
mod managers;
mod merge;
mod prune;
mod set;
mod shape;
mod unchanged;
mod unowned;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{Status, meta, protobuf, schema::Schema, status::Reason, time};

use conflict::Conflicts;
use fields::Comparison;
use managers::{Manager, Managers, Operation, Owned};
use shape::Place;

pub use set::Set;
pub use unchanged::same_but_times;
pub use unowned::merge_unowned;

/// The manager of what an object had when it was first applied to, if nobody was known to own it.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The manager who did not say who it is.
const UNKNOWN: &str = "unknown";

/// Fields that the server or the endpoint decides, so that nobody owns them.
static NOBODYS: LazyLock<Set> = LazyLock::new(|| {
    Set::of_fields(&[
        "apiVersion",
        "kind",
        "metadata",
        "metadata.name",
        "metadata.namespace",
        "metadata.creationTimestamp",
        "metadata.selfLink",
        "metadata.uid",
        "metadata.clusterName",
        "metadata.generation",
        "metadata.managedFields",
        "metadata.resourceVersion",
    ])
});

/// Keeps track of who owns what at one endpoint of a kind.
pub struct Tracker<'a> {
    /// The kind's schema.
    pub schema: &'a Schema,
    /// The subresource that is written; empty for the object itself.
    pub subresource: &'a str,
    /// Fields that the endpoint sets back to what they were, which writing it does not take.
    pub reset: Set,
    /// Shows an object in another API version: with the schema of that, or `None` if it is the same
    /// there.
    pub elsewhere: &'a Elsewhere<'a>,
    /// When the write happens.
    pub now: Timestamp,
}

/// See [`Tracker::elsewhere`].
pub type Elsewhere<'a> = dyn Fn(&Value, &str) -> Option<(Value, Arc<Schema>)> + Sync + 'a;

/// What a change does to an object, as managers see it.
struct Change {
    here: Comparison,
    /// By API version, where that is another one and has other fields.
    elsewhere: BTreeMap<String, Comparison>,
}

impl Change {
    fn seen_by(&self, owned: &Owned) -> &Comparison {
        self.elsewhere.get(&owned.api_version).unwrap_or(&self.here)
    }
}

/// A write other than an apply. Managed fields stand beside the objects, which are without them.
pub struct Update<'a> {
    /// The object before; `None` if it is created.
    pub old: Option<&'a Value>,
    /// Its managed fields, or null.
    pub stored: &'a Value,
    /// The object after, defaults filled in.
    pub new: &'a Value,
    /// The managed fields that the client sent with it, or null.
    pub sent: &'a Value,
    /// The name that the writer gave itself.
    pub manager: &'a str,
}

/// Who applies what.
pub struct Applied<'a> {
    /// The name that the applier gave itself.
    pub manager: &'a str,
    /// The configuration: the fields that it has an opinion about.
    pub config: Value,
    /// Whether it takes over what others own.
    pub force: bool,
}

impl Tracker<'_> {
    /// `metadata.managedFields` after a write; null if nobody is known to own anything, or if lists have items
    /// that nothing tells apart. Managed fields that were sent count unless they are malformed or a subresource
    /// is written.
    pub fn update(&self, update: &Update<'_>) -> Value {
        let (known, sent) = self.known(update);
        let blank;
        let old = match update.old {
            // Objects whose managed fields were given up are not tracked until somebody applies.
            Some(_) if known.as_array().is_none_or(Vec::is_empty) => return Value::Null,
            Some(old) => old,
            None => {
                blank = self.blank();
                &blank
            }
        };
        let root = Place::root(self.schema);
        if !(fields::are_trackable(root, old) && fields::are_trackable(root, update.new)) {
            return Value::Null;
        }
        let comparison = self.compare(old, update.new);
        let manager = self.manager(update.manager, Operation::Update);
        if !sent && let Some(same) = unchanged::with_time(known, &manager, &comparison, &time::format(self.now)) {
            return same;
        }
        let mut managers = Managers::decode(known).unwrap_or_default();
        let change = self.change(&managers, comparison, [old, update.new]);
        self.take(&mut managers, manager, &change);
        managers.cap();
        managers.encode()
    }

    /// The object that applying makes of `live` (`None`: creates), managed fields included.
    ///
    /// Fails with 400 for a configuration of another type or with managed fields, 409 for
    /// conflicts, and 500, as upstream does, for one that does not fit the schema.
    pub fn apply(&self, live: Option<&Value>, applied: Applied<'_>) -> Result<Value, Status> {
        let Applied { manager: name, mut config, force } = applied;
        self.check(&mut config)?;
        let entries = live.map_or(Value::Null, |live| managed_fields(live).clone());
        let mut managers = Managers::decode(&entries)
            .map_err(|error| unexpected(format!("failed to decode managed fields: {error}")))?;
        let mut live = live.cloned().unwrap_or_else(|| json!({}));
        meta::set(&mut live, "managedFields", Value::Null);
        if managers.is_empty() {
            let here = self.compare(&self.blank(), &live);
            let change = Change { here, elsewhere: BTreeMap::new() };
            self.take(&mut managers, self.manager(BEFORE_FIRST_APPLY, Operation::Update), &change);
        }
        let manager = self.manager(name, Operation::Apply);
        let merge = |force| self.merge(&live, &config, managers.clone(), &manager, force);
        let merged = match merge(force) {
            Err(conflicts) if name == last_applied::KUBECTL => {
                match last_applied::unchanged_fields(self.schema, &live) {
                    Some(allowed) => {
                        let left = conflicts.difference(&allowed);
                        if left.is_empty() { merge(true) } else { Err(left) }
                    }
                    None => Err(conflicts),
                }
            }
            merged => merged,
        };
        let (mut object, managers) = merged.map_err(|conflicts| conflicts.status())?;
        if name == last_applied::KUBECTL {
            last_applied::refresh(&mut object, &config);
        }
        meta::set(&mut object, "managedFields", managers.encode());
        Ok(object)
    }

    /// The managed fields to go on from, and whether they are those that the client sent.
    fn known<'u>(&self, update: &Update<'u>) -> (&'u Value, bool) {
        let Update { stored, sent, .. } = *update;
        if !self.subresource.is_empty() || sent == stored {
            return (stored, false);
        }
        if managers::is_reset(sent) {
            return (&Value::Null, true);
        }
        match Managers::decode(sent) {
            Ok(managers) if !managers.is_empty() => (sent, true),
            // Clients that know nothing of managed fields drop them.
            _ => (stored, false),
        }
    }

    /// Checks that a configuration is one of this kind, and brings it into canonical form.
    fn check(&self, config: &mut Value) -> Result<(), Status> {
        let kind = format!("{}, Kind={}", group_version(meta::api_version(config)), meta::kind(config));
        if meta::api_version(config) != &*self.schema.api_version || meta::kind(config) != &*self.schema.kind {
            return Err(Status::bad_request(format!("invalid object type: {kind}")));
        }
        if managed_fields(config).is_array() {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        check::check(Place::root(self.schema), config).map_err(|problem| {
            let (namespace, name) = (meta::namespace(config), meta::name(config));
            unexpected(format!("failed to create typed patch object ({namespace}/{name}; {kind}): {problem}"))
        })
    }

    /// The merged object and its managers, or the conflicts that stand in the way.
    fn merge(
        &self,
        live: &Value,
        config: &Value,
        mut managers: Managers,
        manager: &Manager,
        force: bool,
    ) -> Result<(Value, Managers), Conflicts> {
        let place = Place::root(self.schema);
        let before = managers.get(manager).cloned();
        let fields = fields::of(place, config).without(&self.reset).difference(&NOBODYS);
        let mut object = merge::merge(place, live, config);
        if let Some(before) = &before {
            object = prune::prune(place, &object, &before.fields, &managers_with(&managers, manager, &fields));
        }
        let change = self.change(&managers, self.compare(live, &object), [live, &object]);
        let mut conflicts = Conflicts::default();
        for (other, owned) in managers.iter().filter(|(other, _)| *other != manager) {
            conflicts.add(other, owned.fields.intersection(&change.seen_by(owned).taken()));
        }
        if !force && !conflicts.is_empty() {
            return Err(conflicts);
        }
        managers.change(|other, owned| {
            if other != manager {
                let lost = change.seen_by(owned).lost();
                owned.fields = std::mem::take(&mut owned.fields).difference(&lost);
            }
        });
        let api_version = self.schema.api_version.to_string();
        // Who changes nothing keeps its time, and has none if it comes to own what is there already.
        let time = match before {
            _ if object != *live => time::format(self.now),
            Some(before) => before.time,
            None => String::new(),
        };
        managers.set(manager.clone(), Owned { fields, api_version, time });
        Ok((object, managers))
    }

    /// Gives what a change has touched to `manager`, and takes it from all others.
    fn take(&self, managers: &mut Managers, manager: Manager, change: &Change) {
        let taken = change.here.taken();
        let before = managers.get(&manager).cloned();
        managers.change(|_, owned| {
            let lost = change.seen_by(owned).lost();
            owned.fields = std::mem::take(&mut owned.fields).difference(&lost);
        });
        if taken.is_empty() {
            return;
        }
        let kept = before.map(|owned| owned.fields.difference(&change.here.lost())).unwrap_or_default();
        let owned = Owned {
            fields: kept.union(&taken),
            api_version: self.schema.api_version.to_string(),
            time: time::format(self.now),
        };
        managers.set(manager, owned);
    }

    /// A change from one object to another, of which `here` is the comparison.
    fn change(&self, managers: &Managers, here: Comparison, [old, new]: [&Value; 2]) -> Change {
        let mut elsewhere = BTreeMap::new();
        for (_, owned) in managers.iter().filter(|(_, owned)| *owned.api_version != *self.schema.api_version) {
            if elsewhere.contains_key(&owned.api_version) {
                continue;
            }
            let show = |object| (self.elsewhere)(object, &owned.api_version);
            if let (Some((old, schema)), Some((new, _))) = (show(old), show(new)) {
                let there = Tracker { schema: &schema, reset: self.reset.clone(), ..*self };
                elsewhere.insert(owned.api_version.clone(), there.compare(&old, &new));
            }
        }
        Change { here, elsewhere }
    }

    /// An object of which nobody has said anything: what is always there in upstream's type, so that nobody adds it.
    fn blank(&self) -> Value {
        protobuf::blank(&self.schema.api_version, &self.schema.kind)
    }

    fn compare(&self, old: &Value, new: &Value) -> Comparison {
        let comparison = fields::compare(Place::root(self.schema), Some(old), Some(new));
        comparison.without(&self.reset).difference(&NOBODYS)
    }

    fn manager(&self, name: &str, operation: Operation) -> Manager {
        let api_version = match operation {
            Operation::Apply => "",
            Operation::Update => &*self.schema.api_version,
        };
        Manager {
            name: if name.is_empty() { UNKNOWN } else { name }.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: self.subresource.to_owned(),
        }
    }
}

/// What anybody owns once `manager` owns `fields`.
fn managers_with(managers: &Managers, manager: &Manager, fields: &Set) -> Set {
    let others = managers.iter().filter(|(other, _)| *other != manager);
    others.fold(fields.clone(), |all, (_, owned)| all.union(&owned.fields))
}

/// `metadata.managedFields`, or null.
fn managed_fields(object: &Value) -> &Value {
    const NONE: &Value = &Value::Null;
    meta::metadata(object).and_then(|metadata| metadata.get("managedFields")).unwrap_or(NONE)
}

/// The group and version as upstream shows them: with a slash even without a group.
fn group_version(api_version: &str) -> String {
    if api_version.contains('/') { api_version.to_owned() } else { format!("/{api_version}") }
}

/// Upstream gives these errors no reason, and so the code of an error that nobody expected.
fn unexpected(message: String) -> Status {
    Status::new(Reason::Unknown, message)
}

#[cfg(test)]
mod tests;
