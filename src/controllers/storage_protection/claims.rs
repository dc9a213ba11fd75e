//! The PVC protection controller: a claim stays as long as a pod on a node uses it.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, Client};

use crate::{
    client::{
        ObjectKey,
        informer::Informer,
        pod::Pod,
        queue::{Outcome, WorkQueue},
    },
    controllers::{
        Context,
        finalizer::{apply, plan},
        pods,
    },
};

const NAME: &str = "pvc-protection-controller";
const FINALIZER: &str = "kubernetes.io/pvc-protection";

/// Runs the controller.
pub async fn run(context: Context) {
    let queue = WorkQueue::new();
    let (claims, all) = (context.informers.of::<PersistentVolumeClaim>(), context.informers.of::<Pod>());
    claims.synced().await;
    all.synced().await;
    let nudged = queue.clone();
    claims.on_change(move |delta| {
        if delta.new.is_some() {
            nudged.add(ObjectKey::of(&**delta.latest()));
        }
    });
    let nudged = queue.clone();
    all.on_change(move |delta| {
        let ended = delta.new.is_none_or(|pod| pods::is_finished(pod));
        for name in claim_names(delta.latest()).filter(|_| ended) {
            let namespace = delta.latest().metadata.namespace.as_deref().unwrap_or_default();
            nudged.add(ObjectKey::new(namespace, &name));
        }
    });
    let controller = Controller { client: context.client(NAME), claims, pods: all };
    queue.run(NAME, 4, |key| controller.reconcile(key)).await;
}

struct Controller {
    client: Client,
    claims: Informer<PersistentVolumeClaim>,
    pods: Informer<Pod>,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> kube::Result<Outcome> {
        let Some(claim) = self.claims.get(&key) else { return Ok(Outcome::Done) };
        let in_use = || self.pods.list_in(&key.namespace).iter().any(|pod| uses(pod, &key.name));
        if let Some(action) = plan(&claim.metadata, FINALIZER, in_use) {
            let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
            apply(&api, &claim.metadata, FINALIZER, action).await?;
        }
        Ok(Outcome::Done)
    }
}

/// A pod without a node does not count: no kubelet starts it while the claim is being deleted.
fn uses(pod: &Pod, claim: &str) -> bool {
    !pods::node_name(pod).is_empty() && !pods::is_finished(pod) && claim_names(pod).any(|name| name == claim)
}

/// Claims of a pod's volumes, those made for ephemeral volumes among them.
fn claim_names(pod: &Pod) -> impl Iterator<Item = String> {
    let own = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().filter_map(|spec| spec.volumes.as_ref()).flatten();
    volumes.filter_map(move |volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some(source.claim_name.clone()),
        (None, Some(_)) => Some(format!("{own}-{}", volume.name)),
        (None, None) => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(node: &str, phase: &str) -> Pod {
        let volumes =
            json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "e", "ephemeral": {}}]);
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {"phase": phase},
            "spec": {"containers": [], "nodeName": node, "volumes": volumes}}))
        .unwrap()
    }

    #[test]
    fn pods_on_nodes_use_their_claims_until_they_end() {
        assert!(uses(&pod("n", "Running"), "data") && uses(&pod("n", "Running"), "p-e"));
        assert!(!uses(&pod("n", "Running"), "other"));
        assert!(!uses(&pod("", "Pending"), "data") && !uses(&pod("n", "Succeeded"), "data"));
    }
}
