//! From resource requests and limits to cgroups: QoS class, CPU shares and quota, memory, and how
//! readily the kernel's out-of-memory killer takes a container.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::{api::quantity::Quantity as Amount, oci::Resources};

/// Period of the CPU quota in microseconds.
const QUOTA_PERIOD_US: u64 = 100_000;
/// Least quota the kernel takes.
const MIN_QUOTA_US: i64 = 1000;
/// Bounds of CPU shares (cgroup v1).
const SHARES: std::ops::RangeInclusive<i64> = 2..=262_144;

/// Quality of service of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Every container's limits equal its requests, for CPU and memory.
    Guaranteed,
    /// Some container asks for something.
    Burstable,
    /// None does.
    BestEffort,
}

impl Qos {
    /// As `status.qosClass` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }

    /// The class of a pod (Kubernetes documentation, "Pod Quality of Service Classes").
    pub fn of(spec: &PodSpec) -> Self {
        let all = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let mut any = false;
        let mut guaranteed = true;
        for container in all() {
            for resource in ["cpu", "memory"] {
                let request = positive(request(container, resource));
                let limit = positive(limit(container, resource));
                any |= request.is_some() || limit.is_some();
                guaranteed &= limit.is_some() && (request.is_none() || request == limit);
            }
        }
        match (any, guaranteed) {
            (false, _) => Self::BestEffort,
            (true, true) => Self::Guaranteed,
            (true, false) => Self::Burstable,
        }
    }
}

/// A container's request, in thousandths, its limit standing in for a missing one.
pub fn effective_request(container: &Container, resource: &str) -> Option<i128> {
    request(container, resource).or_else(|| limit(container, resource))
}

/// A container's limit, in thousandths.
pub fn limit(container: &Container, resource: &str) -> Option<i128> {
    quantity_of(container.resources.as_ref().and_then(|resources| resources.limits.as_ref()), resource)
}

/// A quantity in thousandths; `None` if it is not one.
pub fn milli(quantity: &Quantity) -> Option<i128> {
    let amount: Amount = quantity.0.parse().ok()?;
    Some(amount.milli_value().into())
}

/// The pod's cgroup below the parent, as upstream lays them out: guaranteed pods stand directly
/// in it, the others below their class.
pub fn cgroup(pod: &Pod, qos: Qos) -> String {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    match qos {
        Qos::Guaranteed => format!("pod{uid}"),
        Qos::Burstable => format!("burstable/pod{uid}"),
        Qos::BestEffort => format!("besteffort/pod{uid}"),
    }
}

/// Limits of one container.
pub fn of_container(container: &Container) -> Resources {
    let cpu_request = effective_request(container, "cpu").unwrap_or(0);
    from_milli(Some(cpu_request), limit(container, "cpu"), limit(container, "memory"))
}

/// Limits of the pod as a whole: sums over its containers, as far as all of them have one.
pub fn of_pod(spec: &PodSpec) -> Resources {
    if let Some(resources) = &spec.resources
        && (resources.limits.is_some() || resources.requests.is_some())
    {
        return of_requirements(resources);
    }
    let cpu_request = total(spec, |container| Some(effective_request(container, "cpu").unwrap_or(0)));
    from_milli(
        cpu_request,
        total(spec, |container| positive(limit(container, "cpu"))),
        total(spec, |container| positive(limit(container, "memory"))),
    )
}

/// `oom_score_adj` of a container, as upstream computes it from the class and the share of the
/// node's memory that is asked for.
pub fn oom_score_adj(pod: &Pod, container: &Container, qos: Qos, node_memory_bytes: u64) -> i32 {
    let critical = pod.spec.as_ref().and_then(|spec| spec.priority).is_some_and(|priority| priority >= 2_000_000_000);
    if critical || qos == Qos::Guaranteed {
        return -997;
    }
    if qos == Qos::BestEffort {
        return 1000;
    }
    let request = request(container, "memory").unwrap_or(0) / 1000;
    let memory = i128::from(node_memory_bytes.max(1));
    i32::try_from((1000 - 1000 * request / memory).clamp(3, 999)).unwrap_or(999)
}

fn of_requirements(resources: &ResourceRequirements) -> Resources {
    let limits = resources.limits.as_ref();
    let cpu_limit = quantity_of(limits, "cpu");
    let request = quantity_of(resources.requests.as_ref(), "cpu").or(cpu_limit).unwrap_or(0);
    from_milli(Some(request), cpu_limit, quantity_of(limits, "memory"))
}

fn from_milli(cpu_request: Option<i128>, cpu_limit: Option<i128>, memory_limit: Option<i128>) -> Resources {
    let narrow = |milli: i128| i64::try_from(milli).unwrap_or(i64::MAX);
    let quota = positive(cpu_limit).map(|milli| narrow(milli).saturating_mul(100).max(MIN_QUOTA_US));
    Resources {
        memory_limit_bytes: positive(memory_limit).map(|milli| narrow(milli / 1000)),
        cpu_shares: cpu_request.map(|milli| {
            let shares = narrow(milli).saturating_mul(1024) / 1000;
            shares.clamp(*SHARES.start(), *SHARES.end()).unsigned_abs()
        }),
        cpu_quota_us: quota,
        cpu_period_us: quota.map(|_| QUOTA_PERIOD_US),
        pids_limit: None,
    }
}

/// What the pod needs at its peak: its containers and sidecars together, or its hungriest ordinary
/// init container; `None` when one of them has no bound.
fn total(spec: &PodSpec, of: impl Fn(&Container) -> Option<i128>) -> Option<i128> {
    let mut sum = 0;
    let mut init_peak = 0;
    for container in spec.init_containers.iter().flatten() {
        let amount = of(container)?;
        if container.restart_policy.as_deref() == Some("Always") {
            sum += amount;
            init_peak = i128::max(init_peak, sum);
        } else {
            init_peak = i128::max(init_peak, sum + amount);
        }
    }
    for container in &spec.containers {
        sum += of(container)?;
    }
    Some(i128::max(sum, init_peak))
}

fn request(container: &Container, resource: &str) -> Option<i128> {
    quantity_of(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()), resource)
}

fn quantity_of(list: Option<&BTreeMap<String, Quantity>>, resource: &str) -> Option<i128> {
    milli(list?.get(resource)?)
}

fn positive(amount: Option<i128>) -> Option<i128> {
    amount.filter(|amount| *amount > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(containers: serde_json::Value) -> PodSpec {
        serde_json::from_value(json!({ "containers": containers })).unwrap()
    }

    #[test]
    fn classes_follow_requests_and_limits() {
        assert_eq!(Qos::of(&spec(json!([{"name": "a"}]))), Qos::BestEffort);
        let equal = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}});
        assert_eq!(Qos::of(&spec(json!([{"name": "a", "resources": equal}]))), Qos::Guaranteed);
        assert_eq!(Qos::of(&spec(json!([{"name": "a", "resources": equal}, {"name": "b"}]))), Qos::Burstable);
        let request = json!({"requests": {"memory": "1Mi"}});
        assert_eq!(Qos::of(&spec(json!([{"name": "a", "resources": request}]))), Qos::Burstable);
    }

    #[test]
    fn limits_become_cgroup_values() {
        let spec = spec(json!([{"name": "a", "resources": {
            "requests": {"cpu": "250m"}, "limits": {"cpu": "500m", "memory": "64Mi"}}}]));
        let resources = of_container(&spec.containers[0]);
        assert_eq!(resources.cpu_shares, Some(256));
        assert_eq!(resources.cpu_quota_us, Some(50_000));
        assert_eq!(resources.memory_limit_bytes, Some(64 << 20));
        assert_eq!(of_pod(&spec).memory_limit_bytes, Some(64 << 20));
    }

    #[test]
    fn a_pod_with_an_unbounded_container_has_no_bound_itself() {
        let spec = spec(json!([{"name": "a", "resources": {"limits": {"memory": "64Mi"}}}, {"name": "b"}]));
        let resources = of_pod(&spec);
        assert_eq!(resources.memory_limit_bytes, None);
        assert_eq!(resources.cpu_shares, Some(2));
    }

    #[test]
    fn oom_scores_follow_the_class() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "a", "resources": {"requests": {"memory": "1Gi"}}}]}}))
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        assert_eq!(oom_score_adj(&pod, container, Qos::Burstable, 4 << 30), 750);
        assert_eq!(oom_score_adj(&pod, container, Qos::BestEffort, 4 << 30), 1000);
        assert_eq!(oom_score_adj(&pod, container, Qos::Guaranteed, 4 << 30), -997);
    }
}
