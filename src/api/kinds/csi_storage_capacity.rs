//! Storage capacities: how much a class has left in a part of the cluster.

use jiff::Timestamp;
use k8s_openapi::{api::storage::v1::CSIStorageCapacity, apimachinery::pkg::api::resource::Quantity};
use serde_json::{Value, json};

use super::{cells, label_selector, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    quantity,
    status::Cause,
    validation::{name, value},
};

/// `storage.k8s.io/v1.CSIStorageCapacity`
pub struct CsiStorageCapacityKind;

impl Kind for CsiStorageCapacityKind {
    type Object = CSIStorageCapacity;
    const NAMES: Names =
        names::namespaced(names::STORAGE, "CSIStorageCapacity", "csistoragecapacities", "csistoragecapacity");
    const UPDATES_UNCONDITIONALLY: bool = false;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("StorageClassName", "string", "The class that has the capacity."),
        cells::column("Capacity", "string", "How much is left."),
        cells::AGE,
    ];

    fn validate(object: &CSIStorageCapacity) -> Vec<Cause> {
        let mut causes = Vec::new();
        let (class, path) = (object.storage_class_name.as_str(), Path::new("storageClassName"));
        causes.extend(field::invalid_each(&path, class, &name::dns1123_subdomain(class)));
        if let Some(selector) = &object.node_topology {
            causes.extend(label_selector::validate(selector, &Path::new("nodeTopology")));
        }
        causes.extend(amount(object.capacity.as_ref(), &Path::new("capacity")));
        causes.extend(amount(object.maximum_volume_size.as_ref(), &Path::new("maximumVolumeSize")));
        causes
    }

    fn validate_update(new: &CSIStorageCapacity, old: &CSIStorageCapacity) -> Vec<Cause> {
        let (topology, path) = ("meta.v1.LabelSelector", Path::new("nodeTopology"));
        let mut causes = field::immutable_internal(&path, topology, &new.node_topology, &old.node_topology);
        let path = Path::new("storageClassName");
        causes.extend(field::immutable(&path, &new.storage_class_name, &old.storage_class_name));
        causes
    }

    fn cells(object: &CSIStorageCapacity, now: Timestamp) -> Vec<Value> {
        let capacity = object.capacity.as_ref().map_or(cells::UNSET, |capacity| &capacity.0);
        vec![
            cells::name(&object.metadata),
            json!(object.storage_class_name),
            json!(capacity),
            cells::age(&object.metadata, now),
        ]
    }
}

fn amount(amount: Option<&Quantity>, path: &Path) -> Option<Cause> {
    let text = amount?.0.as_str();
    let negative = text.parse::<quantity::Quantity>().is_ok_and(quantity::Quantity::is_negative);
    negative.then(|| field::invalid(path, text, value::NEGATIVE))
}
