//! CSI drivers: what a storage driver can do and wants to be told.

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::{CSIDriver, CSIDriverSpec, TokenRequest};
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::name,
};

const FS_GROUP_POLICIES: &[&str] = &["File", "None", "ReadWriteOnceWithFSType"];
const LIFECYCLE_MODES: &[&str] = &["Persistent", "Ephemeral"];
const NAME_LIMIT_BYTES: usize = 63;
const LEAST_TOKEN_SECONDS: i64 = 600;
const MOST_TOKEN_SECONDS: i64 = 1 << 32;
const LEAST_UPDATE_SECONDS: i64 = 10;

/// `storage.k8s.io/v1.CSIDriver`
pub struct CsiDriverKind;

impl Kind for CsiDriverKind {
    type Object = CSIDriver;
    const NAMES: Names = names::cluster(names::STORAGE, "CSIDriver", "csidrivers", "csidriver");
    const GENERATION: Generation = Generation::Changes;
    const UPDATES_UNCONDITIONALLY: bool = false;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("AttachRequired", "boolean", "Whether volumes are attached to nodes."),
        cells::column("PodInfoOnMount", "boolean", "Whether the driver learns for which pod it mounts."),
        cells::column("StorageCapacity", "boolean", "Whether the scheduler heeds the driver's capacity."),
        cells::column("TokenRequests", "string", "Audiences of tokens that the driver gets."),
        cells::column("RequiresRepublish", "boolean", "Whether volumes are published again from time to time."),
        cells::column("Modes", "string", "Lifecycles of the driver's volumes."),
        cells::AGE,
    ];

    fn default(driver: &mut CSIDriver) {
        let spec = &mut driver.spec;
        spec.attach_required.get_or_insert(true);
        spec.pod_info_on_mount.get_or_insert(false);
        spec.storage_capacity.get_or_insert(false);
        spec.requires_republish.get_or_insert(false);
        spec.se_linux_mount.get_or_insert(false);
        spec.fs_group_policy.get_or_insert_with(|| "ReadWriteOnceWithFSType".to_owned());
        let modes = spec.volume_lifecycle_modes.get_or_insert_default();
        if modes.is_empty() {
            modes.push("Persistent".to_owned());
        }
    }

    fn validate(driver: &CSIDriver) -> Vec<Cause> {
        validate(&driver.spec, &Path::new("spec"))
    }

    fn validate_update(new: &CSIDriver, old: &CSIDriver) -> Vec<Cause> {
        let (new, old, path) = (&new.spec, &old.spec, Path::new("spec"));
        let mut causes = field::immutable(&path.child("attachedRequired"), &new.attach_required, &old.attach_required);
        causes.extend(field::immutable(
            &path.child("volumeLifecycleModes"),
            &new.volume_lifecycle_modes,
            &old.volume_lifecycle_modes,
        ));
        causes
    }

    fn cells(driver: &CSIDriver, now: Timestamp) -> Vec<Value> {
        let spec = &driver.spec;
        let audiences = spec.token_requests.iter().flatten().map(|request| request.audience.as_str());
        let audiences: Vec<&str> = audiences.collect();
        vec![
            cells::name(&driver.metadata),
            json!(spec.attach_required.unwrap_or(true)),
            json!(spec.pod_info_on_mount.unwrap_or_default()),
            json!(spec.storage_capacity.unwrap_or_default()),
            json!(if audiences.is_empty() { cells::UNSET.to_owned() } else { audiences.join(",") }),
            json!(spec.requires_republish.unwrap_or_default()),
            json!(cells::list(spec.volume_lifecycle_modes.iter().flatten().map(String::as_str))),
            cells::age(&driver.metadata, now),
        ]
    }
}

/// Problems of the name of a driver, wherever it is mentioned (`ValidateCSIDriverName`).
pub fn driver_name(text: &str, path: &Path) -> Vec<Cause> {
    if text.is_empty() {
        return vec![field::required(path, "")];
    }
    let mut causes = Vec::new();
    if text.len() > NAME_LIMIT_BYTES {
        causes.push(field::too_long(path, NAME_LIMIT_BYTES));
    }
    causes.extend(field::invalid_each(path, text, &name::dns1123_subdomain(&text.to_lowercase())));
    causes
}

fn validate(spec: &CSIDriverSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(policy) = spec.fs_group_policy.as_deref().filter(|policy| !FS_GROUP_POLICIES.contains(policy)) {
        causes.push(field::unsupported(&path.child("fsGroupPolicy"), policy, FS_GROUP_POLICIES));
    }
    causes.extend(tokens(spec.token_requests.as_deref().unwrap_or_default(), &path.child("tokenRequests")));
    for mode in spec.volume_lifecycle_modes.iter().flatten() {
        if !LIFECYCLE_MODES.contains(&mode.as_str()) {
            causes.push(field::unsupported(&path.child("volumeLifecycleModes"), mode, LIFECYCLE_MODES));
        }
    }
    if let Some(seconds) = spec.node_allocatable_update_period_seconds.filter(|&seconds| seconds < LEAST_UPDATE_SECONDS)
    {
        let path = path.child("nodeAllocatableUpdatePeriodSeconds");
        causes.push(field::invalid(&path, seconds, "must be greater than or equal to 10 seconds"));
    }
    let has_tokens = spec.token_requests.as_ref().is_some_and(|requests| !requests.is_empty());
    if let Some(true) = spec.service_account_token_in_secrets.filter(|_| !has_tokens) {
        let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        causes.push(field::invalid(&path.child("serviceAccountTokenInSecrets"), true, detail));
    }
    causes
}

fn tokens(requests: &[TokenRequest], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let path = path.index(index);
        if requests[..index].iter().any(|other| other.audience == request.audience) {
            causes.push(field::duplicate(&path.child("audience"), &request.audience));
        }
        let detail = match request.expiration_seconds {
            Some(seconds) if seconds < LEAST_TOKEN_SECONDS => "may not specify a duration less than 10 minutes",
            Some(seconds) if seconds > MOST_TOKEN_SECONDS => "may not specify a duration larger than 2^32 seconds",
            _ => continue,
        };
        causes.push(field::invalid(&path.child("expirationSeconds"), request.expiration_seconds, detail));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::{Strategy, Typed};

    #[test]
    fn a_driver_attaches_persistent_volumes_unless_it_says_otherwise() {
        let strategy = Typed::<CsiDriverKind>::default();
        let driver = strategy.decode(json!({"metadata": {"name": "a.b"}, "spec": {}})).unwrap();
        assert_eq!(strategy.validate(&driver), []);
        let row = strategy.cells(&driver, Timestamp::UNIX_EPOCH);
        assert_eq!(
            row[1..7],
            [json!(true), json!(false), json!(false), json!("<unset>"), json!(false), json!("Persistent")]
        );
    }

    #[test]
    fn tokens_live_for_a_while() {
        let requests = [
            TokenRequest { audience: "a".into(), expiration_seconds: Some(1) },
            TokenRequest { audience: "a".into(), expiration_seconds: None },
        ];
        let fields: Vec<String> = tokens(&requests, &Path::new("t")).into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, ["t[0].expirationSeconds", "t[1].audience"]);
    }
}
