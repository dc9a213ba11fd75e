//! Runtime classes: which runtime handles a pod's containers.

use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Toleration, node::v1::RuntimeClass};
use serde_json::{Value, json};

use super::{cells, names, pod_template::scheduling};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    status::Cause,
    validation::{metadata, name},
};

/// `node.k8s.io/v1.RuntimeClass`
pub struct RuntimeClassKind;

impl Kind for RuntimeClassKind {
    type Object = RuntimeClass;
    const NAMES: Names =
        names::cluster(names::GroupVersion::v1("node.k8s.io"), "RuntimeClass", "runtimeclasses", "runtimeclass");
    const UPDATES_UNCONDITIONALLY: bool = false;
    const COLUMNS: &'static [Column] =
        &[cells::NAME, cells::column("Handler", "string", "The runtime's name on the nodes."), cells::AGE];

    fn validate(class: &RuntimeClass) -> Vec<Cause> {
        let path = Path::new("handler");
        let mut causes = match class.handler.as_str() {
            "" => vec![field::required(&path, "")],
            handler => field::invalid_each(&path, handler, &name::dns1123_label(handler)),
        };
        if let Some(scheduling) = &class.scheduling {
            let path = Path::new("scheduling");
            let labels = scheduling.node_selector.iter().flatten();
            let labels = labels.map(|(key, value)| (key.as_str(), value.as_str()));
            causes.extend(metadata::labels(labels, &path.child("nodeSelector")));
            let tolerations = scheduling.tolerations.as_deref().unwrap_or_default();
            let path = path.child("tolerations");
            causes.extend(scheduling::tolerations(tolerations, &path));
            let key = |one: &Toleration| Toleration { toleration_seconds: None, ..one.clone() };
            for (index, one) in tolerations.iter().enumerate() {
                if tolerations[..index].iter().any(|other| key(other) == key(one)) {
                    causes.push(field::duplicate_internal(&path.index(index), "core.v1.Toleration", one));
                }
            }
        }
        causes
    }

    fn validate_update(new: &RuntimeClass, old: &RuntimeClass) -> Vec<Cause> {
        field::immutable(&Path::new("handler"), &new.handler, &old.handler)
    }

    fn cells(class: &RuntimeClass, now: Timestamp) -> Vec<Value> {
        vec![cells::name(&class.metadata), json!(class.handler), cells::age(&class.metadata, now)]
    }
}
