//! ResourceQuota: nothing is created that would take a namespace over one of its quotas.
//!
//! What is used is counted from the objects that are stored, not read from the quotas' status, which
//! follows later; and what is being written is set aside until it is stored or has failed. So
//! concurrent writes never exceed a quota together, and there is nothing to give back after a crash.

mod ledger;

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    api::{
        Status,
        kind::{GroupResource, Scope},
        meta,
        pod_resources::{self, Amounts},
        quantity::Quantity,
        quota::{scope::Facts, usage},
    },
    apiserver::{
        admission::{
            Operation, Plugin, Request, Reservation,
            resource_quota::ledger::{Contribution, Ledger, Pending},
        },
        reader::Reader,
    },
};

const QUOTAS: GroupResource<'static> = GroupResource { group: "", resource: "resourcequotas" };

pub struct ResourceQuota {
    reader: Arc<dyn Reader>,
    ledger: Arc<Mutex<Ledger>>,
}

/// A write as quotas see it.
struct Charge<'a> {
    resource: GroupResource<'a>,
    namespace: &'a str,
    object: &'a Value,
    /// What it takes beyond what it had.
    asked: Amounts,
    facts: Facts,
}

impl ResourceQuota {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader, ledger: Arc::default() }
    }

    fn quotas(&self, namespace: &str) -> Vec<Value> {
        let quotas = self.reader.list(QUOTAS, Some(namespace));
        quotas.iter().filter_map(|quota| serde_json::from_slice(quota).ok()).collect()
    }

    /// Refuses the charge if one of the quotas is exceeded; else sets it aside.
    fn charge(&self, charge: Charge<'_>, quotas: &[Value], request: &Request<'_>) -> Result<Option<u64>, Status> {
        let quotas: Vec<&Value> = quotas.iter().filter(|quota| charge.is_in(quota)).collect();
        for quota in &quotas {
            charge.check_named(quota).map_err(|why| request.forbid(charge.object, &why))?;
        }
        if charge.asked.is_empty() || quotas.is_empty() {
            return Ok(None);
        }
        let mut ledger = self.ledger.lock();
        let present = ledger.contributions(&*self.reader, charge.resource, charge.namespace);
        for quota in quotas {
            charge.check_room(quota, &present).map_err(|why| request.forbid(charge.object, &why))?;
        }
        if request.dry_run {
            return Ok(None);
        }
        Ok(Some(ledger.set_aside(charge.pending(request.old))))
    }
}

impl Plugin for ResourceQuota {
    fn reserve(&self, request: &Request<'_>, object: &Value) -> Result<Option<Reservation>, Status> {
        if !is_counted(request) {
            return Ok(None);
        }
        let namespace = request.attributes.namespace.as_str();
        let quotas = self.quotas(namespace);
        if quotas.is_empty() {
            self.ledger.lock().forget(namespace);
            return Ok(None);
        }
        let charge = Charge::new(request, object);
        let Some(id) = self.charge(charge, &quotas, request)? else { return Ok(None) };
        Ok(Some(Box::new(SetAside { ledger: self.ledger.clone(), id })))
    }
}

/// Gives back what was set aside, when the write is over: stored objects count themselves.
struct SetAside {
    ledger: Arc<Mutex<Ledger>>,
    id: u64,
}

impl Drop for SetAside {
    fn drop(&mut self) {
        self.ledger.lock().give_back(self.id);
    }
}

/// Creates count; of updates those that can change what an object takes.
fn is_counted(request: &Request<'_>) -> bool {
    let is_stored = request.kind.scope == Scope::Namespaced && request.kind.verbs.contains(&"get");
    let is_event = request.attributes.resource == "events";
    match request.operation {
        Operation::Create => is_stored && !is_event && request.attributes.subresource.is_empty(),
        Operation::Update => {
            let counted = ["services", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods/resize"];
            counted.iter().any(|resource| request.is_for("", resource))
        }
        Operation::Delete | Operation::Connect => false,
    }
}

impl<'a> Charge<'a> {
    fn new(request: &'a Request<'_>, object: &'a Value) -> Self {
        let attributes = request.attributes;
        let resource = GroupResource { group: &attributes.group, resource: &attributes.resource };
        let now = Timestamp::now();
        let before = request.old.map(|old| usage::of(resource, old, now)).unwrap_or_default();
        let mut asked = usage::of(resource, object, now);
        for (name, amount) in &mut asked {
            *amount = *amount - before.get(name).copied().unwrap_or_default();
        }
        asked.retain(|_, amount| !amount.is_zero() && !amount.is_negative());
        let facts = Facts::of(resource, object);
        Self { resource, namespace: &attributes.namespace, object, asked, facts }
    }

    fn is_in(&self, quota: &Value) -> bool {
        let mut names = hard_names(quota);
        names.any(|name| usage::tracks(self.resource, name)) && self.facts.are_in(quota)
    }

    /// Containers must name what the quota is about, or it could not be held to.
    fn check_named(&self, quota: &Value) -> Result<(), String> {
        if self.resource.resource != "pods" || !self.resource.group.is_empty() {
            return Ok(());
        }
        match usage::unnamed(hard_names(quota), self.object) {
            Some(unnamed) => Err(format!("failed quota: {}: must specify {unnamed}", meta::name(quota))),
            None => Ok(()),
        }
    }

    fn check_room(&self, quota: &Value, present: &[Arc<Contribution>]) -> Result<(), String> {
        let hard = pod_resources::list(&quota["spec"]["hard"]);
        let used = |name: &str| {
            let counted = present.iter().filter(|one| one.facts.are_in(quota));
            counted.filter_map(|one| one.usage.get(name)).fold(Quantity::default(), |sum, one| sum + *one)
        };
        let mut exceeded = [Amounts::new(), Amounts::new(), Amounts::new()];
        for (name, asked) in self.asked.iter().filter(|(name, _)| hard.contains_key(*name)) {
            let (used, limit) = (used(name), hard[name]);
            if used + *asked > limit {
                for (list, amount) in exceeded.iter_mut().zip([*asked, used, limit]) {
                    list.insert(name.clone(), amount);
                }
            }
        }
        let [requested, used, limited] = exceeded;
        if requested.is_empty() {
            return Ok(());
        }
        let [requested, used, limited] = [requested, used, limited].map(|list| shown(&list));
        let name = meta::name(quota);
        Err(format!("exceeded quota: {name}, requested: {requested}, used: {used}, limited: {limited}"))
    }

    fn pending(self, old: Option<&Value>) -> Pending {
        Pending {
            resource: ledger::place(self.resource, self.namespace),
            name: meta::name(self.object).to_owned(),
            revision: old.and_then(|old| meta::resource_version(old).parse().ok()),
            contribution: Arc::new(Contribution { usage: self.asked, facts: self.facts }),
        }
    }
}

fn hard_names(quota: &Value) -> impl Iterator<Item = &str> {
    quota["spec"]["hard"].as_object().into_iter().flatten().map(|(name, _)| name.as_str())
}

/// `pods=1,requests.cpu=500m`
fn shown(amounts: &Amounts) -> String {
    let each: Vec<String> = amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    each.join(",")
}

#[cfg(test)]
mod tests;
