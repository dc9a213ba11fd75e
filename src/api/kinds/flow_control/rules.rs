//! Rules of a flow schema: whose requests for what it is about.

use k8s_openapi::api::flowcontrol::v1::{NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject};

use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::name,
};

const KINDS: &[&str] = &["Group", "ServiceAccount", "User"];
const RESOURCE_VERBS: &[&str] =
    &["*", "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const OTHER_VERBS: &[&str] = &["*", "connect", "delete", "get", "head", "options", "patch", "post", "put", "trace"];
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
    if let Some(account) = subject.service_account.as_ref().filter(|_| subject.kind == "ServiceAccount") {
        let (namespace, path) = (account.namespace.as_str(), path.child("serviceAccount").child("namespace"));
        if namespace.is_empty() {
            causes.push(field::required(&path, "must specify namespace for service account"));
        } else if namespace != ALL {
            causes.extend(field::invalid_each(&path, namespace, &name::dns1123_label(namespace)));
        }
    }
    causes
}

fn resource(rule: &ResourcePolicyRule, path: &Path) -> Vec<Cause> {
    let mut causes = verbs(&rule.verbs, RESOURCE_VERBS, &path.child("verbs"));
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
    causes.extend(alone(namespaces, "namespaces", &path));
    for (index, namespace) in namespaces.iter().enumerate().filter(|(_, namespace)| *namespace != ALL) {
        causes.extend(field::invalid_each(&path.index(index), namespace, &name::dns1123_label(namespace)));
    }
    causes
}

fn other(rule: &NonResourcePolicyRule, path: &Path) -> Vec<Cause> {
    let mut causes = verbs(&rule.verbs, OTHER_VERBS, &path.child("verbs"));
    let path = path.child("nonResourceURLs");
    if rule.non_resource_urls.is_empty() {
        causes.push(field::required(&path, "nonResourceURLs must contain at least one value"));
    }
    causes.extend(alone(&rule.non_resource_urls, "non-resource URLs", &path));
    for (index, url) in rule.non_resource_urls.iter().enumerate().filter(|(_, url)| *url != ALL) {
        let path = path.index(index);
        let detail = match url.as_str() {
            "" => "must not be empty",
            url if !url.starts_with('/') => "must start with '/'",
            url if url.contains(' ') => "must not contain white-space",
            url if url.contains("//") => "must not contain double slash",
            url if url.strip_suffix("/*").unwrap_or(url).contains('*') => "wildcard can only do suffix matching",
            _ => continue,
        };
        causes.push(field::invalid(&path, url, detail));
    }
    causes
}

fn verbs(verbs: &[String], known: &[&str], path: &Path) -> Vec<Cause> {
    if verbs.is_empty() {
        return vec![field::required(path, "verbs must contain at least one value")];
    }
    let mut causes = alone(verbs, "verbs", path);
    if !verbs.iter().all(|verb| known.contains(&verb.as_str())) {
        causes.push(field::unsupported(path, verbs, known));
    }
    causes
}

fn alone(values: &[String], what: &str, path: &Path) -> Vec<Cause> {
    if values.len() < 2 || !values.iter().any(|value| value == ALL) {
        return Vec::new();
    }
    vec![field::invalid(path, values, &format!("if '*' is present, must not specify other {what}"))]
}
