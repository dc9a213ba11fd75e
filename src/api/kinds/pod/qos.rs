//! The quality-of-service class: who is killed first when a node runs out of memory. It follows
//! from the requests and limits for CPU and memory.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as Encoded,
};

use crate::api::quantity::Quantity;

const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub fn class(spec: &PodSpec) -> &'static str {
    let of_pod = spec.resources.as_ref().filter(|resources| names_any(resources));
    let all: Vec<ResourceRequirements> = match of_pod {
        Some(resources) => vec![resources.clone()],
        None => spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
            .map(|container| container.resources.clone().unwrap_or_default())
            .collect(),
    };
    if !all.iter().any(names_any) {
        return "BestEffort";
    }
    if all.iter().all(is_guaranteed) { "Guaranteed" } else { "Burstable" }
}

fn names_any(resources: &ResourceRequirements) -> bool {
    COUNTED.iter().any(|name| {
        amount(resources.requests.as_ref(), name).is_some() || amount(resources.limits.as_ref(), name).is_some()
    })
}

/// Both resources are limited, and requested as much as limited.
fn is_guaranteed(resources: &ResourceRequirements) -> bool {
    COUNTED.iter().all(|name| {
        let limit = amount(resources.limits.as_ref(), name);
        limit.is_some() && amount(resources.requests.as_ref(), name).is_none_or(|request| Some(request) == limit)
    })
}

/// An amount above zero.
fn amount(list: Option<&BTreeMap<String, Encoded>>, name: &str) -> Option<Quantity> {
    let amount: Quantity = list?.get(name)?.0.parse().ok()?;
    (!amount.is_zero() && !amount.is_negative()).then_some(amount)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class_of(resources: serde_json::Value) -> &'static str {
        class(&serde_json::from_value(json!({"containers": [{"name": "a", "resources": resources}]})).unwrap())
    }

    #[test]
    fn the_class_follows_from_requests_and_limits() {
        assert_eq!(class_of(json!({})), "BestEffort");
        assert_eq!(class_of(json!({"requests": {"example.com/gpu": "1"}})), "BestEffort");
        assert_eq!(class_of(json!({"requests": {"cpu": "1"}})), "Burstable");
        assert_eq!(class_of(json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}})), "Burstable");
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(class_of(json!({"limits": both, "requests": {"cpu": "1000m", "memory": "1024Mi"}})), "Guaranteed");
        assert_eq!(class_of(json!({"limits": both, "requests": {"cpu": "500m", "memory": "1Gi"}})), "Burstable");
    }
}
