//! Node IPAM: every node gets a part of the cluster's pod network for its own pods
//! (`spec.podCIDRs`), /24 of IPv4 and /64 of IPv6 as upstream's defaults.

use std::{collections::HashSet, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams},
};

use crate::{
    client::{
        ObjectKey,
        events::Type,
        queue::{Outcome, WorkQueue},
    },
    controllers::Context,
};

const NAME: &str = "node-controller";
const IPV4_PREFIX: u8 = 24;
const IPV6_PREFIX: u8 = 64;

pub(super) async fn run(context: Context) {
    let queue = WorkQueue::<ObjectKey>::new();
    let nodes = context.informers.of::<Node>();
    let nudged = queue.clone();
    nodes.on_change(move |delta| {
        if delta.new.is_some() {
            nudged.add(ObjectKey::of(&**delta.latest()));
        }
    });
    nodes.synced().await;
    let api: Api<Node> = Api::all(context.client(NAME));
    let recorder = context.recorder(NAME);
    // One node at a time: two nodes must not be given the same network.
    let reconcile = |key: ObjectKey| {
        let (nodes, api, recorder, config) = (nodes.clone(), api.clone(), recorder.clone(), context.config.clone());
        async move {
            let Some(node) = nodes.get(&key).filter(|node| networks_of(node).is_empty()) else {
                return Ok(Outcome::Done);
            };
            let used = nodes.list().iter().flat_map(|node| networks_of(node)).collect();
            let Some(networks) = allocate(&config.cluster_cidrs, &used) else {
                let regarding = kube::Resource::object_ref(&*node, &());
                recorder.record(&regarding, Type::Normal, "CIDRNotAvailable", "Node status is now: CIDRNotAvailable");
                return Ok(Outcome::After(std::time::Duration::from_secs(60)));
            };
            let networks: Vec<String> = networks.iter().map(IpNet::to_string).collect();
            let patch = serde_json::json!({"spec": {"podCIDR": networks[0], "podCIDRs": networks}});
            api.patch(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
            nodes.settle(&key, |node| node.is_none_or(|node| !networks_of(node).is_empty())).await;
            Ok::<_, kube::Error>(Outcome::Done)
        }
    };
    queue.run(NAME, 1, reconcile).await;
}

fn networks_of(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let single = spec.pod_cidr.iter();
    let all = spec.pod_cidrs.iter().flatten();
    all.chain(single).filter_map(|network| network.parse().ok()).collect()
}

/// The first free network of each family; `None` when one is used up.
fn allocate(clusters: &[IpNet], used: &HashSet<IpNet>) -> Option<Vec<IpNet>> {
    clusters
        .iter()
        .map(|cluster| match cluster {
            IpNet::V4(network) => first_free_v4(network, used),
            IpNet::V6(network) => first_free_v6(network, used),
        })
        .collect()
}

fn first_free_v4(cluster: &Ipv4Net, used: &HashSet<IpNet>) -> Option<IpNet> {
    let prefix = IPV4_PREFIX.max(cluster.prefix_len());
    cluster.subnets(prefix).ok()?.map(IpNet::V4).find(|network| !overlaps(network, used))
}

fn first_free_v6(cluster: &Ipv6Net, used: &HashSet<IpNet>) -> Option<IpNet> {
    let prefix = IPV6_PREFIX.max(cluster.prefix_len());
    cluster.subnets(prefix).ok()?.map(IpNet::V6).find(|network| !overlaps(network, used))
}

fn overlaps(network: &IpNet, used: &HashSet<IpNet>) -> bool {
    used.contains(network)
        || used.iter().any(|other| {
            let (first, other_first): (IpAddr, IpAddr) = (network.network(), other.network());
            network.contains(&other_first) || other.contains(&first)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn gives_the_first_network_that_nobody_has() {
        let used = HashSet::from([net("10.42.0.0/24"), net("10.42.2.0/24")]);
        let clusters = [net("10.42.0.0/16"), net("fd42::/56")];
        assert_eq!(allocate(&clusters, &used), Some(vec![net("10.42.1.0/24"), net("fd42::/64")]));
    }

    #[test]
    fn a_used_up_network_gives_none() {
        let used = HashSet::from([net("10.0.0.0/24")]);
        assert_eq!(allocate(&[net("10.0.0.0/24")], &used), None);
    }
}
