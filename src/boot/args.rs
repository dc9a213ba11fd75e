//! The flags of `nauplius server` and `nauplius agent`, spelled as k3s spells them, so that habits
//! and configuration files carry over. Every flag is a key of `config.yaml` as well.

use std::{net::IpAddr, path::PathBuf};

use clap::{ArgAction, Args};
use ipnet::IpNet;

/// Where configuration is read from unless told otherwise.
pub const CONFIG_FILE: &str = "/etc/nauplius/config.yaml";
/// Default of `--data-dir`.
pub const DATA_DIR: &str = "/var/lib/nauplius";
/// Default of `--run-dir`.
pub const RUN_DIR: &str = "/run/nauplius";
/// Default of `--write-kubeconfig`.
pub const KUBECONFIG: &str = "/etc/nauplius/nauplius.yaml";

/// Flags of both roles.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Configuration file; files in <file>.d are read after it
    #[arg(short = 'c', long, env = "NAUPLIUS_CONFIG_FILE", default_value = CONFIG_FILE, value_name = "FILE")]
    pub config: PathBuf,
    /// Log more
    #[arg(long, env = "NAUPLIUS_DEBUG", action = ArgAction::SetTrue)]
    pub debug: bool,
    /// Folder for everything that must survive a restart
    #[arg(short = 'd', long, env = "NAUPLIUS_DATA_DIR", default_value = DATA_DIR, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Folder for sockets and other run-time files
    #[arg(long, env = "NAUPLIUS_RUN_DIR", default_value = RUN_DIR, value_name = "DIR")]
    pub run_dir: PathBuf,
    /// Secret with which machines join (K10…::server:… or its last part)
    #[arg(short = 't', long, env = "NAUPLIUS_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// File that holds the token
    #[arg(long, env = "NAUPLIUS_TOKEN_FILE", value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// What this machine is as a node
    #[command(flatten)]
    pub node: Node,
}

/// Flags of the node.
#[derive(Debug, Clone, Args)]
pub struct Node {
    /// Name of this node [default: the host name]
    #[arg(long, env = "NAUPLIUS_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// Addresses of this node [default: that of the default route]
    #[arg(short = 'i', long, env = "NAUPLIUS_NODE_IP", value_name = "IP", value_delimiter = ',')]
    pub node_ip: Vec<IpAddr>,
    /// Labels to register the node with
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    pub node_label: Vec<String>,
    /// Taints to register the node with
    #[arg(long, value_name = "KEY=VALUE:EFFECT", value_delimiter = ',')]
    pub node_taint: Vec<String>,
    /// Most pods on this node
    #[arg(long, default_value_t = 110, value_name = "N")]
    pub max_pods: u32,
    /// Resolver configuration for names outside the cluster
    #[arg(long, env = "NAUPLIUS_RESOLV_CONF", default_value = "/etc/resolv.conf", value_name = "FILE")]
    pub resolv_conf: PathBuf,
    /// Mirrors and credentials of image registries
    #[arg(long, default_value = "/etc/nauplius/registries.yaml", value_name = "FILE")]
    pub private_registry: PathBuf,
    /// Network interface that leads to the other nodes
    #[arg(long, value_name = "NAME")]
    pub flannel_iface: Option<String>,
    /// Folder for the logs of containers
    #[arg(long, default_value = "/var/log/pods", value_name = "DIR")]
    pub pod_logs_dir: PathBuf,
    /// Folder for links to the logs of containers
    #[arg(long, default_value = "/var/log/containers", value_name = "DIR")]
    pub container_logs_dir: PathBuf,
    /// Size at which a container's log is rotated, in bytes
    #[arg(long, default_value_t = 10 * 1024 * 1024, value_name = "BYTES")]
    pub container_log_max_size: u64,
    /// Log files kept per container
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub container_log_max_files: u32,
    /// Name of the cgroup, under each hierarchy, that holds all pods
    #[arg(long, default_value = "nauplius", value_name = "NAME")]
    pub cgroup: String,
}

/// Flags of `nauplius server`.
#[derive(Debug, Clone, Args)]
#[command(args_override_self = true)]
pub struct Server {
    /// Flags of both roles
    #[command(flatten)]
    pub common: Common,
    /// Address that the API listens on
    #[arg(long, default_value = "0.0.0.0", value_name = "IP")]
    pub bind_address: IpAddr,
    /// Address that others reach the API at [default: the node's address]
    #[arg(long, value_name = "IP")]
    pub advertise_address: Option<IpAddr>,
    /// Port of the API
    #[arg(long, default_value_t = 6443, value_name = "PORT")]
    pub https_listen_port: u16,
    /// Further names and addresses for the API's certificate
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub tls_san: Vec<String>,
    /// Networks of pods
    #[arg(long, default_value = "10.42.0.0/16", value_name = "CIDR", value_delimiter = ',')]
    pub cluster_cidr: Vec<IpNet>,
    /// Networks of services
    #[arg(long, default_value = "10.43.0.0/16", value_name = "CIDR", value_delimiter = ',')]
    pub service_cidr: Vec<IpNet>,
    /// Ports that NodePort services get
    #[arg(long, default_value = "30000-32767", value_name = "FROM-TO")]
    pub service_node_port_range: String,
    /// Address of the cluster's DNS [default: the tenth of the service network]
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    pub cluster_dns: Vec<IpAddr>,
    /// Domain of the cluster's DNS
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    pub cluster_domain: String,
    /// How pods on different nodes reach each other: vxlan, host-gw or none
    #[arg(long, default_value = "vxlan", value_name = "BACKEND")]
    pub flannel_backend: String,
    /// A flag of kube-apiserver: audit-…, authentication-config or oidc-…
    #[arg(long, value_name = "NAME=VALUE")]
    pub kube_apiserver_arg: Vec<String>,
    /// Run the control plane alone, without a node on this machine
    #[arg(long, action = ArgAction::SetTrue)]
    pub disable_agent: bool,
    /// Where to write the administrator's kubeconfig
    #[arg(short = 'o', long, env = "NAUPLIUS_KUBECONFIG_OUTPUT", default_value = KUBECONFIG, value_name = "FILE")]
    pub write_kubeconfig: PathBuf,
    /// Mode of the kubeconfig, in octal
    #[arg(long, env = "NAUPLIUS_KUBECONFIG_MODE", default_value = "600", value_name = "MODE")]
    pub write_kubeconfig_mode: String,
}

/// Flags of `nauplius agent`.
#[derive(Debug, Clone, Args)]
#[command(args_override_self = true)]
pub struct Agent {
    /// Flags of both roles
    #[command(flatten)]
    pub common: Common,
    /// The server to join, such as https://10.0.0.1:6443
    #[arg(short = 's', long, env = "NAUPLIUS_URL", value_name = "URL")]
    pub server: String,
}
