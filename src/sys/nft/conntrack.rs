//! Connection tracking entries over netlink (`nfnetlink_conntrack`): listed, and deleted where a
//! translation that was decided once has become wrong. Only connectionless protocols need it: a TCP
//! client notices by itself.

use std::net::{IpAddr, SocketAddr};

use super::{
    Error, Family,
    attribute::{Writer, find},
    kernel::{REQUEST, message, open, query, receive, send_all},
};

/// One tracked flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// IPv4 or IPv6.
    pub family: Family,
    /// `IPPROTO_*`
    pub protocol: u8,
    /// Where the client sent its packets to.
    pub destination: SocketAddr,
    /// Who answers: the destination after translation.
    pub answering: SocketAddr,
    /// The client's side of the flow, as the kernel encodes it; names the flow in a deletion.
    original: Vec<u8>,
}

/// `NFNL_SUBSYS_CTNETLINK`
const SUBSYSTEM: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const ACK: u16 = libc::NLM_F_ACK as u16;

/// The flows of one family that `wanted` picks. Costs reading all of them.
pub fn flows(family: Family, wanted: impl Fn(&Flow) -> bool) -> Result<Vec<Flow>, Error> {
    let socket = open()?;
    let mut flows = Vec::new();
    query(&socket, SUBSYSTEM << 8 | GET, family as u8, &[], |attributes| {
        flows.extend(flow(family, attributes).filter(|flow| wanted(flow)));
    })?;
    Ok(flows)
}

/// Forgets flows, so that their next packet is looked at anew. One that is gone is no error.
pub fn forget(flows: &[Flow]) -> Result<(), Error> {
    if flows.is_empty() {
        return Ok(());
    }
    let socket = open()?;
    let mut buffer = vec![0; 4096];
    for flow in flows {
        let mut attributes = Writer::default();
        attributes.nested(TUPLE_ORIGINAL, |tuple| tuple.raw(&flow.original));
        let mut writer = Writer::default();
        let kind = SUBSYSTEM << 8 | DELETE;
        message(&mut writer, kind, REQUEST | ACK, 1, flow.family as u8, 0, &attributes.into_bytes());
        send_all(&socket, &writer.into_bytes())?;
        // The answer says "done" or "no such flow".
        receive(&socket, &mut buffer)?;
    }
    Ok(())
}

fn flow(family: Family, attributes: &[u8]) -> Option<Flow> {
    let (original, reply) = (find(attributes, TUPLE_ORIGINAL)?, find(attributes, TUPLE_REPLY)?);
    let protocol = *find(find(original, TUPLE_PROTOCOL)?, 1)?.first()?;
    // The original's destination, and the reply's source.
    let destination = SocketAddr::new(address(family, original, 1)?, port(original, 3)?);
    let answering = SocketAddr::new(address(family, reply, 0)?, port(reply, 2)?);
    Some(Flow { family, protocol, destination, answering, original: original.to_vec() })
}

/// `CTA_IP_V4_SRC` is 1, `_DST` 2; `CTA_IP_V6_SRC` is 3, `_DST` 4.
fn address(family: Family, tuple: &[u8], destination: u16) -> Option<IpAddr> {
    let addresses = find(tuple, TUPLE_IP)?;
    match family {
        Family::Ipv4 => <[u8; 4]>::try_from(find(addresses, 1 + destination)?).ok().map(IpAddr::from),
        Family::Ipv6 => <[u8; 16]>::try_from(find(addresses, 3 + destination)?).ok().map(IpAddr::from),
    }
}

fn port(tuple: &[u8], kind: u16) -> Option<u16> {
    Some(u16::from_be_bytes(find(find(tuple, TUPLE_PROTOCOL)?, kind)?.try_into().ok()?))
}
