//! The validated configuration: what the components are started with. Whatever is wrong is said
//! here, before anything is changed on the machine.

use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Taint;

use crate::{
    api::validation,
    base::{file, log::chain},
    boot::{api_flags::ApiFlags, args},
    net::Backend,
    pki::join::ClusterSettings,
};

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct Node {
    /// `--data-dir`
    pub data_dir: PathBuf,
    /// `--run-dir`
    pub run_dir: PathBuf,
    /// The node's name.
    pub name: String,
    /// Its addresses, never empty.
    pub ips: Vec<IpAddr>,
    /// Labels to register with.
    pub labels: Vec<(String, String)>,
    /// Taints to register with.
    pub taints: Vec<Taint>,
    /// The flags that need no validation.
    pub flags: args::Node,
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Server {
    /// This machine.
    pub node: Node,
    /// Whether the node runs here as well.
    pub with_agent: bool,
    /// The token to use, if one is prescribed. Secret.
    pub token: Option<Secret>,
    /// Where the API listens.
    pub bind_address: IpAddr,
    /// Where the API is reached.
    pub advertise_address: IpAddr,
    /// Port of the API.
    pub port: u16,
    /// Further names of the certificate.
    pub tls_san: Vec<String>,
    /// What all nodes must agree on.
    pub cluster: Cluster,
    /// First and last NodePort.
    pub node_ports: (u16, u16),
    /// Where the administrator's kubeconfig goes.
    pub kubeconfig: PathBuf,
    /// Its mode.
    pub kubeconfig_mode: u32,
    /// What was said to the API server in the words of kube-apiserver.
    pub api_flags: ApiFlags,
}

/// What an agent is started with.
#[derive(Debug, Clone)]
pub struct Agent {
    /// This machine.
    pub node: Node,
    /// `https://host:port`
    pub server: http::Uri,
    /// The token. Absent for a machine that has joined before.
    pub token: Option<Secret>,
}

/// The networks of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Networks of pods.
    pub cluster_cidrs: Vec<IpNet>,
    /// Networks of services.
    pub service_cidrs: Vec<IpNet>,
    /// Addresses of the cluster's DNS.
    pub dns: Vec<IpAddr>,
    /// Domain of the cluster's DNS.
    pub domain: String,
    /// How nodes are connected.
    pub backend: Backend,
}

/// A secret that `Debug` does not show.
#[derive(Clone)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

impl Cluster {
    /// What a joining machine is told.
    pub fn settings(&self) -> ClusterSettings {
        ClusterSettings {
            cluster_cidr: joined(&self.cluster_cidrs),
            service_cidr: joined(&self.service_cidrs),
            cluster_dns: joined(&self.dns),
            cluster_domain: self.domain.clone(),
            flannel_backend: backend_name(self.backend).into(),
        }
    }

    /// What a joining machine was told.
    pub fn from_settings(settings: &ClusterSettings) -> anyhow::Result<Self> {
        Ok(Self {
            cluster_cidrs: list(&settings.cluster_cidr).context("cluster CIDR")?,
            service_cidrs: list(&settings.service_cidr).context("service CIDR")?,
            dns: list(&settings.cluster_dns).context("cluster DNS")?,
            domain: settings.cluster_domain.clone(),
            backend: backend(&settings.flannel_backend)?,
        })
    }

    /// The first address of each service network: that of the `kubernetes` Service.
    pub fn kubernetes_service_ips(&self) -> Vec<IpAddr> {
        self.service_cidrs.iter().filter_map(|network| nth(network, 1)).collect()
    }
}

fn joined<T: std::fmt::Display>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

fn list<T>(text: &str) -> anyhow::Result<Vec<T>>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.split(',').filter(|part| !part.is_empty()).map(|part| Ok(part.parse()?)).collect()
}

impl Server {
    /// Validates the flags of a server.
    pub fn new(flags: args::Server) -> anyhow::Result<Self> {
        let token = token(&flags.common)?;
        let node = Node::new(&flags.common)?;
        let cluster = cluster(&flags)?;
        let kubeconfig_mode = u32::from_str_radix(&flags.write_kubeconfig_mode, 8)
            .with_context(|| format!("--write-kubeconfig-mode {} is not an octal mode", flags.write_kubeconfig_mode))?;
        Ok(Self {
            advertise_address: flags.advertise_address.unwrap_or(node.ips[0]),
            node_ports: port_range(&flags.service_node_port_range)?,
            with_agent: !flags.disable_agent,
            token,
            bind_address: flags.bind_address,
            port: flags.https_listen_port,
            tls_san: flags.tls_san,
            cluster,
            kubeconfig: flags.write_kubeconfig,
            kubeconfig_mode,
            api_flags: ApiFlags::parse(&flags.kube_apiserver_arg)?,
            node,
        })
    }

    /// Where a client on this machine reaches the API.
    pub fn local_url(&self) -> String {
        let host = match self.bind_address {
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        match host {
            IpAddr::V4(ip) => format!("https://{ip}:{}", self.port),
            IpAddr::V6(ip) => format!("https://[{ip}]:{}", self.port),
        }
    }
}

impl Agent {
    /// Validates the flags of an agent.
    pub fn new(flags: args::Agent) -> anyhow::Result<Self> {
        let server: http::Uri =
            flags.server.trim_end_matches('/').parse().with_context(|| format!("--server {}", flags.server))?;
        ensure!(
            server.scheme_str() == Some("https") && server.host().is_some(),
            "--server {} is not of the form https://host:port",
            flags.server
        );
        let server = if server.port().is_some() {
            server
        } else {
            format!("{}:6443", flags.server.trim_end_matches('/')).parse()?
        };
        Ok(Self { token: token(&flags.common)?, node: Node::new(&flags.common)?, server })
    }
}

impl Node {
    fn new(flags: &args::Common) -> anyhow::Result<Self> {
        let node = &flags.node;
        let name = match &node.node_name {
            Some(name) => name.to_lowercase(),
            None => host_name()?,
        };
        let problems = validation::name::dns1123_subdomain(&name);
        ensure!(problems.is_empty(), "node name \"{name}\" cannot be used: {}", problems.join("; "));
        let data_dir = std::path::absolute(&flags.data_dir)?;
        let ips = if node.node_ip.is_empty() { vec![own_address(&data_dir)?] } else { node.node_ip.clone() };
        Ok(Self {
            data_dir,
            run_dir: std::path::absolute(&flags.run_dir)?,
            name,
            ips,
            labels: node.node_label.iter().map(|label| parse_label(label)).collect::<anyhow::Result<_>>()?,
            taints: node.node_taint.iter().map(|taint| parse_taint(taint)).collect::<anyhow::Result<_>>()?,
            flags: node.clone(),
        })
    }
}

impl Node {
    /// Keeps the addresses for a start without a network. A failure costs no more than that.
    pub fn remember_addresses(&self) {
        let text = self.ips.iter().map(|ip| format!("{ip}\n")).collect::<String>();
        let path = addresses_file(&self.data_dir);
        let known = file::read_optional(&path).ok().flatten();
        if known.as_deref() == Some(text.as_bytes()) {
            return;
        }
        if let Err(error) = file::write_atomic(&path, text.as_bytes(), 0o644) {
            tracing::warn!(error = chain(&error), "the node's addresses could not be kept");
        }
    }
}

fn addresses_file(data_dir: &Path) -> PathBuf {
    data_dir.join("agent/node-ips")
}

/// The address of the default route; that of the last start where there is no route (yet), so that a
/// machine whose cable is pulled still starts the pods it had.
fn own_address(data_dir: &Path) -> anyhow::Result<IpAddr> {
    default_address().or_else(|error| last_address(data_dir).ok_or(error))
}

fn last_address(data_dir: &Path) -> Option<IpAddr> {
    let contents = file::read_optional(&addresses_file(data_dir)).ok()??;
    String::from_utf8(contents).ok()?.lines().next()?.parse().ok()
}

fn token(flags: &args::Common) -> anyhow::Result<Option<Secret>> {
    let token = match (&flags.token, &flags.token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .with_context(|| format!("failed to read the token from {}", file.display()))?,
        (None, None) => return Ok(None),
    };
    let token = token.trim().to_owned();
    ensure!(!token.is_empty(), "the token is empty");
    Ok(Some(Secret(token)))
}

fn cluster(flags: &args::Server) -> anyhow::Result<Cluster> {
    for (name, networks) in [("--cluster-cidr", &flags.cluster_cidr), ("--service-cidr", &flags.service_cidr)] {
        let of_family = |ipv6: bool| networks.iter().filter(|net| net.addr().is_ipv6() == ipv6).count();
        ensure!(of_family(false) <= 1 && of_family(true) <= 1, "{name} takes at most one network per address family");
        ensure!(!networks.is_empty(), "{name} needs a network");
    }
    for pods in &flags.cluster_cidr {
        for services in &flags.service_cidr {
            let overlap = pods.contains(&services.network()) || services.contains(&pods.network());
            ensure!(!overlap, "--cluster-cidr {pods} and --service-cidr {services} overlap");
        }
    }
    let dns = if flags.cluster_dns.is_empty() {
        flags.service_cidr.iter().filter_map(|network| nth(network, 10)).collect()
    } else {
        flags.cluster_dns.clone()
    };
    for ip in &dns {
        let inside = flags.service_cidr.iter().any(|network| network.contains(ip));
        ensure!(inside, "--cluster-dns {ip} is not in --service-cidr");
    }
    Ok(Cluster {
        cluster_cidrs: flags.cluster_cidr.clone(),
        service_cidrs: flags.service_cidr.clone(),
        dns,
        domain: flags.cluster_domain.trim_end_matches('.').to_owned(),
        backend: backend(&flags.flannel_backend)?,
    })
}

/// The address `index` places behind the network's own.
fn nth(network: &IpNet, index: u32) -> Option<IpAddr> {
    let address = match network.network() {
        IpAddr::V4(ip) => IpAddr::V4(u32::from(ip).checked_add(index)?.into()),
        IpAddr::V6(ip) => IpAddr::V6(u128::from(ip).checked_add(index.into())?.into()),
    };
    network.contains(&address).then_some(address)
}

fn backend(name: &str) -> anyhow::Result<Backend> {
    match name {
        "vxlan" => Ok(Backend::Vxlan),
        "host-gw" => Ok(Backend::HostGw),
        "none" => Ok(Backend::None),
        other => bail!("--flannel-backend {other} is not known; choose vxlan, host-gw or none"),
    }
}

const fn backend_name(backend: Backend) -> &'static str {
    match backend {
        Backend::Vxlan => "vxlan",
        Backend::HostGw => "host-gw",
        Backend::None => "none",
    }
}

fn port_range(text: &str) -> anyhow::Result<(u16, u16)> {
    let wrong = || format!("--service-node-port-range {text} is not of the form FROM-TO");
    let (from, to) = text.split_once('-').with_context(wrong)?;
    let range = (from.parse().with_context(wrong)?, to.parse().with_context(wrong)?);
    ensure!(range.0 > 0 && range.0 <= range.1, "{}", wrong());
    Ok(range)
}

fn parse_label(text: &str) -> anyhow::Result<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let mut problems = validation::name::qualified_name(key);
    problems.extend(validation::name::label_value(value));
    ensure!(problems.is_empty(), "--node-label {text} cannot be used: {}", problems.join("; "));
    Ok((key.to_owned(), value.to_owned()))
}

fn parse_taint(text: &str) -> anyhow::Result<Taint> {
    let wrong = || format!("--node-taint {text} is not of the form key=value:effect");
    let (rest, effect) = text.rsplit_once(':').with_context(wrong)?;
    ensure!(["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect), "{}", wrong());
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    let problems = validation::name::qualified_name(key);
    ensure!(problems.is_empty(), "--node-taint {text} cannot be used: {}", problems.join("; "));
    let value = Some(value.to_owned()).filter(|value| !value.is_empty());
    Ok(Taint { key: key.to_owned(), value, effect: effect.to_owned(), time_added: None })
}

fn host_name() -> anyhow::Result<String> {
    let name = nix::unistd::gethostname().context("failed to read the host name")?;
    Ok(name.to_string_lossy().to_lowercase())
}

/// The address that packets to the world would carry. Nothing is sent: connecting a UDP socket only
/// asks the kernel for a route.
fn default_address() -> anyhow::Result<IpAddr> {
    for (local, remote) in [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")] {
        let socket = UdpSocket::bind(local).and_then(|socket| {
            socket.connect(remote)?;
            socket.local_addr()
        });
        if let Ok(address) = socket {
            return Ok(address.ip());
        }
    }
    bail!("this machine has no default route; say with --node-ip which of its addresses to use")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_from_the_networks_own() {
        let network: IpNet = "10.43.0.0/16".parse().unwrap();
        assert_eq!(nth(&network, 10), Some("10.43.0.10".parse().unwrap()));
        let small: IpNet = "10.0.0.0/30".parse().unwrap();
        assert_eq!(nth(&small, 10), None);
    }

    #[test]
    fn taints_and_port_ranges_are_checked() {
        assert_eq!(parse_taint("a=b:NoSchedule").unwrap().value.as_deref(), Some("b"));
        assert!(parse_taint("a=b:Sometimes").is_err());
        assert_eq!(port_range("30000-32767").unwrap(), (30000, 32767));
        assert!(port_range("2-1").is_err());
    }

    #[test]
    fn a_start_without_a_network_knows_the_last_address() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("agent")).unwrap();
        assert_eq!(last_address(directory.path()), None);
        let flags: args::Agent = {
            use clap::Parser;
            #[derive(Parser)]
            struct Command {
                #[command(flatten)]
                agent: args::Agent,
            }
            let directory = directory.path().to_str().unwrap();
            let arguments = ["x", "--server=https://s", "--data-dir", directory, "--node-ip=192.0.2.7,2001:db8::7"];
            Command::parse_from(arguments).agent
        };
        Node::new(&flags.common).unwrap().remember_addresses();
        assert_eq!(last_address(directory.path()), Some("192.0.2.7".parse().unwrap()));
    }

    #[test]
    fn settings_survive_the_journey_to_an_agent() {
        let cluster = Cluster {
            cluster_cidrs: vec!["10.42.0.0/16".parse().unwrap(), "fd42::/56".parse().unwrap()],
            service_cidrs: vec!["10.43.0.0/16".parse().unwrap()],
            dns: vec!["10.43.0.10".parse().unwrap()],
            domain: "cluster.local".into(),
            backend: Backend::HostGw,
        };
        assert_eq!(Cluster::from_settings(&cluster.settings()).unwrap(), cluster);
    }
}
