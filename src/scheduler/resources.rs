//! Amounts of resources: what a pod requests and what a node has left. CPU counts in thousandths of
//! a core, everything else in its own unit (bytes, devices).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::{
    api::quantity::Quantity as Amount,
    client::pod::{Container, Pod, PodSpec, ResourceList},
};

/// What scheduling assumes of a container that requests no CPU when it compares nodes.
const DEFAULT_MILLI_CPU: i64 = 100;
/// What scheduling assumes of a container that requests no memory when it compares nodes.
const DEFAULT_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// Amounts by resource name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of a core.
    pub milli_cpu: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// Everything else, in whole units.
    pub others: BTreeMap<String, i64>,
}

impl Amounts {
    /// Amounts of a resource list. What cannot be parsed counts as nothing: validation refused it.
    pub fn of<'a>(list: impl IntoIterator<Item = (&'a String, &'a Quantity)>) -> Self {
        let mut amounts = Self::default();
        for (name, amount) in list {
            let Ok(amount) = amount.0.parse::<Amount>() else { continue };
            match name.as_str() {
                "cpu" => amounts.milli_cpu = amount.milli_value(),
                "memory" => amounts.memory_bytes = amount.value(),
                _ => {
                    amounts.others.insert(name.clone(), amount.value());
                }
            }
        }
        amounts
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.saturating_add(other.milli_cpu);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        for (name, amount) in &other.others {
            let sum = self.others.entry(name.clone()).or_insert(0);
            *sum = sum.saturating_add(*amount);
        }
    }

    /// Takes `other` away.
    pub fn subtract(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.saturating_sub(other.milli_cpu);
        self.memory_bytes = self.memory_bytes.saturating_sub(other.memory_bytes);
        for (name, amount) in &other.others {
            let sum = self.others.entry(name.clone()).or_insert(0);
            *sum = sum.saturating_sub(*amount);
        }
    }

    /// Raises each amount to that of `other` where it is larger.
    fn raise_to(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.max(other.milli_cpu);
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
        for (name, amount) in &other.others {
            let most = self.others.entry(name.clone()).or_insert(0);
            *most = (*most).max(*amount);
        }
    }
}

/// What the pod needs reserved on its node: its containers together, or its hungriest init container
/// if that is more; sidecars run beside both (KEP-753, "Resources calculation for scheduling").
pub fn requests(pod: &Pod) -> Amounts {
    pod.spec.as_ref().map(|spec| total(spec, request)).unwrap_or_default()
}

/// Like [`requests`], with assumed amounts where a container names none, so that pods without
/// requests still spread.
pub fn assumed_requests(pod: &Pod) -> Amounts {
    pod.spec.as_ref().map(|spec| total(spec, assumed_request)).unwrap_or_default()
}

fn total(spec: &PodSpec, request: fn(&Container) -> Amounts) -> Amounts {
    let mut running = Amounts::default();
    for container in &spec.containers {
        running.add(&request(container));
    }
    let mut sidecars = Amounts::default();
    let mut starting = Amounts::default();
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&request(container));
            starting.raise_to(&sidecars);
        } else {
            let mut together = request(container);
            together.add(&sidecars);
            starting.raise_to(&together);
        }
    }
    running.add(&sidecars);
    running.raise_to(&starting);
    if let Some(pod_level) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
        override_with(&mut running, pod_level);
    }
    running.add(&Amounts::of(spec.overhead.iter().flat_map(ResourceList::iter)));
    running
}

/// Pod-level requests take the place of the containers' sum (KEP-2837).
fn override_with(amounts: &mut Amounts, pod_level: &ResourceList) {
    let wanted = Amounts::of(pod_level.iter());
    if pod_level.names("cpu") {
        amounts.milli_cpu = wanted.milli_cpu;
    }
    if pod_level.names("memory") {
        amounts.memory_bytes = wanted.memory_bytes;
    }
}

fn request(container: &Container) -> Amounts {
    Amounts::of(requests_of(container).into_iter().flat_map(ResourceList::iter))
}

fn assumed_request(container: &Container) -> Amounts {
    let (requests, mut amounts) = (requests_of(container), request(container));
    if requests.is_none_or(|requests| !requests.names("cpu")) {
        amounts.milli_cpu = DEFAULT_MILLI_CPU;
    }
    if requests.is_none_or(|requests| !requests.names("memory")) {
        amounts.memory_bytes = DEFAULT_MEMORY_BYTES;
    }
    amounts
}

fn requests_of(container: &Container) -> Option<&ResourceList> {
    container.resources.as_ref()?.requests.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"spec": spec})).unwrap()
    }

    #[test]
    fn the_hungriest_init_container_counts_if_it_needs_more_than_all_containers() {
        let pod = pod(serde_json::json!({
            "containers": [
                {"name": "a", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}},
                {"name": "b", "resources": {"requests": {"cpu": "200m"}}}],
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1", "memory": "1Mi"}}}],
        }));
        let amounts = requests(&pod);
        assert_eq!((amounts.milli_cpu, amounts.memory_bytes), (1000, 64 << 20));
    }

    #[test]
    fn a_sidecar_counts_beside_containers_and_later_init_containers() {
        let pod = pod(serde_json::json!({
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "300m"}}}],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "i", "resources": {"requests": {"cpu": "500m"}}}],
            "overhead": {"cpu": "10m"},
        }));
        assert_eq!(requests(&pod).milli_cpu, 610);
    }
}
