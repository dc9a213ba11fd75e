//! Requests and limits of a pod as a whole, as far as they follow from its containers (KEP-2837, "Proposed
//! Validation & Defaulting Rules"). Without them a pod that says its own limits would change with its first update.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::PodSpec, apimachinery::pkg::api::resource::Quantity};
use serde_json::json;

use super::resources;
use crate::api::{
    field::{self, Path},
    pod_resources::{self, Side},
    quantity,
    status::Cause,
};

const SUPPORTED: &[&str] = &["cpu", "hugepages-", "memory"];

type List = BTreeMap<String, Quantity>;

/// Fills in what a pod that states some resources leaves out. Containers have their own defaults already.
pub fn default(spec: &mut PodSpec) {
    let stated = |list: Option<&List>| list.is_some_and(|list| !list.is_empty());
    let some = |spec: &PodSpec| {
        spec.resources.as_ref().is_some_and(|own| stated(own.limits.as_ref()) || stated(own.requests.as_ref()))
    };
    if !some(spec) {
        return;
    }
    let containers = json!(spec);
    let own = spec.resources.get_or_insert_default();
    let requested = |own: Option<&List>, name: &str| own.is_some_and(|list| list.contains_key(name));
    for (name, amount) in pod_resources::of_containers(&containers, Side::Limits) {
        if pod_resources::is_huge_page(&name) && !requested(own.requests.as_ref(), &name) {
            fill_in(&mut own.limits, &name, Quantity(amount.to_string()));
        }
    }
    let limits = own.limits.clone().unwrap_or_default();
    if limits.is_empty() {
        return;
    }
    let may_exceed = |name: &str| pod_resources::is_pod_level(name) && !pod_resources::is_huge_page(name);
    for (name, amount) in pod_resources::of_containers(&containers, Side::Requests) {
        if may_exceed(&name) {
            fill_in(&mut own.requests, &name, Quantity(amount.to_string()));
        }
    }
    for (name, limit) in limits.into_iter().filter(|(name, _)| pod_resources::is_pod_level(name)) {
        fill_in(&mut own.requests, &name, limit);
    }
}

/// Problems of what the pod states as a whole, its containers' share among them.
pub fn validate(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let path = path.child("resources");
    let Some(own) = &spec.resources else { return Vec::new() };
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return vec![field::forbidden(&path, "may not be set for a windows pod")];
    }
    let mut causes = Vec::new();
    if own.claims.is_some() {
        causes.push(field::forbidden(&path.child("claims"), "claims may not be set for Resources at pod-level"));
    }
    causes.extend(resources::requirements(own, resource_name, &path));
    let containers = json!(spec);
    let huge = |name: &str| pod_resources::is_huge_page(name);
    for (side, list) in [(Side::Requests, &own.requests), (Side::Limits, &own.limits)] {
        let sums = pod_resources::of_containers(&containers, side).into_iter();
        for (name, sum) in sums.filter(|(name, _)| side == Side::Requests || huge(name)) {
            let Some(stated) = amount(list.as_ref(), &name).filter(|stated| sum > *stated) else { continue };
            let side = side.field();
            let detail = format!("must be greater than or equal to aggregate container {side} of {sum}");
            causes.push(field::invalid(&path.child(side).key(&name), stated.to_string(), &detail));
        }
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        for name in limits.into_iter().flatten().map(|(name, _)| name) {
            let (Some(limit), Some(most)) = (amount(limits, name), amount(own.limits.as_ref(), name)) else { continue };
            if limit > most {
                let path = path.child("containers").index(index).key(name).child("limits");
                let detail = format!("must be less than or equal to pod limits of {most}");
                causes.push(field::invalid(&path, limit.to_string(), &detail));
            }
        }
    }
    causes
}

fn resource_name(resource: &str, path: &Path) -> Vec<Cause> {
    let causes = resources::resource_name(resource, path);
    if !causes.is_empty() || pod_resources::is_pod_level(resource) {
        return causes;
    }
    vec![field::unsupported(path, resource, SUPPORTED)]
}

fn amount(list: Option<&List>, name: &str) -> Option<quantity::Quantity> {
    list?.get(name)?.0.parse().ok()
}

fn fill_in(list: &mut Option<List>, name: &str, amount: Quantity) {
    list.get_or_insert_default().entry(name.to_owned()).or_insert(amount);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_fit_into_their_pod() {
        let spec = json!({"containers": [{"name": "a", "resources": {"limits": {"cpu": "3"}, "requests": {"cpu": "2"}}}],
            "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "1", "example.com/gpu": "1"}}});
        let causes = validate(&serde_json::from_value(spec).unwrap(), &Path::new("spec"));
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "spec.resources.requests[example.com/gpu]",
                "spec.resources.limits",
                "spec.resources.requests[cpu]",
                "spec.resources.containers[0][cpu].limits"
            ]
        );
    }

    #[test]
    fn a_pod_asks_for_what_its_containers_ask_for_or_else_for_its_limits() {
        let defaulted = |own: serde_json::Value, container: serde_json::Value| {
            let spec = json!({"containers": [{"name": "a", "resources": container}, {"name": "b"}], "resources": own});
            let mut spec: PodSpec = serde_json::from_value(spec).unwrap();
            default(&mut spec);
            json!(spec.resources)
        };
        let limits = json!({"cpu": "2", "memory": "1Gi"});
        assert_eq!(
            defaulted(json!({"limits": limits}), json!({"requests": {"cpu": "1", "example.com/gpu": "1"}})),
            json!({"limits": limits, "requests": {"cpu": "1", "memory": "1Gi"}})
        );
        assert_eq!(
            defaulted(json!({"requests": {"cpu": "1"}}), json!({"limits": {"hugepages-2Mi": "4Mi", "cpu": "1"}})),
            json!({"limits": {"hugepages-2Mi": "4Mi"}, "requests": {"cpu": "1", "hugepages-2Mi": "4Mi"}})
        );
        assert_eq!(defaulted(json!({"requests": {"cpu": "1"}}), json!({})), json!({"requests": {"cpu": "1"}}));
    }
}
