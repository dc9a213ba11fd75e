//! A flow schema as requests are compared with it: which are of it, and which flow of its they are.

use std::{
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{Arc, OnceLock},
};

use http::HeaderValue;
use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};

use super::{level::Level, metrics::Counters};
use crate::{apiserver::attributes::Attributes, http::identity::User};

const ALL: &str = "*";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// A schema whose level is there.
pub struct Schema {
    /// Its name.
    pub name: Box<str>,
    /// Its level.
    pub level: Arc<Level>,
    /// Whether its requests are never held up.
    pub exempt: bool,
    /// Seats that one of its requests is given at most; 0 for no limit of the level's own.
    pub most_seats: u32,
    /// Its UID, and its level's, as clients are told.
    pub uids: [HeaderValue; 2],
    distinguisher: Distinguisher,
    rules: Box<[Rule]>,
    /// Made when its first request comes.
    pub counters: OnceLock<Counters>,
}

/// What tells the flows of a schema apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Distinguisher {
    Nothing,
    User,
    Namespace,
}

struct Rule {
    subjects: Box<[Who]>,
    resources: Box<[Resources]>,
    paths: Box<[Paths]>,
}

enum Who {
    Everybody,
    User(Box<str>),
    Group(Box<str>),
    /// `<namespace>:`, all accounts of which are meant.
    Accounts(Box<str>),
}

struct Resources {
    verbs: Names,
    groups: Names,
    resources: Names,
    namespaces: Names,
    cluster: bool,
}

struct Paths {
    verbs: Names,
    paths: Names,
}

enum Names {
    All,
    These(Box<[Box<str>]>),
}

impl Schema {
    /// Prepares a schema for its level.
    pub fn new(schema: &FlowSchema, level: Arc<Level>, level_uid: &str, exempt: bool, most_seats: u32) -> Self {
        let spec = schema.spec.clone().unwrap_or_default();
        let method = spec.distinguisher_method.as_ref().map(|method| method.type_.as_str());
        let header = |uid: &str| HeaderValue::from_str(uid).unwrap_or(HeaderValue::from_static(""));
        Self {
            name: schema.metadata.name.as_deref().unwrap_or_default().into(),
            level,
            exempt,
            most_seats,
            uids: [header(schema.metadata.uid.as_deref().unwrap_or_default()), header(level_uid)],
            distinguisher: match method {
                Some("ByUser") => Distinguisher::User,
                Some("ByNamespace") => Distinguisher::Namespace,
                _ => Distinguisher::Nothing,
            },
            rules: spec.rules.iter().flatten().map(Rule::new).collect(),
            counters: OnceLock::new(),
        }
    }

    /// Whether a request is of this schema.
    pub fn matches(&self, request: &Attributes) -> bool {
        self.rules.iter().any(|rule| rule.matches(request))
    }

    /// What tells the request's flow from others of the schema.
    pub fn flow<'r>(&self, request: &'r Attributes) -> &'r str {
        match self.distinguisher {
            Distinguisher::Nothing => "",
            Distinguisher::User => &request.user.name,
            Distinguisher::Namespace => &request.namespace,
        }
    }

    /// Stands for the request's flow. Keyed, so that nobody can choose a name that lands in the
    /// queues of somebody else.
    pub fn hash(&self, request: &Attributes, keys: &RandomState) -> u64 {
        let mut hasher = keys.build_hasher();
        self.name.hash(&mut hasher);
        self.flow(request).hash(&mut hasher);
        hasher.finish()
    }
}

impl Rule {
    fn new(rule: &PolicyRulesWithSubjects) -> Self {
        Self {
            subjects: rule.subjects.iter().filter_map(Who::new).collect(),
            resources: rule.resource_rules.iter().flatten().map(Resources::new).collect(),
            paths: rule.non_resource_rules.iter().flatten().map(Paths::new).collect(),
        }
    }

    fn matches(&self, request: &Attributes) -> bool {
        self.subjects.iter().any(|who| who.includes(&request.user))
            && if request.is_resource() {
                self.resources.iter().any(|resources| resources.include(request))
            } else {
                self.paths.iter().any(|paths| paths.include(request))
            }
    }
}

impl Who {
    fn new(subject: &Subject) -> Option<Self> {
        Some(match subject.kind.as_str() {
            "User" => match subject.user.as_ref()?.name.as_str() {
                ALL => Self::Everybody,
                name => Self::User(name.into()),
            },
            "Group" => match subject.group.as_ref()?.name.as_str() {
                ALL => Self::Everybody,
                name => Self::Group(name.into()),
            },
            "ServiceAccount" => {
                let account = subject.service_account.as_ref()?;
                match (account.namespace.as_str(), account.name.as_str()) {
                    (namespace, ALL) => Self::Accounts(format!("{namespace}:").into()),
                    (namespace, name) => Self::User(format!("{SERVICE_ACCOUNT}{namespace}:{name}").into()),
                }
            }
            _ => return None,
        })
    }

    fn includes(&self, user: &User) -> bool {
        match self {
            Self::Everybody => true,
            Self::User(name) => *user.name == **name,
            Self::Group(name) => user.is_in(name),
            Self::Accounts(prefix) => {
                user.name.strip_prefix(SERVICE_ACCOUNT).is_some_and(|rest| rest.starts_with(&**prefix))
            }
        }
    }
}

impl Resources {
    fn new(rule: &ResourcePolicyRule) -> Self {
        Self {
            verbs: Names::new(&rule.verbs),
            groups: Names::new(&rule.api_groups),
            resources: Names::new(&rule.resources),
            namespaces: Names::new(rule.namespaces.as_deref().unwrap_or_default()),
            cluster: rule.cluster_scope.unwrap_or_default(),
        }
    }

    fn include(&self, request: &Attributes) -> bool {
        self.verbs.have(&request.verb)
            && self.resources.any(|name| is_resource(name, request))
            && self.groups.have(&request.group)
            && if request.namespace.is_empty() { self.cluster } else { self.namespaces.have(&request.namespace) }
    }
}

/// Compares with `pods` or `pods/log` without joining them.
fn is_resource(name: &str, request: &Attributes) -> bool {
    match name.split_once('/') {
        Some((resource, subresource)) => resource == request.resource && subresource == request.subresource,
        None => name == request.resource && request.subresource.is_empty(),
    }
}

impl Paths {
    fn new(rule: &NonResourcePolicyRule) -> Self {
        Self { verbs: Names::new(&rule.verbs), paths: Names::new(&rule.non_resource_urls) }
    }

    fn include(&self, request: &Attributes) -> bool {
        self.verbs.have(&request.verb) && self.paths.any(|path| is_below(path, &request.path))
    }
}

/// Whether `path` is `pattern` or below it; a `*` at the end adds nothing to that.
fn is_below(pattern: &str, path: &str) -> bool {
    let prefix = pattern.trim_end_matches('*').trim_end_matches('/');
    path == pattern || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

impl Names {
    fn new(names: &[String]) -> Self {
        match names {
            [all] if all == ALL => Self::All,
            names => Self::These(names.iter().map(|name| name.as_str().into()).collect()),
        }
    }

    fn have(&self, wanted: &str) -> bool {
        self.any(|name| name == wanted)
    }

    fn any(&self, matches: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.iter().any(|name| matches(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::apiserver::fairness::queues::Discipline;

    fn matches(rule: Value, request: &Attributes) -> bool {
        let object = json!({"metadata": {"name": "s"}, "spec": {"matchingPrecedence": 5,
            "priorityLevelConfiguration": {"name": "l"}, "rules": [rule]}});
        let level = Arc::new(Level::new("l", Discipline::Reject, Arc::default()));
        Schema::new(&serde_json::from_value(object).unwrap(), level, "", false, 0).matches(request)
    }

    fn subject(subject: Value, user: &str, groups: &[&str]) -> bool {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let user = User { name: user.into(), groups, ..User::default() };
        let request = Attributes { user, verb: "get".into(), path: "/x".into(), ..Attributes::default() };
        let paths = json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
        matches(json!({"subjects": [subject], "nonResourceRules": paths}), &request)
    }

    #[test]
    fn subjects_are_users_groups_and_service_accounts() {
        assert!(subject(json!({"kind": "User", "user": {"name": "a"}}), "a", &[]));
        assert!(!subject(json!({"kind": "User", "user": {"name": "a"}}), "b", &["a"]));
        assert!(subject(json!({"kind": "Group", "group": {"name": "g"}}), "a", &["f", "g"]));
        assert!(subject(json!({"kind": "Group", "group": {"name": "*"}}), "a", &[]));
        let account = |namespace: &str, name: &str| json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}});
        assert!(subject(account("kube-system", "*"), "system:serviceaccount:kube-system:x", &[]));
        assert!(!subject(account("kube", "*"), "system:serviceaccount:kube-system:x", &[]));
        assert!(subject(account("a", "b"), "system:serviceaccount:a:b", &[]));
        assert!(!subject(account("a", "b"), "system:serviceaccount:a:bc", &[]));
    }

    #[test]
    fn resources_are_told_by_verb_group_name_and_namespace() {
        let request = |resource: &str, subresource: &str, namespace: &str| Attributes {
            verb: "get".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            ..Attributes::default()
        };
        let rule = |verbs: &[&str], resources: &[&str], namespaces: &[&str], cluster: bool| {
            json!({"subjects": [{"kind": "User", "user": {"name": "*"}}], "resourceRules": [{"verbs": verbs,
                "apiGroups": [""], "resources": resources, "namespaces": namespaces, "clusterScope": cluster}]})
        };
        assert!(matches(rule(&["get"], &["pods"], &["*"], false), &request("pods", "", "a")));
        assert!(!matches(rule(&["get"], &["pods"], &["*"], false), &request("pods", "", "")));
        assert!(matches(rule(&["*"], &["*"], &[], true), &request("nodes", "status", "")));
        assert!(!matches(rule(&["get"], &["pods"], &["*"], true), &request("pods", "log", "a")));
        assert!(matches(rule(&["get"], &["pods/log"], &["a"], true), &request("pods", "log", "a")));
        assert!(!matches(rule(&["list"], &["pods"], &["a"], true), &request("pods", "", "a")));
        assert!(!matches(rule(&["get"], &["pods"], &["b"], true), &request("pods", "", "a")));
    }

    #[test]
    fn paths_are_those_below_as_well() {
        assert!(is_below("/healthz", "/healthz") && is_below("/healthz", "/healthz/etcd"));
        assert!(is_below("/healthz/*", "/healthz/etcd") && !is_below("/healthz", "/healthzz"));
        assert!(is_below("/", "/x") && !is_below("/x", "/"));
    }
}
