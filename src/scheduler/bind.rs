//! What the scheduler tells the API: bindings, and why a pod has to wait.

use k8s_openapi::api::core::v1::{Binding, ObjectReference, PodCondition};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
};

use crate::{
    client::{
        events::{Recorder, Type},
        pod::Pod,
    },
    scheduler::pod::PodInfo,
};

/// Writes decisions.
pub struct Binder {
    client: Client,
    recorder: Recorder,
}

impl Binder {
    /// A binder that writes through `client` and tells people through `recorder`.
    pub fn new(client: Client, recorder: Recorder) -> Self {
        Self { client, recorder }
    }

    /// Binds `pod` to `node`.
    pub async fn bind(&self, pod: &PodInfo, node: &str) -> kube::Result<()> {
        let mut binding = Binding {
            target: ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Node".into()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
            ..Binding::default()
        };
        binding.metadata.name = Some(pod.key.name.clone());
        binding.metadata.namespace = Some(pod.key.namespace.clone());
        // The pod may have been replaced by another one of its name.
        binding.metadata.uid = Some(pod.uid().to_owned());
        let api = self.api(pod);
        let _: serde_json::Value =
            api.create_subresource("binding", &pod.key.name, &PostParams::default(), &binding).await?;
        let note = format!("Successfully assigned {} to {node}", pod.key);
        self.recorder.record(&pod.pod.object_ref(&()), Type::Normal, "Scheduled", note);
        Ok(())
    }

    /// Records that `pod` fits nowhere, as an event and as its `PodScheduled` condition.
    pub async fn report_unschedulable(&self, pod: &PodInfo, message: &str) {
        self.recorder.record(&pod.pod.object_ref(&()), Type::Warning, "FailedScheduling", message);
        if said_already(&pod.pod, message) {
            return;
        }
        let condition = serde_json::json!({"status": {"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastTransitionTime": k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now_seconds()),
        }]}});
        let (api, params, patch) = (self.api(pod), PatchParams::default(), Patch::Strategic(condition));
        if let Err(error) = api.patch_status(&pod.key.name, &params, &patch).await {
            tracing::debug!(pod = %pod.key, error = %error, "condition not written");
        }
    }

    fn api(&self, pod: &PodInfo) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &pod.key.namespace)
    }
}

fn said_already(pod: &Pod, message: &str) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let same = |condition: &PodCondition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.message.as_deref() == Some(message)
    };
    conditions.iter().any(same)
}

/// `metav1.Time` has whole seconds.
fn now_seconds() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}
