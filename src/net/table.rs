//! The one nftables table, `inet nauplius`: its chains and maps, and the rules that do not depend on
//! services. Everything of ours is in it, so that removing it removes all of ours, and nothing of
//! ours is anywhere else, so that Docker, ufw and firewalld keep their tables as they are. An accept
//! in one table does not lift a drop in another: a host firewall that drops forwarded or incoming
//! packets by default must let the pod networks through itself.

use std::net::IpAddr;

use ipnet::IpNet;

use super::rule::{
    FAMILIES, Rule, address_registers, connection_has, destination_address, equal, family_of, goto, in_network,
    is_family, is_in, jump, local, lookup_data, lookup_verdict, named, protocol_and_port, set_masquerade,
    source_address, wants_masquerade,
};
use super::services::Protocol;
use crate::sys::nft::{
    Base, Batch, Command, Comparison, Conntrack, Direction, Expression, Family, Field, Hook, HookKind, HookPoint,
    MapTo, Meta, NatKind, Refusal, Register, STATE_NEW, STATUS_DESTINATION_NAT, Set, Verdict,
};

/// The table's name; its family is `inet`.
pub const TABLE: &str = "nauplius";

/// Maps, one per family: service address, protocol, port → chain.
pub(super) const SERVICES: &str = "services";
/// Protocol and port at the node's own addresses → chain.
pub(super) const NODE_PORTS: &str = "node-ports";
/// Service address, protocol, port → how it is refused.
pub(super) const REFUSED: &str = "refused";
/// Protocol and node port → how it is refused.
pub(super) const REFUSED_NODE_PORTS: &str = "refused-node-ports";
/// Endpoint list and index → endpoint.
pub(super) const ENDPOINTS: &str = "endpoints";
/// Endpoint lists with affinity, and their endpoints.
pub(super) const KEPT_ENDPOINTS: &str = "kept-endpoints";
/// Endpoint list and client → endpoint; filled by packets.
pub(super) const CLIENTS: &str = "clients";
/// Pairs of the same pod address: a pod that reaches itself through a service.
pub(super) const HAIRPINS: &str = "hairpins";
/// Host address, protocol, port → pod and port.
pub(super) const HOST_PORTS: &str = "host-ports";
/// Protocol and port at any address of the host → pod and port.
pub(super) const ANY_HOST_PORTS: &str = "any-host-ports";
/// Chain: marks packets of clients that are not pods for masquerading.
pub(super) const MARK_OUTSIDERS: &str = "mark-outsiders";

const REFUSE: &str = "refuse";
const TRANSLATE: &str = "translate";
const REFUSALS: &str = "refusals";
const UNKNOWN_SERVICES: &str = "unknown-services";
const LEAVING_PODS: &str = "leaving-pods";
/// Most clients remembered for session affinity, of all services together.
const CLIENTS_LIMIT: u32 = 1 << 17;
/// The standard priorities of address translation and filtering.
const DESTINATION_NAT: i32 = -100;
const SOURCE_NAT: i32 = 100;
const FILTER: i32 = 0;

/// The networks that the rules tell apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Networks {
    /// Of this node's pods.
    pub(super) pods: Vec<IpNet>,
    /// Of all pods.
    pub(super) cluster: Vec<IpNet>,
    /// Of services.
    pub(super) services: Vec<IpNet>,
}

/// The verdict that refuses a connection with an error to the client.
pub(super) fn refuse() -> Verdict {
    Verdict::Goto(REFUSE.to_owned())
}

/// Replaces whatever table there is by one with these networks and nothing else.
pub(super) fn replace(networks: &Networks) -> Batch {
    let mut batch = Batch::default();
    // Deleting a table that is not there would fail the batch.
    batch.push(Command::AddTable { table: TABLE.into() });
    batch.push(Command::DeleteTable { table: TABLE.into() });
    batch.push(Command::AddTable { table: TABLE.into() });
    for set in FAMILIES.into_iter().flat_map(sets) {
        batch.push(Command::AddSet { table: TABLE.into(), set });
    }
    let chains = chains(networks);
    for (chain, hook, _) in &chains {
        batch.push(Command::AddChain { table: TABLE.into(), chain: chain.clone(), hook: *hook });
    }
    for (chain, _, rules) in chains {
        for rule in rules {
            batch.push(Command::AddRule { table: TABLE.into(), chain: chain.clone(), rule });
        }
    }
    batch
}

/// Removes the table.
pub(super) fn remove() -> Batch {
    let mut batch = Batch::default();
    batch.push(Command::AddTable { table: TABLE.into() });
    batch.push(Command::DeleteTable { table: TABLE.into() });
    batch
}

fn sets(family: Family) -> Vec<Set> {
    let address = match family {
        Family::Ipv4 => Field::Ipv4,
        Family::Ipv6 => Field::Ipv6,
    };
    let at_address = vec![address, Field::Protocol, Field::Port];
    let at_port = vec![Field::Protocol, Field::Port];
    let endpoint = vec![address, Field::Port];
    let list = [Field::Number, Field::Number];
    let set = |name: &str, key: &[Field], value: MapTo| Set {
        name: named(name, family),
        key: key.to_vec(),
        value,
        dynamic_limit: None,
    };
    let clients = set(CLIENTS, &[&list[..], &[address]].concat(), MapTo::Data(endpoint.clone()));
    vec![
        set(SERVICES, &at_address, MapTo::Verdict),
        set(NODE_PORTS, &at_port, MapTo::Verdict),
        set(REFUSED, &at_address, MapTo::Verdict),
        set(REFUSED_NODE_PORTS, &at_port, MapTo::Verdict),
        set(ENDPOINTS, &[&list[..], &[Field::Number]].concat(), MapTo::Data(endpoint.clone())),
        set(KEPT_ENDPOINTS, &[&list[..], &endpoint].concat(), MapTo::Nothing),
        Set { dynamic_limit: Some(CLIENTS_LIMIT), ..clients },
        set(HAIRPINS, &[address, address], MapTo::Nothing),
        set(HOST_PORTS, &at_address, MapTo::Data(endpoint.clone())),
        set(ANY_HOST_PORTS, &at_port, MapTo::Data(endpoint)),
    ]
}

fn chains(networks: &Networks) -> Vec<(String, Option<Hook>, Vec<Rule>)> {
    let nat = |point, priority| Some(Hook { kind: HookKind::Nat, point, priority });
    let filter = |point| Some(Hook { kind: HookKind::Filter, point, priority: FILTER });
    let new = |chain: &str| [connection_has(Conntrack::State, STATE_NEW).to_vec(), vec![jump(chain)]].concat();
    let mut chains = vec![
        (REFUSE.to_owned(), None, refuse_with()),
        (TRANSLATE.to_owned(), None, translate()),
        (REFUSALS.to_owned(), None, refusals()),
        (
            UNKNOWN_SERVICES.to_owned(),
            None,
            networks.services.iter().map(|network| unknown_service(*network)).collect(),
        ),
    ];
    for family in FAMILIES {
        chains.push((named(MARK_OUTSIDERS, family), None, mark_outsiders(networks, family)));
        chains.push((named(LEAVING_PODS, family), None, leaving_pods(networks, family)));
    }
    chains.extend([
        ("prerouting".to_owned(), nat(HookPoint::Prerouting, DESTINATION_NAT), vec![vec![jump(TRANSLATE)]]),
        ("output".to_owned(), nat(HookPoint::Output, DESTINATION_NAT), vec![vec![jump(TRANSLATE)]]),
        ("postrouting".to_owned(), nat(HookPoint::Postrouting, SOURCE_NAT), postrouting(networks)),
        ("filter-input".to_owned(), filter(HookPoint::Input), vec![new(REFUSALS)]),
        ("filter-forward".to_owned(), filter(HookPoint::Forward), vec![new(REFUSALS), new(UNKNOWN_SERVICES)]),
        ("filter-output".to_owned(), filter(HookPoint::Output), vec![new(REFUSALS), new(UNKNOWN_SERVICES)]),
    ]);
    chains
}

/// TCP is reset rather than answered by ICMP, of which the kernel sends one a second to a client.
fn refuse_with() -> Vec<Rule> {
    let to = Register(0);
    let tcp = [Expression::Meta { key: Meta::TransportProtocol, to }, equal(to, vec![Protocol::Tcp.number()])];
    let reset = Expression::Reject(Refusal::TcpReset);
    vec![[tcp.to_vec(), vec![reset]].concat(), vec![Expression::Reject(Refusal::PortUnreachable)]]
}

/// Destination addresses: services first, then what is only reached at the host's own addresses.
fn translate() -> Vec<Rule> {
    let mut rules = Vec::new();
    for family in FAMILIES {
        rules.push(by_address(family, |key| vec![lookup_verdict(named(SERVICES, family), key)]));
    }
    for family in FAMILIES {
        rules.push(by_address(family, |key| to_endpoint(family, named(HOST_PORTS, family), key)));
    }
    for family in FAMILIES {
        rules.push(by_port(family, |key| vec![lookup_verdict(named(NODE_PORTS, family), key)]));
        rules.push(by_port(family, |key| to_endpoint(family, named(ANY_HOST_PORTS, family), key)));
    }
    rules
}

fn refusals() -> Vec<Rule> {
    let mut rules = Vec::new();
    for family in FAMILIES {
        rules.push(by_address(family, |key| vec![lookup_verdict(named(REFUSED, family), key)]));
        rules.push(by_port(family, |key| vec![lookup_verdict(named(REFUSED_NODE_PORTS, family), key)]));
    }
    rules
}

/// An address of the service network that nobody has, or a port that the service does not have.
fn unknown_service(network: IpNet) -> Rule {
    let mut rule = is_family(family_of(network.addr())).to_vec();
    rule.extend(in_network(Direction::Destination, network, true));
    rule.extend(local(Direction::Destination, Comparison::NotEqual));
    rule.push(goto(REFUSE));
    rule
}

fn by_address(family: Family, then: impl Fn(Register) -> Vec<Expression>) -> Rule {
    let key = Register(0);
    let mut rule = is_family(family).to_vec();
    rule.push(destination_address(family, key));
    rule.extend(protocol_and_port(Register(address_registers(family))));
    rule.extend(then(key));
    rule
}

fn by_port(family: Family, then: impl Fn(Register) -> Vec<Expression>) -> Rule {
    let key = Register(0);
    let mut rule = is_family(family).to_vec();
    rule.extend(local(Direction::Destination, Comparison::Equal));
    if family == Family::Ipv4 {
        rule.extend(not_loopback());
    }
    rule.extend(protocol_and_port(key));
    rule.extend(then(key));
    rule
}

/// Packets to 127.0.0.0/8 cannot leave the host, so they are never translated to a pod.
fn not_loopback() -> [Expression; 2] {
    let to = Register(0);
    [
        Expression::Payload { base: Base::Network, offset: 16, len: 1, to },
        Expression::Compare { from: to, comparison: Comparison::NotEqual, data: vec![127] },
    ]
}

fn to_endpoint(family: Family, map: String, key: Register) -> Vec<Expression> {
    let endpoint = Register(8);
    let port = Some(Register(endpoint.0 + address_registers(family)));
    let nat = Expression::Nat { kind: NatKind::Destination, family, address: endpoint, port };
    vec![lookup_data(map, key, endpoint), nat]
}

fn mark_outsiders(networks: &Networks, family: Family) -> Vec<Rule> {
    let mut rules: Vec<Rule> = of_family(&networks.cluster, family)
        .map(|network| returning(in_network(Direction::Source, network, true)))
        .collect();
    rules.push(set_masquerade(true).to_vec());
    rules
}

/// Source addresses: what asked for it, pods that reach themselves, and pods that leave the cluster.
fn postrouting(networks: &Networks) -> Vec<Rule> {
    let marked = [wants_masquerade().to_vec(), set_masquerade(false).to_vec(), vec![Expression::Masquerade]].concat();
    let mut rules = vec![marked];
    for family in FAMILIES {
        let mut hairpin = is_family(family).to_vec();
        hairpin.extend(connection_has(Conntrack::Status, STATUS_DESTINATION_NAT));
        hairpin.push(source_address(family, Register(0)));
        hairpin.push(destination_address(family, Register(address_registers(family))));
        hairpin.extend([is_in(named(HAIRPINS, family), Register(0)), Expression::Masquerade]);
        rules.push(hairpin);
    }
    for network in &networks.pods {
        let family = family_of(network.addr());
        let mut leaving = is_family(family).to_vec();
        leaving.extend(in_network(Direction::Source, *network, true));
        leaving.push(goto(named(LEAVING_PODS, family)));
        rules.push(leaving);
    }
    rules
}

fn leaving_pods(networks: &Networks, family: Family) -> Vec<Rule> {
    let multicast = match family {
        Family::Ipv4 => IpNet::new_assert(IpAddr::from([224, 0, 0, 0]), 4),
        Family::Ipv6 => IpNet::new_assert(IpAddr::from([0xff00, 0, 0, 0, 0, 0, 0, 0]), 8),
    };
    let mut rules: Vec<Rule> = of_family(&networks.cluster, family)
        .chain([multicast])
        .map(|network| returning(in_network(Direction::Destination, network, true)))
        .collect();
    rules.push(vec![Expression::Masquerade]);
    rules
}

fn of_family(networks: &[IpNet], family: Family) -> impl Iterator<Item = IpNet> {
    networks.iter().filter(move |network| family_of(network.addr()) == family).copied()
}

fn returning(mut rule: Rule) -> Rule {
    rule.push(Expression::Verdict(Verdict::Return));
    rule
}
