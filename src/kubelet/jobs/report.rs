//! Telling the API: status patches, and the deletion of pods that have ended.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};

use crate::kubelet::{names, shared::Shared, status::writer};

/// What came of a report.
pub enum Outcome {
    /// The API has it; the pod as it is there now.
    Written(Box<Pod>),
    /// There was nothing to write.
    Unchanged,
    /// The pod is not there any more, or another one of its name is.
    Gone,
    /// The server is away or refuses; to be tried again.
    Failed(String),
}

/// Writes what differs between the status the API has (`current`) and `wanted`.
pub async fn status(shared: Arc<Shared>, current: Arc<Pod>, wanted: PodStatus) -> Outcome {
    let Some(patch) = writer::patch(&current, &wanted) else { return Outcome::Unchanged };
    let api: Api<Pod> = Api::namespaced(shared.client.clone(), names::namespace(&current));
    let name = names::name(&current);
    match api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await {
        Ok(pod) if pod.metadata.uid == current.metadata.uid => Outcome::Written(Box::new(pod)),
        Ok(_) => Outcome::Gone,
        Err(error) => failed(error),
    }
}

/// Deletes the pod for good: everything of it is gone from this node.
pub async fn delete(shared: Arc<Shared>, pod: Arc<Pod>) -> Outcome {
    let api: Api<Pod> = Api::namespaced(shared.client.clone(), names::namespace(&pod));
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(names::name(&pod), &parameters).await {
        Ok(_) => Outcome::Gone,
        Err(error) => failed(error),
    }
}

fn failed(error: kube::Error) -> Outcome {
    match &error {
        // 409 is the UID precondition: another pod has taken the name.
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => Outcome::Gone,
        _ => Outcome::Failed(crate::base::log::chain(&error)),
    }
}
