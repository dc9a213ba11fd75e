//! Rules of a pod's status beside those of its containers, and the address that is in it twice.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{HostIP, Pod, PodIP, PodStatus};
use serde::Serialize;

use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::{name, network, value},
};

/// Conditions of upstream's own, whose names are not looked at.
const SYSTEM_CONDITIONS: [&str; 3] = ["PodScheduled", "Ready", "Initialized"];

/// An address as errors show it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(rename = "IP")]
    ip: &'a str,
}

/// The one address and the first of the list are the same: the older field wins, and fills the list.
pub fn settle_addresses(status: &mut PodStatus) {
    let own = status.pod_ip.clone().filter(|ip| !ip.is_empty());
    let first = status.pod_ips.as_ref().and_then(|ips| ips.first()).map(|first| first.ip.clone());
    match own {
        Some(own) if first.as_ref() != Some(&own) => status.pod_ips = Some(vec![PodIP { ip: own }]),
        Some(_) => {}
        None => status.pod_ip = first.or_else(|| status.pod_ip.take()),
    }
}

/// Numbers of what was seen stay when a client does not know of them.
pub fn keep_generations(new: &mut PodStatus, old: &PodStatus) {
    if new.observed_generation.unwrap_or_default() == 0 {
        new.observed_generation = old.observed_generation;
    }
    let mut before: Vec<(&str, Option<i64>)> = old
        .conditions
        .iter()
        .flatten()
        .map(|condition| (condition.type_.as_str(), condition.observed_generation))
        .collect();
    for condition in new.conditions.iter_mut().flatten() {
        let known = before.iter().position(|(kind, _)| *kind == condition.type_).map(|place| before.remove(place).1);
        if condition.observed_generation.unwrap_or_default() == 0 {
            condition.observed_generation = known.flatten();
        }
    }
}

/// Problems of a change.
pub fn validate(new: &Pod, old: &Pod) -> Vec<Cause> {
    let node = old.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    let (new, old) = (new.status.clone().unwrap_or_default(), old.status.clone().unwrap_or_default());
    let path = Path::new("status");
    let mut causes = conditions(&new, &path.child("conditions"));
    causes.extend(nominated(&new, &old, node, &path.child("nominatedNodeName")));
    if let Some(generation) = new.observed_generation.filter(|generation| *generation < 0) {
        let detail = "must be a non-negative integer";
        causes.push(field::invalid(&path.child("observedGeneration"), generation, detail));
    }
    let ips =
        |list: Option<&Vec<PodIP>>| -> Vec<String> { list.into_iter().flatten().map(|ip| ip.ip.clone()).collect() };
    causes.extend(addresses(&ips(new.pod_ips.as_ref()), &ips(old.pod_ips.as_ref()), &path.child("podIPs")));
    let ips =
        |list: Option<&Vec<HostIP>>| -> Vec<String> { list.into_iter().flatten().map(|ip| ip.ip.clone()).collect() };
    let (hosts, path) = (ips(new.host_ips.as_ref()), path.child("hostIPs"));
    if let Some(first) = hosts.first().filter(|first| first.as_str() != new.host_ip.as_deref().unwrap_or_default()) {
        causes.push(field::invalid(&path.index(0).child("ip"), first, "must be equal to `hostIP`"));
    }
    causes.extend(addresses(&hosts, &ips(old.host_ips.as_ref()), &path));
    causes.extend(users(&new));
    causes
}

/// Whom containers run as, as far as their node says so (KEP-3619).
fn users(status: &PodStatus) -> Vec<Cause> {
    let lists = [
        ("containerStatuses", &status.container_statuses),
        ("initContainerStatuses", &status.init_container_statuses),
        ("ephemeralContainerStatuses", &status.ephemeral_container_statuses),
    ];
    let mut causes = Vec::new();
    for (name, list) in lists {
        for (index, container) in list.iter().flatten().enumerate() {
            let Some(user) = container.user.as_ref().and_then(|user| user.linux.as_ref()) else { continue };
            let path = Path::new("status").child(name).index(index).child("user").child("linux");
            for (name, id) in [("uid", user.uid), ("gid", user.gid)] {
                causes.extend(field::invalid_each(&path.child(name), id, &value::user_id(id)));
            }
            for (index, id) in user.supplemental_groups.iter().flatten().enumerate() {
                let path = path.child("supplementalGroups").index(index);
                causes.extend(field::invalid_each(&path, id, &value::user_id(*id)));
            }
        }
    }
    causes
}

fn conditions(status: &PodStatus, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, condition) in status.conditions.iter().flatten().enumerate() {
        let path = path.index(index);
        if let Some(generation) = condition.observed_generation.filter(|generation| *generation < 0) {
            let detail = "must be a non-negative integer";
            causes.push(field::invalid(&path.child("observedGeneration"), generation, detail));
        }
        let kind = condition.type_.as_str();
        if !SYSTEM_CONDITIONS.contains(&kind) {
            // The capital is upstream's.
            causes.extend(field::invalid_each(&path.child("Type"), kind, &name::qualified_name(kind)));
        }
    }
    causes
}

/// A pod is promised a node before it is bound to one, not afterwards.
fn nominated(new: &PodStatus, old: &PodStatus, node: &str, path: &Path) -> Vec<Cause> {
    let wanted = new.nominated_node_name.as_deref().unwrap_or_default();
    if wanted.is_empty() || wanted == old.nominated_node_name.as_deref().unwrap_or_default() {
        return Vec::new();
    }
    let mut causes = field::invalid_each(path, wanted, &name::dns1123_subdomain(wanted));
    if !node.is_empty() {
        causes.push(field::forbidden(path, "may not be set on pods that are already bound to a node"));
    }
    causes
}

/// Addresses are valid unless they were there before, and no two are of a family.
fn addresses(all: &[String], before: &[String], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, ip) in all.iter().enumerate().filter(|(_, ip)| !before.contains(ip)) {
        causes.extend(field::invalid_each(&path.index(index), ip, &network::ip(ip)));
    }
    if all.len() < 2 {
        return causes;
    }
    let parsed: Vec<Option<IpAddr>> = all.iter().map(|ip| ip.parse().ok()).collect();
    if let Some(index) = parsed.iter().position(Option::is_none) {
        let problem = format!("failed to check for dual stack with error:invalid IP[{index}]: {}", all[index]);
        causes.push(field::internal(path, problem));
    }
    let both = parsed.iter().flatten().any(IpAddr::is_ipv4) && parsed.iter().flatten().any(IpAddr::is_ipv6);
    if all.len() > 2 || !both || parsed.contains(&None) {
        let shown: Vec<Shown<'_>> = all.iter().map(|ip| Shown { ip }).collect();
        causes.push(field::invalid(path, shown, "may specify no more than one IP for each IP family"));
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problems(new: Value, old: Value) -> Vec<String> {
        let pod = |status: Value| -> Pod {
            serde_json::from_value(json!({"metadata": {}, "spec": {"containers": []}, "status": status})).unwrap()
        };
        let causes = validate(&pod(new), &pod(old));
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn a_pod_has_an_address_of_each_family() {
        let hosts = |ips: &[&str]| -> Value {
            json!({"hostIP": "10.0.0.1", "hostIPs": ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>()})
        };
        assert_eq!(problems(hosts(&["10.0.0.1", "::1"]), json!({})), [""; 0]);
        assert_eq!(
            problems(hosts(&["10.0.0.2"]), json!({})),
            ["status.hostIPs[0].ip: Invalid value: \"10.0.0.2\": must be equal to `hostIP`"]
        );
        assert_eq!(
            problems(hosts(&["10.0.0.1", "10.0.0.2"]), json!({})),
            ["status.hostIPs: Invalid value: [{\"IP\":\"10.0.0.1\"},{\"IP\":\"10.0.0.2\"}]: may specify no more than \
                 one IP for each IP family"]
        );
    }

    #[test]
    fn the_older_address_wins() {
        let settled = |status: Value| {
            let mut status: PodStatus = serde_json::from_value(status).unwrap();
            settle_addresses(&mut status);
            json!(status)
        };
        let both = json!({"podIP": "1.2.3.4", "podIPs": [{"ip": "1.2.3.4"}]});
        assert_eq!(settled(json!({"podIP": "1.2.3.4"})), both);
        assert_eq!(settled(json!({"podIPs": [{"ip": "1.2.3.4"}]})), both);
        assert_eq!(settled(json!({"podIP": "1.2.3.4", "podIPs": [{"ip": "5.6.7.8"}]})), both);
    }
}
