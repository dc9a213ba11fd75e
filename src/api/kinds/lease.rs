//! Leases: who holds what, and until when. Node heartbeats and leader elections are kept in them.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::value,
};

/// `coordination.k8s.io/v1.Lease`
pub struct LeaseKind;

impl Kind for LeaseKind {
    type Object = Lease;
    const NAMES: Names = names::namespaced(names::GroupVersion::v1("coordination.k8s.io"), "Lease", "leases", "lease");
    const UPDATES_UNCONDITIONALLY: bool = false;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] =
        &[cells::NAME, cells::column("Holder", "string", "Identity of the holder."), cells::AGE];

    /// Coordinated leader election (KEP-4355) is off by default: its fields are dropped.
    fn prepare_for_create(lease: &mut Lease) {
        let Some(spec) = &mut lease.spec else { return };
        (spec.strategy, spec.preferred_holder) = (None, None);
    }

    fn prepare_for_update(new: &mut Lease, old: &Lease) {
        let Some(spec) = &mut new.spec else { return };
        let before = old.spec.as_ref();
        if before.is_none_or(|before| before.strategy.is_none()) {
            spec.strategy = None;
        }
        if before.is_none_or(|before| before.preferred_holder.is_none()) {
            spec.preferred_holder = None;
        }
    }

    fn validate(lease: &Lease) -> Vec<Cause> {
        let path = Path::new("spec");
        let Some(spec) = &lease.spec else { return Vec::new() };
        let mut causes = Vec::new();
        if let Some(seconds) = spec.lease_duration_seconds {
            let messages = value::positive(seconds.into());
            causes.extend(field::invalid_each(&path.child("leaseDurationSeconds"), seconds, &messages));
        }
        if let Some(count) = spec.lease_transitions {
            causes.extend(field::invalid_each(
                &path.child("leaseTransitions"),
                count,
                &value::non_negative(count.into()),
            ));
        }
        if spec.preferred_holder.as_ref().is_some_and(|holder| !holder.is_empty()) && spec.strategy.is_none() {
            let detail = "may only be specified if `strategy` is defined";
            causes.push(field::forbidden(&path.child("preferredHolder"), detail));
        }
        causes
    }

    fn cells(lease: &Lease, now: Timestamp) -> Vec<Value> {
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        vec![cells::name(&lease.metadata), json!(holder), cells::age(&lease.metadata, now)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn a_lease_lasts() {
        let lease = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"leaseDurationSeconds": 0}});
        let causes = descriptor::<LeaseKind>().strategy.validate(&lease.into());
        assert_eq!(causes[0].field, "spec.leaseDurationSeconds");
        assert_eq!(causes[0].message, "Invalid value: 0: must be greater than 0");
    }
}
