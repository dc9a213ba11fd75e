//! Resource slices: the devices that a driver offers, in pools, on nodes.

use jiff::Timestamp;
use k8s_openapi::{
    api::resource::v1::{ResourceSlice, ResourceSliceSpec},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};

use super::{GROUP_VERSION, device, driver, each, pool_name, repeated};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names},
    kinds::{cells, names, pod_template::scheduling},
    status::Cause,
    update_check::{self, UpdateCheck},
};

const DEVICES_LIMIT: usize = 128;
/// Most devices of a slice some of which are tainted or take part in shared counters.
const ADVANCED_DEVICES_LIMIT: usize = 64;
const COUNTER_SETS_LIMIT: usize = 8;

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

    /// A taint is known since when it is there.
    fn default(slice: &mut ResourceSlice) {
        let devices = slice.spec.devices.iter_mut().flatten();
        for taint in devices.flat_map(|device| device.taints.iter_mut().flatten()) {
            taint
                .time_added
                .get_or_insert_with(|| Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()));
        }
    }

    fn validate(slice: &ResourceSlice) -> Vec<Cause> {
        validate(&slice.spec, None, &Path::new("spec"))
    }

    fn validate_again(new: &ResourceSlice, old: &ResourceSlice) -> Vec<Cause> {
        validate(&new.spec, Some(&old.spec), &Path::new("spec"))
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

fn validate(spec: &ResourceSliceSpec, old: Option<&ResourceSliceSpec>, path: &Path) -> Vec<Cause> {
    let mut causes = driver(&spec.driver, &path.child("driver"));
    causes.extend(pool(spec, &path.child("pool")));
    if let Some(old) = old {
        causes.extend(field::immutable(&path.child("pool").child("name"), &spec.pool.name, &old.pool.name));
        causes.extend(field::immutable(&path.child("driver"), &spec.driver, &old.driver));
        causes.extend(field::immutable(&path.child("nodeName"), &spec.node_name, &old.node_name));
    }
    causes.extend(placement(spec, path));
    if spec.shared_counters.is_some() && spec.devices.is_some() {
        causes.push(field::invalid(path, "", "only one of `sharedCounters` or `devices` is allowed"));
    }
    let devices = spec.devices.as_deref().unwrap_or_default();
    let is_advanced = devices.iter().any(|device| device.taints.is_some() || device.consumes_counters.is_some());
    let limit = if is_advanced { ADVANCED_DEVICES_LIMIT } else { DEVICES_LIMIT };
    let per_device = spec.per_device_node_selection == Some(true);
    let devices_path = path.child("devices");
    causes.extend(each(devices, limit, &devices_path, |one, path| device::validate(one, per_device, path)));
    if devices.len() <= limit {
        causes.extend(repeated(devices, |one| &one.name, &devices_path));
    }
    let counters = spec.shared_counters.as_deref().unwrap_or_default();
    let counters_path = path.child("sharedCounters");
    causes.extend(each(counters, COUNTER_SETS_LIMIT, &counters_path, device::counter_set));
    if counters.len() <= COUNTER_SETS_LIMIT {
        causes.extend(repeated(counters, |one| &one.name, &counters_path));
    }
    causes
}

fn pool(spec: &ResourceSliceSpec, path: &Path) -> Vec<Cause> {
    let pool = &spec.pool;
    let mut causes = pool_name(&pool.name, &path.child("name"));
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
fn placement(spec: &ResourceSliceSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(node) = spec.node_name.as_deref() {
        let path = path.child("nodeName");
        match node {
            "" => causes.push(field::invalid(&path, node, "must be either unset or set to a non-empty string")),
            node => causes.extend(device::node_name(node, &path)),
        }
    }
    if let Some(selector) = &spec.node_selector {
        let path = path.child("nodeSelector");
        causes.extend(scheduling::node_selector(selector, &path));
        if selector.node_selector_terms.len() != 1 {
            let detail = "must have exactly one node selector term";
            causes.push(field::invalid(&path.child("nodeSelectorTerms"), &selector.node_selector_terms, detail));
        }
    }
    for (name, flag) in [("allNodes", spec.all_nodes), ("perDeviceNodeSelection", spec.per_device_node_selection)] {
        if flag == Some(false) {
            causes.push(field::invalid(&path.child(name), false, "must be either unset or set to true"));
        }
    }
    let chosen = device::chosen(&[
        ("nodeName", spec.node_name.as_ref().is_some_and(|node| !node.is_empty())),
        ("nodeSelector", spec.node_selector.is_some()),
        ("allNodes", spec.all_nodes == Some(true)),
        ("perDeviceNodeSelection", spec.per_device_node_selection == Some(true)),
    ]);
    let choice = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match chosen.len() {
        0 => causes.push(field::required(path, choice)),
        1 => {}
        _ => {
            let detail = format!("{choice}, but multiple fields are set");
            causes.push(field::invalid(path, format!("{{{}}}", chosen.join(", ")), &detail));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(spec: Value) -> Vec<String> {
        let causes = validate(&serde_json::from_value(spec).unwrap(), None, &Path::new("spec"));
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
        assert!(found[4].starts_with("spec.devices[0].attributes: Invalid value: \"1\": a valid C identifier"));
        assert_eq!(found[5], "spec.devices[0].attributes[1]: Invalid value: \"\": exactly one value must be specified");
    }
}
