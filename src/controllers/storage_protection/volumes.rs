//! The PV protection controller: a volume stays as long as it is bound to a claim.

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;

use crate::{
    client::{
        ObjectKey,
        queue::{Outcome, WorkQueue},
    },
    controllers::{
        Context,
        finalizer::{apply, plan},
    },
};

const NAME: &str = "pv-protection-controller";
const FINALIZER: &str = "kubernetes.io/pv-protection";

/// Runs the controller.
pub async fn run(context: Context) {
    let queue = WorkQueue::<ObjectKey>::new();
    let volumes = context.informers.of::<PersistentVolume>();
    volumes.synced().await;
    let nudged = queue.clone();
    volumes.on_change(move |delta| {
        if delta.new.is_some() {
            nudged.add(ObjectKey::of(&**delta.latest()));
        }
    });
    let api: Api<PersistentVolume> = Api::all(context.client(NAME));
    let reconcile = |key: ObjectKey| {
        let (volume, api) = (volumes.get(&key), api.clone());
        async move {
            let Some(volume) = volume else { return Ok(Outcome::Done) };
            if let Some(action) = plan(&volume.metadata, FINALIZER, || is_bound(&volume)) {
                apply(&api, &volume.metadata, FINALIZER, action).await?;
            }
            Ok::<_, kube::Error>(Outcome::Done)
        }
    };
    queue.run(NAME, 4, reconcile).await;
}

fn is_bound(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}
