//! The socket that carries batches to nf_tables and reads tables back. A batch is one datagram: the
//! kernel works it off while it is being sent, so answers are there when sending returns.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
    sockopt,
};

use super::{
    Dump, Error, Nftables,
    attribute::{Reader, Writer, find, find_text},
    batch::{Batch, Message},
};

/// The running kernel, in the network namespace of the thread that calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const GET_CHAIN: u16 = 4;
const GET_RULE: u16 = 7;
const GET_SET: u16 = 10;
const GET_ELEMENTS: u16 = 13;
const FAMILY_UNSPECIFIED: u8 = 0;
const FAMILY_INET: u8 = 1;
const HEADER_LEN: usize = 16;
const GENERIC_LEN: usize = 4;
/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
pub(super) const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const ACK: u16 = libc::NLM_F_ACK as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;
/// The kernel refuses datagrams longer than the send buffer less some bookkeeping.
const SEND_BUFFER_SLACK: usize = 4096;
const RECEIVE_BUFFER: usize = 64 << 10;
/// Number of the first real message; the begin marker has the one before.
const FIRST_SEQUENCE: u32 = 1;

impl Nftables for Kernel {
    fn commit(&self, batch: &Batch) -> Result<(), Error> {
        let messages = batch.messages();
        if messages.is_empty() {
            return Ok(());
        }
        let datagram = datagram(&messages);
        let socket = open()?;
        setsockopt(&socket, sockopt::SndBufForce, &(datagram.len() + SEND_BUFFER_SLACK))
            .map_err(|source| Error::Socket { action: "enlarge the send buffer of", source })?;
        send_all(&socket, &datagram)?;
        read_answers(&socket, batch, &messages)
    }

    fn dump(&self, table: &str) -> Result<Option<Dump>, Error> {
        let socket = open()?;
        let chains = chains(&socket, table)?;
        let sets = names(&socket, GET_SET, table)?;
        if chains.is_empty() && sets.is_empty() {
            return Ok(None);
        }
        let mut dump = Dump { chains, sets: BTreeMap::new() };
        for set in sets {
            let elements = elements(&socket, table, &set)?;
            dump.sets.insert(set, elements);
        }
        Ok(Some(dump))
    }
}

pub(super) fn open() -> Result<OwnedFd, Error> {
    let error = |source| Error::Socket { action: "open", source };
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)
        .map_err(error)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(error)?;
    Ok(socket)
}

fn datagram(messages: &[Message]) -> Vec<u8> {
    let mut writer = Writer::default();
    let marker = u16::to_be(SUBSYSTEM);
    message(&mut writer, BATCH_BEGIN, REQUEST, 0, FAMILY_UNSPECIFIED, marker, &[]);
    let mut sequence = FIRST_SEQUENCE;
    for (index, part) in messages.iter().enumerate() {
        let ack = if index + 1 == messages.len() { ACK } else { 0 };
        let kind = SUBSYSTEM << 8 | part.kind;
        message(&mut writer, kind, REQUEST | ack | part.flags, sequence, FAMILY_INET, 0, &part.attributes);
        sequence += 1;
    }
    message(&mut writer, BATCH_END, REQUEST, sequence, FAMILY_UNSPECIFIED, marker, &[]);
    writer.into_bytes()
}

pub(super) fn message(
    writer: &mut Writer,
    kind: u16,
    flags: u16,
    sequence: u32,
    family: u8,
    resource: u16,
    attributes: &[u8],
) {
    let start = writer.len();
    writer.raw(&0u32.to_ne_bytes());
    writer.raw(&kind.to_ne_bytes());
    writer.raw(&flags.to_ne_bytes());
    writer.raw(&sequence.to_ne_bytes());
    writer.raw(&0u32.to_ne_bytes());
    writer.raw(&[family, 0]);
    writer.raw(&resource.to_ne_bytes());
    writer.raw(attributes);
    let len = u32::try_from(writer.len() - start).expect("messages are kept below 64 KiB each");
    writer.overwrite(start, &len.to_ne_bytes());
}

/// Reads until the last message is acknowledged. An error names the command that the kernel
/// refused; one without a message of ours is about the batch as a whole.
fn read_answers(socket: &OwnedFd, batch: &Batch, messages: &[Message]) -> Result<(), Error> {
    let last = u32::try_from(messages.len()).unwrap_or(u32::MAX);
    let mut buffer = vec![0; RECEIVE_BUFFER];
    loop {
        let len = receive(socket, &mut buffer)?;
        for answer in Answers(&buffer[..len]) {
            if answer.kind != ERROR {
                continue;
            }
            let code = answer.error_code();
            if code != 0 {
                let position = answer.sequence.checked_sub(FIRST_SEQUENCE).and_then(|at| messages.get(at as usize));
                let object =
                    position.map_or_else(|| "commit".to_owned(), |found| batch.commands[found.command].to_string());
                return Err(Error::Refused { object, source: nix::errno::Errno::from_raw(-code) });
            }
            if answer.sequence == last {
                return Ok(());
            }
        }
    }
}

pub(super) fn send_all(socket: &OwnedFd, datagram: &[u8]) -> Result<(), Error> {
    let sent = send(socket.as_raw_fd(), datagram, MsgFlags::empty());
    sent.map(|_| ()).map_err(|source| Error::Socket { action: "send to", source })
}

pub(super) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Error> {
    loop {
        // Everything is queued before sending returns: an empty queue is a lost answer, not a wait.
        match recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Err(nix::errno::Errno::EINTR) => {}
            result => return result.map_err(|source| Error::Socket { action: "receive from", source }),
        }
    }
}

struct Answer<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

impl Answer<'_> {
    fn error_code(&self) -> i32 {
        self.body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes)
    }

    fn attributes(&self) -> &[u8] {
        self.body.get(GENERIC_LEN..).unwrap_or_default()
    }
}

struct Answers<'a>(&'a [u8]);

impl<'a> Iterator for Answers<'a> {
    type Item = Answer<'a>;

    fn next(&mut self) -> Option<Answer<'a>> {
        let len = u32::from_ne_bytes(self.0.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(self.0.get(4..6)?.try_into().ok()?);
        let sequence = u32::from_ne_bytes(self.0.get(8..12)?.try_into().ok()?);
        let body = self.0.get(HEADER_LEN..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Answer { kind, sequence, body })
    }
}

/// Asks for all objects of one kind; calls `each` with the attributes of each.
pub(super) fn query(
    socket: &OwnedFd,
    kind: u16,
    family: u8,
    attributes: &[u8],
    mut each: impl FnMut(&[u8]),
) -> Result<(), Error> {
    let mut writer = Writer::default();
    message(&mut writer, kind, REQUEST | DUMP, 0, family, 0, attributes);
    send_all(socket, &writer.into_bytes())?;
    let mut buffer = vec![0; RECEIVE_BUFFER];
    loop {
        let len = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())
            .map_err(|source| Error::Socket { action: "receive from", source })?;
        for answer in Answers(&buffer[..len]) {
            match answer.kind {
                DONE => return Ok(()),
                ERROR if answer.error_code() == -libc::ENOENT => return Ok(()),
                ERROR => {
                    let source = nix::errno::Errno::from_raw(-answer.error_code());
                    return Err(Error::Refused { object: "list".to_owned(), source });
                }
                _ => each(answer.attributes()),
            }
        }
    }
}

fn names(socket: &OwnedFd, kind: u16, table: &str) -> Result<Vec<String>, Error> {
    let name_attribute = if kind == GET_CHAIN { 3 } else { 2 };
    let mut names = Vec::new();
    query(socket, SUBSYSTEM << 8 | kind, FAMILY_INET, &[], |attributes| {
        if find_text(attributes, 1).as_deref() == Some(table) {
            names.extend(find_text(attributes, name_attribute));
        }
    })?;
    Ok(names)
}

fn chains(socket: &OwnedFd, table: &str) -> Result<BTreeMap<String, Vec<Vec<u8>>>, Error> {
    let mut chains: BTreeMap<String, Vec<Vec<u8>>> =
        names(socket, GET_CHAIN, table)?.into_iter().map(|name| (name, Vec::new())).collect();
    query(socket, SUBSYSTEM << 8 | GET_RULE, FAMILY_INET, &[], |attributes| {
        let chain = find_text(attributes, 2).unwrap_or_default();
        if find_text(attributes, 1).as_deref() == Some(table)
            && let Some(rules) = chains.get_mut(&chain)
        {
            rules.push(find(attributes, 4).unwrap_or_default().to_vec());
        }
    })?;
    Ok(chains)
}

fn elements(socket: &OwnedFd, table: &str, set: &str) -> Result<BTreeSet<Vec<u8>>, Error> {
    let mut writer = Writer::default();
    writer.text(1, table);
    writer.text(2, set);
    let mut elements = BTreeSet::new();
    query(socket, SUBSYSTEM << 8 | GET_ELEMENTS, FAMILY_INET, &writer.into_bytes(), |attributes| {
        for (_, element) in Reader(find(attributes, 3).unwrap_or_default()) {
            let mut bytes = find(element, 1).unwrap_or_default().to_vec();
            bytes.extend_from_slice(find(element, 2).unwrap_or_default());
            elements.insert(bytes);
        }
    })?;
    Ok(elements)
}
