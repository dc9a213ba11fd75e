//! Cluster addresses of a service and their families, as far as they can be told apart from right ones without the
//! cluster's networks (`ValidateServiceClusterIPsRelatedFields` of core's validation). The allocator asks before it
//! gives anything out, and then nothing else is said.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::ServiceSpec;

use super::{HEADLESS, facts};
use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::network,
};

const FAMILIES: &[&str] = &["IPv4", "IPv6"];
const FAMILY_POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];
const MOST_ADDRESSES: usize = 2;

/// Problems of addresses and families.
pub fn validate(spec: &ServiceSpec) -> Vec<Cause> {
    if facts::is_type(spec, "ExternalName") {
        return Vec::new();
    }
    let path = Path::new("spec");
    let (list, all) = (path.child("clusterIPs"), spec.cluster_ips.as_deref().unwrap_or_default());
    let mut causes: Vec<Cause> = in_step(spec, &list).into_iter().collect();
    causes.extend(families(spec, &path.child("ipFamilies")));
    let policy = spec.ip_family_policy.as_deref();
    causes.extend(policy.and_then(|policy| field::one_of(&path.child("ipFamilyPolicy"), policy, FAMILY_POLICIES)));
    let bad = well_formed(all, &list);
    let is_well_formed = bad.is_empty();
    causes.extend(bad);
    if all.len() > MOST_ADDRESSES {
        causes.push(field::invalid(&list, all, "may only hold up to 2 values"));
    }
    if is_well_formed {
        causes.extend(of_families(spec, all, &list));
    }
    causes
}

/// The one address and the list say the same.
fn in_step(spec: &ServiceSpec, list: &Path) -> Option<Cause> {
    let (one, all) = (spec.cluster_ip.as_deref().unwrap_or_default(), spec.cluster_ips.as_deref().unwrap_or_default());
    match (one, all.first()) {
        ("", None) => None,
        ("", Some(_)) => Some(field::invalid(list, all, "must be empty when `clusterIP` is not specified")),
        (_, None) => Some(field::required(list, "")),
        (one, Some(first)) if one == first => None,
        _ => Some(field::invalid(list, all, "first value must match `clusterIP`")),
    }
}

fn families(spec: &ServiceSpec, path: &Path) -> Vec<Cause> {
    let all = spec.ip_families.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    for (index, family) in all.iter().enumerate() {
        causes.extend(field::one_of(&path.index(index), family, FAMILIES));
        if all[..index].contains(family) {
            causes.push(field::duplicate(&path.index(index), family));
        }
    }
    causes
}

fn well_formed(all: &[String], list: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, ip) in all.iter().enumerate() {
        if index > 0 || ip != HEADLESS {
            causes.extend(field::invalid_each(&list.index(index), ip, &network::ip(ip)));
        } else if all.len() > 1 {
            causes.push(field::invalid(list, all, "'None' must be the first and only value"));
        }
    }
    causes
}

/// One address of each family, in the order of the families.
fn of_families(spec: &ServiceSpec, all: &[String], list: &Path) -> Vec<Cause> {
    let parsed: Vec<IpAddr> = all.iter().filter_map(|ip| ip.parse().ok()).collect();
    let mut causes = Vec::new();
    if let [first, rest @ ..] = parsed.as_slice()
        && !rest.is_empty()
        && rest.iter().all(|ip| ip.is_ipv4() == first.is_ipv4())
    {
        causes.push(field::invalid(list, all, "may specify no more than one IP for each IP family"));
    }
    for (index, (ip, family)) in parsed.iter().zip(spec.ip_families.iter().flatten()).enumerate() {
        if FAMILIES.contains(&family.as_str()) && facts::family(*ip) != family {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            causes.push(field::invalid(&list.index(index), ip.to_string(), &detail));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problems(spec: Value) -> Vec<String> {
        let causes = validate(&serde_json::from_value(spec).unwrap());
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn the_one_address_is_the_first_of_the_list() {
        assert_eq!(
            problems(json!({"clusterIPs": ["10.43.0.7"]})),
            ["spec.clusterIPs: Invalid value: [\"10.43.0.7\"]: must be empty when `clusterIP` is not specified"]
        );
        assert_eq!(
            problems(json!({"clusterIP": "10.43.0.8", "clusterIPs": ["10.43.0.7"]})),
            ["spec.clusterIPs: Invalid value: [\"10.43.0.7\"]: first value must match `clusterIP`"]
        );
    }

    #[test]
    fn bad_addresses_are_not_looked_at_further() {
        let spec = json!({"clusterIP": "10.43.0.7", "clusterIPs": ["10.43.0.7", ""], "ipFamilies": ["IPv6"]});
        assert_eq!(problems(spec).len(), 1);
        let spec = json!({"clusterIP": "10.43.0.7", "clusterIPs": ["10.43.0.7", "10.43.0.8"]});
        assert!(problems(spec)[0].ends_with("may specify no more than one IP for each IP family"));
    }
}
