//! The addresses of one network, which are given out by number.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use super::range::{Band, Error};

/// Most addresses that are given out of one network, however large it is.
const LIMIT: u128 = 1 << 20;

/// The addresses of one network. Networks may overlap, so who has which is not known here.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    network: IpNet,
    band: Band,
}

impl Addresses {
    /// All addresses of `network` but the first, which names the network, and IPv4's last, which is broadcast.
    pub fn new(network: IpNet) -> Self {
        let network = network.trunc();
        let bits = u32::from(network.max_prefix_len() - network.prefix_len());
        let all = 1_u128.checked_shl(bits).unwrap_or(LIMIT).min(LIMIT);
        let edges = if network.addr().is_ipv4() { 2 } else { 1 };
        let size = u32::try_from(all.saturating_sub(edges)).unwrap_or_default();
        Self { network, band: Band::of_addresses(size) }
    }

    /// The network.
    pub fn network(&self) -> IpNet {
        self.network
    }

    /// Whether the address may be given.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.number(address).is_some_and(|number| self.band.contains(number))
    }

    /// An address that is not taken; see [`Band::choose`].
    pub fn choose(&self, seed: u32, taken: &BTreeSet<IpAddr>) -> Result<IpAddr, Error> {
        let number = self.band.choose(seed, |number| taken.contains(&self.address(number)))?;
        Ok(self.address(number))
    }

    fn number(&self, address: IpAddr) -> Option<u32> {
        let offset = match (address, self.network.addr()) {
            (IpAddr::V4(address), IpAddr::V4(base)) => {
                u128::from(address.to_bits()).checked_sub(base.to_bits().into())?
            }
            (IpAddr::V6(address), IpAddr::V6(base)) => address.to_bits().checked_sub(base.to_bits())?,
            _ => return None,
        };
        u32::try_from(offset.checked_sub(1)?).ok()
    }

    fn address(&self, number: u32) -> IpAddr {
        match self.network.addr() {
            IpAddr::V4(base) => IpAddr::V4(Ipv4Addr::from_bits(base.to_bits() + number + 1)),
            IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from_bits(base.to_bits() + u128::from(number) + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges_of_a_network_are_not_given() {
        let addresses = Addresses::new("10.43.0.0/24".parse().unwrap());
        let contains = |address: &str| addresses.contains(address.parse().unwrap());
        assert!(contains("10.43.0.1") && contains("10.43.0.254"));
        for address in ["10.43.0.0", "10.43.0.255", "10.43.1.1", "fd00::1"] {
            assert!(!contains(address), "{address}");
        }
    }

    #[test]
    fn chosen_addresses_are_of_the_network() {
        for network in ["10.43.0.0/16", "fd00:43::/112", "fd00:43::/64"] {
            let network: IpNet = network.parse().unwrap();
            let address = Addresses::new(network).choose(12_345, &BTreeSet::new()).unwrap();
            assert!(network.contains(&address), "{address} of {network}");
        }
    }
}
