//! The node's pod network, which is there only after the server has given the node its addresses:
//! until then pods wait, and the node is not ready.

use std::{collections::BTreeSet, net::IpAddr};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    base::log,
    kubelet::host::{Attachment, Error, HostPort, Network, Result},
    net::{self, NodeNetwork, services::Protocol},
};

/// A network that may come later.
pub struct LateNetwork {
    network: watch::Sender<Option<NodeNetwork>>,
    /// Pods that ended before the network came; an earlier agent may have attached them.
    ended: Mutex<BTreeSet<String>>,
}

impl Default for LateNetwork {
    fn default() -> Self {
        Self { network: watch::channel(None).0, ended: Mutex::default() }
    }
}

impl LateNetwork {
    /// The network is there. Pods that waited for it go on.
    pub fn set(&self, network: NodeNetwork) {
        self.network.send_replace(Some(network));
    }

    /// Whether `ip` is in this node's part of the pod network.
    pub fn owns(&self, ip: IpAddr) -> bool {
        let network = self.network.borrow();
        network.as_ref().is_some_and(|network| network.config().pod_cidrs.iter().any(|cidr| cidr.contains(&ip)))
    }

    /// The network, or a note that `pod` is not to be kept when it comes. The lock makes it one or
    /// the other: [`Network::retain`] takes the notes after the network has come.
    fn now_or_later(&self, pod: &str) -> Option<NodeNetwork> {
        let mut ended = self.ended.lock();
        let network = self.network.borrow().clone();
        if network.is_none() {
            ended.insert(pod.to_owned());
        }
        network
    }

    async fn get(&self) -> Result<NodeNetwork> {
        let mut receiver = self.network.subscribe();
        let network = receiver.wait_for(Option::is_some).await.ok().and_then(|network| network.clone());
        network.ok_or_else(|| Error::Failed("the pod network is gone".into()))
    }
}

impl Network for LateNetwork {
    fn ready(&self) -> std::result::Result<(), String> {
        match *self.network.borrow() {
            Some(_) => Ok(()),
            None => Err("Network plugin returns error: the node has no pod addresses yet".to_owned()),
        }
    }

    fn became_ready(&self) -> BoxFuture<'_, ()> {
        async move {
            // An error cannot be: the sender is borrowed.
            let _ = self.get().await;
        }
        .boxed()
    }

    fn attach<'a>(&'a self, pod: &'a str, ports: &'a [HostPort]) -> BoxFuture<'a, Result<Attachment>> {
        async move {
            let network = self.get().await?;
            let netns = net::namespace_path(pod);
            let options = net::AttachOptions { host_ports: ports.iter().filter_map(host_port).collect() };
            let addresses = network.attach(&netns, pod, options).await.map_err(|error| failed(&error))?;
            Ok(Attachment { netns, addresses: addresses.all() })
        }
        .boxed()
    }

    fn detach<'a>(&'a self, pod: &'a str) -> BoxFuture<'a, Result<()>> {
        async move {
            match self.now_or_later(pod) {
                Some(network) => network.detach(pod).await.map_err(|error| failed(&error)),
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn retain<'a>(&'a self, keep: &'a BTreeSet<String>) -> BoxFuture<'a, Result<()>> {
        async move {
            let network = self.get().await?;
            let ended = std::mem::take(&mut *self.ended.lock());
            let keep = keep.difference(&ended).cloned().collect();
            network.retain(&keep).await.map_err(|error| failed(&error))
        }
        .boxed()
    }
}

fn host_port(port: &HostPort) -> Option<net::HostPort> {
    let protocol = match port.protocol.as_str() {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => return None,
    };
    let host_ip: Option<IpAddr> = port.host_ip;
    Some(net::HostPort { host_ip, host_port: port.host_port, container_port: port.container_port, protocol })
}

fn failed(error: &net::Error) -> Error {
    Error::Failed(log::chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pod_that_ends_before_the_network_comes_is_remembered() {
        let network = LateNetwork::default();
        network.detach("early").await.unwrap();
        assert_eq!(*network.ended.lock(), BTreeSet::from(["early".to_owned()]));
    }
}
