//! What a claim got: the devices allocated to it, their state, and who uses them.

use std::collections::BTreeSet;

use k8s_openapi::api::resource::v1::{
    AllocatedDeviceStatus, AllocationResult, DeviceAllocationConfiguration, DeviceRequestAllocationResult,
    NetworkDeviceData, ResourceClaim, ResourceClaimConsumerReference, ResourceClaimStatus,
};

use super::{LIST_LIMIT, binding, driver, each, pool_name, raw, repeated, request};
use crate::api::{
    field::{self, Path},
    kinds::{pod_template::scheduling, status},
    status::Cause,
    validation::{name, network},
};

const CONSUMERS_LIMIT: usize = 256;
const CONDITIONS_LIMIT: usize = 8;
const DATA_LIMIT_BYTES: usize = 10 * 1024;
const ADDRESSES_LIMIT: usize = 16;
const INTERFACE_LIMIT_BYTES: usize = 256;
const HARDWARE_ADDRESS_LIMIT_BYTES: usize = 128;
const SOURCES: &[&str] = &["FromClaim", "FromClass"];

/// A device: driver, pool, name, and the share of it.
type Identity<'a> = (&'a str, &'a str, &'a str, Option<&'a str>);

/// Problems of a claim's new status.
pub fn validate_update(new: &ResourceClaim, old: &ResourceClaim, path: &Path) -> Vec<Cause> {
    let names = new.spec.devices.as_ref().map(request::request_names).unwrap_or_default();
    let is_deleted = new.metadata.deletion_timestamp.is_some();
    let (new, old) = (new.status.clone().unwrap_or_default(), old.status.clone().unwrap_or_default());
    let mut causes = consumers(&new, path);
    causes.extend(devices(&new, path));
    causes.extend(reservations(&new, &old, is_deleted, &path.child("reservedFor")));
    let path = path.child("allocation");
    match (&new.allocation, &old.allocation) {
        (Some(_), Some(_)) => {
            let message = "resource.v1.AllocationResult";
            causes.extend(field::immutable_internal(&path, message, &new.allocation, &old.allocation));
        }
        (Some(allocation), None) => causes.extend(allocated(allocation, &names, &path)),
        (None, _) => {}
    }
    causes
}

fn consumers(status: &ResourceClaimStatus, path: &Path) -> Vec<Cause> {
    let path = path.child("reservedFor");
    let consumers = status.reserved_for.as_deref().unwrap_or_default();
    let mut causes = each(consumers, CONSUMERS_LIMIT, &path, |consumer, path| {
        let texts = [("resource", &consumer.resource), ("name", &consumer.name), ("uid", &consumer.uid)];
        let missing = texts.into_iter().filter(|(_, text)| text.is_empty());
        missing.map(|(name, _)| field::required(&path.child(name), "")).collect()
    });
    causes.extend(repeated(consumers, |consumer| &consumer.uid, &path));
    causes
}

/// Only what is allocated has users, and no new ones once it is to be given back.
fn reservations(new: &ResourceClaimStatus, old: &ResourceClaimStatus, is_deleted: bool, path: &Path) -> Option<Cause> {
    let list = |status: &ResourceClaimStatus| -> Vec<ResourceClaimConsumerReference> {
        status.reserved_for.clone().unwrap_or_default()
    };
    let (new_users, old_users) = (list(new), list(old));
    let detail = if new.allocation.is_none() && !new_users.is_empty() {
        "may not be specified when `allocated` is not set"
    } else if is_deleted && new_users.iter().any(|user| !old_users.contains(user)) {
        "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
    } else {
        return None;
    };
    Some(field::forbidden(path, detail))
}

fn devices(status: &ResourceClaimStatus, path: &Path) -> Vec<Cause> {
    let results = status.allocation.iter().filter_map(|one| one.devices.as_ref()?.results.as_ref()).flatten();
    let allocated: BTreeSet<Identity<'_>> =
        results.map(|one| (&*one.driver, &*one.pool, &*one.device, one.share_id.as_deref())).collect();
    let devices = status.devices.as_deref().unwrap_or_default();
    let path = path.child("devices");
    let mut causes = each(devices, usize::MAX, &path, |one, path| device(one, &allocated, path));
    let ids: Vec<_> = devices.iter().map(identity).collect();
    for (index, id) in ids.iter().enumerate().filter(|(index, id)| ids[..*index].contains(id)) {
        causes.push(field::duplicate(&path.index(index), Shown::of(*id)));
    }
    causes
}

fn identity(device: &AllocatedDeviceStatus) -> Identity<'_> {
    (&device.driver, &device.pool, &device.device, device.share_id.as_deref())
}

/// An identity in the form in which upstream shows it.
#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    driver: &'a str,
    pool: &'a str,
    device: &'a str,
    #[serde(rename = "ShareID")]
    share_id: &'a str,
}

impl<'a> Shown<'a> {
    fn of((driver, pool, device, share_id): Identity<'a>) -> Self {
        Self { driver, pool, device, share_id: share_id.unwrap_or_default() }
    }
}

fn device(one: &AllocatedDeviceStatus, allocated: &BTreeSet<Identity<'_>>, path: &Path) -> Vec<Cause> {
    let mut causes = driver(&one.driver, &path.child("driver"));
    causes.extend(pool_name(&one.pool, &path.child("pool")));
    causes.extend(field::invalid_each(&path.child("device"), &one.device, &name::dns1123_label(&one.device)));
    causes.extend(share(one.share_id.as_deref(), path));
    if !allocated.contains(&identity(one)) {
        let detail = "must be an allocated device in the claim";
        causes.push(field::invalid(path, Shown::of(identity(one)), detail));
    }
    let conditions = one.conditions.as_deref().unwrap_or_default();
    let conditions_path = path.child("conditions");
    if conditions.len() > CONDITIONS_LIMIT {
        causes.push(field::too_many(&conditions_path, conditions.len(), CONDITIONS_LIMIT));
    }
    causes.extend(status::conditions(conditions, &conditions_path));
    if let Some(data) = &one.data {
        causes.extend(raw(data, DATA_LIMIT_BYTES, &path.child("data")));
    }
    if let Some(data) = &one.network_data {
        causes.extend(network_data(data, &path.child("networkData")));
    }
    causes
}

fn network_data(data: &NetworkDeviceData, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (name, text, limit_bytes) in [
        ("interfaceName", &data.interface_name, INTERFACE_LIMIT_BYTES),
        ("hardwareAddress", &data.hardware_address, HARDWARE_ADDRESS_LIMIT_BYTES),
    ] {
        if text.as_ref().is_some_and(|text| text.len() > limit_bytes) {
            causes.push(field::too_long(&path.child(name), limit_bytes));
        }
    }
    let addresses = data.ips.as_deref().unwrap_or_default();
    let path = path.child("ips");
    causes.extend(each(addresses, ADDRESSES_LIMIT, &path, |text, path| {
        let detail = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
        if network::cidr(text).is_empty() { Vec::new() } else { vec![field::invalid(path, text, detail)] }
    }));
    if addresses.len() <= ADDRESSES_LIMIT {
        causes.extend(repeated(addresses, |text| text, &path));
    }
    causes
}

fn allocated(allocation: &AllocationResult, names: &BTreeSet<String>, path: &Path) -> Vec<Cause> {
    let devices = allocation.devices.clone().unwrap_or_default();
    let (results, config) = (devices.results.unwrap_or_default(), devices.config.unwrap_or_default());
    let devices_path = path.child("devices");
    let mut causes = each(&results, LIST_LIMIT, &devices_path.child("results"), |one, path| result(one, names, path));
    causes.extend(each(&config, 2 * LIST_LIMIT, &devices_path.child("config"), |one, path| {
        configuration(one, names, path)
    }));
    if let Some(selector) = &allocation.node_selector {
        causes.extend(scheduling::node_selector(selector, &path.child("nodeSelector")));
    }
    causes
}

fn result(one: &DeviceRequestAllocationResult, names: &BTreeSet<String>, path: &Path) -> Vec<Cause> {
    let mut causes = request::reference(&one.request, names, &path.child("request"));
    causes.extend(driver(&one.driver, &path.child("driver")));
    causes.extend(pool_name(&one.pool, &path.child("pool")));
    causes.extend(field::invalid_each(&path.child("device"), &one.device, &name::dns1123_label(&one.device)));
    let (conditions, failures) = (one.binding_conditions.as_ref(), one.binding_failure_conditions.as_ref());
    causes.extend(binding::validate(conditions, failures, path));
    causes.extend(share(one.share_id.as_deref(), path));
    causes
}

fn share(id: Option<&str>, path: &Path) -> Option<Cause> {
    let (id, path) = (id?, path.child("shareID"));
    let normal = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase \
                  hexadecimal characters";
    match uuid::Uuid::try_parse(id) {
        Err(_) => {
            let detail = format!("error validating uid: invalid UUID length: {}", id.len());
            Some(field::invalid(&path, id, &detail))
        }
        Ok(uid) => (uid.to_string() != id).then(|| field::invalid(&path, id, normal)),
    }
}

fn configuration(one: &DeviceAllocationConfiguration, names: &BTreeSet<String>, path: &Path) -> Vec<Cause> {
    let source = path.child("source");
    let mut causes = Vec::new();
    match one.source.as_str() {
        "" => causes.push(field::required(&source, "")),
        text => causes.extend(field::one_of(&source, text, SOURCES)),
    }
    causes.extend(request::references(one.requests.as_deref().unwrap_or_default(), names, &path.child("requests")));
    causes.extend(request::opaque(one.opaque.as_ref(), &path.child("opaque")));
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(new: Value, old: Value) -> Vec<String> {
        let claim = |status: Value| -> ResourceClaim {
            let spec = json!({"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}});
            serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status})).unwrap()
        };
        let causes = validate_update(&claim(new), &claim(old), &Path::new("status"));
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn an_allocation_stays_and_comes_before_its_users() {
        let user = json!({"resource": "pods", "name": "p", "uid": "u"});
        assert_eq!(check(json!({"allocation": {}, "reservedFor": [user]}), json!({})), [""; 0]);
        let alone = check(json!({"reservedFor": [user]}), json!({}));
        assert_eq!(alone, ["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"]);
        let other = json!({"allocation": {"nodeSelector": {"nodeSelectorTerms": []}}});
        let changed = check(other, json!({"allocation": {}}));
        assert!(changed[0].starts_with("status.allocation: Invalid value: {\"Devices\":"), "{changed:?}");
    }

    #[test]
    fn only_allocated_devices_have_a_state() {
        let result = json!({"request": "r", "driver": "d.e", "pool": "p", "device": "a"});
        let state = |device: &str| json!({"driver": "d.e", "pool": "p", "device": device});
        let status =
            |device: &str| json!({"allocation": {"devices": {"results": [result]}}, "devices": [state(device)]});
        assert_eq!(check(status("a"), json!({})), [""; 0]);
        assert_eq!(
            check(status("b"), json!({})),
            [
                "status.devices[0]: Invalid value: {\"Driver\":\"d.e\",\"Pool\":\"p\",\"Device\":\"b\",\"ShareID\":\"\"}: must \
              be an allocated device in the claim"
            ]
        );
    }
}
