//! Links: the bridge, VXLAN devices, veth pairs whose other end is made straight inside a pod.

use std::{
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
};

use futures_util::TryStreamExt;
use netlink_packet_route::{
    address::{AddressAttribute, AddressFlags},
    link::{InfoData, InfoVeth, LinkAttribute, LinkFlags, LinkMessage},
};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan};

use super::{Connection, Error, Mac, request};

/// A link as the kernel reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address; zero where there is none.
    pub mac: Mac,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Whether it was switched on.
    pub up: bool,
}

/// A veth pair to create: one end here, one in another namespace. The end here is
/// switched on; the other cannot be before the pair is complete.
#[derive(Debug, Clone, Copy)]
pub struct Veth<'a> {
    /// Name of the end in this namespace.
    pub name: &'a str,
    /// Hardware address of the end in this namespace.
    pub mac: Mac,
    /// Name of the other end.
    pub peer_name: &'a str,
    /// Hardware address of the other end.
    pub peer_mac: Mac,
    /// Where the other end goes.
    pub peer_namespace: BorrowedFd<'a>,
    /// Largest packet in bytes, of both.
    pub mtu: u32,
}

/// A VXLAN device to create.
#[derive(Debug, Clone, Copy)]
pub struct Vxlan<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its hardware address.
    pub mac: Mac,
    /// The network's number.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// Address its packets are sent from.
    pub local: IpAddr,
    /// Index of the link they leave by.
    pub device: u32,
    /// Largest packet in bytes.
    pub mtu: u32,
}

impl Connection {
    /// All links.
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        let links = self.handle.link().get().execute().map_ok(|message| link(&message));
        links.try_collect().await.map_err(request("list network interfaces"))
    }

    /// The link with a name.
    pub async fn link(&self, name: &str) -> Result<Option<Link>, Error> {
        let mut found = self.handle.link().get().match_name(name).execute();
        match found.try_next().await {
            Ok(message) => Ok(message.map(|message| link(&message))),
            Err(source) => {
                let error = request(format!("find the network interface {name}"))(source);
                if error.is_absent() { Ok(None) } else { Err(error) }
            }
        }
    }

    /// The link that carries an address.
    pub async fn link_with(&self, address: IpAddr) -> Result<Link, Error> {
        let action = "list addresses";
        let mut addresses = self.handle.address().get().execute();
        while let Some(message) = addresses.try_next().await.map_err(request(action))? {
            let carries = |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::Address(found) | AddressAttribute::Local(found) if *found == address);
            if message.attributes.iter().any(carries) {
                let links = self.links().await?;
                let found = links.into_iter().find(|link| link.index == message.header.index);
                return found.ok_or(Error::NoLinkWith(address));
            }
        }
        Err(Error::NoLinkWith(address))
    }

    /// Creates a bridge that does not delay or filter anything.
    pub async fn create_bridge(&self, name: &str, mac: Mac, mtu: u32) -> Result<(), Error> {
        let bridge = LinkBridge::new(name).address(mac.to_vec()).mtu(mtu).up().build();
        self.create(bridge, format!("create the bridge {name}")).await
    }

    /// Creates a VXLAN device that learns nothing: all its entries are written by us.
    pub async fn create_vxlan(&self, vxlan: Vxlan<'_>) -> Result<(), Error> {
        let builder = LinkVxlan::new(vxlan.name, vxlan.vni).dev(vxlan.device).port(vxlan.port).learning(false);
        let builder = match vxlan.local {
            IpAddr::V4(local) => builder.local(local),
            IpAddr::V6(local) => builder.local6(local),
        };
        let message = builder.address(vxlan.mac.to_vec()).mtu(vxlan.mtu).up().build();
        self.create(message, format!("create the VXLAN device {}", vxlan.name)).await
    }

    /// Creates a veth pair.
    pub async fn create_veth(&self, veth: Veth<'_>) -> Result<(), Error> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(veth.peer_name.to_owned())
            .address(veth.peer_mac.to_vec())
            .mtu(veth.mtu)
            .setns_by_fd(veth.peer_namespace.as_raw_fd())
            .build();
        let message = LinkVeth::new(veth.name, veth.peer_name)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .address(veth.mac.to_vec())
            .mtu(veth.mtu)
            .up()
            .build();
        self.create(message, format!("create the interface pair {}", veth.name)).await
    }

    /// Switches a link on.
    pub async fn set_up(&self, index: u32) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index).up().build();
        self.handle.link().change(message).execute().await.map_err(request(format!("switch on interface {index}")))
    }

    /// Deletes a link; of a veth pair both ends go. Nothing happens if it is gone.
    pub async fn delete_link(&self, index: u32) -> Result<(), Error> {
        let result = self.handle.link().del(index).execute().await;
        absent_is_fine(result.map_err(request(format!("delete interface {index}"))))
    }

    /// Gives a link an address, without waiting for duplicates to be detected.
    pub async fn add_address(&self, index: u32, address: IpAddr, prefix_len: u8) -> Result<(), Error> {
        let mut add = self.handle.address().add(index, address, prefix_len).replace();
        if address.is_ipv6() {
            add.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        add.execute().await.map_err(request(format!("add the address {address}/{prefix_len}")))
    }

    /// The addresses of a link.
    pub async fn addresses(&self, index: u32) -> Result<Vec<IpAddr>, Error> {
        let messages = self.handle.address().get().set_link_index_filter(index).execute();
        let messages: Vec<_> = messages.try_collect().await.map_err(request("list addresses"))?;
        let address = |attribute: &AddressAttribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        };
        Ok(messages.iter().flat_map(|message| message.attributes.iter().filter_map(address)).collect())
    }

    async fn create(&self, message: LinkMessage, action: String) -> Result<(), Error> {
        self.handle.link().add(message).execute().await.map_err(request(action))
    }
}

pub(super) fn absent_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_absent() => Ok(()),
        result => result,
    }
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().unwrap_or_default(),
            _ => {}
        }
    }
    link
}
