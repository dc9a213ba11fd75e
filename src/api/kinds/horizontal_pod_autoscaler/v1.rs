//! `autoscaling/v1`: an autoscaler that goes by the use of processors.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use serde_json::Value;

use super::{convert, v2, validation};
use crate::api::{
    kind::{Column, Kind, Names},
    kinds::names,
    status::Cause,
    update_check::{self, UpdateCheck},
};

/// `autoscaling/v1.HorizontalPodAutoscaler`
pub struct HorizontalPodAutoscalerKind;

impl Kind for HorizontalPodAutoscalerKind {
    type Object = HorizontalPodAutoscaler;
    const NAMES: Names = {
        let stored = v2::HorizontalPodAutoscalerKind::NAMES;
        Names {
            short_names: stored.short_names,
            categories: stored.categories,
            subresources: stored.subresources,
            ..names::namespaced(
                names::GroupVersion { group: stored.group, version: "v1" },
                stored.kind,
                stored.plural,
                stored.singular,
            )
        }
    };
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = v2::HorizontalPodAutoscalerKind::COLUMNS;

    /// What is measured by default depends on what the annotations say.
    fn default(scaler: &mut HorizontalPodAutoscaler) {
        scaler.spec.min_replicas.get_or_insert(1);
        *scaler = convert::from_v2(convert::to_v2(std::mem::take(scaler)));
    }

    fn validate(scaler: &HorizontalPodAutoscaler) -> Vec<Cause> {
        v2::HorizontalPodAutoscalerKind::validate(&convert::to_v2(scaler.clone()))
    }

    fn validate_again(new: &HorizontalPodAutoscaler, old: &HorizontalPodAutoscaler) -> Vec<Cause> {
        v2::HorizontalPodAutoscalerKind::validate_again(&convert::to_v2(new.clone()), &convert::to_v2(old.clone()))
    }

    fn validate_status_update(new: &HorizontalPodAutoscaler, _: &HorizontalPodAutoscaler) -> Vec<Cause> {
        let status = new.status.clone().unwrap_or_default();
        validation::status(Some(status.current_replicas), Some(status.desired_replicas))
    }

    fn cells(scaler: &HorizontalPodAutoscaler, now: Timestamp) -> Vec<Value> {
        v2::HorizontalPodAutoscalerKind::cells(&convert::to_v2(scaler.clone()), now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn four_fifths_of_the_cpu_is_the_aim_unless_something_else_is_measured() {
        let strategy = descriptor::<HorizontalPodAutoscalerKind>().strategy;
        let mut scaler = json!({"metadata": {"name": "a", "namespace": "b"},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
        let plain = strategy.decode(scaler.clone()).unwrap();
        assert_eq!(plain["spec"]["targetCPUUtilizationPercentage"], 80);
        assert_eq!(plain["spec"]["minReplicas"], 1);
        assert_eq!(strategy.validate(&plain), []);
        let row = strategy.cells(&plain, Timestamp::UNIX_EPOCH);
        assert_eq!(row[1..3], ["Deployment/web", "cpu: <unknown>/80%"].map(Value::from));
        let other = json!([{"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "1Gi"}}]);
        scaler["metadata"]["annotations"] = json!({convert::METRICS: other.to_string()});
        let other = strategy.decode(scaler).unwrap();
        assert!(other["spec"].get("targetCPUUtilizationPercentage").is_none());
        assert_eq!(strategy.cells(&other, Timestamp::UNIX_EPOCH)[2], "memory: <unknown>/1Gi");
    }
}
