//! What kinds with a status have in common.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::name,
};

const STATES: &[&str] = &["False", "True", "Unknown"];
const REASON_LIMIT_BYTES: usize = 1024;
const MESSAGE_LIMIT_BYTES: usize = 32 * 1024;

/// Keeps the metadata that `/status` does not write for kinds whose status is written by the system
/// alone (`ResetObjectMetaForStatus` of apimachinery).
pub fn keep_metadata(new: &mut ObjectMeta, old: &ObjectMeta) {
    new.labels.clone_from(&old.labels);
    new.annotations.clone_from(&old.annotations);
    new.finalizers.clone_from(&old.finalizers);
    new.owner_references.clone_from(&old.owner_references);
}

/// Problems of conditions (`metav1.Condition`).
pub fn conditions(conditions: &[Condition], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, one) in conditions.iter().enumerate() {
        let path = path.index(index);
        if conditions[..index].iter().any(|other| other.type_ == one.type_) {
            causes.push(field::duplicate(&path.child("type"), &one.type_));
        }
        causes.extend(condition(one, &path));
    }
    causes
}

fn condition(one: &Condition, path: &Path) -> Vec<Cause> {
    let mut causes = field::invalid_each(&path.child("type"), &one.type_, &name::qualified_name(&one.type_));
    if !STATES.contains(&one.status.as_str()) {
        causes.push(field::unsupported(&path.child("status"), &one.status, STATES));
    }
    if let Some(generation) = one.observed_generation.filter(|generation| *generation < 0) {
        let detail = "must be greater than or equal to zero";
        causes.push(field::invalid(&path.child("observedGeneration"), generation, detail));
    }
    let reason = path.child("reason");
    if one.reason.is_empty() {
        causes.push(field::required(&reason, ""));
    }
    causes.extend(field::invalid_each(&reason, &one.reason, &name::condition_reason(&one.reason)));
    if one.reason.len() > REASON_LIMIT_BYTES {
        causes.push(field::too_long(&reason, REASON_LIMIT_BYTES));
    }
    if one.message.len() > MESSAGE_LIMIT_BYTES {
        causes.push(field::too_long(&path.child("message"), MESSAGE_LIMIT_BYTES));
    }
    causes
}
