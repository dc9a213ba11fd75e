//! Joins one pod to the node: a veth pair, the pod's end being `eth0` in its namespace, addresses
//! without a subnet, and a default route through the host. Neighbours on both ends are written down
//! instead of being asked for, so the first packet does not wait.

use std::{fs, net::IpAddr, os::fd::AsFd, path::Path};

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use super::Addresses;
use crate::sys::{
    namespace,
    netlink::{self, Connection, Error, Mac, Neighbour, Route, Veth},
};

/// What the names of the host's ends begin with.
pub(super) const VETH_PREFIX: &str = "nau-";
/// Name of the pod's end.
const POD_INTERFACE: &str = "eth0";
/// All host ends have the same hardware address: each is alone on its link.
const HOST_MAC: Mac = [0x0e, 0, 0, 0, 0, 1];
/// Pods' hardware addresses: this and the 4 bytes of the IPv4 address, or the last 4 of IPv6.
const POD_MAC_PREFIX: [u8; 2] = [0x0a, 0x58];
const VETH_HASH_LEN: usize = 5;

/// The name of a pod's interface on the host; 14 of the kernel's 15 letters.
pub(super) fn veth_name(pod_id: &str) -> String {
    let hash = Sha256::digest(pod_id.as_bytes());
    let digits: String = hash.iter().take(VETH_HASH_LEN).map(|byte| format!("{byte:02x}")).collect();
    format!("{VETH_PREFIX}{digits}")
}

/// Connects the namespace; what is there already is kept.
pub(super) async fn connect(path: &Path, pod_id: &str, addresses: &Addresses, mtu: u32) -> Result<(), Error> {
    let (name, peer_mac) = (veth_name(pod_id), pod_mac(addresses));
    let opened = fs::File::open(path)
        .map_err(|source| Error::Namespace(namespace::Error { action: "open", path: path.to_owned(), source }))?;
    let veth =
        Veth { name: &name, mac: HOST_MAC, peer_name: POD_INTERFACE, peer_mac, peer_namespace: opened.as_fd(), mtu };
    let device = netlink::with(|host| async move {
        if let Some(link) = host.link(veth.name).await? {
            let complete = netlink::with_inside(path, |pod| async move { pod.link(POD_INTERFACE).await }).await?;
            if complete.is_some() {
                return Ok(link.index);
            }
            // The pod's namespace is a new one: the pair leads into one that is gone.
            host.delete_link(link.index).await?;
        }
        host.create_veth(veth).await?;
        Ok(host.link(veth.name).await?.ok_or_else(|| Error::NoLink(veth.name.to_owned()))?.index)
    })
    .await?;
    netlink::with_inside(path, |pod| configure_pod(pod, addresses)).await?;
    netlink::with(|host| configure_host(host, device, addresses, peer_mac)).await
}

async fn configure_pod(pod: Connection, addresses: &Addresses) -> Result<(), Error> {
    let loopback = pod.link("lo").await?.ok_or_else(|| Error::NoLink("lo".into()))?;
    pod.set_up(loopback.index).await?;
    let device = pod.link(POD_INTERFACE).await?.ok_or_else(|| Error::NoLink(POD_INTERFACE.into()))?.index;
    pod.set_up(device).await?;
    for address in addresses.all() {
        pod.add_address(device, address, host_prefix(address)).await?;
    }
    for gateway in &addresses.gateways {
        pod.set_neighbour(Neighbour { device, address: *gateway, mac: HOST_MAC }).await?;
        let to_gateway = Route { destination: IpNet::from(*gateway), device, gateway: None, source: None };
        pod.set_route(to_gateway).await?;
        let everywhere = IpNet::new(unspecified(*gateway), 0).expect("0 is a prefix length of any family");
        pod.set_route(Route { destination: everywhere, device, gateway: Some(*gateway), source: None }).await?;
    }
    Ok(())
}

async fn configure_host(host: Connection, device: u32, addresses: &Addresses, pod: Mac) -> Result<(), Error> {
    for address in addresses.all() {
        let source = addresses.gateways.iter().find(|gateway| gateway.is_ipv4() == address.is_ipv4()).copied();
        host.set_neighbour(Neighbour { device, address, mac: pod }).await?;
        host.set_route(Route { destination: IpNet::from(address), device, gateway: None, source }).await?;
    }
    Ok(())
}

/// Disconnects a pod; both ends of the pair and the routes over it go with it.
pub(super) async fn disconnect(pod_id: &str) -> Result<(), Error> {
    let name = veth_name(pod_id);
    netlink::with(|host| async move {
        match host.link(&name).await? {
            Some(link) => host.delete_link(link.index).await,
            None => Ok(()),
        }
    })
    .await
}

fn pod_mac(addresses: &Addresses) -> Mac {
    let last = match (addresses.ipv4, addresses.ipv6) {
        (Some(address), _) => address.octets(),
        (None, Some(address)) => u32::try_from(u128::from(address) & u128::from(u32::MAX)).unwrap_or(0).to_be_bytes(),
        (None, None) => [0; 4],
    };
    let [a, b] = POD_MAC_PREFIX;
    let [c, d, e, f] = last;
    [a, b, c, d, e, f]
}

fn host_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn unspecified(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { IpAddr::from([0u8; 4]) } else { IpAddr::from([0u8; 16]) }
}
