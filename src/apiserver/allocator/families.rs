//! Which address families a service gets (KEP-563): what it asks for, completed from what the
//! cluster has.

use k8s_openapi::api::core::v1::ServiceSpec;

use crate::api::{
    field::{self, Path},
    kinds::service::facts,
    status::Cause,
};

/// Fills in `ipFamilyPolicy` and `ipFamilies`. `configured` are the cluster's families, the first
/// being the default. Problems are those of what the cluster lacks.
pub fn complete(spec: &mut ServiceSpec, configured: &[&str]) -> Vec<Cause> {
    let path = Path::new("spec");
    let free = facts::is_headless(spec) && spec.selector.as_ref().is_none_or(|selector| selector.is_empty());
    let policy = if free { "RequireDualStack" } else { "SingleStack" };
    spec.ip_family_policy.get_or_insert_with(|| policy.to_owned());
    let causes = single(spec, &path.child("ipFamilyPolicy"));
    if !causes.is_empty() {
        return causes;
    }
    let families = spec.ip_families.get_or_insert_default();
    if families.is_empty() {
        let named = spec.cluster_ips.iter().flatten().filter_map(|ip| ip.parse().ok()).map(facts::family);
        families.extend(named.map(str::to_owned));
    }
    if families.is_empty() {
        families.extend(configured.first().map(|family| (*family).to_owned()));
    }
    let dual = spec.ip_family_policy.as_deref() != Some("SingleStack");
    if dual && families.len() == 1 && (free || configured.len() > 1) {
        let other = if families[0] == "IPv4" { "IPv6" } else { "IPv4" };
        families.push(other.to_owned());
    }
    if free { Vec::new() } else { missing(spec, configured, &path) }
}

/// What is there twice though one is asked for.
fn single(spec: &ServiceSpec, path: &Path) -> Vec<Cause> {
    let lists = [("cluster IPs", &spec.cluster_ips), ("IP families", &spec.ip_families)];
    let two = lists.iter().filter(|(_, list)| list.as_ref().is_some_and(|list| list.len() == 2));
    let is_single = spec.ip_family_policy.as_deref() == Some("SingleStack");
    two.filter(|_| is_single)
        .map(|(what, _)| {
            let detail = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
            field::invalid(path, &spec.ip_family_policy, &detail)
        })
        .collect()
}

fn missing(spec: &ServiceSpec, configured: &[&str], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if spec.ip_family_policy.as_deref() == Some("RequireDualStack") && configured.len() < 2 {
        let detail = "this cluster is not configured for dual-stack services";
        causes.push(field::invalid(&path.child("ipFamilyPolicy"), &spec.ip_family_policy, detail));
    }
    for (index, family) in spec.ip_families.iter().flatten().enumerate() {
        if !configured.contains(&family.as_str()) {
            let path = path.child("ipFamilies").index(index);
            causes.push(field::invalid(&path, family, "not configured on this cluster"));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn completed(spec: Value, configured: &[&str]) -> (String, Vec<String>, usize) {
        let mut spec: ServiceSpec = serde_json::from_value(spec).unwrap();
        spec.type_ = Some("ClusterIP".into());
        let causes = complete(&mut spec, configured);
        (spec.ip_family_policy.unwrap(), spec.ip_families.unwrap(), causes.len())
    }

    #[test]
    fn a_service_gets_what_it_asks_for_and_the_cluster_has() {
        let both = ["IPv4", "IPv6"];
        let one = |family: &str| vec![family.to_owned()];
        assert_eq!(completed(json!({}), &both), ("SingleStack".into(), one("IPv4"), 0));
        assert_eq!(completed(json!({"clusterIPs": ["fd00::7"]}), &both), ("SingleStack".into(), one("IPv6"), 0));
        let two = vec!["IPv4".to_owned(), "IPv6".to_owned()];
        let prefer = json!({"ipFamilyPolicy": "PreferDualStack"});
        assert_eq!(completed(prefer.clone(), &both), ("PreferDualStack".into(), two.clone(), 0));
        assert_eq!(completed(prefer, &both[..1]), ("PreferDualStack".into(), one("IPv4"), 0));
        assert_eq!(completed(json!({"ipFamilyPolicy": "RequireDualStack"}), &both[..1]).2, 1);
        assert_eq!(
            completed(json!({"clusterIPs": ["None"], "clusterIP": "None"}), &both[..1]),
            ("RequireDualStack".into(), two, 0)
        );
    }
}
