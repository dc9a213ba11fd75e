//! Rules of a flow schema: whose requests for what it is about.

use k8s_openapi::api::flowcontrol::v1::{NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject};

use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::name,
};

const KINDS: &[&str] = &["Group", "ServiceAccount", "User"];
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
/// What upstream's messages about namespaces begin with.
const NAMESPACES: &str = "each member of this list must be '*' or a DNS-1123 label; ";
const ALL: &str = "*";

/// Problems of a rule.
pub fn validate(rule: &PolicyRulesWithSubjects, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if rule.subjects.is_empty() {
        causes.push(field::required(&path.child("subjects"), "subjects must contain at least one value"));
    }
    for (index, one) in rule.subjects.iter().enumerate() {
        causes.extend(subject(one, &path.child("subjects").index(index)));
    }
    let resources = rule.resource_rules.as_deref().unwrap_or_default();
    let others = rule.non_resource_rules.as_deref().unwrap_or_default();
    if resources.is_empty() && others.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        causes.push(field::required(path, detail));
    }
    for (index, one) in resources.iter().enumerate() {
        causes.extend(resource(one, &path.child("resourceRules").index(index)));
    }
    for (index, one) in others.iter().enumerate() {
        causes.extend(other(one, &path.child("nonResourceRules").index(index)));
    }
    causes
}

fn subject(subject: &Subject, path: &Path) -> Vec<Cause> {
    if !KINDS.contains(&subject.kind.as_str()) {
        return vec![field::unsupported(&path.child("kind"), &subject.kind, KINDS)];
    }
    let user = subject.user.as_ref().map(|user| user.name.as_str());
    let group = subject.group.as_ref().map(|group| group.name.as_str());
    let account = subject.service_account.as_ref().map(|account| account.name.as_str());
    let mut causes = Vec::new();
    for (kind, field, name) in
        [("User", "user", user), ("Group", "group", group), ("ServiceAccount", "serviceAccount", account)]
    {
        let path = path.child(field);
        match name {
            None if subject.kind == kind => {
                let detail = format!("{field} is required when subject kind is '{kind}'");
                causes.push(field::required(&path, &detail));
            }
            Some(_) if subject.kind != kind => {
                let detail = format!("{field} is forbidden when subject kind is not '{kind}'");
                causes.push(field::forbidden(&path, &detail));
            }
            Some("") => causes.push(field::required(&path.child("name"), "")),
            _ => {}
        }
    }
    let name_path = path.child("serviceAccount").child("name");
    if let Some(account) = subject.service_account.as_ref().filter(|_| subject.kind == "ServiceAccount") {
        let (namespace, path) = (account.namespace.as_str(), path.child("serviceAccount").child("namespace"));
        if namespace.is_empty() {
            causes.push(field::required(&path, "must specify namespace for service account"));
        } else {
            causes.extend(field::invalid_each(&path, namespace, &name::dns1123_label(namespace)));
        }
        if !account.name.is_empty() && account.name != ALL {
            causes.extend(field::invalid_each(&name_path, &account.name, &name::dns1123_subdomain(&account.name)));
        }
    }
    causes
}

fn resource(rule: &ResourcePolicyRule, path: &Path) -> Vec<Cause> {
    let mut causes = verbs(&rule.verbs, &path.child("verbs"));
    let lists = [
        ("apiGroups", &rule.api_groups, "api group", "api groups"),
        ("resources", &rule.resources, "resource", "resources"),
    ];
    for (field, values, one, many) in lists {
        let path = path.child(field);
        if values.is_empty() {
            causes.push(field::required(&path, &format!("resource rules must supply at least one {one}")));
        }
        causes.extend(alone(values, many, &path));
    }
    let namespaces = rule.namespaces.as_deref().unwrap_or_default();
    let path = path.child("namespaces");
    if namespaces.is_empty() && !rule.cluster_scope.unwrap_or_default() {
        let detail = "resource rules that are not cluster scoped must supply at least one namespace";
        causes.push(field::required(&path, detail));
    }
    if namespaces.iter().any(|namespace| namespace == ALL) {
        causes.extend(alone(namespaces, "namespaces", &path));
        return causes;
    }
    for (index, namespace) in namespaces.iter().enumerate() {
        let problems: Vec<String> =
            name::dns1123_label(namespace).iter().map(|problem| format!("{NAMESPACES}{problem}")).collect();
        causes.extend(field::invalid_each(&path.index(index), namespace, &problems));
    }
    causes
}

fn other(rule: &NonResourcePolicyRule, path: &Path) -> Vec<Cause> {
    let mut causes = verbs(&rule.verbs, &path.child("verbs"));
    let path = path.child("nonResourceURLs");
    if rule.non_resource_urls.is_empty() {
        causes.push(field::required(&path, "nonResourceURLs must contain at least one value"));
    }
    if rule.non_resource_urls.iter().any(|url| url == ALL) {
        causes.extend(alone(&rule.non_resource_urls, "non-resource URLs", &path));
        return causes;
    }
    for (index, url) in rule.non_resource_urls.iter().enumerate() {
        let path = path.index(index);
        let detail = match url.as_str() {
            "" => "must not be empty",
            "/" => continue,
            url if !url.starts_with('/') => "must start with slash",
            url if url.contains(' ') => "must not contain white-space",
            url if url.contains("//") => "must not contain double slash",
            url if url.strip_suffix("/*").unwrap_or(url).contains('*') => "wildcard can only do suffix matching",
            _ => continue,
        };
        causes.push(field::invalid(&path, url, detail));
    }
    causes
}

fn verbs(verbs: &[String], path: &Path) -> Vec<Cause> {
    if verbs.is_empty() {
        return vec![field::required(path, "verbs must contain at least one value")];
    }
    if verbs.iter().any(|verb| verb == ALL) {
        return alone(verbs, "verbs", path);
    }
    let known = verbs.iter().all(|verb| VERBS.contains(&verb.as_str()));
    if known { Vec::new() } else { vec![field::unsupported(path, verbs, VERBS)] }
}

fn alone(values: &[String], what: &str, path: &Path) -> Vec<Cause> {
    if values.len() < 2 || !values.iter().any(|value| value == ALL) {
        return Vec::new();
    }
    vec![field::invalid(path, values, &format!("if '*' is present, must not specify other {what}"))]
}
