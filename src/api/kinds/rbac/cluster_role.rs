//! Cluster roles: rules for the whole cluster, or for whatever namespace they are bound in.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::ClusterRole;
use serde_json::Value;

use super::rule;
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, NameRule, Names, Scope},
    kinds::{label_selector, names},
    selector,
    status::Cause,
};

/// `rbac.authorization.k8s.io/v1.ClusterRole`
pub struct ClusterRoleKind;

impl Kind for ClusterRoleKind {
    type Object = ClusterRole;
    const NAMES: Names = names::cluster(names::RBAC, "ClusterRole", "clusterroles", "clusterrole");
    const NAME_RULE: NameRule = NameRule::PathSegment;
    const COLUMNS: &'static [Column] = rule::COLUMNS;

    fn validate(role: &ClusterRole) -> Vec<Cause> {
        let mut causes = rule::validate(role.rules.as_ref(), Scope::Cluster);
        let selectors =
            role.aggregation_rule.as_ref().map(|rule| rule.cluster_role_selectors.as_deref().unwrap_or_default());
        let path = Path::new("aggregationRule").child("clusterRoleSelectors");
        if selectors.is_some_and(<[_]>::is_empty) {
            let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            causes.push(field::required(&path, detail));
        }
        for (index, one) in selectors.unwrap_or_default().iter().enumerate() {
            let path = path.index(index);
            causes.extend(label_selector::validate(one, &path));
            if selector::LabelSelector::from_object(one).is_err() {
                causes.push(field::invalid(&path, Value::Null, "invalid label selector."));
            }
        }
        causes
    }

    fn cells(role: &ClusterRole, now: Timestamp) -> Vec<Value> {
        rule::cells(&role.metadata, now)
    }
}
