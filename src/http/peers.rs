//! How many connections each peer has, so that one of them leaves some to others.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;

/// Bits of an IPv6 address that one site is given: within them, one peer has as many as it likes.
const SITE_PREFIX: u32 = 64;

/// Connections by peer.
pub struct Peers {
    counts: Mutex<HashMap<IpAddr, usize>>,
    limit: usize,
}

/// One connection, as long as this lives.
pub struct Connection {
    peers: Arc<Peers>,
    peer: IpAddr,
}

impl Peers {
    /// Allows each peer `limit` connections at once.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), limit })
    }

    /// Counts a connection, unless it is one too many.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Connection> {
        let peer = site(address);
        let mut counts = self.counts.lock();
        let count = counts.entry(peer).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Connection { peers: self.clone(), peer })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut counts = self.peers.counts.lock();
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << (u128::BITS - SITE_PREFIX);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_its_own_limit() {
        let peers = Peers::new(2);
        let admit = |address: &str| peers.admit(address.parse().unwrap());
        let held = [admit("10.0.0.1"), admit("::ffff:10.0.0.1")];
        assert!(admit("10.0.0.1").is_none() && admit("10.0.0.2").is_some());
        let site = [admit("2001:db8::1"), admit("2001:db8::2")];
        assert!(admit("2001:db8::3").is_none() && admit("2001:db8:0:1::3").is_some());
        drop((held, site));
        assert!(peers.counts.lock().is_empty());
    }
}
