//! Resource claims: devices for pods, asked for in the spec and allocated in the status.

use jiff::Timestamp;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimStatus};
use serde_json::{Value, json};

use super::{GROUP_VERSION, allocation, request};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names, Subresource},
    kinds::{cells, names, status},
    status::Cause,
    update_check::UpdateCheck,
};

/// `resource.k8s.io/v1.ResourceClaim`
pub struct ResourceClaimKind;

impl Kind for ResourceClaimKind {
    type Object = ResourceClaim;
    const NAMES: Names = Names {
        subresources: &[Subresource::Status],
        ..names::namespaced(GROUP_VERSION, "ResourceClaim", "resourceclaims", "resourceclaim")
    };
    const UPDATE_CHECKS: &'static [UpdateCheck] = &[
        UpdateCheck::MetadataChange,
        UpdateCheck::Metadata,
        UpdateCheck::Object,
        UpdateCheck::MetadataChange,
        UpdateCheck::Change,
    ];
    const COLUMNS: &'static [Column] =
        &[cells::NAME, cells::column("State", "string", "Whether it has devices, and users."), cells::AGE];

    fn default(claim: &mut ResourceClaim) {
        request::default(&mut claim.spec);
    }

    fn prepare_for_create(claim: &mut ResourceClaim) {
        claim.status = Some(ResourceClaimStatus::default());
    }

    fn prepare_for_status_update(new: &mut ResourceClaim, old: &ResourceClaim) {
        status::keep_metadata(&mut new.metadata, &old.metadata);
    }

    fn validate(claim: &ResourceClaim) -> Vec<Cause> {
        request::validate(&claim.spec, &Path::new("spec"))
    }

    /// What cannot be changed is not checked again.
    fn validate_again(_: &ResourceClaim, _: &ResourceClaim) -> Vec<Cause> {
        Vec::new()
    }

    fn validate_update(new: &ResourceClaim, old: &ResourceClaim) -> Vec<Cause> {
        field::immutable_internal(&Path::new("spec"), "resource.v1.ResourceClaimSpec", &new.spec, &old.spec)
    }

    fn validate_status_update(new: &ResourceClaim, old: &ResourceClaim) -> Vec<Cause> {
        allocation::validate_update(new, old, &Path::new("status"))
    }

    fn cells(claim: &ResourceClaim, now: Timestamp) -> Vec<Value> {
        vec![cells::name(&claim.metadata), json!(state(claim)), cells::age(&claim.metadata, now)]
    }
}

/// `pending`, `allocated,reserved`, `deleted,allocated`…
fn state(claim: &ResourceClaim) -> String {
    let status = claim.status.as_ref();
    let deleted = claim.metadata.deletion_timestamp.is_some();
    let is_allocated = status.is_some_and(|status| status.allocation.is_some());
    let is_reserved = status.and_then(|status| status.reserved_for.as_ref()).is_some_and(|all| !all.is_empty());
    let states = [
        (deleted, "deleted"),
        (!is_allocated && !deleted, "pending"),
        (is_allocated, "allocated"),
        (is_allocated && is_reserved, "reserved"),
    ];
    let states: Vec<&str> = states.into_iter().filter(|(holds, _)| *holds).map(|(_, state)| state).collect();
    states.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{
        decoded::Decoded,
        kind::{Strategy, Typed},
    };

    fn decoded(spec: Value) -> Decoded {
        let claim = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec});
        Typed::<ResourceClaimKind>::default().decode(claim).unwrap()
    }

    fn problems(spec: Value) -> Vec<String> {
        let causes = Typed::<ResourceClaimKind>::default().validate(&decoded(spec));
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn one_device_is_meant_unless_a_number_is_named() {
        let spec = json!({"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}});
        let exactly = &decoded(spec.clone())["spec"]["devices"]["requests"][0]["exactly"];
        assert_eq!((&exactly["allocationMode"], &exactly["count"]), (&json!("ExactCount"), &json!(1)));
        assert_eq!(problems(spec), Vec::<String>::new());
    }

    #[test]
    fn a_claim_asks_soundly() {
        let spec = json!({"devices": {
            "requests": [{"name": "r"}, {"name": "r", "exactly": {"deviceClassName": "", "allocationMode": "All",
                "count": 2, "selectors": [{}]}}],
            "constraints": [{"requests": ["x"], "matchAttribute": "model"}],
            "config": [{"opaque": {"driver": "d.e", "parameters": 1}}]}});
        let found = problems(spec);
        let found: Vec<&str> = found.iter().map(|problem| problem.strip_prefix("spec.devices.").unwrap()).collect();
        assert_eq!(
            found,
            [
                "requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
                "requests[1].exactly.deviceClassName: Required value",
                "requests[1].exactly.selectors[0].cel: Required value",
                "requests[1].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
                "requests[1]: Duplicate value: \"r\"",
                "constraints[0].requests[0]: Invalid value: \"x\": must be the name of a request in the claim or the name \
                 of a request and a subrequest separated by '/'",
                "constraints[0].matchAttribute: Invalid value: \"model\": a fully qualified name must be a domain and a \
                 name separated by a slash",
                "config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object",
            ]
        );
    }
}
