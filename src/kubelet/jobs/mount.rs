//! Preparing a pod's volumes, and renewing those whose contents have changed.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use crate::kubelet::{
    container::downward::Context,
    jobs::checkpoint,
    names,
    objects::{self, Snapshot},
    shared::Shared,
    volumes::{self, content},
};

/// The ConfigMaps and Secrets a pod refers to: as they are now, or as this node last had them
/// while the server is away.
pub async fn snapshot(shared: &Shared, pod: &Pod) -> Result<Snapshot, objects::Error> {
    let references = objects::references(pod);
    let mut found = Snapshot::new();
    let mut failed = None;
    for reference in references {
        match shared.objects.get(names::namespace(pod), &reference).await {
            Ok(object) => {
                found.insert(reference, object);
            }
            Err(error) => failed = Some(error),
        }
    }
    let directory = names::directory(&shared.config, names::uid(pod));
    match failed {
        None => {
            let kept = found.clone();
            shared.lane.run(move || checkpoint::save_objects(&directory, &kept)).await;
            Ok(found)
        }
        Some(error) => {
            let kept = shared.lane.run(move || checkpoint::load_objects(&directory)).await;
            match kept {
                Some(mut kept) => {
                    kept.extend(found);
                    Ok(kept)
                }
                None => Err(error),
            }
        }
    }
}

/// What the downward API says of a pod.
pub fn context(shared: &Shared, pod: &Pod, addresses: &[IpAddr]) -> Context {
    let host_network = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    Context {
        pod_ips: if host_network { shared.config.node_ips.clone() } else { addresses.to_vec() },
        host_ips: shared.config.node_ips.clone(),
        allocatable: shared.allocatable.clone(),
    }
}

/// Prepares all volumes; gives the time at which a token must be renewed.
pub async fn run(shared: Arc<Shared>, pod: Arc<Pod>) -> Result<Option<Instant>, String> {
    let has_volumes = pod.spec.as_ref().is_some_and(|spec| spec.volumes.as_ref().is_some_and(|list| !list.is_empty()));
    if !has_volumes {
        return Ok(None);
    }
    let keys = content::tokens(&pod);
    let requests = keys.iter().map(|key| shared.tokens.get(&pod, key));
    let (objects, answers) = tokio::join!(snapshot(&shared, &pod), futures_util::future::join_all(requests));
    let objects = objects.map_err(|error| error.to_string())?;
    let mut refresh_at: Option<Instant> = None;
    let mut tokens = BTreeMap::new();
    for (key, answer) in keys.into_iter().zip(answers) {
        let token = answer.map(|(token, renew_at)| {
            refresh_at = Some(refresh_at.map_or(renew_at, |earlier| earlier.min(renew_at)));
            token.token
        });
        tokens.insert(key, token);
    }
    let context = context(&shared, &pod, &[]);
    let directory = names::directory(&shared.config, names::uid(&pod));
    let kept = shared.tokens.of(names::uid(&pod));
    let prepared = shared.lane.run(move || {
        if !kept.is_empty() {
            checkpoint::save_tokens(&directory, &kept);
        }
        let request = volumes::Request {
            pod: &pod,
            directory: &directory,
            objects: &objects,
            tokens: &tokens,
            context: &context,
        };
        volumes::prepare(&request).map_err(|error| error.to_string())
    });
    prepared.await.map(|()| refresh_at)
}
