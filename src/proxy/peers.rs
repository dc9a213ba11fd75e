//! The overlay as Node objects describe it: each node publishes its overlay device in annotations,
//! as flannel does under its own prefix, and reaches the others by what they published.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{
    base::{backoff::Backoff, log::chain},
    client::informer::{Informer, Informers},
    net::{Backend, NodeNetwork, Peer},
};

/// Kind of the overlay.
const TYPE_ANNOTATION: &str = "nauplius.dev/backend-type";
/// The overlay device, as JSON.
const DATA_ANNOTATION: &str = "nauplius.dev/backend-data";
/// The address that overlay packets are sent to.
const ADDRESS_ANNOTATION: &str = "nauplius.dev/public-ip";
const VNI: u32 = 1;

/// Flannel's shape of the annotation.
#[derive(Debug, Serialize, Deserialize)]
struct BackendData {
    #[serde(rename = "VNI")]
    vni: u32,
    #[serde(rename = "VtepMAC")]
    vtep_mac: String,
}

/// Keeps the network's peers equal to the other Nodes, and this node's annotations equal to its
/// overlay device. Never returns.
pub(super) async fn run(informers: Informers, network: NodeNetwork, node_name: String) {
    let nodes = informers.of::<Node>();
    let changed = Arc::new(Notify::new());
    let nudge = changed.clone();
    nodes.on_change(move |_| nudge.notify_one());
    nodes.synced().await;
    let api = Api::<Node>::all(informers.client());
    let mut installed = None;
    let mut backoff = Backoff::new(super::RETRY_FIRST, super::RETRY_LIMIT);
    loop {
        match reconcile(&nodes, &api, &network, &node_name, &mut installed).await {
            Ok(()) => {
                backoff.reset();
                changed.notified().await;
                tokio::time::sleep(super::COALESCE).await;
            }
            Err(error) => {
                tracing::warn!(error, "the overlay is not up to date, trying again");
                tokio::time::sleep(backoff.next_delay_jittered()).await;
            }
        }
    }
}

async fn reconcile(
    nodes: &Informer<Node>,
    api: &Api<Node>,
    network: &NodeNetwork,
    node_name: &str,
    installed: &mut Option<Vec<Peer>>,
) -> Result<(), String> {
    let nodes = nodes.list();
    let peers = plan(&nodes, node_name);
    if installed.as_ref() != Some(&peers) {
        network.set_peers(peers.clone()).await.map_err(|error| chain(&error))?;
        *installed = Some(peers);
    }
    let own = nodes.iter().find(|node| node.name_any() == node_name);
    match own.and_then(|own| annotations(own, network)) {
        None => Ok(()),
        Some(patch) => {
            let patched = api.patch(node_name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            patched.map(|_| ()).map_err(|error| chain(&error))
        }
    }
}

/// The other nodes, as far as they can be reached, in the order of their names.
fn plan(nodes: &[Arc<Node>], own: &str) -> Vec<Peer> {
    nodes.iter().filter(|node| node.name_any() != own).filter_map(|node| peer(node)).collect()
}

fn peer(node: &Node) -> Option<Peer> {
    let spec = node.spec.as_ref()?;
    let networks = spec.pod_cidrs.clone().or_else(|| spec.pod_cidr.clone().map(|network| vec![network]))?;
    let published = node.annotations().get(ADDRESS_ANNOTATION).and_then(|address| address.parse().ok());
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let internal =
        addresses.filter(|address| address.type_ == "InternalIP").filter_map(|address| address.address.parse().ok());
    let mut node_ips: Vec<IpAddr> = Vec::new();
    for address in published.into_iter().chain(internal) {
        if !node_ips.contains(&address) {
            node_ips.push(address);
        }
    }
    let data = node.annotations().get(DATA_ANNOTATION).and_then(|data| serde_json::from_str::<BackendData>(data).ok());
    Some(Peer {
        name: node.name_any(),
        node_ips,
        pod_cidrs: networks.iter().filter_map(|network| network.parse().ok()).collect(),
        vtep_mac: data.and_then(|data| parse_mac(&data.vtep_mac)),
    })
}

/// The patch that publishes this node's overlay device, unless it is published already.
fn annotations(own: &Node, network: &NodeNetwork) -> Option<serde_json::Value> {
    let mac = network.vtep_mac()?;
    let address = network.config().node_ips.first()?.to_string();
    let kind = match network.config().backend {
        Backend::Vxlan => "vxlan",
        Backend::HostGw => "host-gw",
        Backend::None => return None,
    };
    let data = serde_json::to_string(&BackendData { vni: VNI, vtep_mac: format_mac(mac) }).ok()?;
    let wanted = [(TYPE_ANNOTATION, kind), (DATA_ANNOTATION, &data), (ADDRESS_ANNOTATION, &address)];
    if wanted.iter().all(|(key, value)| own.annotations().get(*key).is_some_and(|found| found == value)) {
        return None;
    }
    let annotations: serde_json::Map<_, _> =
        wanted.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
    Some(serde_json::json!({ "metadata": { "annotations": annotations } }))
}

fn format_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_a_peer_with_what_it_published() {
        let node = |name: &str, annotations| {
            let value = json!({"metadata": {"name": name, "annotations": annotations},
                "spec": {"podCIDR": "10.42.1.0/24", "podCIDRs": ["10.42.1.0/24"]},
                "status": {"addresses": [{"type": "InternalIP", "address": "192.168.1.2"}, {"type": "Hostname", "address": "b"}]}});
            Arc::new(serde_json::from_value::<Node>(value).unwrap())
        };
        let data = json!({"nauplius.dev/backend-data": "{\"VNI\":1,\"VtepMAC\":\"02:00:00:00:00:0a\"}"});
        let peers = plan(&[node("a", json!({})), node("b", data), node("c", json!({}))], "a");
        assert_eq!(peers.len(), 2);
        assert_eq!(peers[0].vtep_mac, Some([2, 0, 0, 0, 0, 10]));
        assert_eq!(peers[0].node_ips, ["192.168.1.2".parse::<IpAddr>().unwrap()]);
        assert_eq!(peers[1].vtep_mac, None);
    }

    #[test]
    fn hardware_addresses_survive_being_written_down() {
        let mac = [0x02, 0xab, 0, 1, 0x10, 0xff];
        assert_eq!(parse_mac(&format_mac(mac)), Some(mac));
        assert_eq!(parse_mac("02:00:00:00:00"), None);
        assert_eq!(parse_mac("02:00:00:00:00:zz"), None);
    }
}
