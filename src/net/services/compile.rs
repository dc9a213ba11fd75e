//! One service port into chains and elements; pure, and a function of that port and the
//! cluster's networks alone.
//!
//! Registers of a choice: the endpoint (address and port) stands at [`ENDPOINT`]; the two words
//! before it hold the number of the endpoint list, so that list and endpoint together are a key.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;

use super::ServicePort;
use crate::{
    net::{
        rule::{
            FAMILIES, Rule, address_key, address_registers, endpoint, family_of, goto, in_network, is_in, jump, local,
            lookup_data, named, port_key, set_masquerade, source_address,
        },
        table,
    },
    sys::nft::{Comparison, Direction, Expression, Family, NatKind, Register, Value, Verdict},
};

/// Name of a map and a key in it.
pub(super) type ElementKey = (String, Vec<u8>);

/// What one service port adds to the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Compiled {
    pub(super) chains: BTreeMap<String, Vec<Rule>>,
    pub(super) elements: BTreeMap<ElementKey, Value>,
}

/// Key of the affinity map: list number (two words) and client address.
const CLIENT_KEY: Register = Register(0);
const CLIENT_ADDRESS: Register = Register(2);
/// Key of the set of endpoints that may be kept: list number and endpoint.
const KEPT_KEY: Register = Register(6);
const ENDPOINT: Register = Register(8);
/// Key of the endpoint map: list number and index.
const CHOICE_KEY: Register = Register(13);
const CHOICE_INDEX: Register = Register(15);

/// Compiles the port called `name` (`namespace/service/port`). `cluster` are the networks of pods.
pub(super) fn compile(name: &str, service: &ServicePort, cluster: &[IpNet]) -> Compiled {
    let mut compiled = Compiled::default();
    for family in FAMILIES {
        Compiler { name, service, cluster, family, compiled: &mut compiled }.run();
    }
    compiled
}

/// The endpoints that one decision is made among.
struct List {
    number: [u8; 8],
    endpoints: Vec<SocketAddr>,
}

struct Compiler<'a> {
    name: &'a str,
    service: &'a ServicePort,
    cluster: &'a [IpNet],
    family: Family,
    compiled: &'a mut Compiled,
}

impl Compiler<'_> {
    fn run(&mut self) {
        let all = self.list("all", &self.service.endpoints);
        let local = self.list("local", &self.service.local_endpoints);
        self.internal(if self.service.internal_local { &local } else { &all });
        let external = self.external_addresses();
        if external.is_empty() && self.service.node_port.is_none() {
            return;
        }
        if all.endpoints.is_empty() {
            self.refuse_external(&external, &table::refuse());
            return;
        }
        let rules = if self.service.external_local {
            self.external_local(&external, &all, &local)
        } else {
            // Any endpoint may answer, so the answer must come back through this node.
            [vec![set_masquerade(true).to_vec()], self.choose(&all)].concat()
        };
        self.accept_external(&external, rules);
    }

    fn list(&self, kind: &str, endpoints: &[SocketAddr]) -> List {
        let endpoints = endpoints.iter().filter(|e| family_of(e.ip()) == self.family).copied().collect();
        List { number: list_number(self.name, kind, self.family), endpoints }
    }

    /// The addresses inside the cluster. Without any endpoint clients are told at once; with
    /// endpoints elsewhere that the internal traffic policy forbids, packets are dropped (KEP-2086).
    fn internal(&mut self, list: &List) {
        let addresses = self.of_family(&self.service.cluster_ips);
        if addresses.is_empty() {
            return;
        }
        if list.endpoints.is_empty() {
            let verdict = if self.service.endpoints.is_empty() { table::refuse() } else { Verdict::Drop };
            self.lead(table::REFUSED, &addresses, &verdict);
            return;
        }
        let chain = self.chain("svc");
        let mut rules = vec![vec![jump(named(table::MARK_OUTSIDERS, self.family))]];
        rules.extend(self.choose(list));
        self.compiled.chains.insert(chain.clone(), rules);
        self.lead(table::SERVICES, &addresses, &Verdict::Goto(chain));
    }

    /// `externalTrafficPolicy: Local`: only endpoints of this node, and the client's address stays.
    /// Pods and the node's own programs are not external: they may reach any endpoint.
    fn external_local(&mut self, external: &[IpAddr], all: &List, here: &List) -> Vec<Rule> {
        let anywhere = self.chain("any");
        let choices = self.choose(all);
        self.compiled.chains.insert(anywhere.clone(), choices);
        let pods = self.cluster.iter().filter(|network| family_of(network.addr()) == self.family);
        let mut rules: Vec<Rule> = pods
            .map(|network| [in_network(Direction::Source, *network, true), vec![goto(anywhere.clone())]].concat())
            .collect();
        let own = local(Direction::Source, Comparison::Equal).to_vec();
        rules.push([own, set_masquerade(true).to_vec(), vec![goto(anywhere)]].concat());
        if here.endpoints.is_empty() {
            self.refuse_external(external, &Verdict::Drop);
        } else {
            rules.extend(self.choose(here));
        }
        rules
    }

    fn accept_external(&mut self, external: &[IpAddr], rules: Vec<Rule>) {
        let chain = self.chain("ext");
        self.compiled.chains.insert(chain.clone(), rules);
        let guarded = self.guarded(&chain);
        let balancers = self.of_family(&self.service.load_balancer_ips);
        for address in external {
            let target = if balancers.contains(address) { guarded.clone() } else { chain.clone() };
            self.lead(table::SERVICES, &[*address], &Verdict::Goto(target));
        }
        self.lead_node_port(table::NODE_PORTS, &Verdict::Goto(chain));
    }

    /// The chain that lets only `loadBalancerSourceRanges` through to `chain`.
    fn guarded(&mut self, chain: &str) -> String {
        if self.service.source_ranges.is_empty() {
            return chain.to_owned();
        }
        let guard = self.chain("fw");
        let ranges = self.service.source_ranges.iter().filter(|range| family_of(range.addr()) == self.family);
        let mut rules: Vec<Rule> =
            ranges.map(|range| [in_network(Direction::Source, *range, true), vec![goto(chain)]].concat()).collect();
        rules.push(vec![Expression::Verdict(Verdict::Drop)]);
        self.compiled.chains.insert(guard.clone(), rules);
        guard
    }

    fn refuse_external(&mut self, external: &[IpAddr], verdict: &Verdict) {
        self.lead(table::REFUSED, external, verdict);
        self.lead_node_port(table::REFUSED_NODE_PORTS, verdict);
    }

    fn lead(&mut self, map: &str, addresses: &[IpAddr], verdict: &Verdict) {
        for address in addresses {
            let key = address_key(*address, self.service.protocol.number(), self.service.port);
            self.compiled.elements.insert((named(map, self.family), key), Value::Verdict(verdict.clone()));
        }
    }

    fn lead_node_port(&mut self, map: &str, verdict: &Verdict) {
        // A port of one family only must not take the other family's traffic.
        let serves = self.service.cluster_ips.iter().any(|address| family_of(*address) == self.family);
        if let Some(port) = self.service.node_port.filter(|_| serves) {
            let key = port_key(self.service.protocol.number(), port);
            self.compiled.elements.insert((named(map, self.family), key), Value::Verdict(verdict.clone()));
        }
    }

    /// Rules that pick an endpoint of `list` and rewrite the destination to it.
    fn choose(&mut self, list: &List) -> Vec<Rule> {
        for (index, chosen) in (0u32..).zip(&list.endpoints) {
            let key = [&list.number[..], &index.to_ne_bytes()].concat();
            let value = Value::Data(endpoint(chosen.ip(), chosen.port()));
            self.compiled.elements.insert((named(table::ENDPOINTS, self.family), key), value);
        }
        let modulus = u32::try_from(list.endpoints.len()).unwrap_or(u32::MAX);
        let pick = vec![
            Expression::Immediate { to: CHOICE_KEY, data: list.number.to_vec() },
            Expression::Random { to: CHOICE_INDEX, modulus },
            lookup_data(named(table::ENDPOINTS, self.family), CHOICE_KEY, ENDPOINT),
        ];
        let plain = [pick.clone(), vec![self.translate()]].concat();
        // The last rule is reached only if the map of clients is full.
        if self.service.affinity.is_some() {
            vec![self.keep(list), self.remember(list, pick), plain]
        } else {
            vec![plain]
        }
    }

    /// A client that was here before gets the endpoint it had, if that is still one.
    fn keep(&mut self, list: &List) -> Rule {
        for kept in &list.endpoints {
            let key = [&list.number[..], &endpoint(kept.ip(), kept.port())].concat();
            self.compiled.elements.insert((named(table::KEPT_ENDPOINTS, self.family), key), Value::Nothing);
        }
        let clients = named(table::CLIENTS, self.family);
        let mut rule = self.client_key(list);
        rule.extend([
            lookup_data(clients, CLIENT_KEY, ENDPOINT),
            Expression::Immediate { to: KEPT_KEY, data: list.number.to_vec() },
            is_in(named(table::KEPT_ENDPOINTS, self.family), KEPT_KEY),
            self.refresh(),
            self.translate(),
        ]);
        rule
    }

    /// A new client gets any endpoint. What was remembered of it is removed first: refreshing an
    /// element does not change its value.
    fn remember(&self, list: &List, pick: Vec<Expression>) -> Rule {
        let set = named(table::CLIENTS, self.family);
        let forget = Expression::Remove { set, key: CLIENT_KEY, value: Some(ENDPOINT) };
        [pick, self.client_key(list), vec![forget, self.refresh(), self.translate()]].concat()
    }

    fn client_key(&self, list: &List) -> Vec<Expression> {
        let number = Expression::Immediate { to: CLIENT_KEY, data: list.number.to_vec() };
        vec![number, source_address(self.family, CLIENT_ADDRESS)]
    }

    fn refresh(&self) -> Expression {
        Expression::Update {
            set: named(table::CLIENTS, self.family),
            key: CLIENT_KEY,
            value: Some(ENDPOINT),
            timeout: self.service.affinity.unwrap_or_default(),
        }
    }

    fn translate(&self) -> Expression {
        let port = Register(ENDPOINT.0 + address_registers(self.family));
        Expression::Nat { kind: NatKind::Destination, family: self.family, address: ENDPOINT, port: Some(port) }
    }

    fn external_addresses(&self) -> Vec<IpAddr> {
        let mut addresses = self.of_family(&self.service.external_ips);
        addresses.extend(self.of_family(&self.service.load_balancer_ips));
        addresses
    }

    fn of_family(&self, addresses: &[IpAddr]) -> Vec<IpAddr> {
        addresses.iter().filter(|address| family_of(**address) == self.family).copied().collect()
    }

    fn chain(&self, kind: &str) -> String {
        format!("{}-{}", named(kind, self.family), self.name)
    }
}

/// FNV-1a over what names a list: the same list has the same number on every node and after every
/// restart, and 64 bits keep any two apart.
fn list_number(name: &str, kind: &str, family: Family) -> [u8; 8] {
    let bytes = name.bytes().chain([0]).chain(kind.bytes()).chain([family as u8]);
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash.to_ne_bytes()
}
