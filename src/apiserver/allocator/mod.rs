//! Gives services their cluster addresses and node ports. The sets live in memory: they are rebuilt
//! from the stored services at start, and one lock makes each allocation atomic, so two services
//! never get the same address. A write that fails, or drops something, gives it back.

pub mod addresses;
pub mod families;
pub mod networks;
pub mod range;

use std::{collections::BTreeSet, net::IpAddr, ops::RangeInclusive};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use parking_lot::Mutex;
use serde_json::{Value, json};

use self::{
    networks::Networks,
    range::{Band, Error, Range},
};
use crate::{
    api::{
        Status,
        field::{self, Path},
        kind::GroupResource,
        kinds::service::{self, facts},
        status::Cause,
    },
    apiserver::reader::Reader,
};

/// The resource whose objects hold what is allocated.
const SERVICES: GroupResource<'static> = GroupResource { group: "", resource: "services" };

/// Service addresses and node ports of the cluster.
#[derive(Debug)]
pub struct Allocator {
    ports: RangeInclusive<u16>,
    state: Mutex<State>,
}

/// What is taken, of the networks and among the ports.
#[derive(Debug)]
struct State {
    networks: Networks,
    addresses: BTreeSet<IpAddr>,
    ports: Range,
}

impl Allocator {
    /// Nothing is allocated. `networks` holds one network, or one of each family, the default first.
    pub fn new(networks: &[IpNet], ports: RangeInclusive<u16>) -> Self {
        let size = u32::try_from(ports.len()).unwrap_or_default();
        let (networks, addresses) = (Networks::new(networks), BTreeSet::new());
        Self { ports, state: Mutex::new(State { networks, addresses, ports: Range::new(Band::of_ports(size)) }) }
    }

    /// Forgets everything and takes what the stored services hold. Returns what two services claim,
    /// or what lies outside the ranges: those services keep it, but an operator should know.
    pub fn rebuild(&self, reader: &dyn Reader) -> Vec<String> {
        let mut state = self.state.lock();
        state.networks.read(reader);
        state.addresses.clear();
        state.ports.clear();
        let mut conflicts = Vec::new();
        for service in
            reader.list(SERVICES, None).iter().filter_map(|bytes| serde_json::from_slice::<Service>(bytes).ok())
        {
            let spec = service.spec.unwrap_or_default();
            for address in facts::cluster_ips(&spec) {
                if !state.addresses.insert(address) {
                    conflicts.push(format!("service address {address} is {}", Error::Taken));
                } else if !state.contains(address) {
                    conflicts.push(format!("service address {address} is {}", Error::OutOfRange));
                }
            }
            for port in numbers(&spec) {
                if let Err(error) = self.take_port(&mut state, port) {
                    conflicts.push(format!("node port {port} is {error}"));
                }
            }
        }
        conflicts
    }

    /// Completes a service that is about to be written: address families, cluster addresses, node
    /// ports. `old` is the stored service on an update: what it holds is not taken again. Errors
    /// with 422 in upstream's words when something asked for cannot be had; nothing is taken then.
    pub fn allocate(&self, service: &mut Value, old: Option<&Value>, reader: &dyn Reader) -> Result<(), Status> {
        let name = service["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let mut spec = spec_of(service)?;
        let held = old.map(spec_of).transpose()?.unwrap_or_default();
        let before = spec.clone();
        let mut taken = Taken::default();
        let mut state = self.state.lock();
        state.networks.read(reader);
        let outcome = self.complete(&mut state, &mut spec, &held, &mut taken);
        if let Err(failure) = outcome {
            self.give_back(&mut state, taken);
            return Err(failure.into_status(&name));
        }
        drop(state);
        if spec != before {
            service["spec"] = serde_json::to_value(spec).map_err(Status::internal)?;
        }
        Ok(())
    }

    /// Gives back what `gone` holds and `kept` does not. After a delete, `kept` is `None`; after an
    /// update, `gone` is the old and `kept` the new service; after an update that failed, the other
    /// way round; after a failed create, `gone` is the service and `kept` is `None`.
    pub fn release(&self, gone: &Value, kept: Option<&Value>) {
        let gone = spec_of(gone).unwrap_or_default();
        let kept = kept.and_then(|kept| spec_of(kept).ok()).unwrap_or_default();
        let (addresses, ports) = (facts::cluster_ips(&kept), numbers(&kept));
        let taken = Taken {
            addresses: facts::cluster_ips(&gone).into_iter().filter(|address| !addresses.contains(address)).collect(),
            ports: numbers(&gone).into_iter().filter(|port| !ports.contains(port)).collect(),
        };
        self.give_back(&mut self.state.lock(), taken);
    }

    fn complete(
        &self,
        state: &mut State,
        spec: &mut ServiceSpec,
        held: &ServiceSpec,
        taken: &mut Taken,
    ) -> Result<(), Failure> {
        if facts::has_cluster_address(spec) {
            let configured: Vec<&str> =
                state.networks.configured().iter().map(|network| facts::family(network.addr())).collect();
            let causes = service::addresses::validate(spec);
            let causes = if causes.is_empty() { families::complete(spec, &configured) } else { causes };
            if !causes.is_empty() {
                return Err(Failure::Invalid(causes));
            }
            if !facts::is_headless(spec) {
                allocate_addresses(state, spec, held, taken)?;
            }
        }
        self.allocate_ports(state, spec, held, taken)
    }

    fn allocate_ports(
        &self,
        state: &mut State,
        spec: &mut ServiceSpec,
        held: &ServiceSpec,
        taken: &mut Taken,
    ) -> Result<(), Failure> {
        let wanted = facts::needs_node_ports(spec);
        let requested: Vec<i32> = spec.ports.iter().flatten().map(|port| port.node_port.unwrap_or_default()).collect();
        let before = numbers(held);
        for (index, port) in requested.iter().enumerate().filter(|(_, port)| **port != 0) {
            let path = Path::new("spec").child("ports").index(index).child("nodePort");
            // One number may serve several protocols of the same service.
            self.take_unless(state, *port, &before, taken).map_err(|error| self.port_failure(error, &path, *port))?;
        }
        let open = requested.iter().enumerate().filter(|(_, port)| wanted && **port == 0);
        for (index, _) in open {
            let chosen = self.reuse(spec, index).map_or_else(|| self.choose_port(state, taken), Ok)?;
            spec.ports.get_or_insert_default()[index].node_port = Some(chosen.into());
        }
        self.allocate_health_check(state, spec, held, taken)
    }

    /// The port that a balancer asks for the health of a node. A service that has one keeps it.
    fn allocate_health_check(
        &self,
        state: &mut State,
        spec: &mut ServiceSpec,
        held: &ServiceSpec,
        taken: &mut Taken,
    ) -> Result<(), Failure> {
        if !facts::needs_health_check_node_port(spec) || facts::needs_health_check_node_port(held) {
            return Ok(());
        }
        match spec.health_check_node_port.unwrap_or_default() {
            0 => spec.health_check_node_port = Some(self.choose_port(state, taken)?.into()),
            // No port at all is the validation's business.
            port if number(Some(port)).is_none() => {}
            port => self.take_unless(state, port, &numbers(held), taken).map_err(|error| {
                let why = self.port_problem(error);
                Failure::Internal(format!("failed to allocate requested HealthCheck NodePort {port}: {why}"))
            })?,
        }
        Ok(())
    }

    /// Takes a port that this service has not yet.
    fn take_unless(&self, state: &mut State, port: i32, held: &[u16], taken: &mut Taken) -> Result<(), Error> {
        let port = number(Some(port)).ok_or(Error::OutOfRange)?;
        if !held.contains(&port) && !taken.ports.contains(&port) {
            self.take_port(state, port)?;
            taken.ports.push(port);
        }
        Ok(())
    }

    /// The node port of another port with the same number and a different protocol: DNS over TCP
    /// and UDP is found under one number.
    fn reuse(&self, spec: &ServiceSpec, index: usize) -> Option<u16> {
        let ports = spec.ports.as_deref()?;
        let this = ports.get(index)?;
        let used = |candidate: i32| {
            ports.iter().any(|port| port.node_port == Some(candidate) && port.protocol == this.protocol)
        };
        let same = ports.iter().find(|port| port.port == this.port && port.protocol != this.protocol);
        same.and_then(|port| port.node_port).filter(|candidate| !used(*candidate)).and_then(|port| number(Some(port)))
    }

    fn choose_port(&self, state: &mut State, taken: &mut Taken) -> Result<u16, Failure> {
        let number = state.ports.choose(rand::random()).map_err(|error| Failure::Exhausted("nodePort", error))?;
        let port = self.ports.start() + u16::try_from(number).unwrap_or_default();
        taken.ports.push(port);
        Ok(port)
    }

    fn take_port(&self, state: &mut State, port: u16) -> Result<(), Error> {
        let number = port.checked_sub(*self.ports.start()).ok_or(Error::OutOfRange)?;
        state.ports.take(number.into())
    }

    fn port_failure(&self, error: Error, path: &Path, port: i32) -> Failure {
        Failure::Invalid(vec![field::invalid(path, port, &self.port_problem(error))])
    }

    fn port_problem(&self, error: Error) -> String {
        match error {
            Error::Taken => "provided port is already allocated".to_owned(),
            _ => format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                self.ports.start(),
                self.ports.end()
            ),
        }
    }

    fn give_back(&self, state: &mut State, taken: Taken) {
        for address in taken.addresses {
            state.addresses.remove(&address);
        }
        for port in taken.ports {
            if let Some(number) = port.checked_sub(*self.ports.start()) {
                state.ports.release(number.into());
            }
        }
    }
}

impl State {
    fn contains(&self, address: IpAddr) -> bool {
        self.networks.usable().iter().any(|network| network.contains(address))
    }

    fn take_address(&mut self, address: IpAddr) -> Result<(), Error> {
        if !self.contains(address) {
            return Err(Error::OutOfRange);
        }
        if self.addresses.insert(address) { Ok(()) } else { Err(Error::Taken) }
    }

    /// Takes a free address of the first network of the family that has one.
    fn choose_address(&mut self, family: &str) -> Result<IpAddr, Error> {
        let usable = self.networks.usable().iter();
        let networks = usable.filter(|network| facts::family(network.network().addr()) == family);
        let chosen = networks.map(|network| network.choose(rand::random(), &self.addresses)).find_map(Result::ok);
        let address = chosen.ok_or(Error::Full)?;
        self.addresses.insert(address);
        Ok(address)
    }
}

/// What one call has taken so far.
#[derive(Debug, Default)]
struct Taken {
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
}

/// Why a service could not be completed.
enum Failure {
    Invalid(Vec<Cause>),
    Exhausted(&'static str, Error),
    Internal(String),
}

impl Failure {
    fn into_status(self, name: &str) -> Status {
        match self {
            Self::Invalid(causes) => Status::invalid("", "Service", name, causes),
            Self::Exhausted(what, error) => Status::internal(format!("failed to allocate a {what}: {error}")),
            Self::Internal(why) => Status::internal(why),
        }
    }
}

fn allocate_addresses(
    state: &mut State,
    spec: &mut ServiceSpec,
    held: &ServiceSpec,
    taken: &mut Taken,
) -> Result<(), Failure> {
    let held = facts::cluster_ips(held);
    let mut all = facts::cluster_ips(spec);
    for address in all.iter().filter(|address| !held.contains(address)) {
        state.take_address(*address).map_err(|error| address_failure(error, *address, &all))?;
        taken.addresses.push(*address);
    }
    for family in spec.ip_families.iter().flatten().skip(all.len()) {
        let chosen = state.choose_address(family).map_err(|error| Failure::Exhausted("serviceIP", error))?;
        taken.addresses.push(chosen);
        all.push(chosen);
    }
    // A service that was dual-stack and is no longer keeps its first address only.
    all.truncate(spec.ip_families.as_ref().map_or(1, Vec::len).max(1));
    spec.cluster_ip = all.first().map(IpAddr::to_string);
    spec.cluster_ips = Some(all.iter().map(IpAddr::to_string).collect());
    Ok(())
}

fn address_failure(error: Error, address: IpAddr, all: &[IpAddr]) -> Failure {
    let why = match error {
        Error::Taken => "provided IP is already allocated",
        _ => "the provided network does not match the current range",
    };
    let shown: Vec<String> = all.iter().map(IpAddr::to_string).collect();
    let detail = format!("failed to allocate IP {address}: {why}");
    Failure::Invalid(vec![field::invalid(&Path::new("spec").child("clusterIPs"), json!(shown), &detail)])
}

fn spec_of(service: &Value) -> Result<ServiceSpec, Status> {
    let spec = service.get("spec").cloned().unwrap_or_else(|| json!({}));
    serde_json::from_value(spec).map_err(|error| Status::bad_request(error.to_string()))
}

/// Distinct node ports of a service.
fn numbers(spec: &ServiceSpec) -> Vec<u16> {
    let mut all: Vec<u16> = facts::node_ports(spec).into_iter().map(|(port, _)| port).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn number(port: Option<i32>) -> Option<u16> {
    port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}

#[cfg(test)]
mod tests;
