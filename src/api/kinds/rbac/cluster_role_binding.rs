//! Cluster role bindings: a cluster role's rules for some subjects, everywhere.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use serde_json::Value;

use super::binding;
use crate::api::{
    kind::{Column, Kind, NameRule, Names, Scope},
    kinds::names,
    status::Cause,
};

/// `rbac.authorization.k8s.io/v1.ClusterRoleBinding`
pub struct ClusterRoleBindingKind;

impl Kind for ClusterRoleBindingKind {
    type Object = ClusterRoleBinding;
    const NAMES: Names = names::cluster(names::RBAC, "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding");
    const NAME_RULE: NameRule = NameRule::PathSegment;
    const COLUMNS: &'static [Column] = binding::COLUMNS;

    fn default(object: &mut ClusterRoleBinding) {
        binding::default(&mut object.role_ref, object.subjects.as_mut());
    }

    fn validate(object: &ClusterRoleBinding) -> Vec<Cause> {
        binding::validate(&object.role_ref, object.subjects.as_ref(), Scope::Cluster, &["ClusterRole"])
    }

    fn validate_update(new: &ClusterRoleBinding, old: &ClusterRoleBinding) -> Vec<Cause> {
        binding::validate_update(&new.role_ref, &old.role_ref)
    }

    fn cells(object: &ClusterRoleBinding, now: Timestamp) -> Vec<Value> {
        binding::cells(&object.metadata, &object.role_ref, object.subjects.as_ref(), now)
    }
}
