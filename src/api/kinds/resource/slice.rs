//! Resource slices: the devices that a driver offers, in pools, on nodes.

use jiff::Timestamp;
use k8s_openapi::api::resource::v1::{Device, DeviceAttribute, ResourceSlice, ResourceSliceSpec};
use serde_json::{Value, json};

use super::{GROUP_VERSION, driver, each, request};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names},
    kinds::{cells, names},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::name,
};

const DEVICES_LIMIT: usize = 128;
const ATTRIBUTES_LIMIT: usize = 32;
const STRING_LIMIT_BYTES: usize = 64;
const POOL_NAME_LIMIT_BYTES: usize = 253;

/// `resource.k8s.io/v1.ResourceSlice`
pub struct ResourceSliceKind;

impl Kind for ResourceSliceKind {
    type Object = ResourceSlice;
    const NAMES: Names = names::cluster(GROUP_VERSION, "ResourceSlice", "resourceslices", "resourceslice");
    const GENERATION: Generation = Generation::Spec;
    const FIELDS: &'static [&'static str] = &["spec.nodeName", "spec.driver"];
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Node", "string", "The node that has the devices."),
        cells::column("Driver", "string", "The driver that offers them."),
        cells::column("Pool", "string", "The pool they belong to."),
        cells::AGE,
    ];

    fn validate(slice: &ResourceSlice) -> Vec<Cause> {
        validate(&slice.spec, &Path::new("spec"))
    }

    fn validate_update(new: &ResourceSlice, old: &ResourceSlice) -> Vec<Cause> {
        let (new, old, path) = (&new.spec, &old.spec, Path::new("spec"));
        let mut causes = field::immutable(&path.child("driver"), &new.driver, &old.driver);
        causes.extend(field::immutable(&path.child("nodeName"), &new.node_name, &old.node_name));
        causes.extend(field::immutable(&path.child("pool").child("name"), &new.pool.name, &old.pool.name));
        causes.extend(field::immutable(&path.child("nodeSelector"), &new.node_selector, &old.node_selector));
        causes.extend(field::immutable(&path.child("allNodes"), &new.all_nodes, &old.all_nodes));
        causes
    }

    fn field_values(slice: &ResourceSlice) -> Vec<String> {
        vec![slice.spec.node_name.clone().unwrap_or_default(), slice.spec.driver.clone()]
    }

    fn cells(slice: &ResourceSlice, now: Timestamp) -> Vec<Value> {
        let spec = &slice.spec;
        vec![
            cells::name(&slice.metadata),
            json!(spec.node_name.as_deref().filter(|node| !node.is_empty()).unwrap_or(cells::UNSET)),
            json!(spec.driver),
            json!(spec.pool.name),
            cells::age(&slice.metadata, now),
        ]
    }
}

fn validate(spec: &ResourceSliceSpec, path: &Path) -> Vec<Cause> {
    let mut causes = driver(&spec.driver, &path.child("driver"));
    causes.extend(pool(spec, &path.child("pool")));
    causes.extend(placement(spec, path));
    for (name, flag) in [("allNodes", spec.all_nodes), ("perDeviceNodeSelection", spec.per_device_node_selection)] {
        if flag == Some(false) {
            causes.push(field::invalid(&path.child(name), false, "must be either unset or set to true"));
        }
    }
    let per_device = spec.per_device_node_selection == Some(true);
    let devices = spec.devices.as_deref().unwrap_or_default();
    causes.extend(each(devices, DEVICES_LIMIT, &path.child("devices"), |one, path| {
        let mut causes = device(one, path);
        causes.extend(device_placement(one, per_device, path));
        causes
    }));
    for (index, one) in devices.iter().enumerate() {
        if devices[..index].iter().any(|other| other.name == one.name) {
            causes.push(field::duplicate(&path.child("devices").index(index), &one.name));
        }
    }
    causes
}

fn pool(spec: &ResourceSliceSpec, path: &Path) -> Vec<Cause> {
    let pool = &spec.pool;
    let mut causes = Vec::new();
    let name_path = path.child("name");
    if pool.name.is_empty() {
        causes.push(field::required(&name_path, ""));
    } else {
        if pool.name.len() > POOL_NAME_LIMIT_BYTES {
            causes.push(field::too_long(&name_path, POOL_NAME_LIMIT_BYTES));
        }
        for part in pool.name.split('/') {
            causes.extend(field::invalid_each(&name_path, part, &name::dns1123_subdomain(part)));
        }
    }
    if pool.resource_slice_count <= 0 {
        let path = path.child("resourceSliceCount");
        causes.push(field::invalid(&path, pool.resource_slice_count, "must be greater than zero"));
    }
    if pool.generation < 0 {
        let detail = "must be greater than or equal to zero";
        causes.push(field::invalid(&path.child("generation"), pool.generation, detail));
    }
    causes
}

/// The devices are somewhere, in exactly one way of saying where.
fn placement(spec: &ResourceSliceSpec, path: &Path) -> Option<Cause> {
    let ways = [
        spec.node_name.is_some(),
        spec.node_selector.is_some(),
        spec.all_nodes == Some(true),
        spec.per_device_node_selection == Some(true),
    ];
    let choice = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match ways.iter().filter(|way| **way).count() {
        0 => Some(field::required(path, choice)),
        1 => None,
        _ => Some(field::invalid(path, Value::Null, &format!("{choice}, but multiple fields are set"))),
    }
}

/// A device says where it is if its slice leaves that to devices.
fn device_placement(device: &Device, per_device: bool, path: &Path) -> Option<Cause> {
    let ways = [device.node_name.is_some(), device.node_selector.is_some(), device.all_nodes.is_some()];
    let given = ways.iter().filter(|way| **way).count();
    let choice = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is \
                  set to true in the ResourceSlice spec";
    match (per_device, given) {
        (false, 0) | (true, 1) => None,
        (false, _) => {
            let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to \
                          true in the ResourceSlice spec";
            Some(field::invalid(path, Value::Null, detail))
        }
        (true, 0) => Some(field::required(path, choice)),
        (true, _) => Some(field::invalid(path, Value::Null, choice)),
    }
}

fn device(device: &Device, path: &Path) -> Vec<Cause> {
    let mut causes = field::invalid_each(&path.child("name"), &device.name, &name::dns1123_label(&device.name));
    let attributes = device.attributes.as_ref();
    let capacity = device.capacity.as_ref();
    let count = attributes.map_or(0, |all| all.len()) + capacity.map_or(0, |all| all.len());
    if count > ATTRIBUTES_LIMIT {
        let detail =
            format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_LIMIT}, has {count}");
        causes.push(field::invalid(path, count, &detail));
    }
    for (key, value) in attributes.into_iter().flatten() {
        let path = path.child("attributes").key(key);
        causes.extend(qualified(key, &path));
        causes.extend(attribute(value, &path));
    }
    for key in capacity.into_iter().flat_map(|capacity| capacity.keys()) {
        causes.extend(qualified(key, &path.child("capacity")));
    }
    causes
}

/// `[domain/]identifier`
fn qualified(key: &str, path: &Path) -> Vec<Cause> {
    match key.split_once('/') {
        None => request::identifier(key, path),
        Some((domain, id)) => {
            let mut causes = driver(domain, path);
            causes.extend(request::identifier(id, path));
            causes
        }
    }
}

fn attribute(value: &DeviceAttribute, path: &Path) -> Vec<Cause> {
    let fields = json!(value);
    let given = fields.as_object().map_or(0, |fields| fields.values().filter(|value| !value.is_null()).count());
    let mut causes = match given {
        0 => vec![field::invalid(path, "", "exactly one value must be specified")],
        1 => Vec::new(),
        _ => vec![field::invalid(path, value, "exactly one value must be specified")],
    };
    for (name, text) in [("string", &value.string), ("version", &value.version)] {
        if text.as_ref().is_some_and(|text| text.len() > STRING_LIMIT_BYTES) {
            causes.push(field::too_long(&path.child(name), STRING_LIMIT_BYTES));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(spec: Value) -> Vec<String> {
        let causes = validate(&serde_json::from_value(spec).unwrap(), &Path::new("spec"));
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn devices_are_somewhere_and_described() {
        let pool = json!({"name": "p", "generation": 0, "resourceSliceCount": 1});
        let devices = json!([{"name": "d", "attributes": {"model": {"string": "x"}}}]);
        let good = json!({"driver": "d.e", "nodeName": "n", "pool": pool, "devices": devices});
        assert_eq!(problems(good), Vec::<String>::new());
        let bad = json!({"driver": "d.e", "pool": {"name": "", "generation": -1, "resourceSliceCount": 0},
                         "devices": [{"name": "d", "attributes": {"1": {}}}]});
        let found = problems(bad);
        assert_eq!(
            found[..4],
            [
                "spec.pool.name: Required value",
                "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
                "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero",
                "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is \
                 required",
            ]
        );
        assert!(found[4].starts_with("spec.devices[0].attributes[1]: Invalid value: \"1\": a valid C identifier"));
        assert_eq!(found[5], "spec.devices[0].attributes[1]: Invalid value: \"\": exactly one value must be specified");
    }
}
