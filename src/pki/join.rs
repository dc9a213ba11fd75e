//! What a machine and a server say to each other when the machine joins (`POST /v1-nauplius/join`,
//! the token as bearer of the `Authorization` header).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Path of the join endpoint.
pub const JOIN_PATH: &str = "/v1-nauplius/join";
/// Path of the server authority's certificate, PEM, for anybody.
pub const AUTHORITY_PATH: &str = "/v1-nauplius/cacerts";

/// Asks for certificates.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinRequest {
    /// The node's name.
    pub node_name: String,
    /// A secret that the machine drew once and keeps: only who knows it may use the name again.
    pub node_secret: String,
    /// Addresses and further names for the kubelet's serving certificate.
    #[serde(default)]
    pub names: Vec<String>,
    /// Signing request of the client key, PEM.
    pub client_request: String,
    /// Signing request of the serving key, PEM.
    pub serving_request: String,
}

impl fmt::Debug for JoinRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JoinRequest").field("node_name", &self.node_name).finish_non_exhaustive()
    }
}

/// Certificates, and what the whole cluster must agree on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinResponse {
    /// The authority whose clients the kubelet serves, PEM.
    pub client_authority: String,
    /// The authority of servers, PEM.
    pub server_authority: String,
    /// The machine's client certificate, PEM.
    pub client_certificate: String,
    /// The kubelet's serving certificate, PEM.
    pub serving_certificate: String,
    /// The cluster's settings.
    pub settings: ClusterSettings,
}

/// What the whole cluster must agree on. Comma-separated lists hold one value per address family.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSettings {
    /// Addresses of pods, such as `10.42.0.0/16`.
    pub cluster_cidr: String,
    /// Addresses of services, such as `10.43.0.0/16`.
    pub service_cidr: String,
    /// Address of the cluster's DNS, such as `10.43.0.10`.
    pub cluster_dns: String,
    /// Domain of the cluster's DNS, such as `cluster.local`.
    pub cluster_domain: String,
    /// `vxlan`, `host-gw` or `none`.
    pub flannel_backend: String,
}
