//! The node's network: addresses of pods, the way to other nodes, and the packet program of services
//! in one nftables table. Plain structs in, netlink out; nothing here knows the API.
//!
//! Every pod hangs on the host by a veth pair of its own, with a host route to its address; there is
//! no bridge between pods. So all their traffic is routed through the host and meets the table in
//! the same way, whether `br_netfilter` is loaded or not, and pods cannot claim each other's
//! addresses. The bridge `nauplius0` has no ports: it carries the addresses that the node itself
//! has in the cluster's networks (the gateway of its pods, cluster DNS).

mod attach;
mod firewall;
mod node;
mod peers;
mod purge;
mod rule;
pub mod services;
mod stale;
mod state;
mod table;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use node::{NodeNetwork, last_pod_cidrs};
pub use peers::Peer;
pub use purge::{PurgeOptions, purge};
pub use table::TABLE;

use crate::{
    base::{file, log},
    sys::{namespace, netlink, nft},
};

/// The device that carries the node's own addresses in the cluster's networks.
pub const BRIDGE: &str = "nauplius0";
/// The overlay's device.
pub const OVERLAY: &str = "nauplius.1";
/// Where network namespaces are bound so that `ip netns` sees them.
pub const NAMESPACES_DIRECTORY: &str = "/run/netns";
/// What the names of pods' network namespaces begin with.
pub const NAMESPACE_PREFIX: &str = "nauplius-";

/// How nodes reach each other's pods (`--flannel-backend`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// In UDP packets to port 8472.
    #[default]
    Vxlan,
    /// By routes; the nodes share a link.
    HostGw,
    /// Somebody else sees to it.
    None,
}

/// What the network of a node is made from.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's addresses; the first is the one that other nodes send overlay packets to.
    pub node_ips: Vec<IpAddr>,
    /// The networks that this node's pods get addresses from, at most one per family.
    pub pod_cidrs: Vec<IpNet>,
    /// The networks of all pods.
    pub cluster_cidrs: Vec<IpNet>,
    /// The networks of services.
    pub service_cidrs: Vec<IpNet>,
    /// The addresses of cluster DNS that this node answers itself; empty if it does not.
    pub cluster_dns: Vec<IpAddr>,
    /// The link to the other nodes; by default the one that has the first node address.
    pub interface: Option<String>,
    /// Largest packet of pods in bytes; by default what the link carries less the overlay's headers.
    pub mtu: Option<u32>,
    /// How nodes reach each other's pods.
    pub backend: Backend,
    /// Where addresses, services and peers are kept (`<data-dir>/agent/net`).
    pub state_dir: PathBuf,
}

/// A port of the host that leads to a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    /// The host's address; any of them if there is none.
    pub host_ip: Option<IpAddr>,
    /// The port there.
    pub host_port: u16,
    /// The pod's port.
    pub container_port: u16,
    /// Transport protocol.
    pub protocol: services::Protocol,
}

/// What a pod wants of the network.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// Ports of the host that lead to it.
    pub host_ports: Vec<HostPort>,
}

/// What a pod got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// The node's address in each of the pod's networks, in the order of the networks.
    pub gateways: Vec<IpAddr>,
}

impl Addresses {
    /// Both addresses, IPv4 first.
    pub fn all(&self) -> Vec<IpAddr> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6)).collect()
    }
}

/// Why the network is not as it was wanted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// All addresses of the node's pod network are in use.
    #[error("all {used} addresses of the node's pod network are in use")]
    Exhausted {
        /// How many there are.
        used: usize,
    },
    /// There is no pod network to take addresses from.
    #[error("the node has no pod network")]
    NoPodNetwork,
    /// State could not be kept.
    #[error(transparent)]
    State(#[from] file::Error),
    /// Links, addresses or routes.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// The nftables table.
    #[error("change the nftables table")]
    Nftables(#[from] nft::Error),
    /// A pod's network namespace.
    #[error(transparent)]
    Namespace(#[from] namespace::Error),
    /// Some things could not be removed; everything else was.
    #[error("{}", .0.join("; "))]
    Leftovers(Vec<String>),
}

/// Where the network namespace of a pod is bound.
pub fn namespace_path(pod_id: &str) -> PathBuf {
    Path::new(NAMESPACES_DIRECTORY).join(format!("{NAMESPACE_PREFIX}{pod_id}"))
}

/// An error with its causes, for lists of several.
fn told(error: &dyn std::error::Error) -> String {
    log::chain(error)
}
