//! What an object counts for, by the names that quotas use.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::api::{
    kind::GroupResource,
    meta,
    pod_resources::{self, Amounts, Side},
    quantity::{Format, Quantity},
    time,
};

/// Core kinds that are also counted by their bare name, beside those measured in other ways.
const BARE: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];
/// Resources of which quotas know requests and limits.
const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// What a container must name when a quota is about it. Only these: upstream calls it a mistake that
/// cannot be taken back.
const MANDATORY: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const CLASS_INFIX: &str = ".storageclass.storage.k8s.io/";
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const HUGE_PAGES: &str = "hugepages-";

/// What `object` of `resource` counts for at the time `now`.
pub fn of(resource: GroupResource<'_>, object: &Value, now: Timestamp) -> Amounts {
    let mut usage = Amounts::from([(count_name(resource), one())]);
    match (resource.group, resource.resource) {
        ("", "pods") if is_alive(object, now) => usage.extend(pod(object)),
        ("", "services") => usage.extend(service(object)),
        ("", "persistentvolumeclaims") => usage.extend(claim(object)),
        ("", name) if BARE.contains(&name) => {
            usage.insert(name.to_owned(), one());
        }
        _ => {}
    }
    usage
}

/// `count/deployments.apps`, or `count/pods` for the core group.
pub fn count_name(resource: GroupResource<'_>) -> String {
    let dot = if resource.group.is_empty() { "" } else { "." };
    format!("count/{}{dot}{}", resource.resource, resource.group)
}

/// Whether objects of `resource` count for the quota's `name`.
pub fn tracks(resource: GroupResource<'_>, name: &str) -> bool {
    if name == count_name(resource) {
        return true;
    }
    match (resource.group, resource.resource) {
        ("", "pods") => tracks_pods(name),
        ("", "services") => matches!(name, "services" | "services.nodeports" | "services.loadbalancers"),
        ("", "persistentvolumeclaims") => {
            let name = name.rsplit_once(CLASS_INFIX).map_or(name, |(_, name)| name);
            matches!(name, "persistentvolumeclaims" | "requests.storage")
        }
        ("", bare) => BARE.contains(&bare) && bare == name,
        _ => false,
    }
}

/// What of the `tracked` names a pod's containers do not name: `limits.cpu for: a,b; …`. `None` if
/// all is there.
pub fn unnamed<'n>(tracked: impl Iterator<Item = &'n str>, pod: &Value) -> Option<String> {
    let spec = &pod["spec"];
    let stated = compute(
        &pod_resources::list(&spec["resources"]["requests"]),
        &pod_resources::list(&spec["resources"]["limits"]),
    );
    let mut missing: Vec<String> = Vec::new();
    let mut mandatory: Vec<&str> =
        tracked.filter(|name| MANDATORY.contains(name) && !stated.contains_key(*name)).collect();
    mandatory.sort_unstable();
    for name in mandatory {
        let lists = ["containers", "initContainers"].into_iter();
        let silent = lists.flat_map(|list| pod_resources::containers(spec, list)).filter(|container| {
            let of = |side| pod_resources::of_container(container, side);
            !compute(&of(Side::Requests), &of(Side::Limits)).contains_key(name)
        });
        let mut silent: Vec<&str> = silent.map(|container| container["name"].as_str().unwrap_or_default()).collect();
        silent.sort_unstable();
        if !silent.is_empty() {
            missing.push(format!("{name} for: {}", silent.join(",")));
        }
    }
    (!missing.is_empty()).then(|| missing.join("; "))
}

fn one() -> Quantity {
    whole(1)
}

fn whole(count: usize) -> Quantity {
    Quantity::new(i64::try_from(count).unwrap_or(i64::MAX), Format::DecimalSi)
}

/// A pod that has ended, or should have by now, takes nothing from others.
fn is_alive(pod: &Value, now: Timestamp) -> bool {
    if matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded")) {
        return false;
    }
    let deadline = meta::deletion_timestamp(pod).and_then(time::parse);
    match (deadline, meta::deletion_grace_period_seconds(pod)) {
        (Some(deadline), Some(grace)) => now <= deadline + SignedDuration::from_secs(grace.clamp(0, u32::MAX.into())),
        _ => true,
    }
}

fn pod(pod: &Value) -> Amounts {
    let of = |side| pod_resources::with_overhead(&pod["spec"], side);
    let mut usage = compute(&of(Side::Requests), &of(Side::Limits));
    usage.insert("pods".to_owned(), one());
    usage
}

/// Requests and limits under the names that quotas have for them.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut usage = Amounts::new();
    for (name, amount) in requests {
        let plain = COMPUTE.contains(&name.as_str()) || name.starts_with(HUGE_PAGES);
        if plain {
            usage.insert(name.clone(), *amount);
        }
        if plain || is_extended(name) {
            usage.insert(format!("requests.{name}"), *amount);
        }
    }
    for (name, amount) in limits.iter().filter(|(name, _)| COMPUTE.contains(&name.as_str())) {
        usage.insert(format!("limits.{name}"), *amount);
    }
    usage
}

fn tracks_pods(name: &str) -> bool {
    let (side, resource) = match name.split_once('.') {
        Some((side @ ("requests" | "limits"), resource)) => (side, resource),
        _ => ("", name),
    };
    name == "pods"
        || COMPUTE.contains(&resource)
        || (side != "limits" && resource.starts_with(HUGE_PAGES))
        || (side == "requests" && is_extended(resource))
}

/// Whether a resource belongs to a device plugin or the like (`nvidia.com/gpu`).
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

fn service(service: &Value) -> Amounts {
    let spec = &service["spec"];
    let ports = || spec["ports"].as_array().into_iter().flatten();
    let asked_for = || ports().filter(|port| port["nodePort"].as_i64().is_some_and(|port| port != 0)).count();
    let (balancers, node_ports) = match spec["type"].as_str() {
        Some("NodePort") => (0, ports().count()),
        Some("LoadBalancer") if spec["allocateLoadBalancerNodePorts"] == false => (1, asked_for()),
        Some("LoadBalancer") => (1, ports().count()),
        _ => (0, 0),
    };
    Amounts::from([
        ("services".to_owned(), one()),
        ("services.loadbalancers".to_owned(), whole(balancers)),
        ("services.nodeports".to_owned(), whole(node_ports)),
    ])
}

fn claim(claim: &Value) -> Amounts {
    let mut usage = Amounts::from([("persistentvolumeclaims".to_owned(), one())]);
    let requested = pod_resources::quantity(&claim["spec"]["resources"]["requests"]["storage"]);
    if let Some(requested) = requested {
        // While a volume shrinks back after a failed expansion, the larger amount counts.
        let allocated = pod_resources::quantity(&claim["status"]["allocatedResources"]["storage"]);
        let larger = allocated.map_or(requested, |allocated| allocated.max(requested));
        usage.insert("requests.storage".to_owned(), Quantity::new(larger.value(), larger.format()));
    }
    let class = meta::annotation(claim, OLD_CLASS).or(claim["spec"]["storageClassName"].as_str()).unwrap_or_default();
    if !class.is_empty() {
        let by_class = |(name, amount): (&String, &Quantity)| (format!("{class}{CLASS_INFIX}{name}"), *amount);
        let of_class: Amounts = usage.iter().map(by_class).collect();
        usage.extend(of_class);
    }
    usage
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(resource: &str, object: &Value) -> String {
        let resource = GroupResource { group: "", resource };
        let usage = of(resource, object, Timestamp::now());
        assert!(usage.keys().all(|name| tracks(resource, name)), "{usage:?}");
        let each: Vec<String> = usage.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
        each.join(" ")
    }

    #[test]
    fn a_pod_counts_for_what_it_asks() {
        let asks = json!({"requests": {"cpu": "1", "hugepages-2Mi": "4Mi", "nvidia.com/gpu": "2"},
                          "limits": {"memory": "1Gi"}});
        let mut pod = json!({"spec": {"containers": [{"resources": asks}]}});
        assert_eq!(
            shown("pods", &pod),
            "count/pods=1 cpu=1 hugepages-2Mi=4Mi limits.memory=1Gi pods=1 requests.cpu=1 \
             requests.hugepages-2Mi=4Mi requests.nvidia.com/gpu=2"
        );
        pod["status"]["phase"] = json!("Succeeded");
        assert_eq!(shown("pods", &pod), "count/pods=1");
    }

    #[test]
    fn services_count_their_ports() {
        let ports = json!([{"port": 1, "nodePort": 30001}, {"port": 2}]);
        let service = |spec: Value| shown("services", &json!({"spec": spec}));
        assert!(service(json!({"type": "NodePort", "ports": ports})).contains("loadbalancers=0 services.nodeports=2"));
        let balancer = json!({"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": false});
        assert!(service(balancer).contains("loadbalancers=1 services.nodeports=1"));
    }

    #[test]
    fn claims_count_by_class_too() {
        let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}});
        assert_eq!(
            shown("persistentvolumeclaims", &claim),
            "count/persistentvolumeclaims=1 gold.storageclass.storage.k8s.io/persistentvolumeclaims=1 \
             gold.storageclass.storage.k8s.io/requests.storage=1Gi persistentvolumeclaims=1 requests.storage=1Gi"
        );
    }

    #[test]
    fn containers_must_name_what_is_limited() {
        let pod =
            json!({"spec": {"containers": [{"name": "b"}, {"name": "a", "resources": {"limits": {"memory": "1"}}}]}});
        let names = ["pods", "limits.memory", "limits.cpu"];
        assert_eq!(unnamed(names.into_iter(), &pod).as_deref(), Some("limits.cpu for: a,b; limits.memory for: b"));
        assert_eq!(unnamed(["requests.nvidia.com/gpu"].into_iter(), &pod), None);
    }

    #[test]
    fn anything_is_counted_under_its_group() {
        let deployments = GroupResource { group: "apps", resource: "deployments" };
        assert!(tracks(deployments, "count/deployments.apps") && !tracks(deployments, "count/deployments"));
        assert_eq!(shown("secrets", &json!({})), "count/secrets=1 secrets=1");
    }
}
