//! The network of this node, from opening it to attaching pods, and the owner of its state: who has
//! which address, which services and peers there are. Everything is made again from disk when it is
//! opened, so a node whose server is away comes up with the services it last knew.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
    sync::Arc,
};

use ipnet::IpNet;
use parking_lot::Mutex;

use super::{
    Addresses, AttachOptions, BRIDGE, Backend, Config, Error, OVERLAY, attach,
    firewall::{Firewall, PodRules},
    peers::{self, Devices, Entry, Peer},
    services::ServicePort,
    state::{self, Allocations, Vtep},
    table::Networks,
};
use crate::{
    base::{file, lane::Lane},
    sys::{
        namespace,
        netlink::{self, Connection, Link, Mac, Route, Vxlan, sysctl},
        nft::{self, Nftables},
    },
};

/// VXLAN network number and port, those of flannel.
const VNI: u32 = 1;
const VXLAN_PORT: u16 = 8472;
/// Outer Ethernet, IP, UDP and VXLAN headers.
const VXLAN_OVERHEAD_V4: u32 = 50;
const VXLAN_OVERHEAD_V6: u32 = 70;
/// Network namespaces made or removed at once.
const NAMESPACES_AT_ONCE: usize = 4;
const STATE_DIRECTORY_MODE: u32 = 0o700;

/// The network of this node. Cheap to clone.
#[derive(Clone)]
pub struct NodeNetwork {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    mtu: u32,
    devices: Devices,
    allocations: Mutex<Saved>,
    firewall: Arc<Mutex<Firewall>>,
    /// Entries of peers that the kernel has; held while they are changed.
    peers: tokio::sync::Mutex<BTreeSet<Entry>>,
    /// Making and removing network namespaces, which the kernel takes its time for.
    namespace_lane: Lane,
    /// nf_tables takes one batch at a time anyway.
    kernel_lane: Lane,
    /// One writer, so that an older state never replaces a newer one.
    disk_lane: Lane,
}

/// Allocations and how much of them is on disk: one write serves all that wait for it.
struct Saved {
    current: Allocations,
    version: u64,
    on_disk: u64,
}

/// The pod networks this node had when its network was last opened, for a start without the server.
pub fn last_pod_cidrs(state_dir: &Path) -> Result<Vec<IpNet>, Error> {
    Ok(state::load_allocations(state_dir)?.pod_cidrs)
}

impl NodeNetwork {
    /// Makes the node's devices, routes and table, or takes over those that are there. Running
    /// pods and connections are not disturbed.
    pub async fn open(config: Config) -> Result<Self, Error> {
        Self::open_with(config, Arc::new(nft::Kernel)).await
    }

    /// Like [`NodeNetwork::open`], with something in place of the kernel's nf_tables.
    pub async fn open_with(config: Config, kernel: Arc<dyn Nftables>) -> Result<Self, Error> {
        if config.pod_cidrs.is_empty() {
            return Err(Error::NoPodNetwork);
        }
        file::create_directory(&config.state_dir, STATE_DIRECTORY_MODE)?;
        let mut allocations = state::load_allocations(&config.state_dir)?;
        allocations.use_networks(&config.pod_cidrs);
        forward_packets(&config)?;
        let (devices, mtu) = netlink::with(|connection| make_devices(connection, &config, &mut allocations)).await?;
        state::save_allocations(&config.state_dir, &allocations)?;
        let firewall = Arc::new(Mutex::new(firewall(&config, &allocations, kernel)?));
        let network = Self {
            inner: Arc::new(Inner {
                mtu,
                devices,
                allocations: Mutex::new(Saved { current: allocations, version: 0, on_disk: 0 }),
                firewall,
                peers: tokio::sync::Mutex::default(),
                namespace_lane: Lane::new(NAMESPACES_AT_ONCE),
                kernel_lane: Lane::new(1),
                disk_lane: Lane::new(1),
                config,
            }),
        };
        network.with_firewall(|firewall| firewall.install()).await?;
        let peers: Vec<Peer> = state::load_peers(&network.inner.config.state_dir)?;
        network.apply_peers(&peers).await?;
        Ok(network)
    }

    /// Gives the pod an address and connects its network namespace, which is made if it is not
    /// there. Calling it again changes nothing and gives the same answer, also after a restart.
    pub async fn attach(&self, netns: &Path, pod_id: &str, options: AttachOptions) -> Result<Addresses, Error> {
        let addresses = {
            let mut saved = self.inner.allocations.lock();
            let addresses = saved.current.allocate(pod_id, netns, &options.host_ports)?;
            saved.version += 1;
            addresses
        };
        let rules = PodRules { addresses: addresses.all(), host_ports: options.host_ports };
        let pod = pod_id.to_owned();
        let connected = async {
            // Written down before anything is made: what a killed agent leaves must be found.
            self.save().await?;
            let path = netns.to_owned();
            self.inner.namespace_lane.run(move || namespace::create_network(&path)).await?;
            Ok(attach::connect(netns, pod_id, &addresses, self.inner.mtu).await?)
        };
        let programmed = self.with_firewall(move |firewall| firewall.set_pod(&pod, Some(rules)));
        tokio::try_join!(connected, programmed)?;
        Ok(addresses)
    }

    /// Disconnects a pod, removes its network namespace and frees its address. Nothing happens if
    /// it is not attached.
    pub async fn detach(&self, pod_id: &str) -> Result<(), Error> {
        attach::disconnect(pod_id).await?;
        let pod = pod_id.to_owned();
        self.with_firewall(move |firewall| firewall.set_pod(&pod, None)).await?;
        let entry = self.inner.allocations.lock().current.pods.get(pod_id).cloned();
        let Some(entry) = entry else { return Ok(()) };
        self.inner.namespace_lane.run(move || namespace::remove_network(&entry.namespace)).await?;
        {
            let mut saved = self.inner.allocations.lock();
            saved.current.pods.remove(pod_id);
            saved.version += 1;
        }
        self.save().await
    }

    /// Detaches every pod that `keep` does not name: those that ended while nobody watched.
    pub async fn retain(&self, keep: &BTreeSet<String>) -> Result<(), Error> {
        let gone: Vec<String> = {
            let saved = self.inner.allocations.lock();
            saved.current.pods.keys().filter(|pod| !keep.contains(*pod)).cloned().collect()
        };
        for pod in gone {
            self.detach(&pod).await?;
        }
        Ok(())
    }

    /// The addresses of an attached pod.
    pub fn addresses(&self, pod_id: &str) -> Option<Addresses> {
        let saved = self.inner.allocations.lock();
        saved.current.pods.get(pod_id).map(|entry| saved.current.addresses(entry.index))
    }

    /// The IDs of the pods that are attached.
    pub fn attached(&self) -> Vec<String> {
        self.inner.allocations.lock().current.pods.keys().cloned().collect()
    }

    /// Largest packet of pods in bytes.
    pub fn mtu(&self) -> u32 {
        self.inner.mtu
    }

    /// What the network was opened with.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Hardware address of this node's overlay device, which peers must know; `None` without one.
    pub fn vtep_mac(&self) -> Option<Mac> {
        let overlay = self.inner.config.backend == Backend::Vxlan;
        self.inner.allocations.lock().current.vtep_mac.filter(|_| overlay)
    }

    /// Makes these the nodes that can be reached; only differences are told to the kernel.
    pub async fn set_peers(&self, mut peers: Vec<Peer>) -> Result<(), Error> {
        peers.sort();
        self.apply_peers(&peers).await?;
        let directory = self.inner.config.state_dir.clone();
        self.inner.disk_lane.run(move || state::save_peers(&directory, &peers)).await
    }

    /// Changes services; `None` removes. One atomic batch with those that differ from what is
    /// installed; says whether any did.
    pub async fn update_services(&self, changes: BTreeMap<String, Option<ServicePort>>) -> Result<bool, Error> {
        self.with_firewall(move |firewall| firewall.update_services(changes)).await
    }

    /// The service ports that are installed, by name.
    pub fn services(&self) -> BTreeMap<String, ServicePort> {
        self.inner.firewall.lock().services()
    }

    /// Keeps the installed services on disk, for a start without the server.
    pub async fn save_services(&self) -> Result<(), Error> {
        let (services, directory) = (self.services(), self.inner.config.state_dir.clone());
        self.inner.disk_lane.run(move || state::save_services(&directory, &services)).await
    }

    async fn apply_peers(&self, peers: &[Peer]) -> Result<(), Error> {
        let wanted = peers::entries(peers, self.inner.config.backend, self.inner.devices);
        let mut installed = self.inner.peers.lock().await;
        let overlay = self.inner.devices.overlay;
        let before = installed.clone();
        netlink::with(|connection| {
            let (before, wanted) = (&before, &wanted);
            async move { peers::apply(&connection, overlay, before, wanted).await }
        })
        .await?;
        *installed = wanted;
        Ok(())
    }

    async fn with_firewall<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Firewall) -> Result<T, nft::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let firewall = self.inner.firewall.clone();
        Ok(self.inner.kernel_lane.run(move || work(&mut firewall.lock())).await?)
    }

    /// Returns once the allocations as they are now are on disk.
    async fn save(&self) -> Result<(), Error> {
        let needed = self.inner.allocations.lock().version;
        let inner = self.inner.clone();
        self.inner
            .disk_lane
            .run(move || {
                let (current, version) = {
                    let saved = inner.allocations.lock();
                    if saved.on_disk >= needed {
                        return Ok(());
                    }
                    (saved.current.clone(), saved.version)
                };
                state::save_allocations(&inner.config.state_dir, &current)?;
                inner.allocations.lock().on_disk = version;
                Ok(())
            })
            .await
    }
}

/// Forwarding is the one global parameter that is changed. For IPv6 it makes the kernel ignore
/// router advertisements, unless the link asks for them nevertheless.
fn forward_packets(config: &Config) -> Result<(), Error> {
    sysctl::set("net/ipv4/ip_forward", "1")?;
    if config.pod_cidrs.iter().any(|network| network.addr().is_ipv6()) {
        if let Some(interface) = &config.interface {
            sysctl::set(&format!("net/ipv6/conf/{interface}/accept_ra"), "2")?;
        }
        sysctl::set("net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

fn firewall(config: &Config, allocations: &Allocations, kernel: Arc<dyn Nftables>) -> Result<Firewall, Error> {
    let networks = Networks {
        pods: config.pod_cidrs.clone(),
        cluster: config.cluster_cidrs.clone(),
        services: config.service_cidrs.clone(),
    };
    let pods = allocations.pods.iter().map(|(pod, entry)| {
        let addresses = allocations.addresses(entry.index).all();
        (pod.clone(), PodRules { addresses, host_ports: entry.host_ports.clone() })
    });
    let mut firewall = Firewall::new(kernel, networks, pods.collect());
    firewall.remember_services(state::load_services(&config.state_dir)?);
    Ok(firewall)
}

async fn make_devices(
    connection: Connection,
    config: &Config,
    allocations: &mut Allocations,
) -> Result<(Devices, u32), netlink::Error> {
    let uplink = uplink(&connection, config).await?;
    let over_ipv4 = config.node_ips.first().is_none_or(IpAddr::is_ipv4);
    let overhead = match config.backend {
        Backend::Vxlan if over_ipv4 => VXLAN_OVERHEAD_V4,
        Backend::Vxlan => VXLAN_OVERHEAD_V6,
        Backend::HostGw | Backend::None => 0,
    };
    let mtu = config.mtu.unwrap_or(uplink.mtu.saturating_sub(overhead));
    make_bridge(&connection, config, mtu).await?;
    let overlay = make_overlay(&connection, config, allocations, &uplink, mtu).await?;
    Ok((Devices { overlay, uplink: uplink.index, over_ipv4 }, mtu))
}

async fn uplink(connection: &Connection, config: &Config) -> Result<Link, netlink::Error> {
    match (&config.interface, config.node_ips.first()) {
        (Some(name), _) => connection.link(name).await?.ok_or_else(|| netlink::Error::NoLink(name.clone())),
        (None, Some(address)) => connection.link_with(*address).await,
        (None, None) => Err(netlink::Error::NoLink("of the node".to_owned())),
    }
}

/// The bridge with the node's own addresses, and the routes that give it everything in the pod and
/// service networks that no pod and no service has: such packets end here, instead of leaving by
/// the default route, and a node without a default route reaches services all the same.
async fn make_bridge(connection: &Connection, config: &Config, mtu: u32) -> Result<(), netlink::Error> {
    let gateways = config.pod_cidrs.iter().map(|network| state::gateway(*network));
    let wanted: Vec<IpAddr> = gateways.chain(config.cluster_dns.iter().copied()).collect();
    let mut found = connection.link(BRIDGE).await?;
    if let Some(link) = &found {
        let has = connection.addresses(link.index).await?;
        if has.iter().any(|address| !wanted.contains(address) && !is_link_local(*address)) {
            connection.delete_link(link.index).await?;
            found = None;
        }
    }
    if found.is_none() {
        connection.create_bridge(BRIDGE, random_mac(), mtu).await?;
        found = connection.link(BRIDGE).await?;
    }
    let device = found.ok_or_else(|| netlink::Error::NoLink(BRIDGE.to_owned()))?.index;
    connection.set_up(device).await?;
    for address in wanted {
        connection.add_address(device, address, IpNet::from(address).prefix_len()).await?;
    }
    for network in &config.pod_cidrs {
        let source = Some(state::gateway(*network));
        connection.set_route(Route { destination: network.trunc(), device, gateway: None, source }).await?;
    }
    for network in &config.service_cidrs {
        let source = config.node_ips.iter().find(|address| address.is_ipv4() == network.addr().is_ipv4()).copied();
        connection.set_route(Route { destination: network.trunc(), device, gateway: None, source }).await?;
    }
    Ok(())
}

async fn make_overlay(
    connection: &Connection,
    config: &Config,
    allocations: &mut Allocations,
    uplink: &Link,
    mtu: u32,
) -> Result<u32, netlink::Error> {
    let mut found = connection.link(OVERLAY).await?;
    let local = config.node_ips.first().copied().filter(|_| config.backend == Backend::Vxlan);
    let wanted = local.map(|local| Vtep { local, interface: uplink.name.clone(), mtu });
    let mac = *allocations.vtep_mac.get_or_insert_with(random_mac);
    if let Some(link) = found.take_if(|link| allocations.vtep != wanted || link.mac != mac) {
        connection.delete_link(link.index).await?;
    }
    allocations.vtep.clone_from(&wanted);
    let Some(Vtep { local, .. }) = wanted else { return Ok(0) };
    if found.is_none() {
        let vxlan = Vxlan { name: OVERLAY, mac, vni: VNI, port: VXLAN_PORT, local, device: uplink.index, mtu };
        connection.create_vxlan(vxlan).await?;
        found = connection.link(OVERLAY).await?;
    }
    let device = found.ok_or_else(|| netlink::Error::NoLink(OVERLAY.to_owned()))?.index;
    connection.set_up(device).await?;
    for network in &config.pod_cidrs {
        let address = network.network();
        connection.add_address(device, address, IpNet::from(address).prefix_len()).await?;
    }
    Ok(device)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// A locally administered unicast address.
fn random_mac() -> Mac {
    let mut mac: Mac = rand::random();
    mac[0] = (mac[0] & 0xfc) | 0x02;
    mac
}
