//! Services as the node's packet program sees them. Per packet it takes one lookup in a verdict map
//! (address, protocol, port), one jump, and one lookup in the map of endpoints, however many
//! services there are. A change touches only the chains and elements of the services that changed.

mod compile;
mod program;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub(super) use program::Program;

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// `IPPROTO_*`
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// One port of a Service, with everything that decides where its traffic goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The port at the service's addresses.
    pub port: u16,
    /// The port at every address of every node.
    pub node_port: Option<u16>,
    /// Addresses inside the cluster.
    pub cluster_ips: Vec<IpAddr>,
    /// `externalIPs`
    pub external_ips: Vec<IpAddr>,
    /// Addresses of the load balancer.
    pub load_balancer_ips: Vec<IpAddr>,
    /// Who may use the load balancer's addresses; empty for everybody.
    pub source_ranges: Vec<IpNet>,
    /// Endpoints anywhere, in an order that does not change by itself.
    pub endpoints: Vec<SocketAddr>,
    /// Endpoints on this node.
    pub local_endpoints: Vec<SocketAddr>,
    /// `sessionAffinity: ClientIP`: how long a client stays with its endpoint after its last
    /// connection began.
    pub affinity: Option<Duration>,
    /// `externalTrafficPolicy: Local`
    pub external_local: bool,
    /// `internalTrafficPolicy: Local`
    pub internal_local: bool,
}

impl ServicePort {
    /// A port without addresses and endpoints.
    pub fn new(protocol: Protocol, port: u16) -> Self {
        Self {
            protocol,
            port,
            node_port: None,
            cluster_ips: Vec::new(),
            external_ips: Vec::new(),
            load_balancer_ips: Vec::new(),
            source_ranges: Vec::new(),
            endpoints: Vec::new(),
            local_endpoints: Vec::new(),
            affinity: None,
            external_local: false,
            internal_local: false,
        }
    }
}
