//! Ingress classes: which controller serves which ingresses.

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IngressClass, IngressClassParametersReference};
use serde_json::{Value, json};

use super::{cells, names, workload};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::name,
};

const CONTROLLER_LIMIT_BYTES: usize = 250;
const SCOPES: &[&str] = &["Cluster", "Namespace"];

/// `networking.k8s.io/v1.IngressClass`
pub struct IngressClassKind;

impl Kind for IngressClassKind {
    type Object = IngressClass;
    const NAMES: Names = names::cluster(names::NETWORKING, "IngressClass", "ingressclasses", "ingressclass");
    const GENERATION: Generation = Generation::Spec;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_WHOLE;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Controller", "string", "Who serves ingresses of the class."),
        cells::column("Parameters", "string", "An object with more settings."),
        cells::AGE,
    ];

    fn default(class: &mut IngressClass) {
        if let Some(parameters) = class.spec.as_mut().and_then(|spec| spec.parameters.as_mut()) {
            parameters.scope.get_or_insert_with(|| "Cluster".to_owned());
        }
    }

    fn validate(class: &IngressClass) -> Vec<Cause> {
        let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref()).unwrap_or_default();
        let path = Path::new("spec.controller");
        if controller.is_empty() {
            return vec![field::required(&path, "")];
        }
        let mut causes = Vec::new();
        if controller.len() > CONTROLLER_LIMIT_BYTES {
            causes.push(field::too_long(&path, CONTROLLER_LIMIT_BYTES));
        }
        causes.extend(field::invalid_each(&path, controller, &name::domain_prefixed_path(controller)));
        if let Some(parameters) = class.spec.as_ref().and_then(|spec| spec.parameters.as_ref()) {
            causes.extend(self::parameters(parameters, &Path::new("spec.parameters")));
        }
        causes
    }

    fn validate_update(new: &IngressClass, old: &IngressClass) -> Vec<Cause> {
        let controller = |class: &IngressClass| {
            let given = class.spec.as_ref().and_then(|spec| spec.controller.clone());
            given.unwrap_or_default()
        };
        field::immutable(&Path::new("spec.controller"), &controller(new), &controller(old))
    }

    fn cells(class: &IngressClass, now: Timestamp) -> Vec<Value> {
        let spec = class.spec.clone().unwrap_or_default();
        let parameters = spec.parameters.map_or_else(
            || cells::NONE.to_owned(),
            |object| match object.api_group {
                Some(group) => format!("{}.{group}/{}", object.kind, object.name),
                None => format!("{}/{}", object.kind, object.name),
            },
        );
        vec![
            cells::name(&class.metadata),
            json!(spec.controller.as_deref().unwrap_or_default()),
            json!(parameters),
            cells::age(&class.metadata, now),
        ]
    }
}

/// An object with more settings, in the cluster or in a namespace.
fn parameters(parameters: &IngressClassParametersReference, path: &Path) -> Vec<Cause> {
    let (group, kind, name) = (parameters.api_group.as_deref(), &parameters.kind, &parameters.name);
    let mut causes = workload::object_reference(group, kind, name, path);
    let scope = parameters.scope.as_deref();
    match scope {
        None => causes.push(field::required(&path.child("scope"), "")),
        Some(scope) if !SCOPES.contains(&scope) => {
            causes.push(field::unsupported(&path.child("scope"), scope, SCOPES));
        }
        Some(_) => {}
    }
    let own = path.child("namespace");
    match (scope, parameters.namespace.as_deref()) {
        (Some("Namespace"), None) => {
            causes.push(field::required(&own, "`parameters.scope` is set to 'Namespace'"));
        }
        (Some("Namespace"), Some(text)) => causes.extend(field::invalid_each(&own, text, &name::dns1123_label(text))),
        (Some("Cluster"), Some(_)) => causes.push(field::forbidden(&own, "`parameters.scope` is set to 'Cluster'")),
        _ => {}
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn parameters_are_in_a_namespace_or_not() {
        let problems = |parameters: Value| {
            let strategy = descriptor::<IngressClassKind>().strategy;
            let spec = json!({"controller": "a.b/c", "parameters": parameters});
            let class = strategy.decode(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
            let causes = strategy.validate(&class);
            causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect::<Vec<_>>()
        };
        assert!(problems(json!({"kind": "K", "name": "n", "scope": "Namespace", "namespace": "m"})).is_empty());
        assert_eq!(
            problems(json!({"kind": "K", "name": "a/b", "namespace": "m"})),
            [
                "spec.parameters.name: Invalid value: \"a/b\": may not contain '/'",
                "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"
            ]
        );
        assert_eq!(
            problems(json!({"kind": "K", "name": "n", "scope": "Namespace"})),
            ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"]
        );
    }
}
