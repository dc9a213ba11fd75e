//! Devices as slices offer them, and the counters that they share.

use std::collections::BTreeMap;

use k8s_openapi::api::resource::v1::{
    Counter, CounterSet, Device, DeviceAttribute, DeviceCounterConsumption, DeviceTaint,
};
use serde_json::{Value, json};

use super::{binding, capacity, each, repeated, request};
use crate::api::{
    field::{self, Path},
    kinds::pod_template::scheduling,
    status::Cause,
    validation::name,
};

const ATTRIBUTES_LIMIT: usize = 32;
const STRING_LIMIT_BYTES: usize = 64;
const TAINTS_LIMIT: usize = 16;
const CONSUMPTIONS_LIMIT: usize = 2;
const COUNTERS_LIMIT: usize = 32;
const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];
const PER_DEVICE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
                          `perDeviceNodeSelection` is set to true in the ResourceSlice spec";

/// Problems of a device of a slice that leaves it to its devices to say where they are, or does not.
pub fn validate(device: &Device, per_device: bool, path: &Path) -> Vec<Cause> {
    let mut causes = field::invalid_each(&path.child("name"), &device.name, &name::dns1123_label(&device.name));
    causes.extend(attributes(device, path));
    let is_shared = device.allow_multiple_allocations == Some(true);
    let capacity_path = path.child("capacity");
    for (key, value) in device.capacity.iter().flatten() {
        causes.extend(request::qualified(key, &capacity_path));
        causes.extend(capacity::validate(value, is_shared, &capacity_path.key(key)));
    }
    let taints = device.taints.as_deref().unwrap_or_default();
    causes.extend(each(taints, TAINTS_LIMIT, &path.child("taints"), taint));
    let consumed = device.consumes_counters.as_deref().unwrap_or_default();
    causes.extend(each(consumed, CONSUMPTIONS_LIMIT, &path.child("consumesCounters"), consumption));
    if consumed.len() <= CONSUMPTIONS_LIMIT {
        causes.extend(repeated(consumed, |one| &one.counter_set, &path.child("consumesCounters")));
    }
    causes.extend(if per_device { placement(device, path) } else { no_placement(device, path) });
    let (conditions, failures) = (device.binding_conditions.as_ref(), device.binding_failure_conditions.as_ref());
    causes.extend(binding::validate(conditions, failures, path));
    causes
}

/// Problems of counters that devices share.
pub fn counter_set(set: &CounterSet, path: &Path) -> Vec<Cause> {
    let mut causes = counter_name(&set.name, &path.child("name"));
    causes.extend(counters(&set.counters, &path.child("counters")));
    causes
}

/// Problems of the name of a node.
pub fn node_name(text: &str, path: &Path) -> Vec<Cause> {
    field::invalid_each(path, text, &name::dns1123_subdomain(text))
}

/// What stands for a choice of several.
pub fn chosen(ways: &[(&str, bool)]) -> Vec<String> {
    ways.iter().filter(|(_, given)| *given).map(|(name, _)| format!("`{name}`")).collect()
}

fn attributes(device: &Device, path: &Path) -> Vec<Cause> {
    let given = device.attributes.as_ref();
    let count = given.map_or(0, BTreeMap::len) + device.capacity.as_ref().map_or(0, BTreeMap::len);
    let mut causes = Vec::new();
    if count > ATTRIBUTES_LIMIT {
        let detail = format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_LIMIT}");
        causes.push(field::invalid(path, count, &detail));
    }
    let path = path.child("attributes");
    for (key, value) in given.into_iter().flatten() {
        causes.extend(request::qualified(key, &path));
        causes.extend(attribute(value, &path.key(key)));
    }
    causes
}

fn attribute(value: &DeviceAttribute, path: &Path) -> Vec<Cause> {
    let too_long =
        |text: &str, path: &Path| (text.len() > STRING_LIMIT_BYTES).then(|| field::too_long(path, STRING_LIMIT_BYTES));
    let mut causes = Vec::new();
    if let Some(text) = &value.string {
        causes.extend(too_long(text, &path.child("string")));
    }
    if let Some(text) = &value.version {
        let path = path.child("version");
        if !is_semantic_version(text) {
            causes.push(field::invalid(&path, text, "must be a string compatible with semver.org spec 2.0.0"));
        }
        causes.extend(too_long(text, &path));
    }
    let fields = json!(value);
    let given = fields.as_object().map_or(0, |fields| fields.values().filter(|value| !value.is_null()).count());
    match given {
        0 => causes.push(field::invalid(path, "", "exactly one value must be specified")),
        1 => {}
        _ => causes.push(field::invalid(path, value, "exactly one value must be specified")),
    }
    causes
}

/// `1.2.3-alpha.1+build` (semver.org 2.0.0).
fn is_semantic_version(text: &str) -> bool {
    let is_number = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_release = |part: &str| is_number(part) || (is_word(part) && part.bytes().any(|byte| !byte.is_ascii_digit()));
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, release) = rest.split_once('-').map_or((rest, None), |(core, release)| (core, Some(release)));
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && release.is_none_or(|release| release.split('.').all(is_release))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

fn taint(taint: &DeviceTaint, path: &Path) -> Vec<Cause> {
    let mut causes = field::invalid_each(&path.child("key"), &taint.key, &name::qualified_name(&taint.key));
    if let Some(value) = taint.value.as_deref().filter(|value| !value.is_empty()) {
        causes.extend(field::invalid_each(&path.child("value"), value, &name::label_value(value)));
    }
    match taint.effect.as_str() {
        "" => causes.push(field::required(&path.child("effect"), "")),
        effect => causes.extend(field::one_of(&path.child("effect"), effect, EFFECTS)),
    }
    causes
}

fn consumption(consumption: &DeviceCounterConsumption, path: &Path) -> Vec<Cause> {
    let mut causes = counter_name(&consumption.counter_set, &path.child("counterSet"));
    causes.extend(counters(&consumption.counters, &path.child("counters")));
    causes
}

fn counter_name(text: &str, path: &Path) -> Vec<Cause> {
    if text.is_empty() {
        return vec![field::required(path, "")];
    }
    field::invalid_each(path, text, &name::dns1123_label(text))
}

fn counters(counters: &BTreeMap<String, Counter>, path: &Path) -> Vec<Cause> {
    match counters.len() {
        0 => vec![field::required(path, "")],
        count if count > COUNTERS_LIMIT => vec![field::too_many(path, count, COUNTERS_LIMIT)],
        _ => counters.keys().flat_map(|key| field::invalid_each(path, key, &name::dns1123_label(key))).collect(),
    }
}

/// A device says where it is, in exactly one way, if its slice leaves that to it.
fn placement(device: &Device, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(node) = device.node_name.as_deref() {
        let path = path.child("nodeName");
        match node {
            "" => causes.push(field::invalid(&path, node, "must not be empty")),
            node => causes.extend(node_name(node, &path)),
        }
    }
    if let Some(selector) = &device.node_selector {
        causes.extend(scheduling::node_selector(selector, &path.child("nodeSelector")));
    }
    if device.all_nodes == Some(false) {
        causes.push(field::invalid(&path.child("allNodes"), false, "must be either unset or set to true"));
    }
    let chosen = chosen(&[
        ("nodeName", device.node_name.as_ref().is_some_and(|node| !node.is_empty())),
        ("nodeSelector", device.node_selector.is_some()),
        ("allNodes", device.all_nodes == Some(true)),
    ]);
    match chosen.len() {
        0 => causes.push(field::required(path, PER_DEVICE)),
        1 => {}
        _ => causes.push(field::invalid(path, format!("{{{}}}", chosen.join(", ")), PER_DEVICE)),
    }
    causes
}

fn no_placement(device: &Device, path: &Path) -> Vec<Cause> {
    if device.node_name.is_none() && device.node_selector.is_none() && device.all_nodes.is_none() {
        return Vec::new();
    }
    let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in \
                  the ResourceSlice spec";
    vec![field::invalid(path, Value::Null, detail)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_semantic() {
        for version in ["1.2.3", "0.0.0-a.1", "1.0.0+b-1.2", "1.0.0-0a-1+01"] {
            assert!(is_semantic_version(version), "{version}");
        }
        for version in ["", "1.2", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3+", "1.2.3 ", "a.b.c"] {
            assert!(!is_semantic_version(version), "{version}");
        }
    }

    #[test]
    fn a_device_has_sound_taints_counters_and_conditions() {
        let device = json!({"name": "d", "taints": [{"key": "", "effect": "Never"}],
                            "consumesCounters": [{"counterSet": "s", "counters": {}}, {"counterSet": "s", "counters": {"a": {"value": "1"}}}],
                            "bindingConditions": ["a"]});
        let causes = validate(&serde_json::from_value(device).unwrap(), true, &Path::new("d"));
        let found: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        assert_eq!(found[0], "d.taints[0].key: Invalid value: \"\": name part must be non-empty");
        assert_eq!(
            found[2..],
            [
                "d.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoExecute\", \"NoSchedule\", \"None\"",
                "d.consumesCounters[0].counters: Required value",
                "d.consumesCounters[1]: Duplicate value: \"s\"",
                &format!("d: Required value: {PER_DEVICE}"),
                "d.bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use \
                 bindingConditions",
            ]
        );
    }
}
