//! Which requests a webhook or policy is asked about: rules, selectors and match conditions.

use k8s_openapi::{
    api::admissionregistration::v1::{MatchCondition, MatchResources, NamedRuleWithOperations, RuleWithOperations},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::expressions::Compiler;
use crate::api::{
    cel::{CompileError, Program},
    field::{self, Path},
    kinds::label_selector,
    status::Cause,
    validation::name,
};

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const MUTATING_OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];
/// How closely a request has to fit a rule.
pub const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
/// What happens when a hook or policy cannot be asked.
pub const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
/// Whether a mutation is repeated after others have changed the object.
pub const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const CONDITION_LIMIT: usize = 64;

/// A rule of any of the kinds.
#[derive(Clone, Copy)]
pub struct Rule<'a> {
    groups: &'a [String],
    versions: &'a [String],
    operations: &'a [String],
    resources: &'a [String],
    scope: Option<&'a str>,
}

/// The two types of rules have these fields under the same names.
macro_rules! rule_of {
    ($rule:ty) => {
        impl<'a> From<&'a $rule> for Rule<'a> {
            fn from(rule: &'a $rule) -> Self {
                Self {
                    groups: rule.api_groups.as_deref().unwrap_or_default(),
                    versions: rule.api_versions.as_deref().unwrap_or_default(),
                    operations: rule.operations.as_deref().unwrap_or_default(),
                    resources: rule.resources.as_deref().unwrap_or_default(),
                    scope: rule.scope.as_deref(),
                }
            }
        }
    };
}

rule_of!(RuleWithOperations);
rule_of!(NamedRuleWithOperations);

/// Fills in what a rule leaves open.
pub fn default_scope(scope: &mut Option<String>) {
    scope.get_or_insert_with(|| "*".to_owned());
}

/// Fills in what a policy's match leaves open.
pub fn default_resources(matched: &mut MatchResources) {
    matched.match_policy.get_or_insert_with(|| "Equivalent".to_owned());
    matched.namespace_selector.get_or_insert_default();
    matched.object_selector.get_or_insert_default();
    let rules = matched.resource_rules.iter_mut().flatten();
    rules.chain(matched.exclude_resource_rules.iter_mut().flatten()).for_each(|rule| default_scope(&mut rule.scope));
}

/// Problems of a policy's match.
pub fn resources(matched: &MatchResources, path: &Path) -> Vec<Cause> {
    let mut causes = policy(matched.match_policy.as_deref(), path);
    causes.extend(selectors(matched.namespace_selector.as_ref(), matched.object_selector.as_ref(), path));
    for (list, name) in
        [(&matched.resource_rules, "resourceRules"), (&matched.exclude_resource_rules, "excludeResourceRules")]
    {
        for (index, one) in list.iter().flatten().enumerate() {
            let path = path.child(name).index(index);
            causes.extend(rule(one.into(), &path));
            for (number, text) in one.resource_names.iter().flatten().enumerate() {
                let path = path.child("resourceNames").index(number);
                causes.extend(field::invalid_each(&path, text, &name::path_segment(text)));
                if one.resource_names.iter().flatten().take(number).any(|other| other == text) {
                    causes.push(field::duplicate(&path, text));
                }
            }
        }
    }
    causes
}

/// Problems of a match policy, which a decoded object always has.
pub fn policy(policy: Option<&str>, path: &Path) -> Vec<Cause> {
    let path = path.child("matchPolicy");
    match policy {
        None => vec![field::required(&path, "")],
        Some(policy) if !MATCH_POLICIES.contains(&policy) => vec![field::unsupported(&path, policy, MATCH_POLICIES)],
        Some(_) => Vec::new(),
    }
}

/// Problems of the selectors of namespaces and objects.
pub fn selectors(namespaces: Option<&LabelSelector>, objects: Option<&LabelSelector>, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (selector, name) in [(namespaces, "namespaceSelector"), (objects, "objectSelector")] {
        match selector {
            Some(selector) => causes.extend(label_selector::validate(selector, &path.child(name))),
            None => causes.push(field::required(&path.child(name), "")),
        }
    }
    causes
}

/// Problems of a rule.
pub fn rule(rule: Rule<'_>, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let operations = path.child("operations");
    causes.extend(list(rule.operations, "operations", false, &operations));
    for (index, operation) in rule.operations.iter().enumerate() {
        if !OPERATIONS.contains(&operation.as_str()) {
            causes.push(field::unsupported(&operations.index(index), operation, OPERATIONS));
        }
    }
    causes.extend(list(rule.groups, "API groups", false, &path.child("apiGroups")));
    causes.extend(list(rule.versions, "API versions", true, &path.child("apiVersions")));
    causes.extend(rule_resources(rule.resources, &path.child("resources")));
    if let Some(scope) = rule.scope.filter(|scope| !SCOPES.contains(scope)) {
        causes.push(field::unsupported(&path.child("scope"), scope, SCOPES));
    }
    causes
}

/// Problems of match conditions, which `compiler` understands.
pub fn conditions(conditions: &[MatchCondition], compiler: &Compiler, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if conditions.len() > CONDITION_LIMIT {
        causes.push(field::too_many(path, conditions.len(), CONDITION_LIMIT));
    }
    for (index, one) in conditions.iter().enumerate() {
        let (path, text) = (path.index(index), one.name.as_str());
        causes
            .extend(expression(one.expression.trim(), "", &path.child("expression"), |text| compiler.condition(text)));
        match text {
            "" => causes.push(field::required(&path.child("name"), "")),
            text => causes.extend(field::invalid_each(&path.child("name"), text, &name::qualified_name(text))),
        }
        if !text.is_empty() && conditions[..index].iter().any(|other| other.name == text) {
            causes.push(field::duplicate(&path.child("name"), text));
        }
    }
    causes
}

/// The problem of an expression; `missing` is said of one that is not there.
pub fn expression(
    text: &str,
    missing: &str,
    path: &Path,
    compile: impl FnOnce(&str) -> Result<Program, CompileError>,
) -> Option<Cause> {
    if text.trim().is_empty() {
        return Some(field::required(path, missing));
    }
    compile(text).err().map(|error| field::invalid(path, text, &error.to_string()))
}

/// Problems of the operations of a mutating policy, which has no say in deletions.
pub fn mutating_operations(matched: &MatchResources, path: &Path) -> Vec<Cause> {
    let path = path.child("resourceRules").child("operations");
    let operations = matched.resource_rules.iter().flatten().flat_map(|rule| rule.operations.iter().flatten());
    let other = operations.filter(|operation| !MUTATING_OPERATIONS.contains(&operation.as_str()));
    other.map(|operation| field::unsupported(&path, operation, MUTATING_OPERATIONS)).collect()
}

fn list(values: &[String], what: &str, each_required: bool, path: &Path) -> Vec<Cause> {
    if values.is_empty() {
        return vec![field::required(path, "")];
    }
    let mut causes = Vec::new();
    if values.len() > 1 && values.iter().any(|value| value == "*") {
        let detail = format!("if '*' is present, must not specify other {what}");
        causes.push(field::invalid(path, values, &detail));
    }
    let empty = values.iter().enumerate().filter(|(_, value)| each_required && value.is_empty());
    causes.extend(empty.map(|(index, _)| field::required(&path.index(index), "")));
    causes
}

fn rule_resources(values: &[String], path: &Path) -> Vec<Cause> {
    if values.is_empty() {
        return vec![field::required(path, "")];
    }
    let mut causes = Vec::new();
    let before = |index: usize, wanted: &str| values[..index].iter().any(|value| value == wanted);
    for (index, value) in values.iter().enumerate() {
        let path = path.index(index);
        if value.is_empty() {
            causes.push(field::required(&path, ""));
        }
        let Some((resource, subresource)) = value.split_once('/') else { continue };
        for wider in [format!("{resource}/*"), format!("*/{subresource}")] {
            if before(index, &wider) {
                let detail = format!("if '{wider}' is present, must not specify {value}");
                causes.push(field::invalid(&path, value, &detail));
            }
        }
    }
    let has = |wanted: &str| values.iter().any(|value| value == wanted);
    if values.len() > 1 && has("*/*") {
        causes.push(field::invalid(path, values, "if '*/*' is present, must not specify other resources"));
    }
    if has("*") && values.iter().any(|value| value != "*" && !value.contains('/')) {
        let detail = "if '*' is present, must not specify other resources without subresources";
        causes.push(field::invalid(path, values, detail));
    }
    causes
}
