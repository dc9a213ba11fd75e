//! Rules of requests and limits.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity as Encoded};

use crate::api::{
    field::{self, Path},
    quantity::Quantity,
    status::Cause,
    validation::name,
};

const NATIVE: &[&str] = &["cpu", "memory", "ephemeral-storage"];
const HUGE_PAGES: &str = "hugepages-";

/// Problems of the name of a resource.
pub type NameRule = fn(&str, &Path) -> Vec<Cause>;

/// Problems of a container's requests and limits.
pub fn validate(resources: &ResourceRequirements, path: &Path) -> Vec<Cause> {
    requirements(resources, container_resource, path)
}

/// Problems of requests and limits of resources that have certain names.
pub fn requirements(resources: &ResourceRequirements, name_rule: NameRule, path: &Path) -> Vec<Cause> {
    let mut causes = amounts(resources.limits.as_ref(), name_rule, &path.child("limits"));
    causes.extend(amounts(resources.requests.as_ref(), name_rule, &path.child("requests")));
    let limits = path.child("limits");
    let path = path.child("requests");
    for (resource, request) in resources.requests.iter().flatten() {
        let limit = resources.limits.as_ref().and_then(|limits| limits.get(resource));
        let is_native = !resource.contains('/') || resource.contains("kubernetes.io/");
        let may_exceed = is_native && !resource.starts_with(HUGE_PAGES);
        match (amount(request), limit.map(amount)) {
            (Some(request), Some(Some(limit))) if !may_exceed && request != limit => {
                let detail = format!("must be equal to {resource} limit of {limit}");
                causes.push(field::invalid(&path, request.to_string(), &detail));
            }
            (Some(request), Some(Some(limit))) if request > limit => {
                let detail = format!("must be less than or equal to {resource} limit of {limit}");
                causes.push(field::invalid(&path, request.to_string(), &detail));
            }
            (Some(_), None) if !may_exceed => {
                causes.push(field::required(&limits, "Limit must be set for non overcommitable resources"));
            }
            _ => {}
        }
    }
    causes
}

/// Problems of names and amounts of a list of resources that containers may use.
pub fn list(list: Option<&BTreeMap<String, Encoded>>, path: &Path) -> Vec<Cause> {
    amounts(list, container_resource, path)
}

fn amounts(list: Option<&BTreeMap<String, Encoded>>, name_rule: NameRule, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (resource, encoded) in list.into_iter().flatten() {
        let path = path.key(resource);
        causes.extend(name_rule(resource, &path));
        causes.extend(quantity(encoded, &path));
    }
    causes
}

/// Problems of an amount: it must parse, and may not be negative.
pub fn quantity(encoded: &Encoded, path: &Path) -> Option<Cause> {
    match encoded.0.parse::<Quantity>() {
        Err(error) => Some(field::invalid(path, &encoded.0, &error.to_string())),
        Ok(amount) if amount.is_negative() => {
            Some(field::invalid(path, amount.to_string(), "must be greater than or equal to 0"))
        }
        Ok(_) => None,
    }
}

/// Problems of the name of a resource of any kind.
pub fn resource_name(resource: &str, path: &Path) -> Vec<Cause> {
    let problems = name::qualified_name(resource);
    if problems.is_empty() && !resource.contains('/') && !is_standard(resource) {
        return vec![field::invalid(path, resource, "must be a standard resource type or fully qualified")];
    }
    field::invalid_each(path, resource, &problems)
}

/// Problems of the name of a resource that a container may use.
pub fn container_resource(resource: &str, path: &Path) -> Vec<Cause> {
    let mut causes = resource_name(resource, path);
    if !resource.contains('/') && !is_standard(resource) {
        causes.push(field::invalid(path, resource, "must be a standard resource for containers"));
    }
    causes
}

fn is_standard(resource: &str) -> bool {
    NATIVE.contains(&resource) || resource.starts_with(HUGE_PAGES)
}

fn amount(encoded: &Encoded) -> Option<Quantity> {
    encoded.0.parse().ok()
}
