//! The owner of the nftables table: what pods and services need in it, changed in small batches, and
//! replaced as a whole when a small batch does not fit what the kernel has.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{
    HostPort,
    rule::{address_key, endpoint, family_of, named, octets, port_key},
    services::{Program, ServicePort},
    stale::Stale,
    table::{self, Networks},
    told,
};
use crate::sys::nft::{Batch, Command, Element, Error, Nftables, Value};

/// What one pod adds to the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodRules {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) host_ports: Vec<HostPort>,
}

/// The table, as it is meant to be.
pub(super) struct Firewall {
    kernel: Arc<dyn Nftables>,
    networks: Networks,
    program: Program,
    pods: BTreeMap<String, PodRules>,
}

type Elements = BTreeMap<(String, Vec<u8>), Value>;

impl Firewall {
    pub(super) fn new(kernel: Arc<dyn Nftables>, networks: Networks, pods: BTreeMap<String, PodRules>) -> Self {
        let program = Program::new(networks.cluster.clone());
        Self { kernel, networks, program, pods }
    }

    /// Takes in services without telling the kernel, for the time before [`Firewall::install`].
    pub(super) fn remember_services(&mut self, services: BTreeMap<String, ServicePort>) {
        self.program.update(services.into_iter().map(|(name, service)| (name, Some(service))).collect());
    }

    /// Replaces whatever table there is, at once.
    pub(super) fn install(&self) -> Result<(), Error> {
        let mut batch = table::replace(&self.networks);
        for rules in self.pods.values() {
            add(&mut batch, pod_elements(rules));
        }
        batch.commands.extend(self.program.full().commands);
        self.kernel.commit(&batch)
    }

    /// Adds, changes or removes what a pod needs.
    pub(super) fn set_pod(&mut self, pod: &str, rules: Option<PodRules>) -> Result<(), Error> {
        let old = self.pods.get(pod).map(pod_elements).unwrap_or_default();
        let new = rules.as_ref().map(pod_elements).unwrap_or_default();
        match rules {
            Some(rules) => self.pods.insert(pod.to_owned(), rules),
            None => self.pods.remove(pod),
        };
        let mut batch = Batch::default();
        let changed = |left: &Elements, right: &Elements| -> Elements {
            let differs = |(key, value): &(&(String, Vec<u8>), &Value)| right.get(*key) != Some(*value);
            left.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        for ((set, key), value) in changed(&old, &new) {
            let elements = vec![Element { key, value, timeout: None }];
            batch.push(Command::DeleteElements { table: table::TABLE.into(), set, elements });
        }
        add(&mut batch, changed(&new, &old));
        self.commit(&batch)
    }

    /// Changes services; `None` removes. Says whether anything was different.
    pub(super) fn update_services(&mut self, changes: BTreeMap<String, Option<ServicePort>>) -> Result<bool, Error> {
        let stale = Stale::of(&changes, |name| self.program.get(name));
        let batch = self.program.update(changes);
        self.commit(&batch)?;
        if let Err(error) = stale.forget() {
            tracing::warn!(error = told(&error), "flows of former endpoints could not be forgotten");
        }
        Ok(!batch.is_empty())
    }

    /// The services as they are meant to be.
    pub(super) fn services(&self) -> BTreeMap<String, ServicePort> {
        self.program.services()
    }

    /// A batch that does not fit means that somebody else changed the table (`nft flush ruleset`
    /// of a host firewall): then all of it is written again.
    fn commit(&self, batch: &Batch) -> Result<(), Error> {
        match self.kernel.commit(batch) {
            Err(error) => {
                tracing::warn!(error = told(&error), "the nftables table is not as it was left, replacing it");
                self.install()
            }
            done => done,
        }
    }
}

fn pod_elements(rules: &PodRules) -> Elements {
    let mut elements = Elements::new();
    for address in &rules.addresses {
        let family = family_of(*address);
        let itself = [octets(*address), octets(*address)].concat();
        elements.insert((named(table::HAIRPINS, family), itself), Value::Nothing);
        for port in &rules.host_ports {
            let protocol = port.protocol.number();
            let target = Value::Data(endpoint(*address, port.container_port));
            match port.host_ip.filter(|host| !host.is_unspecified()) {
                None => {
                    elements.insert((named(table::ANY_HOST_PORTS, family), port_key(protocol, port.host_port)), target);
                }
                Some(host) if family_of(host) == family => {
                    let key = address_key(host, protocol, port.host_port);
                    elements.insert((named(table::HOST_PORTS, family), key), target);
                }
                Some(_) => {}
            }
        }
    }
    elements
}

fn add(batch: &mut Batch, elements: Elements) {
    for ((set, key), value) in elements {
        let elements = vec![Element { key, value, timeout: None }];
        batch.push(Command::AddElements { table: table::TABLE.into(), set, elements });
    }
}
