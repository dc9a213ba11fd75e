//! Routes, permanent neighbours and VXLAN forwarding entries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope},
};
use rtnetlink::RouteMessageBuilder;

use super::{Connection, Error, Mac, link::absent_is_fine, request};

/// The protocol number that marks our routes in the main table, so that they can be told from
/// others' ("n" of Nauplius; see /etc/iproute2/rt_protos for the numbers in use).
const PROTOCOL: u8 = 110;

/// A route in the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// Where to.
    pub destination: IpNet,
    /// By which link.
    pub device: u32,
    /// Through whom; directly if there is none. The gateway need not be in a subnet of the link.
    pub gateway: Option<IpAddr>,
    /// The source address that local programs get.
    pub source: Option<IpAddr>,
}

/// A permanent entry that maps an address to a hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The link.
    pub device: u32,
    /// The neighbour.
    pub address: IpAddr,
    /// Its hardware address.
    pub mac: Mac,
}

impl Connection {
    /// Adds a route, or changes the one to the same destination.
    pub async fn set_route(&self, route: Route) -> Result<(), Error> {
        let action = format!("set the route to {}", route.destination);
        self.handle.route().add(message(route)?).replace().execute().await.map_err(request(action))
    }

    /// Deletes a route; nothing happens if it is gone.
    pub async fn delete_route(&self, route: Route) -> Result<(), Error> {
        let action = format!("delete the route to {}", route.destination);
        absent_is_fine(self.handle.route().del(message(route)?).execute().await.map_err(request(action)))
    }

    /// The routes that were set by us.
    pub async fn routes(&self) -> Result<Vec<Route>, Error> {
        let mut ours = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family;
            let found: Vec<_> =
                self.handle.route().get(filter).execute().try_collect().await.map_err(request("list routes"))?;
            let protocol = RouteProtocol::from(PROTOCOL);
            ours.extend(found.iter().filter(|message| message.header.protocol == protocol).filter_map(route));
        }
        Ok(ours)
    }

    /// Adds a permanent neighbour, or changes its hardware address.
    pub async fn set_neighbour(&self, neighbour: Neighbour) -> Result<(), Error> {
        let action = format!("set the neighbour {}", neighbour.address);
        let add = self.handle.neighbours().add(neighbour.device, neighbour.address);
        let add = add.link_layer_address(&neighbour.mac).state(NeighbourState::Permanent).replace();
        add.execute().await.map_err(request(action))
    }

    /// Deletes a neighbour; nothing happens if it is gone.
    pub async fn delete_neighbour(&self, neighbour: Neighbour) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = neighbour.device;
        message.header.family = family(neighbour.address);
        message.attributes.push(NeighbourAttribute::Destination(neighbour_address(neighbour.address)));
        let action = format!("delete the neighbour {}", neighbour.address);
        absent_is_fine(self.handle.neighbours().del(message).execute().await.map_err(request(action)))
    }

    /// Sends frames for `mac` on the VXLAN device to the host `remote`.
    pub async fn set_forwarding(&self, device: u32, mac: Mac, remote: IpAddr) -> Result<(), Error> {
        let add = self.handle.neighbours().add_bridge(device, &mac);
        let add = add.destination(remote).state(NeighbourState::Permanent).flags(NeighbourFlags::Own).replace();
        add.execute().await.map_err(request(format!("set the forwarding entry to {remote}")))
    }

    /// Deletes a forwarding entry; nothing happens if it is gone.
    pub async fn delete_forwarding(&self, device: u32, mac: Mac, remote: IpAddr) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = device;
        message.header.family = AddressFamily::Bridge;
        message.header.flags = NeighbourFlags::Own;
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        message.attributes.push(NeighbourAttribute::Destination(neighbour_address(remote)));
        let action = format!("delete the forwarding entry to {remote}");
        absent_is_fine(self.handle.neighbours().del(message).execute().await.map_err(request(action)))
    }
}

fn message(route: Route) -> Result<RouteMessage, Error> {
    let mixed = |_| Error::MixedFamilies(route.destination.to_string());
    let mut builder = RouteMessageBuilder::<IpAddr>::new()
        .output_interface(route.device)
        .protocol(RouteProtocol::from(PROTOCOL))
        .destination_prefix(route.destination.network(), route.destination.prefix_len())
        .map_err(mixed)?;
    builder = match route.gateway {
        Some(gateway) => builder.gateway(gateway).map_err(mixed)?.onlink(),
        None if route.destination.addr().is_ipv4() => builder.scope(RouteScope::Link),
        None => builder,
    };
    if let Some(source) = route.source {
        builder = builder.pref_source(source).map_err(mixed)?;
    }
    Ok(builder.build())
}

fn route(message: &RouteMessage) -> Option<Route> {
    let unspecified: IpAddr = match message.header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    let (mut address, mut device, mut gateway, mut source) = (unspecified, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(found) => address = ip(found)?,
            RouteAttribute::Oif(found) => device = Some(*found),
            RouteAttribute::Gateway(found) => gateway = ip(found),
            RouteAttribute::PrefSource(found) => source = ip(found),
            _ => {}
        }
    }
    let destination = IpNet::new(address, message.header.destination_prefix_length).ok()?;
    Some(Route { destination, device: device?, gateway, source })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn neighbour_address(address: IpAddr) -> NeighbourAddress {
    match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }
}
