//! Ports, addresses and CIDRs.

use std::net::IpAddr;

use super::{between, too_long_name};
use crate::api::field::Path;

const PORT_NAME_LIMIT_BYTES: usize = 15;

/// A port number, 1 to 65535.
pub fn port(number: i64) -> Vec<String> {
    if (1..=65535).contains(&number) { Vec::new() } else { vec![between(1, 65535)] }
}

/// An IANA service name (RFC 6335), as ports of containers are called.
pub fn port_name(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if name.len() > PORT_NAME_LIMIT_BYTES {
        problems.push(too_long_name(PORT_NAME_LIMIT_BYTES));
    }
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || !name.bytes().all(legal) {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)".into());
    }
    if name.contains("--") {
        problems.push("must not contain consecutive hyphens".into());
    }
    if name.starts_with('-') || name.ends_with('-') {
        problems.push("must not begin or end with a hyphen".into());
    }
    problems
}

/// An IPv4 or IPv6 address.
pub fn ip(value: &str) -> Vec<String> {
    if value.parse::<IpAddr>().is_ok() {
        return Vec::new();
    }
    vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()]
}

/// A warning about an address that is valid but not written as addresses are.
pub fn ip_warning(value: &str, path: &Path) -> Option<String> {
    let IpAddr::V6(address) = value.parse().ok()? else { return None };
    if let Some(mapped) = address.to_ipv4_mapped() {
        return Some(format!("{path}: non-standard IP address {value:?} is invalid: use \"{mapped}\""));
    }
    let canonical = address.to_string();
    (canonical != value)
        .then(|| format!("{path}: IPv6 address {value:?} should be in RFC 5952 canonical format ({canonical:?})"))
}

/// A warning about a network that is valid but not written as networks are.
pub fn cidr_warning(value: &str, path: &Path) -> Option<String> {
    let network: ipnet::IpNet = value.parse().ok()?;
    let (whole, one) = (network.trunc(), ipnet::IpNet::from(network.addr()));
    if network.addr() != whole.addr() {
        let either = format!("should be \"{whole}\" or \"{one}\"?");
        return Some(format!("{path}: CIDR value {value:?} is ambiguous in this context ({either})"));
    }
    let canonical = whole.to_string();
    (network.addr().is_ipv6() && canonical != value)
        .then(|| format!("{path}: IPv6 CIDR value {value:?} should be in RFC 5952 canonical format ({canonical:?})"))
}

/// An IPv4 or IPv6 network, `10.0.0.0/8`.
pub fn cidr(value: &str) -> Vec<String> {
    if value.parse::<ipnet::IpNet>().is_ok() {
        return Vec::new();
    }
    vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_in_range_and_named_after_services() {
        assert!(port(1).is_empty() && port(65535).is_empty());
        assert_eq!(port(0), ["must be between 1 and 65535, inclusive"]);
        assert!(port_name("http-2").is_empty());
        assert_eq!(port_name("80"), ["must contain at least one letter (a-z)"]);
        assert_eq!(port_name("a--b"), ["must not contain consecutive hyphens"]);
    }

    #[test]
    fn networks_are_warned_of_by_how_they_are_written() {
        let path = Path::new("a");
        assert_eq!(cidr_warning("10.0.0.0/8", &path), None);
        assert_eq!(
            cidr_warning("10.0.0.1/8", &path).unwrap(),
            "a: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)"
        );
        assert!(cidr_warning("2001:DB8::/64", &path).unwrap().ends_with("canonical format (\"2001:db8::/64\")"));
    }

    #[test]
    fn addresses_of_both_families() {
        assert!(ip("10.0.0.1").is_empty() && ip("fd00::1").is_empty() && cidr("fd00::/64").is_empty());
        assert_eq!(ip("10.0.0").len(), 1);
        assert_eq!(cidr("10.0.0.0").len(), 1);
    }
}
