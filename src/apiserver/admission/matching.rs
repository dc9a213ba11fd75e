//! Which requests a webhook or a policy is asked about: rules of operations and resources, and
//! selectors of namespaces and objects (apiserver's `predicates` and `policy/matching`).

use k8s_openapi::{
    api::admissionregistration::v1::{MatchResources, NamedRuleWithOperations, RuleWithOperations},
    apimachinery::pkg::apis::meta::v1 as metav1,
};
use serde_json::Value;

use crate::{
    api::{
        Status,
        kind::{Descriptor, GroupResource, Name},
        kinds::equivalent,
        meta,
        selector::{self, LabelSelector},
    },
    apiserver::{admission::Request, reader::Reader},
};

/// The group of the kinds that say who is asked.
pub const GROUP: &str = "admissionregistration.k8s.io";
const NAMESPACES: GroupResource<'static> = GroupResource { group: "", resource: "namespaces" };

/// The resource as which a request is shown to who is asked: as it was made, or an equivalent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Matched {
    /// API group.
    pub group: Name,
    /// API version.
    pub version: Name,
    /// Plural name.
    pub resource: Name,
    /// Kind of the main resource's objects.
    pub kind: Name,
}

impl Matched {
    /// The resource of a descriptor.
    pub fn of(kind: &Descriptor) -> Self {
        let Descriptor { group, version, plural, kind, .. } = kind;
        Self { group: group.clone(), version: version.clone(), resource: plural.clone(), kind: kind.clone() }
    }

    /// `apps/v1`, or `v1` for core.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// Which requests somebody is asked about. Made once of what its user wrote.
#[derive(Debug)]
pub struct Criteria {
    /// `None` matches everything.
    rules: Option<Vec<Rule>>,
    excluded: Vec<Rule>,
    namespaces: LabelSelector,
    objects: LabelSelector,
    /// Whether a rule for an equivalent resource matches as well.
    equivalent: bool,
}

#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: Scope,
    /// Names of objects; all if empty.
    names: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
enum Scope {
    Any,
    Cluster,
    Namespaced,
}

/// A webhook's rules and selectors, as its kind has them.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// What it is called for.
    pub rules: &'a [RuleWithOperations],
    /// `Exact` or `Equivalent`.
    pub match_policy: Option<&'a str>,
    /// Labels of namespaces.
    pub namespaces: Option<&'a metav1::LabelSelector>,
    /// Labels of objects.
    pub objects: Option<&'a metav1::LabelSelector>,
}

/// Whether nobody is ever asked about a request: those for the kinds that say who is asked, so that
/// a mistake in them can be undone.
pub fn is_exempt(kind: &Descriptor) -> bool {
    kind.group == GROUP
}

impl Criteria {
    /// Of a webhook.
    pub fn of_webhook(wanted: Wanted<'_>) -> Result<Self, selector::Error> {
        Ok(Self {
            rules: Some(wanted.rules.iter().map(|rule| Rule::new(rule, None)).collect()),
            excluded: Vec::new(),
            namespaces: selector(wanted.namespaces)?,
            objects: selector(wanted.objects)?,
            equivalent: wanted.match_policy == Some("Equivalent"),
        })
    }

    /// Of a policy or its binding. Without rules it is about everything.
    pub fn of_policy(wanted: &MatchResources) -> Result<Self, selector::Error> {
        let named = |list: &Option<Vec<NamedRuleWithOperations>>| -> Vec<Rule> {
            list.iter().flatten().map(Rule::of_named).collect()
        };
        Ok(Self {
            rules: Some(named(&wanted.resource_rules)).filter(|rules| !rules.is_empty()),
            excluded: named(&wanted.exclude_resource_rules),
            namespaces: selector(wanted.namespace_selector.as_ref())?,
            objects: selector(wanted.object_selector.as_ref())?,
            equivalent: wanted.match_policy.as_deref() == Some("Equivalent"),
        })
    }

    /// As what a request is to be shown; `None` if it is none of theirs. `object` is the new object, if
    /// there is one. 404 if the request's namespace is gone and it would matter.
    pub fn matches(
        &self,
        reader: &dyn Reader,
        request: &Request<'_>,
        object: Option<&Value>,
    ) -> Result<Option<Matched>, Status> {
        let in_namespace = self.matches_namespace(reader, request, object);
        if matches!(in_namespace, Ok(false)) || !self.matches_object(request, object) {
            return Ok(None);
        }
        if self.find(&self.excluded, request).is_some() {
            return Ok(None);
        }
        let found = match &self.rules {
            Some(rules) => self.find(rules, request),
            None => Some(Matched::of(request.kind)),
        };
        // Who is not concerned is not troubled with a namespace that is missing.
        if found.is_some() {
            in_namespace?;
        }
        Ok(found)
    }

    fn find(&self, rules: &[Rule], request: &Request<'_>) -> Option<Matched> {
        let itself = Matched::of(request.kind);
        if rules.iter().any(|rule| rule.matches(request, &itself)) {
            return Some(itself);
        }
        if !self.equivalent || rules.is_empty() {
            return None;
        }
        let others = equivalents(request.kind);
        let pairs = rules.iter().flat_map(|rule| others.iter().map(move |other| (rule, other)));
        pairs.into_iter().find(|(rule, other)| rule.matches(request, other)).map(|(_, other)| other.clone())
    }

    fn matches_namespace(
        &self,
        reader: &dyn Reader,
        request: &Request<'_>,
        object: Option<&Value>,
    ) -> Result<bool, Status> {
        let namespace = request.namespace();
        if namespace.is_empty() || self.namespaces.is_everything() {
            return Ok(true);
        }
        let own = object.filter(|_| request.writes(NAMESPACES.group, NAMESPACES.resource));
        if let Some(own) = own {
            return Ok(self.namespaces.matches(|key| meta::label(own, key)));
        }
        let stored = reader.get(NAMESPACES, "", namespace);
        let stored = stored.ok_or_else(|| Status::not_found("", "namespaces", namespace))?;
        let stored: Value = serde_json::from_slice(&stored).map_err(Status::internal)?;
        Ok(self.namespaces.matches(|key| meta::label(&stored, key)))
    }

    fn matches_object(&self, request: &Request<'_>, object: Option<&Value>) -> bool {
        let is_selected = |object: &Value| self.objects.matches(|key| meta::label(object, key));
        self.objects.is_everything() || object.is_some_and(is_selected) || request.old.is_some_and(is_selected)
    }
}

impl Rule {
    fn new(rule: &RuleWithOperations, names: Option<&Vec<String>>) -> Self {
        let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        Self {
            operations: list(&rule.operations),
            groups: list(&rule.api_groups),
            versions: list(&rule.api_versions),
            resources: list(&rule.resources),
            scope: match rule.scope.as_deref() {
                Some("Cluster") => Scope::Cluster,
                Some("Namespaced") => Scope::Namespaced,
                _ => Scope::Any,
            },
            names: names.cloned().unwrap_or_default(),
        }
    }

    fn of_named(rule: &NamedRuleWithOperations) -> Self {
        let NamedRuleWithOperations { api_groups, api_versions, operations, resources, scope, resource_names } =
            rule.clone();
        let unnamed = RuleWithOperations { api_groups, api_versions, operations, resources, scope };
        Self::new(&unnamed, resource_names.as_ref())
    }

    fn matches(&self, request: &Request<'_>, shown: &Matched) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|one| one == "*" || one == wanted);
        has(&self.operations, request.operation.name())
            && has(&self.groups, &shown.group)
            && has(&self.versions, &shown.version)
            && self.resources.iter().any(|one| is_resource(one, &shown.resource, &request.attributes.subresource))
            && self.is_in_scope(request)
            && (self.names.is_empty() || self.names.contains(&request.attributes.name))
    }

    /// A namespace is cluster-wide, though requests for it are made in it.
    fn is_in_scope(&self, request: &Request<'_>) -> bool {
        let cluster_wide = request.kind.group_resource() == NAMESPACES || request.namespace().is_empty();
        match self.scope {
            Scope::Any => true,
            Scope::Cluster => cluster_wide,
            Scope::Namespaced => !cluster_wide,
        }
    }
}

/// `pods`, `pods/log`, `pods/*`, `*/scale`, `*` and `*/*`.
fn is_resource(pattern: &str, resource: &str, subresource: &str) -> bool {
    let (wanted, part) = pattern.split_once('/').unwrap_or((pattern, ""));
    (wanted == "*" || wanted == resource) && (part == "*" || part == subresource)
}

/// The other resources that show the same objects.
fn equivalents(kind: &Descriptor) -> Vec<Matched> {
    let itself = Matched::of(kind);
    if let Some(custom) = kind.strategy.custom() {
        let others = custom.versions.iter().filter(|version| ***version != *kind.version);
        return others.map(|version| Matched { version: version.to_string().into(), ..itself.clone() }).collect();
    }
    equivalent::of(kind).map(Matched::of).collect()
}

/// A selector that is not there selects everything: it has that default.
fn selector(selector: Option<&metav1::LabelSelector>) -> Result<LabelSelector, selector::Error> {
    selector.map_or(Ok(LabelSelector::everything()), LabelSelector::from_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::kinds,
        apiserver::{
            admission::{
                Operation,
                fixture::{attributes, request, user},
            },
            reader::fake::FakeReader,
        },
    };

    fn kind(group: &str, plural: &str) -> Descriptor {
        kinds::all().into_iter().find(|kind| kind.group == group && kind.plural == plural).unwrap()
    }

    fn criteria(resources: &[&str], more: Value) -> Criteria {
        let mut rule =
            json!({"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["v1"], "resources": resources});
        let mut wanted = json!({"matchPolicy": "Equivalent"});
        for (field, value) in more.as_object().unwrap().clone() {
            match field.as_str() {
                "scope" | "apiGroups" | "resourceNames" | "operations" => rule[field] = value,
                _ => wanted[field] = value,
            }
        }
        wanted["resourceRules"] = json!([rule]);
        Criteria::of_policy(&serde_json::from_value(wanted).unwrap()).unwrap()
    }

    /// The group of what a create of `resource` of core in the namespace `n` is shown as.
    fn shown(criteria: &Criteria, resource: &str, labels: Value) -> Option<String> {
        let reader = FakeReader::default();
        reader.put("", "namespaces", json!({"metadata": {"name": "n", "labels": {"env": "test"}}}));
        let plural = resource.split('/').next().unwrap();
        let (namespace, name) = if plural == "namespaces" { ("", "o") } else { ("n", "o") };
        let attributes = attributes(user("u", &[]), "create", "", resource, namespace, name);
        let kind = kind("", plural);
        let object = json!({"metadata": {"name": name, "labels": labels}});
        let request = request(&attributes, Operation::Create, &kind, None);
        criteria.matches(&reader, &request, Some(&object)).unwrap().map(|found| found.group.to_string())
    }

    #[test]
    fn resources_and_subresources_have_wildcards() {
        for (patterns, resource, wanted) in [
            (&["pods"][..], "pods", true),
            (&["pods"], "pods/status", false),
            (&["pods/*"], "pods", true),
            (&["pods/*"], "pods/status", true),
            (&["*"], "pods", true),
            (&["*"], "pods/status", false),
            (&["*/status"], "pods/status", true),
            (&["*/*"], "pods/status", true),
            (&["services", "pods/exec"], "pods", false),
        ] {
            let found = shown(&criteria(patterns, json!({})), resource, json!({}));
            assert_eq!(found.is_some(), wanted, "{patterns:?} {resource}");
        }
    }

    #[test]
    fn operations_scopes_and_names_count() {
        let is = |more: Value, resource: &str| shown(&criteria(&["*"], more), resource, json!({})).is_some();
        assert!(!is(json!({"operations": ["UPDATE", "DELETE"]}), "pods"));
        assert!(is(json!({"operations": ["*"]}), "pods"));
        assert!(is(json!({"scope": "Namespaced"}), "pods") && !is(json!({"scope": "Cluster"}), "pods"));
        assert!(is(json!({"scope": "Cluster"}), "namespaces") && !is(json!({"scope": "Namespaced"}), "namespaces"));
        assert!(is(json!({"resourceNames": ["o"]}), "pods") && !is(json!({"resourceNames": ["x"]}), "pods"));
        let excluded = json!([{"operations": ["*"], "apiGroups": [""], "apiVersions": ["*"], "resources": ["pods"]}]);
        assert!(!is(json!({"excludeResourceRules": excluded}), "pods"));
        assert!(is(json!({"excludeResourceRules": excluded}), "secrets"));
    }

    #[test]
    fn selectors_look_at_the_namespace_and_at_the_object() {
        let of_namespace =
            |value: &str| criteria(&["*"], json!({"namespaceSelector": {"matchLabels": {"env": value}}}));
        assert!(shown(&of_namespace("test"), "pods", json!({})).is_some());
        assert!(shown(&of_namespace("live"), "pods", json!({})).is_none());
        // A namespace is selected by its own labels, and cluster-wide objects always are.
        assert!(shown(&of_namespace("live"), "namespaces", json!({"env": "live"})).is_some());
        assert!(shown(&of_namespace("live"), "namespaces", json!({"env": "test"})).is_none());
        let of_object = criteria(&["*"], json!({"objectSelector": {"matchLabels": {"a": "b"}}}));
        assert!(shown(&of_object, "pods", json!({"a": "b"})).is_some());
        assert!(shown(&of_object, "pods", json!({})).is_none());
    }

    #[test]
    fn the_old_object_may_be_selected_in_place_of_the_new_one() {
        let criteria = criteria(
            &["pods"],
            json!({"operations": ["UPDATE"],
                                                  "objectSelector": {"matchLabels": {"a": "b"}}}),
        );
        let attributes = attributes(user("u", &[]), "update", "", "pods", "n", "o");
        let (kind, old) = (kind("", "pods"), json!({"metadata": {"labels": {"a": "b"}}}));
        let request = request(&attributes, Operation::Update, &kind, Some(&old));
        let found = criteria.matches(&FakeReader::default(), &request, Some(&json!({}))).unwrap();
        assert_eq!(found, Some(Matched::of(&kind)));
    }

    #[test]
    fn an_equivalent_resource_stands_for_another_one() {
        let core = |more: Value| shown(&criteria(&["events"], more), "events", json!({}));
        assert_eq!(core(json!({"apiGroups": ["events.k8s.io"]})).as_deref(), Some("events.k8s.io"));
        assert_eq!(core(json!({"apiGroups": ["events.k8s.io", ""]})).as_deref(), Some(""));
        assert_eq!(core(json!({"apiGroups": ["events.k8s.io"], "matchPolicy": "Exact"})), None);
    }

    #[test]
    fn a_namespace_that_is_gone_is_told_only_to_who_is_concerned() {
        let attributes = attributes(user("u", &[]), "create", "", "pods", "gone", "o");
        let kind = kind("", "pods");
        let request = request(&attributes, Operation::Create, &kind, None);
        let selecting = json!({"namespaceSelector": {"matchLabels": {"env": "x"}}});
        let asked = |resource: &str| {
            criteria(&[resource], selecting.clone()).matches(&FakeReader::default(), &request, Some(&json!({})))
        };
        assert_eq!(asked("pods").unwrap_err().message, "namespaces \"gone\" not found");
        assert_eq!(asked("secrets").unwrap(), None);
    }
}
