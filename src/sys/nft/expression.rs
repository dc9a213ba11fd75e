//! The expressions of nf_tables rules. An expression reads the packet or connection into registers,
//! compares, looks up, or acts. Registers are the 4-byte ones (`NFT_REG32_00` to `_15`); a
//! concatenated key is made by filling registers that follow each other.
//! Numbers are those of `linux/netfilter/nf_tables.h`.

use std::time::Duration;

use super::{attribute::Writer, batch::Verdict};

/// A 4-byte register, 0 to 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Register(pub u8);

impl Register {
    /// `NFT_REG32_00`.
    const FIRST: u32 = 8;

    fn number(self) -> u32 {
        Self::FIRST + u32::from(self.0)
    }
}

/// Where a payload offset counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The IP header.
    Network = 1,
    /// The TCP, UDP or SCTP header.
    Transport = 2,
}

/// Properties of the packet that are not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meta {
    /// The packet mark, 4 bytes in host order.
    Mark = 3,
    /// Name of the input interface, 16 bytes.
    InputName = 6,
    /// Name of the output interface, 16 bytes.
    OutputName = 7,
    /// Network protocol (`NFPROTO_*`), 1 byte.
    NetworkProtocol = 15,
    /// Transport protocol (`IPPROTO_*`), 1 byte.
    TransportProtocol = 16,
}

/// Properties of the tracked connection, 4 bytes in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conntrack {
    /// Bits of [`STATE_NEW`] and others.
    State = 0,
    /// Bits of [`STATUS_DESTINATION_NAT`] and others.
    Status = 2,
}

/// The connection's first packet.
pub const STATE_NEW: u32 = 8;
/// The packet belongs to no connection.
pub const STATE_INVALID: u32 = 1;
/// The destination was rewritten.
pub const STATUS_DESTINATION_NAT: u32 = 1 << 5;
/// `RTN_LOCAL`: the address type of the host's own addresses.
pub const ADDRESS_LOCAL: u32 = 2;

/// How [`Expression::Compare`] compares, byte by byte in network order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Equal = 0,
    /// Not equal.
    NotEqual = 1,
    /// Less.
    Less = 2,
    /// Greater.
    Greater = 4,
}

/// Which address a [`Expression::AddressType`] looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The source address (`NFTA_FIB_F_SADDR`).
    Source = 1,
    /// The destination address (`NFTA_FIB_F_DADDR`).
    Destination = 2,
}

/// IPv4 or IPv6, as nf_tables numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `NFPROTO_IPV4`
    Ipv4 = 2,
    /// `NFPROTO_IPV6`
    Ipv6 = 10,
}

/// Which address a [`Expression::Nat`] rewrites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatKind {
    /// The source.
    Source = 0,
    /// The destination.
    Destination = 1,
}

/// How a packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// An ICMP or ICMPv6 "port unreachable".
    PortUnreachable,
    /// A TCP reset; only for TCP.
    TcpReset,
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are registers, lengths and data of what the variant's comment says")]
pub enum Expression {
    /// Copies `len` bytes of the packet into registers.
    Payload { base: Base, offset: u32, len: u32, to: Register },
    /// Reads a property of the packet.
    Meta { key: Meta, to: Register },
    /// Sets a property of the packet.
    SetMeta { key: Meta, from: Register },
    /// Goes on only if the comparison holds.
    Compare { from: Register, comparison: Comparison, data: Vec<u8> },
    /// `to = (from & mask) ^ xor`.
    Bitwise { from: Register, to: Register, mask: Vec<u8>, xor: Vec<u8> },
    /// Goes on only if the key is in the set (or is not, if `invert`); of a map the value is
    /// stored at `to`; the verdict of a verdict map is followed.
    Lookup { set: String, from: Register, to: Option<Register>, verdict: bool, invert: bool },
    /// Stores constant data.
    Immediate { to: Register, data: Vec<u8> },
    /// Ends or branches.
    Verdict(Verdict),
    /// A random number below `modulus`, 4 bytes in host order.
    Random { to: Register, modulus: u32 },
    /// Rewrites an address (4 or 16 bytes) and, if given, a port (2 bytes).
    Nat { kind: NatKind, family: Family, address: Register, port: Option<Register> },
    /// Rewrites the source address to that of the output interface, and picks a random port.
    Masquerade,
    /// Rewrites the destination to this host, with the port in the register.
    Redirect { port: Register },
    /// Reads a property of the connection.
    Conntrack { key: Conntrack, to: Register },
    /// The routing table's type of an address, such as [`ADDRESS_LOCAL`], 4 bytes in host order.
    AddressType { of: Direction, to: Register },
    /// Refuses the packet.
    Reject(Refusal),
    /// Counts packets and bytes.
    Counter,
    /// Goes on for at most `rate` packets a second.
    Limit { rate: u64, burst: u32 },
    /// Adds an element made of registers to a dynamic set or refreshes its timeout.
    Update { set: String, key: Register, value: Option<Register>, timeout: Duration },
    /// Removes an element made of registers from a dynamic set; a map wants a value here too.
    Remove { set: String, key: Register, value: Option<Register> },
}

const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const LIST_ELEMENT: u16 = 1;
/// `NFT_REG_VERDICT`
const VERDICT_REGISTER: u32 = 0;
const LOOKUP_INVERT: u32 = 1;
const NUMGEN_RANDOM: u32 = 1;
const FIB_RESULT_ADDRESS_TYPE: u32 = 3;
const REJECT_TCP_RESET: u32 = 1;
const REJECT_ICMPX: u32 = 2;
const ICMPX_PORT_UNREACHABLE: u8 = 1;
const DYNSET_UPDATE: u32 = 1;
const DYNSET_DELETE: u32 = 2;
/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`: ports of parallel masqueraded connections do not collide.
const NAT_RANDOM_FULLY: u32 = 1 << 4;

impl Expression {
    pub(super) fn encode(&self, list: &mut Writer) {
        list.nested(LIST_ELEMENT, |element| {
            element.text(EXPRESSION_NAME, self.name());
            element.nested(EXPRESSION_DATA, |data| self.encode_data(data));
        });
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Payload { .. } => "payload",
            Self::Meta { .. } | Self::SetMeta { .. } => "meta",
            Self::Compare { .. } => "cmp",
            Self::Bitwise { .. } => "bitwise",
            Self::Lookup { .. } => "lookup",
            Self::Immediate { .. } | Self::Verdict(_) => "immediate",
            Self::Random { .. } => "numgen",
            Self::Nat { .. } => "nat",
            Self::Masquerade => "masq",
            Self::Redirect { .. } => "redir",
            Self::Conntrack { .. } => "ct",
            Self::AddressType { .. } => "fib",
            Self::Reject(_) => "reject",
            Self::Counter => "counter",
            Self::Limit { .. } => "limit",
            Self::Update { .. } | Self::Remove { .. } => "dynset",
        }
    }

    fn encode_data(&self, data: &mut Writer) {
        match self {
            Self::Payload { base, offset, len, to } => numbers(data, &[to.number(), *base as u32, *offset, *len]),
            Self::Meta { key, to } => numbers(data, &[to.number(), *key as u32]),
            Self::SetMeta { key, from } => {
                data.u32(2, *key as u32);
                data.u32(3, from.number());
            }
            Self::Compare { from, comparison, data: value } => {
                numbers(data, &[from.number(), *comparison as u32]);
                data.nested(3, |inside| inside.bytes(DATA_VALUE, value));
            }
            Self::Bitwise { from, to, mask, xor } => {
                numbers(data, &[from.number(), to.number(), u32::try_from(mask.len()).unwrap_or(u32::MAX)]);
                data.nested(4, |inside| inside.bytes(DATA_VALUE, mask));
                data.nested(5, |inside| inside.bytes(DATA_VALUE, xor));
            }
            Self::Lookup { set, from, to, verdict, invert } => {
                encode_lookup(
                    data,
                    set,
                    *from,
                    to.map(Register::number).or(verdict.then_some(VERDICT_REGISTER)),
                    *invert,
                );
            }
            Self::Immediate { to, data: value } => {
                data.u32(1, to.number());
                data.nested(2, |inside| inside.bytes(DATA_VALUE, value));
            }
            Self::Verdict(verdict) => {
                data.u32(1, VERDICT_REGISTER);
                data.nested(2, |inside| verdict.encode(inside));
            }
            Self::Random { to, modulus } => numbers(data, &[to.number(), *modulus, NUMGEN_RANDOM]),
            Self::Conntrack { key, to } => numbers(data, &[to.number(), *key as u32]),
            Self::AddressType { of, to } => numbers(data, &[to.number(), FIB_RESULT_ADDRESS_TYPE, *of as u32]),
            Self::Masquerade => data.u32(1, NAT_RANDOM_FULLY),
            Self::Redirect { port } => data.u32(1, port.number()),
            Self::Reject(refusal) => encode_refusal(data, *refusal),
            Self::Counter => {}
            Self::Nat { kind, family, address, port } => encode_nat(data, *kind, *family, *address, *port),
            Self::Limit { rate, burst } => {
                data.u64(1, *rate);
                data.u64(2, 1);
                data.u32(3, *burst);
            }
            Self::Update { set, key, value, timeout } => {
                encode_dynset(data, set, DYNSET_UPDATE, *key, *value);
                data.u64(6, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
            }
            Self::Remove { set, key, value } => encode_dynset(data, set, DYNSET_DELETE, *key, *value),
        }
    }
}

/// Attributes 1, 2, 3, … as numbers, which is how most expressions begin.
fn numbers(data: &mut Writer, values: &[u32]) {
    for (kind, value) in (1..).zip(values) {
        data.u32(kind, *value);
    }
}

fn encode_lookup(data: &mut Writer, set: &str, from: Register, to: Option<u32>, invert: bool) {
    data.text(1, set);
    data.u32(2, from.number());
    if let Some(to) = to {
        data.u32(3, to);
    }
    if invert {
        data.u32(5, LOOKUP_INVERT);
    }
}

fn encode_refusal(data: &mut Writer, refusal: Refusal) {
    match refusal {
        Refusal::TcpReset => data.u32(1, REJECT_TCP_RESET),
        Refusal::PortUnreachable => {
            data.u32(1, REJECT_ICMPX);
            data.u8(2, ICMPX_PORT_UNREACHABLE);
        }
    }
}

fn encode_nat(data: &mut Writer, kind: NatKind, family: Family, address: Register, port: Option<Register>) {
    numbers(data, &[kind as u32, family as u32, address.number()]);
    if let Some(port) = port {
        data.u32(5, port.number());
    }
}

fn encode_dynset(data: &mut Writer, set: &str, operation: u32, key: Register, value: Option<Register>) {
    data.text(1, set);
    data.u32(3, operation);
    data.u32(4, key.number());
    if let Some(value) = value {
        data.u32(5, value.number());
    }
}
