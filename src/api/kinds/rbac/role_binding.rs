//! Role bindings: a role's rules for some subjects within one namespace.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::RoleBinding;
use serde_json::Value;

use super::binding;
use crate::api::{
    kind::{Column, Kind, NameRule, Names, Scope},
    kinds::names,
    status::Cause,
};

/// `rbac.authorization.k8s.io/v1.RoleBinding`
pub struct RoleBindingKind;

impl Kind for RoleBindingKind {
    type Object = RoleBinding;
    const NAMES: Names = names::namespaced(names::RBAC, "RoleBinding", "rolebindings", "rolebinding");
    const NAME_RULE: NameRule = NameRule::PathSegment;
    const COLUMNS: &'static [Column] = binding::COLUMNS;

    fn default(object: &mut RoleBinding) {
        binding::default(&mut object.role_ref, object.subjects.as_mut());
    }

    fn validate(object: &RoleBinding) -> Vec<Cause> {
        binding::validate(&object.role_ref, object.subjects.as_ref(), Scope::Namespaced, &["Role", "ClusterRole"])
    }

    fn validate_update(new: &RoleBinding, old: &RoleBinding) -> Vec<Cause> {
        binding::validate_update(&new.role_ref, &old.role_ref)
    }

    fn cells(object: &RoleBinding, now: Timestamp) -> Vec<Value> {
        binding::cells(&object.metadata, &object.role_ref, object.subjects.as_ref(), now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::{decoded::Decoded, kind::descriptor};

    fn binding(role: &str) -> Decoded {
        let strategy = descriptor::<RoleBindingKind>().strategy;
        strategy
            .decode(json!({"metadata": {"name": "a", "namespace": "b"}, "roleRef": {"kind": "Role", "name": role},
                "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]}))
            .unwrap()
    }

    #[test]
    fn groups_are_filled_in() {
        let strategy = descriptor::<RoleBindingKind>().strategy;
        let object = binding("r");
        assert_eq!(object["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
        assert_eq!(object["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
        assert!(object["subjects"][1].get("apiGroup").is_none());
        assert_eq!(strategy.validate(&object), []);
        let row = strategy.cells(&object, Timestamp::UNIX_EPOCH);
        assert_eq!((&row[1], &row[3], &row[5]), (&json!("Role/r"), &json!("u"), &json!("n/s")));
    }

    #[test]
    fn the_role_stays() {
        let causes = descriptor::<RoleBindingKind>().strategy.validate_update(&binding("r"), &binding("q"));
        assert!(causes[0].message.ends_with("cannot change roleRef"));
    }
}
