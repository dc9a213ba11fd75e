//! DefaultIngressClass: a new ingress that names no class gets the cluster's default one.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::{Status, kind::GroupResource, meta},
    apiserver::{
        admission::{Operation, Plugin, Request, Warnings, default_class},
        reader::Reader,
    },
};

const GROUP: &str = "networking.k8s.io";
const CLASSES: GroupResource<'static> = GroupResource { group: GROUP, resource: "ingressclasses" };
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
/// How a class was named before there was a field for it.
const OLD_CLASS: &str = "kubernetes.io/ingress.class";

pub struct DefaultIngressClass {
    reader: Arc<dyn Reader>,
}

impl DefaultIngressClass {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }
}

impl Plugin for DefaultIngressClass {
    fn mutate(&self, request: &Request<'_>, ingress: &mut Value) -> Result<Warnings, Status> {
        let is_new = request.operation == Operation::Create && request.is_for(GROUP, "ingresses");
        let names_class =
            ingress["spec"]["ingressClassName"].is_string() || meta::annotation(ingress, OLD_CLASS).is_some();
        if is_new
            && ingress["spec"].is_object()
            && !names_class
            && let Some(class) = default_class(&*self.reader, CLASSES, &[DEFAULT_CLASS])
        {
            ingress["spec"]["ingressClassName"] = class.into();
        }
        Ok(Warnings::new())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::{admission::fixture, reader::fake::FakeReader};

    fn admit(mut ingress: Value) -> Value {
        let reader = FakeReader::default();
        let metadata = json!({"name": "web", "annotations": {DEFAULT_CLASS: "true"}});
        reader.put(GROUP, "ingressclasses", json!({"metadata": metadata}));
        reader.put(GROUP, "ingressclasses", json!({"metadata": {"name": "aaa"}}));
        let attributes = fixture::attributes(fixture::user("jane", &[]), "create", GROUP, "ingresses", "a", "x");
        let kind = fixture::any_kind();
        let request = fixture::request(&attributes, Operation::Create, &kind, None);
        DefaultIngressClass::new(Arc::new(reader)).mutate(&request, &mut ingress).unwrap();
        ingress["spec"]["ingressClassName"].clone()
    }

    #[test]
    fn an_ingress_without_a_class_gets_the_default() {
        assert_eq!(admit(json!({"spec": {}})), "web");
        assert_eq!(admit(json!({"spec": {"ingressClassName": "own"}})), "own");
        assert_eq!(admit(json!({"metadata": {"annotations": {OLD_CLASS: "own"}}, "spec": {}})), Value::Null);
    }
}
