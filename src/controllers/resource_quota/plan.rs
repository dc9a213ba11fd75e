//! What a quota's status should say.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ResourceQuota, ResourceQuotaStatus},
    apimachinery::pkg::api::resource::Quantity as Encoded,
};
use serde_json::Value;

use crate::api::{
    kind::GroupResource,
    pod_resources::Amounts,
    quantity::Quantity,
    quota::{scope::Facts, usage},
};

/// Something that exists in the quota's namespace.
pub struct Existing {
    usage: Amounts,
    facts: Facts,
}

impl Existing {
    /// An object; null where only its being there counts.
    pub fn new(resource: GroupResource<'_>, object: &Value) -> Self {
        Self { usage: usage::of(resource, object, Timestamp::now()), facts: Facts::of(resource, object) }
    }
}

/// The status that `quota` should have; `None` if it has it.
pub fn plan(quota: &ResourceQuota, existing: &[Existing]) -> Option<ResourceQuotaStatus> {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
    let scopes = serde_json::to_value(quota).unwrap_or_default();
    let mut used: BTreeMap<String, Quantity> = hard.keys().map(|name| (name.clone(), Quantity::default())).collect();
    for Existing { usage, .. } in existing.iter().filter(|existing| existing.facts.are_in(&scopes)) {
        for (name, amount) in usage {
            if let Some(sum) = used.get_mut(name) {
                *sum = *sum + *amount;
            }
        }
    }
    let used = used.into_iter().map(|(name, amount)| (name, Encoded(amount.to_string()))).collect();
    let wanted = ResourceQuotaStatus { hard: Some(hard), used: Some(used) };
    (!is_same(quota.status.as_ref(), &wanted)).then_some(wanted)
}

/// Amounts are compared as such: how they are written is no difference.
fn is_same(present: Option<&ResourceQuotaStatus>, wanted: &ResourceQuotaStatus) -> bool {
    let parse = |list: Option<&BTreeMap<String, Encoded>>| -> BTreeMap<String, Option<Quantity>> {
        let list = list.into_iter().flatten();
        list.map(|(name, amount)| (name.clone(), amount.0.parse().ok())).collect()
    };
    let present = present.cloned().unwrap_or_default();
    let written = present.hard.is_some() && present.used.is_some();
    written
        && parse(present.hard.as_ref()) == parse(wanted.hard.as_ref())
        && parse(present.used.as_ref()) == parse(wanted.used.as_ref())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PODS: GroupResource<'static> = GroupResource { group: "", resource: "pods" };

    fn quota(hard: Value) -> ResourceQuota {
        serde_json::from_value(json!({"metadata": {"name": "q"}, "spec": {"hard": hard, "scopes": ["NotTerminating"]}}))
            .unwrap()
    }

    fn pod(spec: &Value) -> Existing {
        Existing::new(PODS, &json!({"spec": spec}))
    }

    #[test]
    fn what_is_in_the_quotas_scope_is_summed() {
        let mut quota = quota(json!({"pods": "5", "requests.cpu": "2", "count/deployments.apps": "1"}));
        let asks = json!({"containers": [{"resources": {"requests": {"cpu": "500m"}}}]});
        let pods = [pod(&asks), pod(&asks), pod(&json!({"activeDeadlineSeconds": 1}))];
        let status = plan(&quota, &pods).unwrap();
        let used = status.used.clone().unwrap();
        let used: Vec<_> = used.iter().map(|(name, amount)| (name.as_str(), amount.0.as_str())).collect();
        assert_eq!(used, [("count/deployments.apps", "0"), ("pods", "2"), ("requests.cpu", "1")]);
        quota.status = Some(status);
        assert_eq!(plan(&quota, &pods), None);
        assert!(plan(&quota, &[]).is_some(), "what is gone is released");
    }
}
