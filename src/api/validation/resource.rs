//! Names and amounts of resources: what nodes have, and what quotas, limit ranges and containers speak of
//! (`validateResourceName`, `validateContainerResourceName` and `ValidateResourceQuantityValue` of core's validation).

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Encoded;

use super::name;
use crate::api::{
    field::{self, Path},
    quantity::Quantity,
    status::Cause,
};

const OF_CONTAINERS: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];
/// What else has a name without a prefix.
const STANDARD: [&str; 8] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "storage",
];
/// What is counted: there are no halves of it.
const COUNTED: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];
const HUGE_PAGES: &str = "hugepages-";
const OF_REQUESTS: &str = "requests.";

/// Problems of a resource's name.
pub fn resource_name(resource: &str, path: &Path) -> Vec<Cause> {
    let problems = name::qualified_name(resource);
    if problems.is_empty() && !resource.contains('/') && !is_standard(resource) {
        return vec![field::invalid(path, resource, "must be a standard resource type or fully qualified")];
    }
    field::invalid_each(path, resource, &problems)
}

/// Problems of the name of a resource that containers use.
pub fn container_resource_name(resource: &str, path: &Path) -> Vec<Cause> {
    let mut causes = resource_name(resource, path);
    if !resource.contains('/') {
        if !OF_CONTAINERS.contains(&resource) && !resource.starts_with(HUGE_PAGES) {
            causes.push(field::invalid(path, resource, "must be a standard resource for containers"));
        }
    } else if !is_native(resource) && !is_extended(resource) {
        causes.push(field::invalid(path, resource, "doesn't follow extended resource name standard"));
    }
    causes
}

/// Problems of how much there is of a resource.
pub fn amount(resource: &str, encoded: &Encoded, path: &Path) -> Vec<Cause> {
    let amount = match encoded.0.parse::<Quantity>() {
        Ok(amount) => amount,
        Err(error) => return vec![field::invalid(path, &encoded.0, &error.to_string())],
    };
    let mut causes = Vec::new();
    if amount.is_negative() {
        causes.push(field::invalid(path, amount.to_string(), super::value::NEGATIVE));
    }
    if (COUNTED.contains(&resource) || is_extended(resource)) && amount.milli_value() % 1000 != 0 {
        causes.push(field::invalid(path, amount.to_string(), "must be an integer"));
    }
    causes
}

/// Whether more may be asked for than there is.
pub fn may_be_overcommitted(resource: &str) -> bool {
    is_native(resource) && !resource.starts_with(HUGE_PAGES)
}

fn is_standard(resource: &str) -> bool {
    OF_CONTAINERS.contains(&resource)
        || STANDARD.contains(&resource)
        || COUNTED.contains(&resource)
        || resource.starts_with(HUGE_PAGES)
        || resource.strip_prefix(OF_REQUESTS).is_some_and(|rest| rest.starts_with(HUGE_PAGES))
}

/// Whether a resource is one of Kubernetes' own.
pub fn is_native(resource: &str) -> bool {
    !resource.contains('/') || resource.contains("kubernetes.io/")
}

fn is_extended(resource: &str) -> bool {
    let of_quota = || name::qualified_name(&format!("{OF_REQUESTS}{resource}")).is_empty();
    !is_native(resource) && !resource.starts_with(OF_REQUESTS) && of_quota()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_use_fewer_resources_than_there_are() {
        let details = |resource: &str| {
            let causes = container_resource_name(resource, &Path::new("max"));
            causes.into_iter().map(|cause| cause.message).collect::<Vec<_>>()
        };
        assert!(["cpu", "hugepages-2Mi", "example.com/gpu"].iter().all(|resource| details(resource).is_empty()));
        assert_eq!(details("storage"), ["Invalid value: \"storage\": must be a standard resource for containers"]);
        assert_eq!(details("another").len(), 2);
        assert!(resource_name("storage", &Path::new("max")).is_empty());
    }

    #[test]
    fn what_is_counted_is_whole() {
        let problems = |resource: &str, text: &str| amount(resource, &Encoded(text.into()), &Path::new("a")).len();
        assert_eq!((problems("cpu", "500m"), problems("pods", "500m"), problems("example.com/gpu", "1.5")), (0, 1, 1));
        assert_eq!(problems("cpu", "-1"), 1);
    }
}
