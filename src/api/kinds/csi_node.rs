//! CSI nodes: the drivers on a node, and how each calls the node.

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::{CSINode, CSINodeDriver};
use serde_json::{Value, json};

use super::{cells, csi_driver, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::{name, value},
};

const NODE_ID_LIMIT_BYTES: usize = 256;

/// `storage.k8s.io/v1.CSINode`
pub struct CsiNodeKind;

impl Kind for CsiNodeKind {
    type Object = CSINode;
    const NAMES: Names = names::cluster(names::STORAGE, "CSINode", "csinodes", "csinode");
    const UPDATES_UNCONDITIONALLY: bool = false;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::WHOLE;
    const COLUMNS: &'static [Column] =
        &[cells::NAME, cells::column("Drivers", "integer", "How many drivers are on the node."), cells::AGE];

    fn validate(node: &CSINode) -> Vec<Cause> {
        let path = Path::new("spec").child("drivers");
        let drivers = &node.spec.drivers;
        let mut causes = Vec::new();
        for (index, one) in drivers.iter().enumerate() {
            causes.extend(driver(one, &path.index(index)));
            if drivers[..index].iter().any(|other| other.name == one.name) {
                causes.push(field::duplicate(&path.index(index).child("name"), &one.name));
            }
        }
        causes
    }

    /// A driver's entry is replaced, not changed, but for what it can take.
    fn validate_update(new: &CSINode, old: &CSINode) -> Vec<Cause> {
        let identity = |driver: &CSINodeDriver| CSINodeDriver { allocatable: None, ..driver.clone() };
        let changed = new.spec.drivers.iter().filter(|driver| {
            let before = old.spec.drivers.iter().find(|before| before.name == driver.name);
            before.is_some_and(|before| identity(before) != identity(driver))
        });
        let path = Path::new("spec").child("drivers");
        let shown =
            |driver| field::invalid_internal(&path, "storage.v1.CSINodeDriver", identity(driver), field::IMMUTABLE);
        changed.map(shown).collect()
    }

    fn cells(node: &CSINode, now: Timestamp) -> Vec<Value> {
        vec![cells::name(&node.metadata), json!(node.spec.drivers.len()), cells::age(&node.metadata, now)]
    }
}

fn driver(driver: &CSINodeDriver, path: &Path) -> Vec<Cause> {
    let mut causes = csi_driver::driver_name(&driver.name, &path.child("name"));
    let node = path.child("nodeID");
    if driver.node_id.is_empty() {
        causes.push(field::required(&node, ""));
    } else if driver.node_id.len() > NODE_ID_LIMIT_BYTES {
        causes.push(field::invalid(&node, &driver.node_id, "must be 256 characters or less"));
    }
    if let Some(count) = driver.allocatable.as_ref().and_then(|allocatable| allocatable.count) {
        let path = path.child("allocatable").child("count");
        causes.extend(field::invalid_each(&path, count, &value::non_negative(count.into())));
    }
    let keys = driver.topology_keys.as_deref().unwrap_or_default();
    // Upstream names the driver, not the list of its keys.
    for (index, key) in keys.iter().enumerate() {
        if keys[..index].contains(key) {
            causes.push(field::duplicate(path, key));
        }
        if key.is_empty() {
            causes.push(field::required(path, ""));
        }
        causes.extend(field::invalid_each(path, key, &name::qualified_name(key)));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(driver: Value) -> CSINode {
        serde_json::from_value(json!({"metadata": {}, "spec": {"drivers": [driver]}})).unwrap()
    }

    #[test]
    fn a_driver_keeps_its_name_for_the_node() {
        let old = node(json!({"name": "a.b", "nodeID": "1"}));
        let new = node(json!({"name": "a.b", "nodeID": "2"}));
        let room = node(json!({"name": "a.b", "nodeID": "1", "allocatable": {"count": 3}}));
        assert_eq!(CsiNodeKind::validate_update(&new, &old).len(), 1);
        assert_eq!(CsiNodeKind::validate_update(&room, &old), []);
        let causes = CsiNodeKind::validate(&node(json!({"name": "", "nodeID": ""})));
        assert_eq!(causes.len(), 2);
    }
}
