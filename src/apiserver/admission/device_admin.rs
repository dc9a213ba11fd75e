//! Administrator's access to devices that others use: only claims in namespaces that are labelled for it get it
//! (KEP-5018; `AuthorizedForAdmin` of upstream's `registry/resource`).

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::{
        Status,
        field::{self, Path},
        kind::GroupResource,
        meta,
    },
    apiserver::{
        admission::{Operation, Plugin, Request, Warnings},
        reader::Reader,
    },
};

const GROUP: &str = "resource.k8s.io";
const NAMESPACES: GroupResource<'static> = GroupResource { group: "", resource: "namespaces" };
const LABEL: &str = "resource.kubernetes.io/admin-access";

pub struct DeviceAdmin {
    reader: Arc<dyn Reader>,
}

impl DeviceAdmin {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }

    fn is_allowed_in(&self, namespace: &str) -> bool {
        let stored = self.reader.get(NAMESPACES, "", namespace);
        let namespace: Option<Value> = stored.and_then(|stored| serde_json::from_slice(&stored).ok());
        namespace.is_some_and(|namespace| meta::label(&namespace, LABEL) == Some("true"))
    }
}

impl Plugin for DeviceAdmin {
    fn validate(&self, request: &Request<'_>, object: &Value) -> Result<Warnings, Status> {
        match asked_at(request, object) {
            Some(path) if !self.is_allowed_in(request.namespace()) => {
                let detail =
                    format!("admin access to devices requires the `{LABEL}: true` label on the containing namespace");
                let (kind, name) = (request.kind, meta::name(object));
                Err(Status::invalid(&kind.group, &kind.kind, name, vec![field::forbidden(&path, &detail)]))
            }
            _ => Ok(Warnings::new()),
        }
    }
}

/// Where a request is the first to ask for the access, or to grant it.
fn asked_at(request: &Request<'_>, object: &Value) -> Option<Path> {
    let requests = Path::new("spec").child("devices").child("requests");
    if request.operation == Operation::Create && request.is_for(GROUP, "resourceclaims") {
        return first(&object["spec"]["devices"]["requests"], "/exactly/adminAccess", &requests);
    }
    if request.operation == Operation::Create && request.is_for(GROUP, "resourceclaimtemplates") {
        return first(&object["spec"]["spec"]["devices"]["requests"], "/exactly/adminAccess", &requests);
    }
    if request.operation == Operation::Update && request.is_for(GROUP, "resourceclaims/status") {
        let path = Path::new("status").child("allocation").child("devices").child("results");
        let granted =
            |claim: &Value| first(&claim["status"]["allocation"]["devices"]["results"], "/adminAccess", &path);
        // What was granted may stay.
        return granted(object).filter(|_| request.old.and_then(granted).is_none());
    }
    None
}

/// The first item of a list that asks for the access at `pointer`.
fn first(items: &Value, pointer: &str, path: &Path) -> Option<Path> {
    let asks = |item: &Value| item.pointer(pointer) == Some(&Value::Bool(true));
    let index = items.as_array()?.iter().position(asks)?;
    Some(path.index(index).child("adminAccess"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::{admission::fixture, reader::fake::FakeReader};

    fn refused(resource: &str, operation: Operation, object: &Value, old: Option<&Value>) -> Option<String> {
        let reader = FakeReader::default();
        reader.put("", "namespaces", json!({"metadata": {"name": "plain"}}));
        reader.put("", "namespaces", json!({"metadata": {"name": "labelled", "labels": {LABEL: "true"}}}));
        let plugin = DeviceAdmin::new(Arc::new(reader));
        let kind = fixture::any_kind();
        let asked = |namespace: &str| {
            let attributes =
                fixture::attributes(fixture::user("jane", &[]), "create", GROUP, resource, namespace, "claim");
            let request = fixture::request(&attributes, operation, &kind, old);
            plugin.validate(&request, object).err().map(|status| status.message)
        };
        assert_eq!(asked("labelled"), None);
        asked("plain")
    }

    #[test]
    fn namespaces_must_be_labelled_for_it() {
        let spec = json!({"devices": {"requests": [{"name": "a"}, {"name": "b", "exactly": {"adminAccess": true}}]}});
        let claim = json!({"metadata": {"name": "claim"}, "spec": spec});
        let message = refused("resourceclaims", Operation::Create, &claim, None).unwrap();
        assert!(message.contains("spec.devices.requests[1].adminAccess: Forbidden: admin access"), "{message}");
        let template = json!({"spec": {"spec": spec}});
        assert!(refused("resourceclaimtemplates", Operation::Create, &template, None).is_some());
        assert!(refused("resourceclaims", Operation::Create, &json!({"spec": {}}), None).is_none());
        assert!(refused("resourceclaims", Operation::Update, &claim, Some(&claim)).is_none());
    }

    #[test]
    fn what_was_granted_may_stay() {
        let granted = json!({"status": {"allocation": {"devices": {"results": [{"adminAccess": true}]}}}});
        let status = "resourceclaims/status";
        assert!(refused(status, Operation::Update, &granted, Some(&json!({}))).is_some());
        assert!(refused(status, Operation::Update, &granted, Some(&granted)).is_none());
    }
}
