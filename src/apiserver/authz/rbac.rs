//! RBAC, compiled: bindings become a table from subject to rules, rebuilt when a role or binding has
//! changed, so that a request costs a few hash look-ups and no parsing.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde::Deserialize;

use crate::{
    api::kind::GroupResource,
    apiserver::{attributes::Attributes, authz::rule::Rule, reader::Reader},
    http::identity::User,
};

/// API group of all RBAC kinds.
pub const GROUP: &str = "rbac.authorization.k8s.io";
/// The kinds that decide, in the order of [`Compiled::generations`].
const RESOURCES: [&str; 4] = ["roles", "rolebindings", "clusterroles", "clusterrolebindings"];
/// Roles that aggregate roles that aggregate…: no deeper than this.
const AGGREGATION_DEPTH: usize = 8;

/// The RBAC authorizer.
pub struct Rbac {
    reader: Arc<dyn Reader>,
    compiled: ArcSwap<Compiled>,
}

impl Rbac {
    /// Decides by the roles and bindings that `reader` sees.
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader, compiled: ArcSwap::from_pointee(Compiled::default()) }
    }

    /// Whether any rule bound to the user allows the request.
    pub fn allows(&self, attributes: &Attributes) -> bool {
        self.current().bound_to(&attributes.user, &attributes.namespace).any(|grant| grant.allows(attributes))
    }

    /// By which binding the request is allowed, in upstream's words; empty if it is not.
    pub fn reason(&self, attributes: &Attributes) -> String {
        let current = self.current();
        let mut grants = current.bound_to(&attributes.user, &attributes.namespace);
        let grant = grants.find(|grant| grant.allows(attributes));
        grant.map(|grant| format!("RBAC: allowed by {}", grant.origin)).unwrap_or_default()
    }

    /// Every rule bound to `user` that is effective in `namespace`.
    pub fn rules(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.current().bound_to(user, namespace).flat_map(|grant| grant.rules.iter().cloned()).collect()
    }

    /// The rules of the role that a `roleRef` in `namespace` names.
    pub fn role_rules(&self, kind: &str, name: &str, namespace: &str) -> Option<Vec<Rule>> {
        self.current().role(&RoleRef { kind: kind.into(), name: name.into() }, namespace).map(|rules| rules.to_vec())
    }

    fn current(&self) -> Arc<Compiled> {
        let generations = RESOURCES.map(|resource| self.reader.generation(GroupResource { group: GROUP, resource }));
        let compiled = self.compiled.load_full();
        if compiled.generations == Some(generations) {
            return compiled;
        }
        // Two requests may compile at once; both results are right, the later one stays. The
        // generations were read first, so a change in between leads to one more compilation.
        let compiled = Arc::new(Compiled::new(&*self.reader, generations));
        self.compiled.store(compiled.clone());
        compiled
    }
}

type Rules = Arc<[Rule]>;
type Bound = HashMap<Subject, Vec<Grant>>;

/// What a binding gives to one of its subjects.
struct Grant {
    rules: Rules,
    /// `RoleBinding "reads/default" of ClusterRole "view" to User "jane"`
    origin: Box<str>,
}

impl Grant {
    fn allows(&self, attributes: &Attributes) -> bool {
        self.rules.iter().any(|rule| rule.allows(attributes))
    }
}

#[derive(Default)]
struct Compiled {
    generations: Option<[u64; 4]>,
    roles: HashMap<(String, String), Rules>,
    cluster_roles: HashMap<String, Rules>,
    cluster_wide: Bound,
    by_namespace: HashMap<String, Bound>,
}

/// Service accounts are users by name, as their tokens say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    User(String),
    Group(String),
}

impl Compiled {
    fn new(reader: &dyn Reader, generations: [u64; 4]) -> Self {
        let list = |resource| reader.list(GroupResource { group: GROUP, resource }, None);
        let mut compiled = Self { generations: Some(generations), ..Self::default() };
        for role in parse::<Role>(list("roles")) {
            compiled.roles.insert((role.metadata.namespace, role.metadata.name), role.rules.into());
        }
        compiled.cluster_roles = resolve_aggregation(&parse(list("clusterroles")));
        for binding in parse::<Binding>(list("rolebindings")) {
            compiled.bind(binding);
        }
        for mut binding in parse::<Binding>(list("clusterrolebindings")) {
            binding.metadata.namespace.clear();
            compiled.bind(binding);
        }
        compiled
    }

    fn bind(&mut self, binding: Binding) {
        let origin = binding.describe();
        let namespace = binding.metadata.namespace;
        let Some(rules) = self.role(&binding.role_ref, &namespace) else { return };
        let bound = match namespace.as_str() {
            "" => &mut self.cluster_wide,
            _ => self.by_namespace.entry(namespace.clone()).or_default(),
        };
        for subject in binding.subjects {
            let origin = format!("{origin} to {}", subject.describe(&namespace)).into();
            if let Some(subject) = subject.resolve(&namespace) {
                bound.entry(subject).or_default().push(Grant { rules: rules.clone(), origin });
            }
        }
    }

    fn role(&self, reference: &RoleRef, namespace: &str) -> Option<Rules> {
        match reference.kind.as_str() {
            "ClusterRole" => self.cluster_roles.get(&reference.name).cloned(),
            "Role" => self.roles.get(&(namespace.to_owned(), reference.name.clone())).cloned(),
            _ => None,
        }
    }

    fn bound_to<'a>(&'a self, user: &User, namespace: &str) -> impl Iterator<Item = &'a Grant> {
        let subjects: Vec<Subject> = std::iter::once(Subject::User(user.name.clone()))
            .chain(user.groups.iter().cloned().map(Subject::Group))
            .collect();
        [Some(&self.cluster_wide), self.by_namespace.get(namespace)]
            .into_iter()
            .flatten()
            .flat_map(move |bound| subjects.iter().filter_map(|subject| bound.get(subject)).collect::<Vec<_>>())
            .flatten()
    }
}

/// The rules of every cluster role of a list of objects, aggregation resolved, by name.
pub fn aggregated_rules(objects: &[serde_json::Value]) -> HashMap<String, Vec<Rule>> {
    let roles: Vec<Role> = objects.iter().filter_map(|object| Role::deserialize(object).ok()).collect();
    resolve_aggregation(&roles).into_iter().map(|(name, rules)| (name, rules.to_vec())).collect()
}

/// Roles with an aggregation rule have the rules of every role it selects, those that aggregate
/// themselves included.
fn resolve_aggregation(roles: &[Role]) -> HashMap<String, Rules> {
    roles.iter().map(|role| (role.metadata.name.clone(), aggregate(role, roles, AGGREGATION_DEPTH).into())).collect()
}

fn aggregate(role: &Role, all: &[Role], depth: usize) -> Vec<Rule> {
    let Some(aggregation) = &role.aggregation_rule else { return role.rules.clone() };
    if depth == 0 {
        return Vec::new();
    }
    let mut rules: Vec<Rule> = Vec::new();
    for other in all {
        let selected = aggregation.cluster_role_selectors.iter().any(|selector| selector.matches(other));
        if selected && other.metadata.name != role.metadata.name {
            for rule in aggregate(other, all, depth - 1) {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
    }
    rules
}

fn parse<T: for<'de> Deserialize<'de>>(objects: Vec<Bytes>) -> Vec<T> {
    // What was stored was validated, so only a kind of another version could fail here, and a rule
    // that is not understood allows nothing.
    objects.iter().filter_map(|object| serde_json::from_slice(object).ok()).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Role {
    metadata: Metadata,
    #[serde(default, deserialize_with = "nullable")]
    rules: Vec<Rule>,
    aggregation_rule: Option<AggregationRule>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AggregationRule {
    #[serde(default, deserialize_with = "nullable")]
    cluster_role_selectors: Vec<Selector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    #[serde(default)]
    match_labels: HashMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    match_expressions: Vec<Expression>,
}

#[derive(Deserialize)]
struct Expression {
    key: String,
    operator: String,
    #[serde(default, deserialize_with = "nullable")]
    values: Vec<String>,
}

impl Selector {
    fn matches(&self, role: &Role) -> bool {
        let labels = &role.metadata.labels;
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|expression| expression.matches(labels))
    }
}

impl Expression {
    fn matches(&self, labels: &HashMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator.as_str() {
            "In" => value.is_some_and(|value| self.values.contains(value)),
            "NotIn" => value.is_none_or(|value| !self.values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    metadata: Metadata,
    #[serde(default, deserialize_with = "nullable")]
    subjects: Vec<BindingSubject>,
    role_ref: RoleRef,
}

impl Binding {
    /// `ClusterRoleBinding "admins" of ClusterRole "admin"`
    fn describe(&self) -> String {
        let Metadata { name, namespace, .. } = &self.metadata;
        let RoleRef { kind, name: role } = &self.role_ref;
        match namespace.as_str() {
            "" => format!("ClusterRoleBinding {name:?} of {kind} {role:?}"),
            namespace => format!("RoleBinding \"{name}/{namespace}\" of {kind} {role:?}"),
        }
    }
}

#[derive(Deserialize)]
struct RoleRef {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct BindingSubject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
}

impl BindingSubject {
    /// `User "jane"`
    fn describe(&self, binding_namespace: &str) -> String {
        let Self { kind, name, namespace } = self;
        match (kind.as_str(), namespace.as_str()) {
            ("ServiceAccount", "") => format!("{kind} \"{name}/{binding_namespace}\""),
            ("ServiceAccount", namespace) => format!("{kind} \"{name}/{namespace}\""),
            _ => format!("{kind} {name:?}"),
        }
    }

    fn resolve(self, binding_namespace: &str) -> Option<Subject> {
        match self.kind.as_str() {
            "User" => Some(Subject::User(self.name)),
            "Group" => Some(Subject::Group(self.name)),
            "ServiceAccount" => {
                let namespace = if self.namespace.is_empty() { binding_namespace } else { &self.namespace };
                let known = !namespace.is_empty();
                known.then(|| Subject::User(format!("system:serviceaccount:{namespace}:{}", self.name)))
            }
            _ => None,
        }
    }
}

fn nullable<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::reader::fake::FakeReader;

    fn asks(user: &str, groups: &[&str], verb: &str, resource: &str, namespace: &str) -> Attributes {
        Attributes {
            user: User {
                name: user.into(),
                groups: groups.iter().map(|group| (*group).to_owned()).collect(),
                ..User::default()
            },
            verb: verb.into(),
            resource: resource.into(),
            namespace: namespace.into(),
            ..Attributes::default()
        }
    }

    fn reader() -> Arc<FakeReader> {
        let reader = FakeReader::default();
        let rules = |verb: &str| json!([{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]);
        reader.put(GROUP, "clusterroles", json!({"metadata": {"name": "reader"}, "rules": rules("get")}));
        reader.put(
            GROUP,
            "clusterroles",
            json!({
            "metadata": {"name": "part", "labels": {"to": "whole"}}, "rules": rules("delete")}),
        );
        reader.put(
            GROUP,
            "clusterroles",
            json!({
            "metadata": {"name": "whole", "labels": {"to": "all"}}, "rules": null,
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "whole"}}]}}),
        );
        reader.put(GROUP, "clusterroles", json!({
            "metadata": {"name": "all"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchExpressions": [{"key": "to", "operator": "In", "values": ["all"]}]}]}}));
        reader.put(GROUP, "roles", json!({"metadata": {"name": "lister", "namespace": "a"}, "rules": rules("list")}));
        reader.put(
            GROUP,
            "rolebindings",
            json!({
            "metadata": {"name": "b1", "namespace": "a"}, "roleRef": {"kind": "Role", "name": "lister"},
            "subjects": [{"kind": "ServiceAccount", "name": "default"}, {"kind": "User", "name": "jane"}]}),
        );
        reader.put(
            GROUP,
            "rolebindings",
            json!({
            "metadata": {"name": "b2", "namespace": "a"}, "roleRef": {"kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "Group", "name": "devs"}]}),
        );
        reader.put(
            GROUP,
            "clusterrolebindings",
            json!({
            "metadata": {"name": "c1"}, "roleRef": {"kind": "ClusterRole", "name": "all"},
            "subjects": [{"kind": "User", "name": "root"}, {"kind": "ServiceAccount", "name": "x"}]}),
        );
        reader.put(
            GROUP,
            "clusterrolebindings",
            json!({
            "metadata": {"name": "c2"}, "roleRef": {"kind": "ClusterRole", "name": "missing"},
            "subjects": [{"kind": "User", "name": "jane"}]}),
        );
        Arc::new(reader)
    }

    #[test]
    fn bindings_decide() {
        let rbac = Rbac::new(reader());
        let table = [
            (asks("jane", &[], "list", "pods", "a"), true),
            (asks("jane", &[], "list", "pods", "b"), false),
            (asks("jane", &[], "list", "pods", ""), false),
            (asks("jane", &[], "get", "pods", "a"), false),
            (asks("jane", &["devs"], "get", "pods", "a"), true),
            (asks("jane", &["devs"], "get", "pods", "b"), false),
            (asks("system:serviceaccount:a:default", &[], "list", "pods", "a"), true),
            (asks("system:serviceaccount:b:default", &[], "list", "pods", "a"), false),
            (asks("root", &[], "delete", "pods", "anywhere"), true),
            (asks("root", &[], "get", "pods", "anywhere"), false),
            (asks("devs", &[], "get", "pods", "a"), false),
        ];
        for (attributes, expected) in table {
            assert_eq!(rbac.allows(&attributes), expected, "{attributes:?}");
        }
    }

    #[test]
    fn a_changed_binding_counts_at_once() {
        let reader = reader();
        let rbac = Rbac::new(reader.clone());
        let attributes = asks("joe", &[], "get", "pods", "a");
        assert!(!rbac.allows(&attributes));
        reader.put(
            GROUP,
            "clusterrolebindings",
            json!({
            "metadata": {"name": "c3"}, "roleRef": {"kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "User", "name": "joe"}]}),
        );
        assert!(rbac.allows(&attributes));
        reader.remove(GROUP, "clusterrolebindings", "", "c3");
        assert!(!rbac.allows(&attributes));
    }
}
