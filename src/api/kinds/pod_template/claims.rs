//! Rules of a pod's resource claims, and of what its containers have of them.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodResourceClaim, PodSpec, ResourceClaim};
use serde_json::json;

use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::name,
};

/// Problems of the claims themselves.
pub fn validate(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let claims = spec.resource_claims.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    for (index, claim) in claims.iter().enumerate() {
        let path = path.child("resourceClaims").index(index);
        let known = claims[..index].iter().any(|other| other.name == claim.name);
        causes.extend(claim_name(&claim.name, known, &path.child("name")));
        causes.extend(claim_source(claim, &path));
    }
    causes
}

fn claim_name(text: &str, known: bool, path: &Path) -> Vec<Cause> {
    match text {
        "" => vec![field::required(path, "")],
        text if known => vec![field::duplicate(path, text)],
        text => field::invalid_each(path, text, &name::dns1123_label(text)),
    }
}

fn claim_source(claim: &PodResourceClaim, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (given, template) = (&claim.resource_claim_name, &claim.resource_claim_template_name);
    // Go's own names of the fields: upstream shows the whole claim.
    let shown = || json!({"Name": claim.name, "ResourceClaimName": given, "ResourceClaimTemplateName": template});
    if given.is_some() && template.is_some() {
        let detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
        causes.push(field::invalid(path, shown(), detail));
    }
    if given.is_none() && template.is_none() {
        let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
        causes.push(field::invalid(path, shown(), detail));
    }
    for (field_name, text) in [("resourceClaimName", given), ("resourceClaimTemplateName", template)] {
        if let Some(text) = text {
            causes.extend(field::invalid_each(&path.child(field_name), text, &name::dns1123_subdomain(text)));
        }
    }
    causes
}

/// Problems of what a container has of its pod's claims.
pub fn of_container(used: &[ResourceClaim], spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let names = spec.resource_claims.iter().flatten().map(|claim| claim.name.as_str());
    let claims: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    let mut causes = Vec::new();
    for (index, claim) in used.iter().enumerate() {
        let path = path.index(index);
        let (name, request) = (claim.name.as_str(), claim.request.as_deref().unwrap_or_default());
        if name.is_empty() {
            causes.push(field::required(&path, ""));
            continue;
        }
        if !request.is_empty() {
            causes.extend(field::invalid_each(&path.child("request"), request, &name::dns1123_label(request)));
        }
        let overlaps =
            |other: &&(&str, &str)| other.0 == name && (other.1 == request || other.1.is_empty() || request.is_empty());
        if seen.iter().any(|other| overlaps(&other)) {
            let whole = seen.contains(&(name, "")) || request.is_empty();
            causes.push(field::duplicate(&path, if whole { name.to_owned() } else { format!("{name}/{request}") }));
        }
        seen.push((name, request));
        causes.extend((!claims.contains(name)).then(|| unknown(name, &claims, &path)));
    }
    causes
}

fn unknown(name: &str, claims: &BTreeSet<&str>, path: &Path) -> Cause {
    let known = claims.iter().copied().collect::<Vec<_>>().join(", ");
    let known = if known.is_empty() { " which is empty".to_owned() } else { format!(": {known}") };
    let mut cause = field::not_found(path, name);
    cause.message.push_str(&format!(": must be one of the names in pod.spec.resourceClaims{known}"));
    cause
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn messages(causes: Vec<Cause>) -> Vec<String> {
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    fn spec(claims: Value) -> PodSpec {
        serde_json::from_value(json!({"containers": [], "resourceClaims": claims})).unwrap()
    }

    #[test]
    fn a_claim_has_a_name_of_its_own_and_one_source() {
        let spec = spec(json!([{"name": "a", "resourceClaimName": "x"}, {"name": "a"}]));
        assert_eq!(
            messages(validate(&spec, &Path::new("spec"))),
            [
                "spec.resourceClaims[1].name: Duplicate value: \"a\"",
                "spec.resourceClaims[1]: Invalid value: \
                 {\"Name\":\"a\",\"ResourceClaimName\":null,\"ResourceClaimTemplateName\":null}: must specify one of: \
                 `resourceClaimName`, `resourceClaimTemplateName`"
            ]
        );
    }

    #[test]
    fn a_container_uses_claims_of_its_pod_once() {
        let spec = spec(json!([{"name": "a", "resourceClaimName": "x"}]));
        let used: Vec<ResourceClaim> =
            serde_json::from_value(json!([{"name": "a"}, {"name": "a"}, {"name": "b"}])).unwrap();
        assert_eq!(
            messages(of_container(&used, &spec, &Path::new("claims"))),
            [
                "claims[1]: Duplicate value: \"a\"",
                "claims[2]: Not found: \"b\": must be one of the names in pod.spec.resourceClaims: a"
            ]
        );
    }
}
