//! Roles: rules within one namespace.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::Role;
use serde_json::Value;

use super::rule;
use crate::api::{
    kind::{Column, Kind, NameRule, Names, Scope},
    kinds::names,
    status::Cause,
};

/// `rbac.authorization.k8s.io/v1.Role`
pub struct RoleKind;

impl Kind for RoleKind {
    type Object = Role;
    const NAMES: Names = names::namespaced(names::RBAC, "Role", "roles", "role");
    const NAME_RULE: NameRule = NameRule::PathSegment;
    const COLUMNS: &'static [Column] = rule::COLUMNS;

    fn validate(role: &Role) -> Vec<Cause> {
        rule::validate(role.rules.as_ref(), Scope::Namespaced)
    }

    fn cells(role: &Role, now: Timestamp) -> Vec<Value> {
        rule::cells(&role.metadata, now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn a_rule_is_about_something() {
        let role = json!({"metadata": {"name": "system:x", "namespace": "b"},
            "rules": [{"verbs": []}, {"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]});
        let causes = descriptor::<RoleKind>().strategy.validate(&role.into());
        let messages: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        assert_eq!(
            messages,
            [
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
                "rules[1].nonResourceURLs: Invalid value: [\"/healthz\"]: namespaced rules cannot apply to non-resource URLs",
            ]
        );
    }
}
