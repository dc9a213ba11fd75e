//! PersistentVolumeClaimResize: a claim grows only if it is bound and its class says that its
//! volumes can.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::{Status, kind::GroupResource, meta, pod_resources},
    apiserver::{
        admission::{Operation, Plugin, Request, Warnings},
        reader::Reader,
    },
};

const CLASSES: GroupResource<'static> = GroupResource { group: "storage.k8s.io", resource: "storageclasses" };
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

pub struct ClaimResize {
    reader: Arc<dyn Reader>,
}

impl ClaimResize {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }

    fn allows_expansion(&self, old: &Value, new: &Value) -> bool {
        let class = class_of(new);
        if class.is_empty() || class != class_of(old) {
            return false;
        }
        let class = self.reader.get(CLASSES, "", class);
        let class = class.and_then(|class| serde_json::from_slice::<Value>(&class).ok());
        class.is_some_and(|class| class["allowVolumeExpansion"] == true)
    }
}

impl Plugin for ClaimResize {
    fn validate(&self, request: &Request<'_>, new: &Value) -> Result<Warnings, Status> {
        let Some(old) = request.old else { return Ok(Warnings::new()) };
        let updates = request.operation == Operation::Update && request.is_for("", "persistentvolumeclaims");
        if !updates || !grows(old, new) {
            return Ok(Warnings::new());
        }
        if old["status"]["phase"] != "Bound" {
            return Err(request.forbid(new, "Only bound persistent volume claims can be expanded"));
        }
        if !self.allows_expansion(old, new) {
            let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc \
                       must support resize";
            return Err(request.forbid(new, why));
        }
        Ok(Warnings::new())
    }
}

fn grows(old: &Value, new: &Value) -> bool {
    let size = |claim: &Value| pod_resources::quantity(&claim["spec"]["resources"]["requests"]["storage"]);
    size(new) > size(old)
}

fn class_of(claim: &Value) -> &str {
    meta::annotation(claim, OLD_CLASS).or(claim["spec"]["storageClassName"].as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::{admission::fixture, reader::fake::FakeReader};

    fn outcome(phase: &str, class: &str, size: &str) -> Result<(), String> {
        let reader = FakeReader::default();
        for (name, allow) in [("grows", true), ("stays", false)] {
            let class = json!({"metadata": {"name": name}, "allowVolumeExpansion": allow});
            reader.put("storage.k8s.io", "storageclasses", class);
        }
        let claim = |size: &str| {
            let spec = json!({"storageClassName": class, "resources": {"requests": {"storage": size}}});
            json!({"metadata": {"name": "x"}, "spec": spec, "status": {"phase": phase}})
        };
        let user = fixture::user("jane", &[]);
        let attributes = fixture::attributes(user, "update", "", "persistentvolumeclaims", "a", "x");
        let (kind, old) = (fixture::any_kind(), claim("1Gi"));
        let request = fixture::request(&attributes, Operation::Update, &kind, Some(&old));
        let plugin = ClaimResize::new(Arc::new(reader));
        plugin.validate(&request, &claim(size)).map(|_| ()).map_err(|status| status.message)
    }

    #[test]
    fn a_bound_claim_of_a_growing_class_can_be_expanded() {
        assert_eq!(outcome("Bound", "grows", "2Gi"), Ok(()));
        assert_eq!(outcome("Pending", "stays", "1Gi"), Ok(()));
        assert!(
            outcome("Pending", "grows", "2Gi")
                .unwrap_err()
                .ends_with("Only bound persistent volume claims can be expanded")
        );
        assert!(outcome("Bound", "stays", "2Gi").unwrap_err().contains("only dynamically provisioned pvc"));
        assert!(outcome("Bound", "", "2Gi").is_err());
    }
}
