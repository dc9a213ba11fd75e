//! What kinds with a status have in common.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Keeps the metadata that `/status` does not write for kinds whose status is written by the system
/// alone (`ResetObjectMetaForStatus` of apimachinery).
pub fn keep_metadata(new: &mut ObjectMeta, old: &ObjectMeta) {
    new.labels.clone_from(&old.labels);
    new.annotations.clone_from(&old.annotations);
    new.finalizers.clone_from(&old.finalizers);
    new.owner_references.clone_from(&old.owner_references);
}
