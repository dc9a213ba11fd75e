//! What the kubelet is told at its start.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use k8s_openapi::api::core::v1::Taint;

/// Settings of a node's kubelet; `boot` fills them in from flags and files.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the Node object.
    pub node_name: String,
    /// Addresses of the node, the primary one first. Never empty.
    pub node_ips: Vec<IpAddr>,
    /// Labels set on the Node when it registers (`--node-label`).
    pub labels: BTreeMap<String, String>,
    /// Taints set on the Node when it registers first (`--node-taint`).
    pub taints: Vec<Taint>,
    /// `<data-dir>`: pods are kept below `agent/pods`.
    pub data_dir: PathBuf,
    /// `<run-dir>`.
    pub run_dir: PathBuf,
    /// Logs of containers, `/var/log/pods`.
    pub pod_logs_dir: PathBuf,
    /// Links to the logs, `/var/log/containers`.
    pub container_logs_dir: PathBuf,
    /// Address of the cluster's DNS service.
    pub cluster_dns: Vec<IpAddr>,
    /// `cluster.local`
    pub cluster_domain: String,
    /// The host's resolver configuration, `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// Most pods.
    pub max_pods: u32,
    /// Port of the kubelet's own server, as the Node announces it.
    pub port: u16,
    /// A container's log is rotated at this size.
    pub container_log_limit_bytes: u64,
    /// Log files kept per container.
    pub container_log_files: u32,
    /// Images pulled at once.
    pub parallel_pulls: usize,
}

impl Config {
    /// Settings with the defaults of the design for everything that has one.
    pub fn new(node_name: impl Into<String>, node_ips: Vec<IpAddr>) -> Self {
        Self {
            node_name: node_name.into(),
            node_ips,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            data_dir: "/var/lib/nauplius".into(),
            run_dir: "/run/nauplius".into(),
            pod_logs_dir: "/var/log/pods".into(),
            container_logs_dir: "/var/log/containers".into(),
            cluster_dns: vec![IpAddr::from([10, 43, 0, 10])],
            cluster_domain: "cluster.local".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            max_pods: 110,
            port: 10250,
            container_log_limit_bytes: 10 * 1024 * 1024,
            container_log_files: 5,
            parallel_pulls: 3,
        }
    }

    /// Where the pods of this node are kept, one directory per UID.
    pub fn pods_dir(&self) -> PathBuf {
        self.data_dir.join("agent/pods")
    }
}
