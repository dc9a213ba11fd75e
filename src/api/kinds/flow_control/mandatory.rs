//! Levels and schemas without which a server could not say where a request belongs: their
//! specifications are fixed.

use k8s_openapi::api::flowcontrol::v1::{FlowSchemaSpec, PriorityLevelConfigurationSpec};
use serde_json::json;

use super::EXEMPT;

const CATCH_ALL: &str = "catch-all";

/// The specification that the level called `name` must have.
pub fn level(name: &str) -> Option<PriorityLevelConfigurationSpec> {
    let spec = match name {
        EXEMPT => json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}),
        CATCH_ALL => json!({"type": "Limited", "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0,
            "limitResponse": {"type": "Reject"}}}),
        _ => return None,
    };
    serde_json::from_value(spec).ok()
}

/// The specification that the schema called `name` must have.
pub fn schema(name: &str) -> Option<FlowSchemaSpec> {
    let group = |name: &str| json!({"kind": "Group", "group": {"name": name}});
    let all = json!(["*"]);
    let (precedence, subjects, method) = match name {
        EXEMPT => (1, vec![group("system:masters")], None),
        CATCH_ALL => (
            10_000,
            vec![group("system:unauthenticated"), group("system:authenticated")],
            Some(json!({"type": "ByUser"})),
        ),
        _ => return None,
    };
    let spec = json!({
        "matchingPrecedence": precedence,
        "priorityLevelConfiguration": {"name": name},
        "distinguisherMethod": method,
        "rules": [{
            "subjects": subjects,
            "resourceRules": [{"verbs": all, "apiGroups": all, "resources": all, "namespaces": all, "clusterScope": true}],
            "nonResourceRules": [{"verbs": all, "nonResourceURLs": all}],
        }],
    });
    serde_json::from_value(spec).ok()
}
