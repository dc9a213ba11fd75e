//! Service addresses of one family: a network whose addresses are given out by number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::range::{Error, Range};

/// Most addresses that are given out of one network, however large it is.
const LIMIT: u128 = 1 << 20;

/// The addresses of one network.
#[derive(Debug)]
pub struct Addresses {
    network: IpNet,
    range: Range,
}

impl Addresses {
    /// All addresses of `network` but the first, which names the network, and IPv4's last, which is broadcast.
    pub fn new(network: IpNet) -> Self {
        let network = network.trunc();
        let bits = u32::from(network.max_prefix_len() - network.prefix_len());
        let all = 1_u128.checked_shl(bits).unwrap_or(LIMIT).min(LIMIT);
        let edges = if network.addr().is_ipv4() { 2 } else { 1 };
        let size = u32::try_from(all.saturating_sub(edges)).unwrap_or_default();
        Self { network, range: Range::of_addresses(size) }
    }

    /// The network.
    pub fn network(&self) -> IpNet {
        self.network
    }

    /// Takes exactly this address.
    pub fn take(&mut self, address: IpAddr) -> Result<(), Error> {
        let number = self.number(address).ok_or(Error::OutOfRange)?;
        self.range.take(number)
    }

    /// Takes a free address.
    pub fn choose(&mut self, seed: u32) -> Result<IpAddr, Error> {
        let number = self.range.choose(seed)?;
        Ok(self.address(number))
    }

    /// Gives an address back; one of another network is ignored.
    pub fn release(&mut self, address: IpAddr) {
        if let Some(number) = self.number(address) {
            self.range.release(number);
        }
    }

    /// Gives all addresses back.
    pub fn clear(&mut self) {
        self.range.clear();
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
        let mut addresses = Addresses::new("10.43.0.0/24".parse().unwrap());
        assert_eq!(addresses.take("10.43.0.0".parse().unwrap()), Err(Error::OutOfRange));
        assert_eq!(addresses.take("10.43.0.255".parse().unwrap()), Err(Error::OutOfRange));
        assert_eq!(addresses.take("10.43.0.1".parse().unwrap()), Ok(()));
        assert_eq!(addresses.take("10.43.1.1".parse().unwrap()), Err(Error::OutOfRange));
        assert_eq!(addresses.take("fd00::1".parse().unwrap()), Err(Error::OutOfRange));
    }

    #[test]
    fn chosen_addresses_are_of_the_network() {
        for network in ["10.43.0.0/16", "fd00:43::/112", "fd00:43::/64"] {
            let network: IpNet = network.parse().unwrap();
            let address = Addresses::new(network).choose(12_345).unwrap();
            assert!(network.contains(&address), "{address} of {network}");
        }
    }
}
