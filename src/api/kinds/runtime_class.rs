//! Runtime classes: which runtime handles a pod's containers.

use jiff::Timestamp;
use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    status::Cause,
    validation::name,
};

/// `node.k8s.io/v1.RuntimeClass`
pub struct RuntimeClassKind;

impl Kind for RuntimeClassKind {
    type Object = RuntimeClass;
    const NAMES: Names =
        names::cluster(names::GroupVersion::v1("node.k8s.io"), "RuntimeClass", "runtimeclasses", "runtimeclass");
    const COLUMNS: &'static [Column] =
        &[cells::NAME, cells::column("Handler", "string", "The runtime's name on the nodes."), cells::AGE];

    fn validate(class: &RuntimeClass) -> Vec<Cause> {
        field::invalid_each(&Path::new("handler"), &class.handler, &name::dns1123_label(&class.handler))
    }

    fn validate_update(new: &RuntimeClass, old: &RuntimeClass) -> Vec<Cause> {
        field::immutable(&Path::new("handler"), &new.handler, &old.handler)
    }

    fn cells(class: &RuntimeClass, now: Timestamp) -> Vec<Value> {
        vec![cells::name(&class.metadata), json!(class.handler), cells::age(&class.metadata, now)]
    }
}
