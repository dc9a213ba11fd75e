//! The cluster's zone by the Kubernetes DNS specification 1.1.0: which records a name has. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT},
};
use ipnet::IpNet;

use super::index::{EndpointRecord, Entry, Index, Port};

/// Seconds for which answers may be kept, the negative ones too; what CoreDNS gives by default.
pub(super) const TTL_S: u32 = 5;
/// The version of the specification, as `dns-version` gives it.
const SPECIFICATION: &str = "1.1.0";
const SOA_REFRESH_S: i32 = 7200;
const SOA_RETRY_S: i32 = 1800;
const SOA_EXPIRE_S: i32 = 86400;

/// What the zone says to a question.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// These records, and some more that the client will ask for next.
    Records { answers: Vec<Record>, additionals: Vec<Record> },
    /// The name is another name, which may be anywhere.
    Alias { record: Box<Record>, target: Name },
    /// The name exists, without records of this type.
    NoData,
    /// There is no such name.
    NoSuchName,
    /// The name is not in the zone: ask others.
    Elsewhere,
}

/// The names that are answered here: the cluster's domain, and addresses of its networks.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    domain: Name,
    networks: Vec<IpNet>,
}

impl Zone {
    pub(super) fn new(domain: Name, networks: Vec<IpNet>) -> Self {
        Self { domain: domain.to_lowercase(), networks }
    }

    /// Answers a question. `name` may be in any case; records carry it as it was asked.
    pub(super) fn lookup(&self, index: &Index, name: &Name, kind: RecordType) -> Outcome {
        let lower = name.to_lowercase();
        if self.domain.zone_of(&lower) {
            let labels = self.labels_below(&lower);
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            return Question { zone: self, index, name, kind }.in_domain(&labels);
        }
        match reverse_address(&lower) {
            Some(address) => self.reverse(index, name, kind, address),
            None => Outcome::Elsewhere,
        }
    }

    /// The record that goes with negative answers (RFC 2308).
    pub(super) fn authority(&self, asked: &Name) -> Record {
        // Reverse names are answered for the smallest zone that is certainly ours: themselves.
        let owner = if self.domain.zone_of(&asked.to_lowercase()) { &self.domain } else { asked };
        Record::from_rdata(owner.clone(), TTL_S, RData::SOA(self.soa()))
    }

    fn soa(&self) -> SOA {
        let below = |name: &Name, label: &str| name.prepend_label(label).unwrap_or_else(|_| name.clone());
        let server = below(&below(&self.domain, "dns"), "ns");
        let mailbox = below(&self.domain, "hostmaster");
        SOA::new(server, mailbox, 1, SOA_REFRESH_S, SOA_RETRY_S, SOA_EXPIRE_S, TTL_S)
    }

    /// The labels below the domain, the nearest to it first.
    fn labels_below(&self, name: &Name) -> Vec<String> {
        let count = usize::from(name.num_labels().saturating_sub(self.domain.num_labels()));
        let labels: Vec<String> =
            name.iter().take(count).map(|label| String::from_utf8_lossy(label).into_owned()).collect();
        labels.into_iter().rev().collect()
    }

    fn reverse(&self, index: &Index, name: &Name, kind: RecordType, address: IpAddr) -> Outcome {
        let targets: Vec<Name> = index
            .owners(address)
            .flat_map(|((namespace, service), entry)| {
                let labels = endpoint_labels(entry, address);
                labels.into_iter().filter_map(|label| self.service_name(namespace, service, label))
            })
            .collect();
        if targets.is_empty() {
            let ours = self.networks.iter().any(|network| network.contains(&address));
            return if ours { Outcome::NoSuchName } else { Outcome::Elsewhere };
        }
        if !matches!(kind, RecordType::PTR | RecordType::ANY) {
            return Outcome::NoData;
        }
        let record = |target| Record::from_rdata(name.clone(), TTL_S, RData::PTR(PTR(target)));
        Outcome::Records { answers: targets.into_iter().map(record).collect(), additionals: Vec::new() }
    }

    /// `[label.]service.namespace.svc.<domain>`
    fn service_name(&self, namespace: &str, service: &str, label: Option<&str>) -> Option<Name> {
        let below =
            self.domain.prepend_label("svc").ok()?.prepend_label(namespace).ok()?.prepend_label(service).ok()?;
        match label {
            Some(label) => below.prepend_label(label).ok(),
            None => Some(below),
        }
    }
}

struct Question<'a> {
    zone: &'a Zone,
    index: &'a Index,
    name: &'a Name,
    kind: RecordType,
}

impl Question<'_> {
    /// `labels` stand in the order of the tree, from the domain downwards.
    fn in_domain(&self, labels: &[&str]) -> Outcome {
        match labels {
            [] => self.apex(),
            ["dns-version"] => self.answer(RecordType::TXT, vec![RData::TXT(TXT::new(vec![SPECIFICATION.to_owned()]))]),
            ["svc" | "pod" | "dns"] => Outcome::NoData,
            ["dns", "ns"] => Outcome::NoData,
            ["svc", namespace] if self.index.has_namespace(namespace) => Outcome::NoData,
            ["pod", namespace] if self.index.has_namespace(namespace) => Outcome::NoData,
            ["svc", namespace, service, rest @ ..] => match self.index.get(namespace, service) {
                Some(entry) => self.service(namespace, service, entry, rest),
                None => Outcome::NoSuchName,
            },
            ["pod", _, address] => match undashed(address) {
                Some(address) => self.addresses([address].into_iter()),
                None => Outcome::NoSuchName,
            },
            _ => Outcome::NoSuchName,
        }
    }

    fn apex(&self) -> Outcome {
        match self.kind {
            RecordType::SOA => self.answer(RecordType::SOA, vec![RData::SOA(self.zone.soa())]),
            RecordType::NS => self.answer(RecordType::NS, vec![RData::NS(NS(self.zone.soa().mname))]),
            _ => Outcome::NoData,
        }
    }

    fn service(&self, namespace: &str, service: &str, entry: &Entry, rest: &[&str]) -> Outcome {
        match (entry, rest) {
            (Entry::Alias { target }, []) => self.alias(target),
            (Entry::Cluster { addresses, .. }, []) => self.addresses(addresses.iter().copied()),
            (Entry::Headless { endpoints }, []) => self.addresses(endpoints.iter().map(|endpoint| endpoint.address)),
            (Entry::Headless { endpoints }, [label]) if endpoints.iter().any(|endpoint| endpoint.label == *label) => {
                let named = endpoints.iter().filter(|endpoint| endpoint.label == *label);
                self.addresses(named.map(|endpoint| endpoint.address))
            }
            (Entry::Cluster { ports, .. }, [protocol]) => has_protocol(ports.iter(), protocol),
            (Entry::Headless { endpoints }, [protocol]) => {
                has_protocol(endpoints.iter().flat_map(|endpoint| &endpoint.ports), protocol)
            }
            (Entry::Cluster { addresses, ports }, [protocol, port]) => {
                let number = ports.iter().find(|found| matches(found, protocol, port)).map(|found| found.number);
                let target = self.zone.service_name(namespace, service, None);
                self.ports(number.zip(target).into_iter().map(|(number, target)| (number, target, addresses.clone())))
            }
            (Entry::Headless { endpoints }, [protocol, port]) => self.ports(
                endpoints
                    .iter()
                    .filter_map(|endpoint| self.endpoint_port(namespace, service, endpoint, protocol, port)),
            ),
            _ => Outcome::NoSuchName,
        }
    }

    fn endpoint_port(
        &self,
        namespace: &str,
        service: &str,
        endpoint: &EndpointRecord,
        protocol: &str,
        port: &str,
    ) -> Option<(u16, Name, Vec<IpAddr>)> {
        let number = endpoint.ports.iter().find(|found| matches(found, protocol, port))?.number;
        let target = self.zone.service_name(namespace, service, Some(&endpoint.label))?;
        Some((number, target, vec![endpoint.address]))
    }

    /// SRV records, with the addresses of their targets beside them.
    fn ports(&self, ports: impl Iterator<Item = (u16, Name, Vec<IpAddr>)>) -> Outcome {
        let (mut answers, mut additionals) = (Vec::new(), Vec::new());
        for (number, target, addresses) in ports {
            additionals
                .extend(addresses.into_iter().map(|address| Record::from_rdata(target.clone(), TTL_S, data(address))));
            let srv = SRV::new(0, 100, number, target);
            answers.push(Record::from_rdata(self.name.clone(), TTL_S, RData::SRV(srv)));
        }
        match self.kind {
            _ if answers.is_empty() => Outcome::NoSuchName,
            RecordType::SRV | RecordType::ANY => Outcome::Records { answers, additionals },
            _ => Outcome::NoData,
        }
    }

    fn alias(&self, target: &str) -> Outcome {
        let Ok(target) = Name::from_ascii(format!("{}.", target.trim_end_matches('.'))) else { return Outcome::NoData };
        let record = Record::from_rdata(self.name.clone(), TTL_S, RData::CNAME(CNAME(target.clone())));
        Outcome::Alias { record: Box::new(record), target }
    }

    fn addresses(&self, addresses: impl Iterator<Item = IpAddr>) -> Outcome {
        let wanted = |address: &IpAddr| match self.kind {
            RecordType::A => address.is_ipv4(),
            RecordType::AAAA => address.is_ipv6(),
            kind => kind == RecordType::ANY,
        };
        let mut any = false;
        let data: Vec<RData> = addresses.inspect(|_| any = true).filter(wanted).map(data).collect();
        match (any, data.is_empty()) {
            // As with CoreDNS, a headless service without endpoints is no name at all.
            (false, _) => Outcome::NoSuchName,
            (true, true) => Outcome::NoData,
            (true, false) => self.records(data),
        }
    }

    fn answer(&self, kind: RecordType, data: Vec<RData>) -> Outcome {
        if self.kind == kind || self.kind == RecordType::ANY { self.records(data) } else { Outcome::NoData }
    }

    fn records(&self, data: Vec<RData>) -> Outcome {
        let answers = data.into_iter().map(|data| Record::from_rdata(self.name.clone(), TTL_S, data)).collect();
        Outcome::Records { answers, additionals: Vec::new() }
    }
}

fn data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// Whether a port is `_port._protocol`; service names begin with an underscore (RFC 2782).
fn matches(port: &Port, protocol: &str, name: &str) -> bool {
    protocol.strip_prefix('_') == Some(port.protocol.as_str())
        && name.strip_prefix('_').is_some_and(|name| name.eq_ignore_ascii_case(&port.name))
}

/// `_tcp` above named TCP ports is a name without records.
fn has_protocol<'a>(mut ports: impl Iterator<Item = &'a Port>, protocol: &str) -> Outcome {
    let exists = ports.any(|port| protocol.strip_prefix('_') == Some(port.protocol.as_str()));
    if exists { Outcome::NoData } else { Outcome::NoSuchName }
}

/// The labels under which an entry has an address; `None` stands for the service itself.
fn endpoint_labels(entry: &Entry, address: IpAddr) -> Vec<Option<&str>> {
    match entry {
        Entry::Cluster { .. } => vec![None],
        Entry::Headless { endpoints } => {
            endpoints.iter().filter(|endpoint| endpoint.address == address).map(|e| Some(e.label.as_str())).collect()
        }
        Entry::Alias { .. } => Vec::new(),
    }
}

/// `10-42-0-5` or `fd00--5` as an address.
fn undashed(label: &str) -> Option<IpAddr> {
    let ipv4 = label.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::V4);
    ipv4.or_else(|_| label.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::V6)).ok()
}

/// The address of a whole reverse name; parts of addresses are not answered here.
fn reverse_address(name: &Name) -> Option<IpAddr> {
    let labels: Option<Vec<&str>> = name.iter().map(|label| std::str::from_utf8(label).ok()).collect();
    let labels = labels?;
    match labels.as_slice() {
        [d, c, b, a, "in-addr", "arpa"] => format!("{a}.{b}.{c}.{d}").parse().ok().map(IpAddr::V4),
        [nibbles @ .., "ip6", "arpa"] if nibbles.len() == 32 => {
            let value = nibbles.iter().rev().try_fold(0u128, |value, nibble| {
                let digit = u128::from_str_radix(nibble, 16).ok().filter(|_| nibble.len() == 1)?;
                Some(value << 4 | digit)
            });
            value.map(|value| IpAddr::V6(value.into()))
        }
        _ => None,
    }
}
