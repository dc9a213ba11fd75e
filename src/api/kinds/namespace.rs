//! Namespaces: the scopes of names. A new one holds the `kubernetes` finalizer in its spec, which
//! the namespace controller takes away through `/finalize` once everything inside is gone.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceSpec, NamespaceStatus};
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, NameRule, Names, Subresource},
    status::Cause,
    validation::name,
};

/// The finalizer that every namespace has until its content is gone.
pub const FINALIZER: &str = "kubernetes";
/// Label that carries a namespace's own name, so that selectors can pick it (KEP-2161).
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// `v1.Namespace`
pub struct NamespaceKind;

impl Kind for NamespaceKind {
    type Object = Namespace;
    const NAMES: Names = Names {
        short_names: &["ns"],
        verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
        subresources: &[Subresource::Status, Subresource::Custom("finalize")],
        ..names::cluster(names::CORE, "Namespace", "namespaces", "namespace")
    };
    const NAME_RULE: NameRule = NameRule::Label;
    const FIELDS: &'static [&'static str] = &["status.phase"];
    const COLUMNS: &'static [Column] =
        &[cells::NAME, cells::column("Status", "string", "Active, or Terminating while its content goes."), cells::AGE];

    fn default(namespace: &mut Namespace) {
        label_with_name(namespace);
        let status = namespace.status.get_or_insert_default();
        status.phase.get_or_insert_with(|| "Active".to_owned());
    }

    fn prepare_for_create(namespace: &mut Namespace) {
        label_with_name(namespace);
        namespace.status = Some(NamespaceStatus { phase: Some("Active".to_owned()), conditions: None });
        let finalizers = namespace.spec.get_or_insert_default().finalizers.get_or_insert_default();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            finalizers.push(FINALIZER.to_owned());
        }
    }

    fn prepare_for_update(new: &mut Namespace, old: &Namespace) {
        new.spec = Some(NamespaceSpec { finalizers: old.spec.as_ref().and_then(|spec| spec.finalizers.clone()) });
    }

    fn validate(namespace: &Namespace) -> Vec<Cause> {
        finalizers(namespace)
    }

    fn validate_status_update(new: &Namespace, _old: &Namespace) -> Vec<Cause> {
        let phase = new.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
        let expected = if new.metadata.deletion_timestamp.is_some() { "Terminating" } else { "Active" };
        if phase == expected {
            return Vec::new();
        }
        let detail = match expected {
            "Active" => "may only be 'Active' if `deletionTimestamp` is empty",
            _ => "may only be 'Terminating' if `deletionTimestamp` is not empty",
        };
        vec![field::invalid(&Path::new("status.Phase"), phase, detail)]
    }

    fn field_values(namespace: &Namespace) -> Vec<String> {
        vec![phase(namespace).to_owned()]
    }

    fn cells(namespace: &Namespace, now: Timestamp) -> Vec<Value> {
        vec![cells::name(&namespace.metadata), json!(phase(namespace)), cells::age(&namespace.metadata, now)]
    }
}

/// Once when decoded, and again on creation, when a generated name is known.
fn label_with_name(namespace: &mut Namespace) {
    if let Some(name) = namespace.metadata.name.clone().filter(|name| !name.is_empty()) {
        namespace.metadata.labels.get_or_insert_default().insert(NAME_LABEL.to_owned(), name);
    }
}

fn phase(namespace: &Namespace) -> &str {
    namespace.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Finalizers of the spec are qualified names with a domain, the built-in one excepted.
fn finalizers(namespace: &Namespace) -> Vec<Cause> {
    let path = Path::new("spec.finalizers");
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_deref()).unwrap_or_default();
    let mut causes = Vec::new();
    for finalizer in finalizers {
        causes.extend(field::invalid_each(&path, finalizer, &name::qualified_name(finalizer)));
        if !finalizer.contains('/') && finalizer != FINALIZER {
            causes.push(field::invalid(
                &path,
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use crate::api::kind::{Strategy, descriptor};
    use serde_json::json;

    use super::*;

    fn strategy() -> std::sync::Arc<dyn Strategy> {
        descriptor::<NamespaceKind>().strategy
    }

    #[test]
    fn a_new_namespace_is_active_labelled_and_held() {
        let object = strategy().prepare_for_create(json!({"metadata": {"name": "a"}})).unwrap();
        assert_eq!(object["status"]["phase"], "Active");
        assert_eq!(object["spec"]["finalizers"], json!(["kubernetes"]));
        assert_eq!(object["metadata"]["labels"][NAME_LABEL], "a");
    }

    #[test]
    fn an_update_cannot_take_the_finalizer() {
        let old = strategy().prepare_for_create(json!({"metadata": {"name": "a"}})).unwrap();
        let new = strategy().prepare_for_update(json!({"metadata": {"name": "a"}}), &old).unwrap();
        assert_eq!(new["spec"]["finalizers"], json!(["kubernetes"]));
    }

    #[test]
    fn a_name_is_a_label() {
        let object = strategy().decode(json!({"metadata": {"name": "a.b"}})).unwrap();
        assert!(strategy().validate(&object)[0].message.contains("a lowercase RFC 1123 label"));
    }
}
