//! The way to other nodes. With VXLAN each peer is, as flannel does it, a route to its pod network
//! through its overlay address, a permanent neighbour that maps this to the hardware address of its
//! overlay device, and a forwarding entry that maps the hardware address to the node. With
//! `host-gw` it is a route alone.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Backend;
use crate::sys::netlink::{Connection, Error, Mac, Neighbour, Route};

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub node_ips: Vec<IpAddr>,
    /// Its pod networks.
    pub pod_cidrs: Vec<IpNet>,
    /// Hardware address of its overlay device, once it has said so.
    pub vtep_mac: Option<Mac>,
}

/// The devices that entries are made on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Devices {
    /// The VXLAN device, with that backend.
    pub(super) overlay: u32,
    /// The link between the nodes.
    pub(super) uplink: u32,
    /// Whether nodes talk to each other over IPv4.
    pub(super) over_ipv4: bool,
}

/// One thing that the kernel is told for a peer. Ordered as they must be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    /// Hardware address → node.
    Forwarding(Mac, IpAddr),
    /// Overlay address → hardware address.
    Neighbour(IpAddr, Mac),
    /// Pod network → overlay address or node.
    Route(Route),
}

/// Everything that the kernel must know for these peers.
pub(super) fn entries(peers: &[Peer], backend: Backend, devices: Devices) -> BTreeSet<Entry> {
    let mut entries = BTreeSet::new();
    for peer in peers {
        match (backend, peer.vtep_mac) {
            (Backend::Vxlan, Some(mac)) => vxlan(peer, mac, devices, &mut entries),
            (Backend::HostGw, _) => host_gateway(peer, devices, &mut entries),
            // A node that has not published its device cannot be reached yet.
            (Backend::Vxlan, None) | (Backend::None, _) => {}
        }
    }
    entries
}

/// Leads from one set of entries to another, touching nothing that is in both.
pub(super) async fn apply(
    connection: &Connection,
    overlay: u32,
    before: &BTreeSet<Entry>,
    after: &BTreeSet<Entry>,
) -> Result<(), Error> {
    for entry in before.difference(after).collect::<Vec<_>>().into_iter().rev() {
        match *entry {
            Entry::Route(route) => connection.delete_route(route).await?,
            Entry::Neighbour(address, mac) => {
                connection.delete_neighbour(Neighbour { device: overlay, address, mac }).await?;
            }
            Entry::Forwarding(mac, node) => connection.delete_forwarding(overlay, mac, node).await?,
        }
    }
    for entry in after.difference(before) {
        match *entry {
            Entry::Forwarding(mac, node) => connection.set_forwarding(overlay, mac, node).await?,
            Entry::Neighbour(address, mac) => {
                connection.set_neighbour(Neighbour { device: overlay, address, mac }).await?;
            }
            Entry::Route(route) => connection.set_route(route).await?,
        }
    }
    Ok(())
}

fn vxlan(peer: &Peer, mac: Mac, devices: Devices, entries: &mut BTreeSet<Entry>) {
    let Some(node) = peer.node_ips.iter().find(|address| address.is_ipv4() == devices.over_ipv4) else { return };
    entries.insert(Entry::Forwarding(mac, *node));
    for network in &peer.pod_cidrs {
        let through = network.network();
        entries.insert(Entry::Neighbour(through, mac));
        let route =
            Route { destination: network.trunc(), device: devices.overlay, gateway: Some(through), source: None };
        entries.insert(Entry::Route(route));
    }
}

fn host_gateway(peer: &Peer, devices: Devices, entries: &mut BTreeSet<Entry>) {
    for network in &peer.pod_cidrs {
        let node = peer.node_ips.iter().find(|address| address.is_ipv4() == network.addr().is_ipv4());
        if let Some(node) = node {
            let route =
                Route { destination: network.trunc(), device: devices.uplink, gateway: Some(*node), source: None };
            entries.insert(Entry::Route(route));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICES: Devices = Devices { overlay: 7, uplink: 2, over_ipv4: true };

    fn peer(mac: Option<Mac>) -> Peer {
        Peer {
            name: "b".into(),
            node_ips: vec!["192.168.1.2".parse().unwrap()],
            pod_cidrs: vec!["10.42.1.0/24".parse().unwrap()],
            vtep_mac: mac,
        }
    }

    #[test]
    fn a_vxlan_peer_is_a_forwarding_entry_a_neighbour_and_a_route() {
        let found: Vec<_> = entries(&[peer(Some([2; 6]))], Backend::Vxlan, DEVICES).into_iter().collect();
        let route = Route {
            destination: "10.42.1.0/24".parse().unwrap(),
            device: 7,
            gateway: Some("10.42.1.0".parse().unwrap()),
            source: None,
        };
        let expected = [
            Entry::Forwarding([2; 6], "192.168.1.2".parse().unwrap()),
            Entry::Neighbour("10.42.1.0".parse().unwrap(), [2; 6]),
            Entry::Route(route),
        ];
        assert_eq!(found, expected);
        assert!(entries(&[peer(None)], Backend::Vxlan, DEVICES).is_empty());
    }

    #[test]
    fn a_host_gateway_peer_is_a_route_through_the_node() {
        let found: Vec<_> = entries(&[peer(None)], Backend::HostGw, DEVICES).into_iter().collect();
        assert!(matches!(&found[..], [Entry::Route(Route { device: 2, gateway: Some(_), .. })]));
    }
}
