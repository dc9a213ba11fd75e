//! The set of all services: keeps what is installed and computes the batch that leads from there
//! to what is wanted. When two services claim one address and port, the first by name has it.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{
    ServicePort,
    compile::{Compiled, ElementKey, compile},
};
use crate::{
    net::{rule::Rule, table},
    sys::nft::{Batch, Command, Element, Value},
};

/// All services that are, or are about to be, in the table.
#[derive(Debug, Clone, Default)]
pub(in crate::net) struct Program {
    cluster: Vec<IpNet>,
    ports: BTreeMap<String, (ServicePort, Compiled)>,
    claims: BTreeMap<ElementKey, BTreeSet<String>>,
}

impl Program {
    /// A program without services. `cluster` are the networks of pods.
    pub(in crate::net) fn new(cluster: Vec<IpNet>) -> Self {
        Self { cluster, ..Self::default() }
    }

    /// The services as they were last given.
    pub(in crate::net) fn services(&self) -> BTreeMap<String, ServicePort> {
        self.ports.iter().map(|(name, (service, _))| (name.clone(), service.clone())).collect()
    }

    /// One service port as it was last given.
    pub(in crate::net) fn get(&self, name: &str) -> Option<&ServicePort> {
        self.ports.get(name).map(|(service, _)| service)
    }

    /// Takes in changes (`None` removes) and returns the batch that installs them. Nothing else
    /// of the table is touched.
    pub(in crate::net) fn update(&mut self, changes: BTreeMap<String, Option<ServicePort>>) -> Batch {
        let mut difference = Difference::default();
        for (name, service) in changes {
            if self.get(&name) == service.as_ref() {
                continue;
            }
            let new = service.map(|service| {
                let compiled = compile(&name, &service, &self.cluster);
                (service, compiled)
            });
            self.change(&name, new, &mut difference);
        }
        difference.into_batch(|key| self.winner(key))
    }

    /// The commands that install everything into an empty table.
    pub(in crate::net) fn full(&self) -> Batch {
        let mut difference = Difference::default();
        for (_, compiled) in self.ports.values() {
            difference
                .chains
                .extend(compiled.chains.iter().map(|(name, rules)| (name.clone(), (false, Some(rules.clone())))));
            difference.before.extend(compiled.elements.keys().map(|key| (key.clone(), None)));
        }
        difference.into_batch(|key| self.winner(key))
    }

    fn change(&mut self, name: &str, new: Option<(ServicePort, Compiled)>, difference: &mut Difference) {
        let none = Compiled::default();
        let old = self.ports.remove(name).map(|(_, compiled)| compiled).unwrap_or_default();
        let wanted = new.as_ref().map_or(&none, |(_, compiled)| compiled);
        for chain in old.chains.keys().chain(wanted.chains.keys()) {
            let (before, after) = (old.chains.get(chain), wanted.chains.get(chain));
            if before != after {
                difference.chains.insert(chain.clone(), (before.is_some(), after.cloned()));
            }
        }
        // The winner before is read with the old port back in place, while claims still hold it.
        for key in old.elements.keys().chain(wanted.elements.keys()) {
            if old.elements.get(key) != wanted.elements.get(key) && !difference.before.contains_key(key) {
                let installed = self.claims.get(key).and_then(BTreeSet::first).and_then(|owner| {
                    if owner == name { old.elements.get(key) } else { self.ports[owner].1.elements.get(key) }
                });
                difference.before.insert(key.clone(), installed.cloned());
            }
        }
        for key in old.elements.keys() {
            self.release(key, name);
        }
        for key in wanted.elements.keys() {
            self.claims.entry(key.clone()).or_default().insert(name.to_owned());
        }
        if let Some(new) = new {
            self.ports.insert(name.to_owned(), new);
        }
    }

    fn release(&mut self, key: &ElementKey, name: &str) {
        if let Some(claims) = self.claims.get_mut(key) {
            claims.remove(name);
            if claims.is_empty() {
                self.claims.remove(key);
            }
        }
    }

    fn winner(&self, key: &ElementKey) -> Option<&Value> {
        let owner = self.claims.get(key)?.first()?;
        self.ports.get(owner)?.1.elements.get(key)
    }
}

/// Chains that change: whether they exist now, and what they shall hold, if they shall exist.
type Chains = BTreeMap<String, (bool, Option<Vec<Rule>>)>;

/// What changes: chains, and elements with what they hold now.
#[derive(Default)]
struct Difference {
    chains: Chains,
    before: BTreeMap<ElementKey, Option<Value>>,
}

impl Difference {
    /// Orders the commands so that nothing ever refers to what is not there: elements go first,
    /// chains are filled, elements come, and chains that nobody refers to any more go last.
    fn into_batch<'a>(self, winner: impl Fn(&ElementKey) -> Option<&'a Value>) -> Batch {
        let (mut removed, mut added) =
            (BTreeMap::<String, Vec<Element>>::new(), BTreeMap::<String, Vec<Element>>::new());
        for ((map, key), before) in self.before {
            let slot = (map, key);
            let after = winner(&slot);
            if before.as_ref() == after {
                continue;
            }
            let (map, key) = slot;
            if let Some(value) = before {
                removed.entry(map.clone()).or_default().push(Element { key: key.clone(), value, timeout: None });
            }
            if let Some(value) = after {
                added.entry(map).or_default().push(Element { key, value: value.clone(), timeout: None });
            }
        }
        let mut batch = Batch::default();
        for (set, elements) in removed {
            batch.push(Command::DeleteElements { table: table::TABLE.into(), set, elements });
        }
        fill_chains(&mut batch, &self.chains);
        for (set, elements) in added {
            batch.push(Command::AddElements { table: table::TABLE.into(), set, elements });
        }
        for (chain, _) in self.chains.into_iter().filter(|(_, (exists, rules))| *exists && rules.is_none()) {
            batch.push(Command::DeleteChain { table: table::TABLE.into(), chain });
        }
        batch
    }
}

fn fill_chains(batch: &mut Batch, chains: &Chains) {
    for (chain, (exists, _)) in chains {
        let (table, chain) = (table::TABLE.to_owned(), chain.clone());
        batch.push(if *exists {
            Command::FlushChain { table, chain }
        } else {
            Command::AddChain { table, chain, hook: None }
        });
    }
    for (chain, (_, rules)) in chains {
        for rule in rules.iter().flatten() {
            batch.push(Command::AddRule { table: table::TABLE.into(), chain: chain.clone(), rule: rule.clone() });
        }
    }
}
