//! What the network keeps on disk, so that a restart gives every pod the address it has and a
//! reboot without the server brings the node back as it was. All files are replaced atomically.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Addresses, Error, HostPort};
use crate::{base::file, sys::netlink::Mac};

const ALLOCATIONS_FILE: &str = "allocations.json";
const SERVICES_FILE: &str = "services.json";
const PEERS_FILE: &str = "peers.json";
/// The first address of a network is the overlay's, the second the gateway's.
const FIRST_POD: u32 = 2;
/// More addresses than this are never handed out of one network, however large it is.
const LARGEST_POOL: u32 = 1 << 16;

/// Who has which address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Allocations {
    /// The node's pod networks, at most one per family.
    pub(super) pod_cidrs: Vec<IpNet>,
    /// Hardware address of the overlay's device; stays the same so that peers need not be told.
    pub(super) vtep_mac: Option<Mac>,
    /// What the overlay's device was made for: it is made anew only when this changes.
    pub(super) vtep: Option<Vtep>,
    /// Pods by their ID.
    pub(super) pods: BTreeMap<String, PodEntry>,
    /// The address handed out last: a freed address rests until all others were used.
    last: u32,
}

/// What a VXLAN device depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vtep {
    pub(super) local: IpAddr,
    pub(super) interface: String,
    pub(super) mtu: u32,
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PodEntry {
    /// Position of its address in each network.
    pub(super) index: u32,
    /// Its network namespace.
    pub(super) namespace: PathBuf,
    /// Its host ports.
    pub(super) host_ports: Vec<HostPort>,
}

impl Allocations {
    /// Starts to use other networks; pods with addresses of the old ones are forgotten.
    pub(super) fn use_networks(&mut self, pod_cidrs: &[IpNet]) {
        if self.pod_cidrs != pod_cidrs {
            self.pod_cidrs = pod_cidrs.to_vec();
            self.pods.clear();
        }
    }

    /// Gives a pod an address, or the one it has.
    pub(super) fn allocate(
        &mut self,
        pod: &str,
        namespace: &Path,
        host_ports: &[HostPort],
    ) -> Result<Addresses, Error> {
        let index = match self.pods.get(pod) {
            Some(entry) => entry.index,
            None => self.free_index()?,
        };
        let entry = PodEntry { index, namespace: namespace.to_owned(), host_ports: host_ports.to_vec() };
        self.pods.insert(pod.to_owned(), entry);
        Ok(self.addresses(index))
    }

    /// The addresses at a position.
    pub(super) fn addresses(&self, index: u32) -> Addresses {
        let mut addresses = Addresses::default();
        for network in &self.pod_cidrs {
            match nth(*network, index) {
                IpAddr::V4(address) => addresses.ipv4 = Some(address),
                IpAddr::V6(address) => addresses.ipv6 = Some(address),
            }
            addresses.gateways.push(gateway(*network));
        }
        addresses
    }

    fn free_index(&mut self) -> Result<u32, Error> {
        let end = self.pod_cidrs.iter().map(|network| pool_end(*network)).min().unwrap_or(0);
        let used: BTreeSet<u32> = self.pods.values().map(|entry| entry.index).collect();
        let after = self.last.max(FIRST_POD - 1) + 1;
        let free = (after..end).chain(FIRST_POD..after.min(end)).find(|index| !used.contains(index));
        self.last = free.ok_or(Error::Exhausted { used: used.len() })?;
        Ok(self.last)
    }
}

/// The gateway of a pod network: its second address.
pub(super) fn gateway(network: IpNet) -> IpAddr {
    nth(network, 1)
}

/// The address at a position in a network.
pub(super) fn nth(network: IpNet, index: u32) -> IpAddr {
    match network.network() {
        IpAddr::V4(first) => IpAddr::V4((u32::from(first) + index).into()),
        IpAddr::V6(first) => IpAddr::V6((u128::from(first) + u128::from(index)).into()),
    }
}

/// The position after the last one that may be handed out; the broadcast address never is.
fn pool_end(network: IpNet) -> u32 {
    let host_bits = u32::from(network.max_prefix_len() - network.prefix_len());
    1u32.checked_shl(host_bits).map_or(LARGEST_POOL, |size| size.min(LARGEST_POOL)).saturating_sub(1)
}

pub(super) fn load_allocations(directory: &Path) -> Result<Allocations, Error> {
    load(&directory.join(ALLOCATIONS_FILE))
}

pub(super) fn save_allocations(directory: &Path, allocations: &Allocations) -> Result<(), Error> {
    save(&directory.join(ALLOCATIONS_FILE), allocations)
}

pub(super) fn load_services<T: DeserializeOwned + Default>(directory: &Path) -> Result<T, Error> {
    load(&directory.join(SERVICES_FILE))
}

pub(super) fn save_services(directory: &Path, services: &impl Serialize) -> Result<(), Error> {
    save(&directory.join(SERVICES_FILE), services)
}

pub(super) fn load_peers<T: DeserializeOwned + Default>(directory: &Path) -> Result<T, Error> {
    load(&directory.join(PEERS_FILE))
}

pub(super) fn save_peers(directory: &Path, peers: &impl Serialize) -> Result<(), Error> {
    save(&directory.join(PEERS_FILE), peers)
}

/// An unreadable file is as good as none: everything in it comes back from the API, or by
/// attaching pods again, and the node must come up in any case.
fn load<T: DeserializeOwned + Default>(path: &Path) -> Result<T, Error> {
    let Some(bytes) = file::read_optional(path)? else { return Ok(T::default()) };
    Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "network state is unreadable, starting without it");
        T::default()
    }))
}

fn save(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let bytes = serde_json::to_vec(value).expect("network state has only string keys");
    Ok(file::write_atomic(path, &bytes, file::SECRET_MODE)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocations(networks: &[&str]) -> Allocations {
        let mut allocations = Allocations::default();
        allocations.use_networks(&networks.iter().map(|network| network.parse().unwrap()).collect::<Vec<_>>());
        allocations
    }

    fn allocate(allocations: &mut Allocations, pod: &str) -> Result<Addresses, Error> {
        allocations.allocate(pod, Path::new("/run/netns/x"), &[])
    }

    #[test]
    fn a_pod_keeps_its_address_and_a_freed_one_rests() {
        let mut pool = allocations(&["10.42.3.0/24"]);
        let first = allocate(&mut pool, "a").unwrap();
        assert_eq!(first.ipv4, Some("10.42.3.2".parse().unwrap()));
        assert_eq!(first.gateways, ["10.42.3.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(allocate(&mut pool, "a").unwrap(), first);
        pool.pods.remove("a");
        assert_eq!(allocate(&mut pool, "b").unwrap().ipv4, Some("10.42.3.3".parse().unwrap()));
    }

    #[test]
    fn a_full_network_is_an_error_and_a_freed_address_ends_it() {
        let mut pool = allocations(&["10.42.3.0/29"]);
        for pod in ["a", "b", "c", "d", "e"] {
            allocate(&mut pool, pod).unwrap();
        }
        assert!(matches!(allocate(&mut pool, "f"), Err(Error::Exhausted { used: 5 })));
        pool.pods.remove("c");
        assert_eq!(allocate(&mut pool, "f").unwrap().ipv4, Some("10.42.3.4".parse().unwrap()));
    }

    #[test]
    fn both_families_come_from_one_position() {
        let mut pool = allocations(&["10.42.0.0/24", "fd00:42::/64"]);
        let addresses = allocate(&mut pool, "a").unwrap();
        assert_eq!(addresses.ipv6, Some("fd00:42::2".parse().unwrap()));
    }

    #[test]
    fn survives_on_disk_and_garbage_is_taken_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut pool = allocations(&["10.42.3.0/24"]);
        allocate(&mut pool, "a").unwrap();
        save_allocations(directory.path(), &pool).unwrap();
        assert_eq!(load_allocations(directory.path()).unwrap(), pool);
        std::fs::write(directory.path().join(ALLOCATIONS_FILE), "{\"pods\":").unwrap();
        assert_eq!(load_allocations(directory.path()).unwrap(), Allocations::default());
    }
}
