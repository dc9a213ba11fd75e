//! NamespaceLifecycle: nothing is written into a namespace that is not there, nothing new into one
//! that is going away, and the cluster's own namespaces stay.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::{Status, kind::GroupResource, meta, status::Cause},
    apiserver::{
        admission::{Operation, Plugin, Request, Warnings},
        reader::Reader,
    },
};

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];
const NAMESPACES: GroupResource<'static> = GroupResource { group: "", resource: "namespaces" };

pub struct NamespaceLifecycle {
    reader: Arc<dyn Reader>,
}

impl NamespaceLifecycle {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }

    fn check(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let attributes = request.attributes;
        let namespace = attributes.namespace.as_str();
        // Asking whether something would be allowed must work before the namespace is there.
        let is_review = attributes.group == "authorization.k8s.io";
        let writes = request.operation != Operation::Connect;
        if namespace.is_empty() || request.is_for("", "namespaces") || is_review || !writes {
            return Ok(());
        }
        let Some(stored) = self.reader.get(NAMESPACES, "", namespace) else {
            return Err(Status::not_found("", "namespaces", namespace));
        };
        let stored: Value = serde_json::from_slice(&stored).map_err(Status::internal)?;
        if request.operation == Operation::Create && is_terminating(&stored) {
            return Err(terminating(request, object, namespace));
        }
        Ok(())
    }
}

impl Plugin for NamespaceLifecycle {
    fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<Warnings, Status> {
        self.check(request, object).map(|()| Warnings::new())
    }

    fn validate(&self, request: &Request<'_>, object: &Value) -> Result<Warnings, Status> {
        let name = request.attributes.name.as_str();
        let deletes = request.operation == Operation::Delete && request.is_for("", "namespaces");
        if deletes && IMMORTAL.contains(&name) {
            return Err(request.forbid(object, "this namespace may not be deleted"));
        }
        Ok(Warnings::new())
    }
}

fn is_terminating(namespace: &Value) -> bool {
    meta::deletion_timestamp(namespace).is_some() || namespace["status"]["phase"] == "Terminating"
}

fn terminating(request: &Request<'_>, object: &Value, namespace: &str) -> Status {
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = request.forbid(object, &why);
    if let Some(details) = &mut status.details {
        details.causes.push(Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".into(),
            ..Cause::default()
        });
    }
    status
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::{admission::fixture, reader::fake::FakeReader};

    async fn outcome(
        verb: &str,
        operation: Operation,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), String> {
        let reader = FakeReader::default();
        reader.put("", "namespaces", json!({"metadata": {"name": "a"}}));
        reader.put("", "namespaces", json!({"metadata": {"name": "dying"}, "status": {"phase": "Terminating"}}));
        let plugin = NamespaceLifecycle::new(Arc::new(reader));
        let attributes = fixture::attributes(fixture::user("jane", &[]), verb, "", resource, namespace, name);
        let kind = fixture::any_kind();
        let request = fixture::request(&attributes, operation, &kind, None);
        let result = match operation {
            Operation::Delete => plugin.validate(&request, &json!({})),
            _ => plugin.mutate(&request, &mut json!({"metadata": {"name": name}})),
        };
        result.map(|_| ()).map_err(|status| status.message)
    }

    #[tokio::test]
    async fn namespaces_must_be_there_and_stay() {
        assert_eq!(outcome("create", Operation::Create, "pods", "a", "p").await, Ok(()));
        assert_eq!(
            outcome("create", Operation::Create, "pods", "b", "p").await,
            Err(r#"namespaces "b" not found"#.into())
        );
        assert_eq!(
            outcome("create", Operation::Create, "pods", "dying", "p").await,
            Err(r#"pods "p" is forbidden: unable to create new content in namespace dying because it is being terminated"#.into())
        );
        assert_eq!(outcome("update", Operation::Update, "pods", "dying", "p").await, Ok(()));
    }

    #[tokio::test]
    async fn the_clusters_namespaces_cannot_be_deleted() {
        assert_eq!(
            outcome("delete", Operation::Delete, "namespaces", "default", "default").await,
            Err(r#"namespaces "default" is forbidden: this namespace may not be deleted"#.into())
        );
        assert_eq!(outcome("delete", Operation::Delete, "namespaces", "a", "a").await, Ok(()));
    }
}
