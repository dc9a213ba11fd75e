//! A policy rule (`rbac.authorization.k8s.io/v1` PolicyRule) and what it matches.

use serde::{Deserialize, Serialize};

use crate::apiserver::attributes::Attributes;

/// Matches everything of its list.
pub const ALL: &str = "*";

/// Which verbs are allowed on what. All lists are alternatives; a rule is about resources or about
/// paths, never both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// Verbs, or `*`.
    #[serde(deserialize_with = "nullable")]
    pub verbs: Vec<String>,
    /// API groups, or `*`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`, `*`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resources: Vec<String>,
    /// Names; empty for any.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resource_names: Vec<String>,
    /// Paths, such as `/healthz` or `/api/*`.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub non_resource_urls: Vec<String>,
}

impl Rule {
    /// Whether the rule allows the request.
    pub fn allows(&self, attributes: &Attributes) -> bool {
        if !has(&self.verbs, &attributes.verb) {
            return false;
        }
        if !attributes.is_resource() {
            return self.non_resource_urls.iter().any(|pattern| path_matches(pattern, &attributes.path));
        }
        has(&self.api_groups, &attributes.group)
            && self.resources.iter().any(|pattern| names_resource(pattern, attributes))
            && (self.resource_names.is_empty() || self.resource_names.contains(&attributes.name))
    }
}

/// Whether `list` contains `value` or `*`.
pub fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|item| item == value || item == ALL)
}

/// Whether a rule's path covers `path`: equal, `*`, or a prefix that ends in `*`.
pub fn path_matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix(ALL) {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

fn names_resource(pattern: &str, attributes: &Attributes) -> bool {
    if pattern == ALL {
        return true;
    }
    match pattern.split_once('/') {
        None => attributes.subresource.is_empty() && pattern == attributes.resource,
        Some((resource, subresource)) => {
            subresource == attributes.subresource && (resource == ALL || resource == attributes.resource)
        }
    }
}

/// Lists may be written as `null`.
fn nullable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &str, groups: &str, resources: &str, names: &str, paths: &str) -> Rule {
        let list = |text: &str| match text {
            "-" => Vec::new(),
            text => text.split(',').map(str::to_owned).collect(),
        };
        Rule {
            verbs: list(verbs),
            api_groups: list(groups),
            resources: list(resources),
            resource_names: list(names),
            non_resource_urls: list(paths),
        }
    }

    fn asks(verb: &str, group: &str, resource: &str, name: &str) -> Attributes {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            name: name.into(),
            ..Attributes::default()
        }
    }

    #[test]
    fn resource_rules_match_as_documented() {
        let table = [
            (rule("get", "", "pods", "-", "-"), asks("get", "", "pods", "a"), true),
            (rule("get", "", "pods", "-", "-"), asks("list", "", "pods", ""), false),
            (rule("get", "", "pods", "-", "-"), asks("get", "", "pods/log", "a"), false),
            (rule("get", "", "pods/log", "-", "-"), asks("get", "", "pods/log", "a"), true),
            (rule("get", "", "pods/log", "-", "-"), asks("get", "", "pods", "a"), false),
            (rule("get", "apps", "*/scale", "-", "-"), asks("get", "apps", "deployments/scale", "a"), true),
            (rule("get", "apps", "*/scale", "-", "-"), asks("get", "apps", "deployments", "a"), false),
            (rule("*", "*", "*", "-", "-"), asks("get", "apps", "deployments/scale", "a"), true),
            (rule("get", "apps", "pods", "-", "-"), asks("get", "", "pods", "a"), false),
            (rule("get", "", "secrets", "a,b", "-"), asks("get", "", "secrets", "b"), true),
            (rule("get", "", "secrets", "a,b", "-"), asks("get", "", "secrets", "c"), false),
            (rule("list", "", "secrets", "a", "-"), asks("list", "", "secrets", ""), false),
            (rule("get", "-", "-", "-", "/api/*"), asks("get", "", "pods", "a"), false),
        ];
        for (rule, attributes, expected) in table {
            assert_eq!(rule.allows(&attributes), expected, "{rule:?} {attributes:?}");
        }
    }

    #[test]
    fn path_rules_match_as_documented() {
        let table = [
            ("/healthz", "/healthz", true),
            ("/healthz", "/healthz/etcd", false),
            ("/healthz/*", "/healthz/etcd", true),
            ("/healthz/*", "/healthz", false),
            ("*", "/anything", true),
        ];
        for (pattern, path, expected) in table {
            let attributes = Attributes { verb: "get".into(), path: path.into(), ..Attributes::default() };
            assert_eq!(rule("get", "-", "-", "-", pattern).allows(&attributes), expected, "{pattern} {path}");
        }
    }
}
