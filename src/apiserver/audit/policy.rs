//! The audit policy (`audit.k8s.io/v1` Policy): how much is written down about which request. The
//! first rule that matches decides; a request that no rule matches is not recorded.

use serde::{Deserialize, Serialize};

use crate::{
    api::{
        field::{self, Path},
        status::Cause,
        validation::name,
    },
    apiserver::attributes::Attributes,
};

/// API version of policies and events.
pub const API_VERSION: &str = "audit.k8s.io/v1";

/// How much is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Who asked for what, and what came of it.
    Metadata,
    /// The body of the request as well.
    Request,
    /// The bodies of request and response as well.
    RequestResponse,
}

/// At which point something is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Stage {
    /// Before the request is worked on.
    RequestReceived,
    /// The head of an answer that goes on was sent.
    ResponseStarted,
    /// The answer was sent.
    ResponseComplete,
    /// The request broke the server.
    Panic,
}

const LEVELS: [(&str, Level); 4] = [
    ("None", Level::None),
    ("Metadata", Level::Metadata),
    ("Request", Level::Request),
    ("RequestResponse", Level::RequestResponse),
];
const STAGES: [(&str, Stage); 4] = [
    ("RequestReceived", Stage::RequestReceived),
    ("ResponseStarted", Stage::ResponseStarted),
    ("ResponseComplete", Stage::ResponseComplete),
    ("Panic", Stage::Panic),
];
/// Matches everything of its list.
const ALL: &str = "*";

/// What the policy says of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// How much is written down.
    pub level: Level,
    /// Stages that are left out.
    pub omit_stages: Vec<Stage>,
    /// Whether bodies are written without their managed fields.
    pub omit_managed_fields: bool,
}

/// A policy that was found to be sound.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<(Rule, Decision)>,
    otherwise: Decision,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    api_version: String,
    kind: String,
    rules: Vec<Rule>,
    omit_stages: Vec<String>,
    omit_managed_fields: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Rule {
    level: String,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<Resources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    paths: Vec<String>,
    omit_stages: Vec<String>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Resources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

impl Policy {
    /// Reads a policy from YAML or JSON; errors in upstream's words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document: Document = serde_yaml::from_str(text).map_err(|error| format!("failed decoding: {error}"))?;
        if document.api_version != API_VERSION || document.kind != "Policy" {
            let Document { api_version, kind, .. } = document;
            return Err(format!("unknown group version field {api_version}, Kind={kind} in policy"));
        }
        let causes = validate(&document);
        if !causes.is_empty() {
            let all = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message));
            return Err(all.collect::<Vec<_>>().join(", "));
        }
        if document.rules.is_empty() {
            return Err("loaded illegal policy with 0 rules".to_owned());
        }
        let otherwise = Decision {
            level: Level::None,
            omit_stages: stages(&document.omit_stages),
            omit_managed_fields: document.omit_managed_fields,
        };
        let rules = document.rules.into_iter().map(|rule| {
            let decision = decision(&rule, &otherwise);
            (rule, decision)
        });
        Ok(Self { rules: rules.collect(), otherwise })
    }

    /// What the policy says of a request.
    pub fn decide(&self, attributes: &Attributes) -> &Decision {
        let found = self.rules.iter().find(|(rule, _)| rule.matches(attributes));
        found.map_or(&self.otherwise, |(_, decision)| decision)
    }
}

fn decision(rule: &Rule, otherwise: &Decision) -> Decision {
    let level = LEVELS.iter().find(|(name, _)| *name == rule.level);
    let mut omit_stages = otherwise.omit_stages.clone();
    omit_stages.extend(stages(&rule.omit_stages));
    Decision {
        level: level.map_or(Level::None, |(_, level)| *level),
        omit_stages,
        omit_managed_fields: rule.omit_managed_fields.unwrap_or(otherwise.omit_managed_fields),
    }
}

fn stages(names: &[String]) -> Vec<Stage> {
    STAGES.iter().filter(|(name, _)| names.iter().any(|given| given == name)).map(|(_, stage)| *stage).collect()
}

impl Rule {
    fn matches(&self, attributes: &Attributes) -> bool {
        let user = &attributes.user;
        let allows = |list: &[String], value: &str| list.is_empty() || list.iter().any(|item| item == value);
        allows(&self.users, &user.name)
            && (self.user_groups.is_empty() || user.groups.iter().any(|group| self.user_groups.contains(group)))
            && allows(&self.verbs, &attributes.verb)
            && self.matches_target(attributes)
    }

    fn matches_target(&self, attributes: &Attributes) -> bool {
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return attributes.is_resource()
                && (self.namespaces.is_empty() || self.namespaces.contains(&attributes.namespace))
                && (self.resources.is_empty() || self.resources.iter().any(|rule| rule.matches(attributes)));
        }
        if self.paths.is_empty() {
            return true;
        }
        !attributes.is_resource() && self.paths.iter().any(|pattern| path_matches(pattern, &attributes.path))
    }
}

impl Resources {
    fn matches(&self, attributes: &Attributes) -> bool {
        if self.group != attributes.group && self.group != ALL {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        (self.resource_names.is_empty() || self.resource_names.contains(&attributes.name))
            && self.resources.iter().any(|pattern| names_resource(pattern, attributes))
    }
}

/// `*`, `pods`, `pods/log`, `*/scale`, `pods/*`.
fn names_resource(pattern: &str, attributes: &Attributes) -> bool {
    if pattern == ALL {
        return true;
    }
    match pattern.split_once('/') {
        None => attributes.subresource.is_empty() && pattern == attributes.resource,
        Some((resource, ALL)) => resource == attributes.resource,
        Some((resource, subresource)) => {
            subresource == attributes.subresource && (resource == ALL || resource == attributes.resource)
        }
    }
}

fn path_matches(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.strip_suffix(ALL).is_some_and(|prefix| path.starts_with(prefix))
}

fn validate(document: &Document) -> Vec<Cause> {
    let mut causes = validate_stages(&document.omit_stages, &Path::new("omitStages"));
    for (index, rule) in document.rules.iter().enumerate() {
        validate_rule(rule, &Path::new("rules").index(index), &mut causes);
    }
    causes
}

fn validate_rule(rule: &Rule, path: &Path, causes: &mut Vec<Cause>) {
    let levels = LEVELS.map(|(name, _)| name);
    match rule.level.as_str() {
        "" => causes.push(field::required(&path.child("level"), "")),
        level if !levels.contains(&level) => causes.push(field::unsupported(&path.child("level"), level, &levels)),
        _ => {}
    }
    let paths = path.child("nonResourceURLs");
    for (index, url) in rule.paths.iter().enumerate().filter(|(_, url)| *url != ALL) {
        if !url.starts_with('/') {
            let detail = "non-resource URL rules must begin with a '/' character";
            causes.push(field::invalid(&paths.index(index), url, detail));
        }
        if url.find(ALL).is_some_and(|position| position + 1 < url.len()) {
            let detail = "non-resource URL wildcards '*' must be the final character of the rule";
            causes.push(field::invalid(&paths.index(index), url, detail));
        }
    }
    validate_resources(&rule.resources, &path.child("resources"), causes);
    causes.extend(validate_stages(&rule.omit_stages, &path.child("omitStages")));
    let names_objects = !rule.resources.is_empty() || !rule.namespaces.is_empty();
    if names_objects && !rule.paths.is_empty() {
        let detail = "rules cannot apply to both regular resources and non-resource URLs";
        causes.push(field::invalid(&paths, &rule.paths, detail));
    }
}

fn validate_resources(resources: &[Resources], path: &Path, causes: &mut Vec<Cause>) {
    for resource in resources {
        let problems = name::dns1123_subdomain(&resource.group);
        if !resource.group.is_empty() && resource.group != ALL && !problems.is_empty() {
            causes.push(field::invalid(&path.child("group"), &resource.group, &problems.join(",")));
        }
        if !resource.resource_names.is_empty() && resource.resources.is_empty() {
            let detail = "using resourceNames requires at least one resource";
            causes.push(field::invalid(&path.child("resourceNames"), &resource.resource_names, detail));
        }
    }
}

fn validate_stages(names: &[String], path: &Path) -> Vec<Cause> {
    let known = STAGES.map(|(name, _)| name);
    let unknown = names.iter().enumerate().filter(|(_, name)| !known.contains(&name.as_str()));
    let detail = format!("allowed stages are {}", known.join(","));
    unknown.map(|(index, name)| field::invalid(&path.index(index), name, &detail)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::identity::User;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:kube-proxy"], verbs: [watch], resources: [{group: "", resources: [endpoints, services]}]}
- {level: None, userGroups: ["system:authenticated"], nonResourceURLs: ["/api*", /version]}
- {level: Request, resources: [{group: "", resources: [configmaps], resourceNames: [seen]}], namespaces: [kube-system]}
- {level: Metadata, resources: [{group: "", resources: ["secrets", "pods/*", "*/scale"]}], omitManagedFields: true}
- {level: RequestResponse, resources: [{group: "apps"}], omitStages: [Panic]}
"#;

    fn asks(user: &str, verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            user: User::component(user),
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Attributes::default()
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = Policy::parse(POLICY).unwrap();
        let level = |attributes: Attributes| policy.decide(&attributes).level;
        assert_eq!(level(asks("system:kube-proxy", "watch", "", "services", "a", "")), Level::None);
        assert_eq!(level(asks("x", "get", "", "configmaps", "kube-system", "seen")), Level::Request);
        assert_eq!(level(asks("x", "get", "", "configmaps", "default", "seen")), Level::None);
        assert_eq!(level(asks("x", "get", "", "secrets", "a", "s")), Level::Metadata);
        assert_eq!(level(asks("x", "get", "", "pods/log", "a", "s")), Level::Metadata);
        assert_eq!(level(asks("x", "get", "", "replicationcontrollers/scale", "a", "s")), Level::Metadata);
        assert_eq!(level(asks("x", "get", "", "pods", "a", "s")), Level::Metadata);
        assert_eq!(level(asks("x", "get", "", "services", "a", "s")), Level::None);
        let apps = policy.decide(&asks("x", "get", "apps", "deployments/status", "a", "d")).clone();
        assert_eq!((apps.level, apps.omit_managed_fields), (Level::RequestResponse, false));
        assert_eq!(apps.omit_stages, [Stage::RequestReceived, Stage::Panic]);
    }

    #[test]
    fn paths_are_matched_for_requests_that_name_no_resource() {
        let text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, nonResourceURLs: ['/api*']}]";
        let policy = Policy::parse(text).unwrap();
        let path = |path: &str| Attributes { path: path.into(), ..Attributes::default() };
        assert_eq!(policy.decide(&path("/apis")).level, Level::Metadata);
        assert_eq!(policy.decide(&path("/version")).level, Level::None);
        assert_eq!(policy.decide(&asks("x", "get", "", "pods", "a", "s")).level, Level::None);
    }

    #[test]
    fn mistakes_are_named() {
        let problem = |rules: &str| {
            let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {rules}");
            Policy::parse(&text).unwrap_err()
        };
        assert_eq!(problem("[]"), "loaded illegal policy with 0 rules");
        assert_eq!(problem("[{}]"), "rules[0].level: Required value");
        assert!(problem("[{level: All}]").starts_with("rules[0].level: Unsupported value: \"All\""));
        assert!(problem("[{level: None, nonResourceURLs: [x, /a*b]}]").contains("must begin with a '/' character"));
        assert!(problem("[{level: None, nonResourceURLs: [x, /a*b]}]").contains("nonResourceURLs[1]: Invalid value"));
        assert!(problem("[{level: None, omitStages: [Later]}]").contains("allowed stages are RequestReceived,"));
        assert!(
            problem("[{level: None, resources: [{resourceNames: [a]}]}]").contains("requires at least one resource")
        );
        let both = problem("[{level: None, resources: [{}], nonResourceURLs: [/a]}]");
        assert!(both.contains("cannot apply to both"), "{both}");
        assert!(Policy::parse("kind: Policy").unwrap_err().starts_with("unknown group version field"));
    }
}
