//! DefaultStorageClass: a new claim that names no class gets the cluster's default one.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::{Status, kind::GroupResource, kinds::storage_class::DEFAULT_CLASS, meta},
    apiserver::{
        admission::{Operation, Plugin, Request, Warnings, default_class},
        reader::Reader,
    },
};

const CLASSES: GroupResource<'static> = GroupResource { group: "storage.k8s.io", resource: "storageclasses" };
/// Annotations of earlier versions, which mean the same as the field and the annotation of today.
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const OLD_DEFAULT: &str = "storageclass.beta.kubernetes.io/is-default-class";

pub struct DefaultStorageClass {
    reader: Arc<dyn Reader>,
}

impl DefaultStorageClass {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }
}

impl Plugin for DefaultStorageClass {
    fn mutate(&self, request: &Request<'_>, claim: &mut Value) -> Result<Warnings, Status> {
        let is_new = request.operation == Operation::Create && request.is_for("", "persistentvolumeclaims");
        if is_new
            && claim["spec"].is_object()
            && !names_class(claim)
            && let Some(class) = default_class(&*self.reader, CLASSES, &[DEFAULT_CLASS, OLD_DEFAULT])
        {
            claim["spec"]["storageClassName"] = class.into();
        }
        Ok(Warnings::new())
    }
}

/// An empty name is a name too: that of no class.
fn names_class(claim: &Value) -> bool {
    claim["spec"]["storageClassName"].is_string() || meta::annotation(claim, OLD_CLASS).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::{admission::fixture, reader::fake::FakeReader};

    fn admit(classes: &[(&str, &str, bool)], mut claim: Value) -> Value {
        let reader = FakeReader::default();
        for (name, created, default) in classes {
            let annotations = json!({DEFAULT_CLASS: default.to_string()});
            let metadata = json!({"name": name, "creationTimestamp": created, "annotations": annotations});
            reader.put("storage.k8s.io", "storageclasses", json!({"metadata": metadata}));
        }
        let user = fixture::user("jane", &[]);
        let attributes = fixture::attributes(user, "create", "", "persistentvolumeclaims", "a", "x");
        let kind = fixture::any_kind();
        let request = fixture::request(&attributes, Operation::Create, &kind, None);
        DefaultStorageClass::new(Arc::new(reader)).mutate(&request, &mut claim).unwrap();
        claim["spec"]["storageClassName"].clone()
    }

    #[test]
    fn the_newest_default_is_taken_unless_the_claim_names_one() {
        let classes = [
            ("old", "2025-01-01T00:00:00Z", true),
            ("new", "2026-01-01T00:00:00Z", true),
            ("x", "2026-02-01T00:00:00Z", false),
        ];
        assert_eq!(admit(&classes, json!({"spec": {}})), "new");
        assert_eq!(admit(&classes, json!({"spec": {"storageClassName": ""}})), "");
        assert_eq!(admit(&classes[2..], json!({"spec": {}})), Value::Null);
    }
}
