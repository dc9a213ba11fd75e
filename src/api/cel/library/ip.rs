//! Addresses and networks: `ip('10.0.0.1')`, `cidr('10.0.0.0/8').containsIP('10.0.0.1')`.

use std::{fmt, net::IpAddr};

use super::{Run, native::Native};
use crate::api::cel::{
    error::Failure,
    value::{Outcome, Value},
};

pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    ("ip(string) ip", |values| Ok(Native::Ip(parse_ip(values[0].text()?)?).into())),
    ("isIP(string) bool", |values| Ok(parse_ip(values[0].text()?).is_ok().into())),
    ("ip.isCanonical(string) bool", |values| {
        let text = values[0].text()?;
        Ok((parse_ip(text)?.to_string() == text).into())
    }),
    ("(ip).family() int", |values| Ok(if ip(&values[0])?.is_ipv4() { 4.into() } else { 6.into() })),
    ("(ip).isUnspecified() bool", |values| Ok(ip(&values[0])?.is_unspecified().into())),
    ("(ip).isLoopback() bool", |values| Ok(ip(&values[0])?.is_loopback().into())),
    ("(ip).isLinkLocalMulticast() bool", |values| Ok(is_link_local_multicast(ip(&values[0])?).into())),
    ("(ip).isLinkLocalUnicast() bool", |values| Ok(is_link_local_unicast(ip(&values[0])?).into())),
    ("(ip).isGlobalUnicast() bool", |values| Ok(is_global_unicast(ip(&values[0])?).into())),
    ("cidr(string) cidr", |values| Ok(Native::Cidr(network(values[0].text()?)?).into())),
    ("isCIDR(string) bool", |values| Ok(parse_cidr(values[0].text()?).is_ok().into())),
    ("(cidr).containsIP(string) bool", |values| {
        Ok(cidr(&values[0])?.contains(parse_ip(values[1].text()?)?, None).into())
    }),
    ("(cidr).containsIP(ip) bool", |values| Ok(cidr(&values[0])?.contains(ip(&values[1])?, None).into())),
    ("(cidr).containsCIDR(string) bool", |values| {
        let inner = network(values[1].text()?)?;
        Ok(cidr(&values[0])?.contains(inner.address, Some(inner.bits)).into())
    }),
    ("(cidr).containsCIDR(cidr) bool", |values| {
        let inner = cidr(&values[1])?;
        Ok(cidr(&values[0])?.contains(inner.address, Some(inner.bits)).into())
    }),
    ("(cidr).ip() ip", |values| Ok(Native::Ip(cidr(&values[0])?.address).into())),
    ("(cidr).prefixLength() int", |values| Ok(i64::from(cidr(&values[0])?.bits).into())),
    ("(cidr).masked() cidr", |values| masked(cidr(&values[0])?)),
];

/// A network, with the address as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api::cel) struct Cidr {
    pub address: IpAddr,
    /// The length of its prefix.
    pub bits: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.bits)
    }
}

impl Cidr {
    /// Whether an address, or a network with a prefix of that length, is in it.
    fn contains(self, address: IpAddr, bits: Option<u8>) -> bool {
        let network = ipnet::IpNet::new(self.address, self.bits);
        network.is_ok_and(|network| network.contains(&address)) && bits.is_none_or(|bits| self.bits <= bits)
    }
}

fn ip(value: &Value<'_>) -> Result<IpAddr, Failure> {
    match value.native()? {
        Native::Ip(address) => Ok(*address),
        _ => Err(Failure::no_overload()),
    }
}

fn cidr(value: &Value<'_>) -> Result<Cidr, Failure> {
    match value.native()? {
        Native::Cidr(cidr) => Ok(*cidr),
        _ => Err(Failure::no_overload()),
    }
}

fn parse_ip(text: &str) -> Result<IpAddr, Failure> {
    if text.contains('%') && text.contains(':') {
        return Err(Failure::new(format!("IP address {text:?} with zone value is not allowed")));
    }
    let parsed: Result<IpAddr, _> = text.parse();
    let Ok(address) = parsed else {
        let cause = format!("ParseAddr({text:?}): unable to parse IP");
        return Err(Failure::new(format!("IP Address {text:?} parse error during conversion from string: {cause}")));
    };
    if is_mapped(address) {
        return Err(Failure::new(format!("IPv4-mapped IPv6 address {text:?} is not allowed")));
    }
    Ok(address)
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

fn network(text: &str) -> Result<Cidr, Failure> {
    let wrap = |cause| Failure::new(format!("network address parse error during conversion from string: {cause}"));
    parse_cidr(text).map_err(wrap)
}

fn parse_cidr(text: &str) -> Result<Cidr, String> {
    let broken = |why: &str| {
        format!("network address parse error during conversion from string: netip.ParsePrefix({text:?}): {why}")
    };
    let (address, length) = text.rsplit_once('/').ok_or_else(|| broken("no '/'"))?;
    let address: IpAddr =
        address.parse().map_err(|_| broken(&format!("ParseAddr({address:?}): unable to parse IP")))?;
    let plain = length.bytes().all(|digit| digit.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    let bits = length
        .parse::<u8>()
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| broken(&format!("bad bits after slash: {length:?}")))?;
    if bits > if address.is_ipv4() { 32 } else { 128 } {
        return Err(broken("prefix length out of range"));
    }
    if is_mapped(address) {
        return Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"));
    }
    Ok(Cidr { address, bits })
}

fn masked<'a>(cidr: Cidr) -> Outcome<'a> {
    let network = ipnet::IpNet::new(cidr.address, cidr.bits).map_err(|_| Failure::no_overload())?;
    Ok(Native::Cidr(Cidr { address: network.network(), bits: cidr.bits }).into())
}

fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_global_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(broadcast
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || is_link_local_unicast(address))
}
