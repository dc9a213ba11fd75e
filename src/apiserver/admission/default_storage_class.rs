//! DefaultStorageClass: a new claim that names no class gets the cluster's default one.

use std::{cmp::Reverse, sync::Arc};

use serde_json::Value;

use crate::{
    api::{Status, kind::GroupResource, kinds::storage_class::DEFAULT_CLASS, meta},
    apiserver::{
        admission::{Operation, Plugin, Request, Warnings},
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

    /// The newest of the classes marked as default; of equally old ones the first by name.
    fn default_class(&self) -> Option<String> {
        let classes = self.reader.list(CLASSES, None);
        let classes = classes.iter().filter_map(|class| serde_json::from_slice::<Value>(class).ok());
        let age = |class: &Value| (Reverse(meta::creation_timestamp(class).to_owned()), meta::name(class).to_owned());
        classes.filter(is_default).min_by_key(age).map(|class| meta::name(&class).to_owned())
    }
}

impl Plugin for DefaultStorageClass {
    fn mutate(&self, request: &Request<'_>, claim: &mut Value) -> Result<Warnings, Status> {
        let is_new = request.operation == Operation::Create && request.is_for("", "persistentvolumeclaims");
        if is_new
            && claim["spec"].is_object()
            && !names_class(claim)
            && let Some(class) = self.default_class()
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

fn is_default(class: &Value) -> bool {
    [DEFAULT_CLASS, OLD_DEFAULT].iter().any(|key| meta::annotation(class, key) == Some("true"))
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
