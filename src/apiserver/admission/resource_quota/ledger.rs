//! What is used: the stored objects' part is remembered per object and version, so that a check
//! decodes only what is new; to it comes what is being written.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    api::{
        kind::GroupResource,
        meta,
        pod_resources::Amounts,
        quota::{scope::Facts, usage},
    },
    apiserver::reader::Reader,
};

/// What one object, or one write, counts for.
#[derive(Debug, Default)]
pub struct Contribution {
    /// Amounts by the names that quotas use.
    pub usage: Amounts,
    /// What scopes ask.
    pub facts: Facts,
}

/// Namespace, group and resource.
pub type Place = [String; 3];

/// A write that is not stored yet.
#[derive(Debug)]
pub struct Pending {
    /// Where.
    pub resource: Place,
    /// The object's name.
    pub name: String,
    /// The version that it changes; `None` for a new object.
    pub revision: Option<u64>,
    /// What it takes.
    pub contribution: Arc<Contribution>,
}

/// By name: the version, and what it counts for.
type Known = HashMap<String, (u64, Arc<Contribution>)>;

/// All that is known and pending.
#[derive(Default)]
pub struct Ledger {
    known: BTreeMap<Place, Known>,
    pending: HashMap<u64, Pending>,
    next_id: u64,
}

/// The place of a resource in a namespace.
pub fn place(resource: GroupResource<'_>, namespace: &str) -> Place {
    [namespace, resource.group, resource.resource].map(str::to_owned)
}

impl Ledger {
    /// What all objects of `resource` in `namespace` count for, those being written included.
    pub fn contributions(
        &mut self,
        reader: &dyn Reader,
        resource: GroupResource<'_>,
        namespace: &str,
    ) -> Vec<Arc<Contribution>> {
        let place = place(resource, namespace);
        let mut before = self.known.remove(&place).unwrap_or_default();
        let mut present = Known::new();
        for (name, revision) in reader.versions(resource, namespace) {
            let known = before.remove(&name).filter(|(known, _)| *known == revision);
            let contribution = known.map(|(_, contribution)| contribution);
            let contribution = contribution.or_else(|| read(reader, resource, namespace, &name));
            present.extend(contribution.map(|contribution| (name, (revision, contribution))));
        }
        let pending = self.pending.values().filter(|pending| {
            // Once it is stored it counts as what it is.
            pending.resource == place && present.get(&pending.name).map(|(revision, _)| *revision) == pending.revision
        });
        let pending = pending.map(|pending| pending.contribution.clone());
        let all = present.values().map(|(_, contribution)| contribution.clone()).chain(pending).collect();
        self.known.insert(place, present);
        all
    }

    /// Remembers a write; gives the number to take it back by.
    pub fn set_aside(&mut self, pending: Pending) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, pending);
        id
    }

    /// Forgets a write.
    pub fn give_back(&mut self, id: u64) {
        self.pending.remove(&id);
    }

    /// Forgets what is known of a namespace, which has no quotas any more.
    pub fn forget(&mut self, namespace: &str) {
        self.known.retain(|[other, ..], _| other != namespace);
    }
}

fn read(reader: &dyn Reader, resource: GroupResource<'_>, namespace: &str, name: &str) -> Option<Arc<Contribution>> {
    let object: Value = serde_json::from_slice(&reader.get(resource, namespace, name)?).ok()?;
    // A pod that is being deleted counts until its time is over, which may be past for this one.
    let usage = usage::of(resource, &object, Timestamp::now());
    debug_assert!(meta::name(&object) == name);
    Some(Arc::new(Contribution { usage, facts: Facts::of(resource, &object) }))
}
