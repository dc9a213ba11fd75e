//! Words that rules are made of, and the layout of registers that all rules agree on.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::sys::nft::{
    ADDRESS_LOCAL, Base, Comparison, Conntrack, Direction, Expression, Family, Meta, Register, Verdict,
};

/// One rule.
pub(super) type Rule = Vec<Expression>;

/// The packet mark's bit that asks for masquerading on the way out; the one that kube-proxy uses.
pub(super) const MASQUERADE_BIT: u32 = 0x4000;

/// Both families, in the order in which rules are written.
pub(super) const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// A name that exists once per family, such as `services4`.
pub(super) fn named(base: &str, family: Family) -> String {
    match family {
        Family::Ipv4 => format!("{base}4"),
        Family::Ipv6 => format!("{base}6"),
    }
}

/// The family of an address.
pub(super) fn family_of(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
}

/// 4-byte registers that an address takes.
pub(super) fn address_registers(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 1,
        Family::Ipv6 => 4,
    }
}

pub(super) fn is_family(family: Family) -> [Expression; 2] {
    let to = Register(0);
    [Expression::Meta { key: Meta::NetworkProtocol, to }, equal(to, vec![family as u8])]
}

pub(super) fn source_address(family: Family, to: Register) -> Expression {
    let (offset, len) = if family == Family::Ipv4 { (12, 4) } else { (8, 16) };
    Expression::Payload { base: Base::Network, offset, len, to }
}

pub(super) fn destination_address(family: Family, to: Register) -> Expression {
    let (offset, len) = if family == Family::Ipv4 { (16, 4) } else { (24, 16) };
    Expression::Payload { base: Base::Network, offset, len, to }
}

/// Protocol and destination port, into two registers.
pub(super) fn protocol_and_port(to: Register) -> [Expression; 2] {
    [
        Expression::Meta { key: Meta::TransportProtocol, to },
        Expression::Payload { base: Base::Transport, offset: 2, len: 2, to: Register(to.0 + 1) },
    ]
}

/// Goes on if the source (or destination) is, or is not, in a network.
pub(super) fn in_network(direction: Direction, network: IpNet, inside: bool) -> Rule {
    let to = Register(0);
    let family = family_of(network.addr());
    let address = match direction {
        Direction::Source => source_address(family, to),
        Direction::Destination => destination_address(family, to),
    };
    let (mask, data) = (octets(network.netmask()), octets(network.network()));
    let comparison = if inside { Comparison::Equal } else { Comparison::NotEqual };
    let xor = vec![0; mask.len()];
    let masked = Expression::Bitwise { from: to, to, mask, xor };
    vec![address, masked, Expression::Compare { from: to, comparison, data }]
}

/// Goes on if an address belongs to this host, or does not.
pub(super) fn local(of: Direction, comparison: Comparison) -> [Expression; 2] {
    let to = Register(0);
    let data = ADDRESS_LOCAL.to_ne_bytes().to_vec();
    [Expression::AddressType { of, to }, Expression::Compare { from: to, comparison, data }]
}

/// Goes on if one of the connection's bits is set.
pub(super) fn connection_has(key: Conntrack, bits: u32) -> [Expression; 3] {
    let to = Register(0);
    [Expression::Conntrack { key, to }, keep_bits(to, bits), any_bit(to)]
}

/// Goes on if the packet asks for masquerading.
pub(super) fn wants_masquerade() -> [Expression; 3] {
    let to = Register(0);
    [Expression::Meta { key: Meta::Mark, to }, keep_bits(to, MASQUERADE_BIT), any_bit(to)]
}

/// Sets or clears the bit that asks for masquerading.
pub(super) fn set_masquerade(on: bool) -> [Expression; 3] {
    let register = Register(0);
    let xor = if on { MASQUERADE_BIT } else { 0 };
    let change = Expression::Bitwise {
        from: register,
        to: register,
        mask: (!MASQUERADE_BIT).to_ne_bytes().to_vec(),
        xor: xor.to_ne_bytes().to_vec(),
    };
    [
        Expression::Meta { key: Meta::Mark, to: register },
        change,
        Expression::SetMeta { key: Meta::Mark, from: register },
    ]
}

pub(super) fn lookup_verdict(map: String, from: Register) -> Expression {
    Expression::Lookup { set: map, from, to: None, verdict: true, invert: false }
}

pub(super) fn lookup_data(map: String, from: Register, to: Register) -> Expression {
    Expression::Lookup { set: map, from, to: Some(to), verdict: false, invert: false }
}

pub(super) fn is_in(set: String, from: Register) -> Expression {
    Expression::Lookup { set, from, to: None, verdict: false, invert: false }
}

pub(super) fn jump(chain: impl Into<String>) -> Expression {
    Expression::Verdict(Verdict::Jump(chain.into()))
}

pub(super) fn goto(chain: impl Into<String>) -> Expression {
    Expression::Verdict(Verdict::Goto(chain.into()))
}

pub(super) fn equal(from: Register, data: Vec<u8>) -> Expression {
    Expression::Compare { from, comparison: Comparison::Equal, data }
}

/// An address in network order.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A port as it stands in a register.
pub(super) fn padded_port(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// A key of protocol and port.
pub(super) fn port_key(protocol: u8, port: u16) -> Vec<u8> {
    let mut key = vec![protocol, 0, 0, 0];
    key.extend(padded_port(port));
    key
}

/// A key of address, protocol and port.
pub(super) fn address_key(address: IpAddr, protocol: u8, port: u16) -> Vec<u8> {
    let mut key = octets(address);
    key.extend(port_key(protocol, port));
    key
}

/// A value of address and port.
pub(super) fn endpoint(address: IpAddr, port: u16) -> Vec<u8> {
    let mut value = octets(address);
    value.extend(padded_port(port));
    value
}

fn keep_bits(register: Register, bits: u32) -> Expression {
    Expression::Bitwise { from: register, to: register, mask: bits.to_ne_bytes().to_vec(), xor: vec![0; 4] }
}

fn any_bit(from: Register) -> Expression {
    Expression::Compare { from, comparison: Comparison::NotEqual, data: vec![0; 4] }
}
