//! Removal of everything that the network ever made on the host. It goes on after an error and
//! reports all of them at the end.

use std::{fs, path::PathBuf};

use super::{BRIDGE, Error, NAMESPACE_PREFIX, OVERLAY, attach::VETH_PREFIX, state, table, told};
use crate::{
    base::lane::Lane,
    sys::{
        namespace, netlink,
        nft::{Kernel, Nftables},
    },
};

/// What to look through.
#[derive(Debug, Clone)]
pub struct PurgeOptions {
    /// The network's state directory; the namespaces of the pods it names are removed.
    pub state_dir: PathBuf,
    /// A directory in which every namespace of ours is removed, whatever the state says. Leave it
    /// out where several nodes share a machine.
    pub namespaces_dir: Option<PathBuf>,
}

/// Removes the table, the devices with their addresses and routes, and pods' network namespaces.
/// The state directory itself is left to the caller.
pub async fn purge(options: &PurgeOptions) -> Result<(), Error> {
    let mut failures = Vec::new();
    let lane = Lane::new(1);
    if let Err(error) = lane.run(|| Kernel.commit(&table::remove())).await {
        failures.push(told(&error));
    }
    if let Err(error) = netlink::with(remove_links).await {
        failures.push(told(&error));
    }
    for path in namespaces(options) {
        if let Err(error) = lane.run(move || namespace::remove_network(&path)).await {
            failures.push(told(&error));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Error::Leftovers(failures)) }
}

async fn remove_links(connection: netlink::Connection) -> Result<(), netlink::Error> {
    let mut first_error = Ok(());
    let is_ours = |name: &str| name == BRIDGE || name == OVERLAY || name.starts_with(VETH_PREFIX);
    for link in connection.links().await?.into_iter().filter(|link| is_ours(&link.name)) {
        let result = connection.delete_link(link.index).await;
        first_error = first_error.and(result);
    }
    // Routes over our own devices are gone by now; those of host-gw are over the host's.
    for route in connection.routes().await? {
        let result = connection.delete_route(route).await;
        first_error = first_error.and(result);
    }
    first_error
}

fn namespaces(options: &PurgeOptions) -> Vec<PathBuf> {
    let recorded = state::load_allocations(&options.state_dir).unwrap_or_default();
    let mut paths: Vec<PathBuf> = recorded.pods.into_values().map(|entry| entry.namespace).collect();
    let listed = options.namespaces_dir.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
    let ours = listed.filter(|entry| entry.file_name().to_string_lossy().starts_with(NAMESPACE_PREFIX));
    paths.extend(ours.map(|entry| entry.path()));
    paths
}
