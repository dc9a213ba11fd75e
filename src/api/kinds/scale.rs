//! Scales: what `/scale` of other kinds shows. They are no resource of their own, so this kind is not
//! among all others; it says how a Scale is shown.

use std::sync::LazyLock;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v1::Scale;
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::kind::{Column, Descriptor, Kind, Names, descriptor};

/// The descriptor of Scales.
pub static DESCRIPTOR: LazyLock<Descriptor> = LazyLock::new(descriptor::<ScaleKind>);

/// `autoscaling/v1.Scale`
pub struct ScaleKind;

impl Kind for ScaleKind {
    type Object = Scale;
    const NAMES: Names =
        Names { verbs: &[], ..names::namespaced(names::GroupVersion::v1("autoscaling"), "Scale", "scales", "scale") };
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Desired", "integer", "Replicas that are wanted."),
        cells::column("Available", "integer", "Replicas that there are."),
        cells::AGE,
    ];

    fn cells(scale: &Scale, now: Timestamp) -> Vec<Value> {
        let desired = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
        let available = scale.status.as_ref().map_or(0, |status| status.replicas);
        vec![cells::name(&scale.metadata), json!(desired), json!(available), cells::age(&scale.metadata, now)]
    }
}
