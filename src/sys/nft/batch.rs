//! What can be asked of nf_tables: tables, chains, rules, sets and their elements, collected into a
//! batch that the kernel applies as a whole or not at all.

use std::{fmt, time::Duration};

use super::{attribute::Writer, expression::Expression};

/// Commands that take effect together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In the order in which the kernel looks at them.
    pub commands: Vec<Command>,
}

/// One command. All tables are of the `inet` family.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the names that nf_tables uses")]
pub enum Command {
    /// Creates a table; no error if it exists.
    AddTable { table: String },
    /// Deletes a table with all that is in it; an error if it does not exist.
    DeleteTable { table: String },
    /// Creates a chain; no error if it exists.
    AddChain { table: String, chain: String, hook: Option<Hook> },
    /// Deletes a chain and its rules; an error while something jumps to it.
    DeleteChain { table: String, chain: String },
    /// Deletes the rules of a chain.
    FlushChain { table: String, chain: String },
    /// Appends a rule.
    AddRule { table: String, chain: String, rule: Vec<Expression> },
    /// Creates a set or map; no error if it exists as it is.
    AddSet { table: String, set: Set },
    /// Adds elements.
    AddElements { table: String, set: String, elements: Vec<Element> },
    /// Removes elements; only their keys count.
    DeleteElements { table: String, set: String, elements: Vec<Element> },
}

/// Where a base chain hooks into the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// Filter or address translation.
    pub kind: HookKind,
    /// The point in a packet's way.
    pub point: HookPoint,
    /// Order among the chains of one point; lower comes first.
    pub priority: i32,
}

/// What a base chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookKind {
    /// Every packet.
    Filter,
    /// The first packet of each connection; may translate addresses.
    Nat,
}

/// `NF_INET_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPoint {
    /// As it comes in, before routing.
    Prerouting = 0,
    /// To the host itself.
    Input = 1,
    /// Through the host.
    Forward = 2,
    /// From the host itself.
    Output = 3,
    /// As it goes out.
    Postrouting = 4,
}

/// A field of a set's key or value: its length, and its type for listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// `IPPROTO_*`, 1 byte.
    Protocol,
    /// A port.
    Port,
    /// 4 bytes in host order.
    Number,
    /// An interface's name, 16 bytes.
    Interface,
}

impl Field {
    /// Bytes in the registers: a multiple of 4.
    pub fn padded_len(self) -> u32 {
        match self {
            Self::Ipv4 | Self::Protocol | Self::Port | Self::Number => 4,
            Self::Ipv6 | Self::Interface => 16,
        }
    }

    /// The number under which the `nft` program knows the type.
    fn display_type(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Number => 19,
            Self::Interface => 41,
        }
    }
}

/// What a map's keys lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapTo {
    /// Nothing: it is a plain set.
    Nothing,
    /// A verdict.
    Verdict,
    /// Data of these fields.
    Data(Vec<Field>),
}

/// A named set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name in the table.
    pub name: String,
    /// The fields of the key, each padded to 4 bytes.
    pub key: Vec<Field>,
    /// The value.
    pub value: MapTo,
    /// Filled by [`Expression::Update`] with elements that time out; holds at most so many.
    pub dynamic_limit: Option<u32>,
}

/// An element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    /// The concatenated key.
    pub key: Vec<u8>,
    /// What it leads to.
    pub value: Value,
    /// When it goes away by itself.
    pub timeout: Option<Duration>,
}

/// The value of an element.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Of a plain set.
    Nothing,
    /// Of a verdict map.
    Verdict(Verdict),
    /// Of any other map.
    Data(Vec<u8>),
}

/// What happens to a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Leaves the base chain.
    Accept,
    /// Is gone.
    Drop,
    /// Goes back to the calling chain.
    Return,
    /// Goes through a chain and comes back.
    Jump(String),
    /// Goes through a chain and does not come back to this one.
    Goto(String),
}

const VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
/// `NFT_JUMP`, `NFT_GOTO`, `NFT_RETURN`: negative numbers in 32 bits.
const JUMP: u32 = -3i32 as u32;
const GOTO: u32 = -4i32 as u32;
const RETURN: u32 = -5i32 as u32;

impl Verdict {
    pub(super) fn encode(&self, data: &mut Writer) {
        let (code, chain) = match self {
            Self::Drop => (0, None),
            Self::Accept => (1, None),
            Self::Return => (RETURN, None),
            Self::Jump(chain) => (JUMP, Some(chain)),
            Self::Goto(chain) => (GOTO, Some(chain)),
        };
        data.nested(VERDICT, |verdict| {
            verdict.u32(VERDICT_CODE, code);
            if let Some(chain) = chain {
                verdict.text(VERDICT_CHAIN, chain);
            }
        });
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddTable { table } => write!(f, "add table {table}"),
            Self::DeleteTable { table } => write!(f, "delete table {table}"),
            Self::AddChain { table, chain, .. } => write!(f, "add chain {table} {chain}"),
            Self::DeleteChain { table, chain } => write!(f, "delete chain {table} {chain}"),
            Self::FlushChain { table, chain } => write!(f, "flush chain {table} {chain}"),
            Self::AddRule { table, chain, .. } => write!(f, "add rule {table} {chain}"),
            Self::AddSet { table, set } => write!(f, "add set {table} {}", set.name),
            Self::AddElements { table, set, .. } => write!(f, "add element {table} {set}"),
            Self::DeleteElements { table, set, .. } => write!(f, "delete element {table} {set}"),
        }
    }
}

/// One netlink message of a batch.
pub(super) struct Message {
    /// `NFT_MSG_*`
    pub(super) kind: u16,
    /// `NLM_F_CREATE` and others, beside the request flag.
    pub(super) flags: u16,
    pub(super) attributes: Vec<u8>,
    /// Index of the command it belongs to.
    pub(super) command: usize,
}

const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;
const CREATE: u16 = libc::NLM_F_CREATE as u16;
const APPEND: u16 = libc::NLM_F_APPEND as u16;
/// Elements are one attribute, whose length is 16 bits: long lists are split.
const ELEMENTS_PER_MESSAGE: usize = 200;

impl Batch {
    /// Adds a command.
    pub fn push(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub(super) fn messages(&self) -> Vec<Message> {
        let mut messages = Vec::with_capacity(self.commands.len());
        for (index, command) in self.commands.iter().enumerate() {
            command.encode(index, &mut messages);
        }
        messages
    }
}

impl Command {
    fn encode(&self, command: usize, messages: &mut Vec<Message>) {
        let mut push = |kind, flags, write: &dyn Fn(&mut Writer)| {
            let mut writer = Writer::default();
            write(&mut writer);
            messages.push(Message { kind, flags, attributes: writer.into_bytes(), command });
        };
        match self {
            Self::AddTable { table } => push(NEW_TABLE, CREATE, &|w| w.text(1, table)),
            Self::DeleteTable { table } => push(DELETE_TABLE, 0, &|w| w.text(1, table)),
            Self::AddChain { table, chain, hook } => push(NEW_CHAIN, CREATE, &|w| encode_chain(w, table, chain, *hook)),
            Self::DeleteChain { table, chain } => push(DELETE_CHAIN, 0, &|w| encode_chain(w, table, chain, None)),
            Self::FlushChain { table, chain } => push(DELETE_RULE, 0, &|w| {
                w.text(1, table);
                w.text(2, chain);
            }),
            Self::AddRule { table, chain, rule } => {
                push(NEW_RULE, CREATE | APPEND, &|w| encode_rule(w, table, chain, rule));
            }
            Self::AddSet { table, set } => {
                let id = u32::try_from(command).unwrap_or(u32::MAX);
                push(NEW_SET, CREATE, &|w| encode_set(w, table, set, id));
            }
            Self::AddElements { table, set, elements } => {
                for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
                    push(NEW_ELEMENTS, CREATE, &|w| encode_elements(w, table, set, chunk, true));
                }
            }
            Self::DeleteElements { table, set, elements } => {
                for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
                    push(DELETE_ELEMENTS, 0, &|w| encode_elements(w, table, set, chunk, false));
                }
            }
        }
    }
}

fn encode_chain(w: &mut Writer, table: &str, chain: &str, hook: Option<Hook>) {
    w.text(1, table);
    w.text(3, chain);
    let Some(hook) = hook else { return };
    w.nested(4, |inside| {
        inside.u32(1, hook.point as u32);
        inside.bytes(2, &hook.priority.to_be_bytes());
    });
    w.text(
        7,
        match hook.kind {
            HookKind::Filter => "filter",
            HookKind::Nat => "nat",
        },
    );
}

fn encode_rule(w: &mut Writer, table: &str, chain: &str, rule: &[Expression]) {
    w.text(1, table);
    w.text(2, chain);
    w.nested(4, |list| rule.iter().for_each(|expression| expression.encode(list)));
}

const SET_MAP: u32 = 0x8;
const SET_TIMEOUT: u32 = 0x10;
const SET_EVAL: u32 = 0x20;
/// `NFT_DATA_VERDICT`
const VERDICT_TYPE: u32 = 0xffff_ff00;

fn encode_set(w: &mut Writer, table: &str, set: &Set, id: u32) {
    w.text(1, table);
    w.text(2, &set.name);
    let map = if set.value == MapTo::Nothing { 0 } else { SET_MAP };
    let dynamic = if set.dynamic_limit.is_some() { SET_TIMEOUT | SET_EVAL } else { 0 };
    w.u32(3, map | dynamic);
    w.u32(4, display_type(&set.key));
    w.u32(5, padded_len(&set.key));
    match &set.value {
        MapTo::Nothing => {}
        MapTo::Verdict => {
            w.u32(6, VERDICT_TYPE);
            w.u32(7, 0);
        }
        MapTo::Data(fields) => {
            w.u32(6, display_type(fields));
            w.u32(7, padded_len(fields));
        }
    }
    if let Some(limit) = set.dynamic_limit {
        w.nested(9, |description| description.u32(1, limit));
    }
    w.u32(10, id);
}

fn padded_len(fields: &[Field]) -> u32 {
    fields.iter().map(|field| field.padded_len()).sum()
}

/// Concatenated types take 6 bits each.
fn display_type(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |sum, field| sum << 6 | field.display_type())
}

fn encode_elements(w: &mut Writer, table: &str, set: &str, elements: &[Element], with_values: bool) {
    w.text(1, table);
    w.text(2, set);
    w.nested(3, |list| {
        for element in elements {
            list.nested(1, |inside| encode_element(inside, element, with_values));
        }
    });
}

fn encode_element(w: &mut Writer, element: &Element, with_value: bool) {
    w.nested(1, |key| key.bytes(1, &element.key));
    if !with_value {
        return;
    }
    match &element.value {
        Value::Nothing => {}
        Value::Verdict(verdict) => w.nested(2, |data| verdict.encode(data)),
        Value::Data(value) => w.nested(2, |data| data.bytes(1, value)),
    }
    if let Some(timeout) = element.timeout {
        w.u64(4, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    }
}
