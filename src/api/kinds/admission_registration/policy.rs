//! What validating and mutating policies have in common.

use jiff::Timestamp;
use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchCondition, MatchResources, MutatingAdmissionPolicySpec, ParamKind, ValidatingAdmissionPolicySpec, Variable,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Value, json};

use super::{expressions::Compiler, matching};
use crate::api::{
    field::{self, Path},
    kinds::cells,
    status::Cause,
    validation::name,
};

/// Words that CEL keeps for itself.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
/// What is said of an expression that is not there.
pub const NOT_SPECIFIED: &str = "expression is not specified";

/// A policy's spec, as far as both kinds have it.
pub struct Policy<'a> {
    /// What happens when an expression cannot be evaluated.
    pub failure_policy: Option<&'a str>,
    /// The kind of its parameters.
    pub parameters: Option<&'a ParamKind>,
    /// The requests it is about.
    pub constraints: Option<&'a MatchResources>,
    /// Conditions under which it is.
    pub conditions: &'a [MatchCondition],
    /// Named expressions.
    pub variables: &'a [Variable],
}

/// The specs of both kinds have the same fields, but no type in common.
macro_rules! frames {
    ($($spec:ty),*) => {$(
        impl<'a> From<&'a $spec> for Policy<'a> {
            fn from(spec: &'a $spec) -> Self {
                Self {
                    failure_policy: spec.failure_policy.as_deref(),
                    parameters: spec.param_kind.as_ref(),
                    constraints: spec.match_constraints.as_ref(),
                    conditions: spec.match_conditions.as_deref().unwrap_or_default(),
                    variables: spec.variables.as_deref().unwrap_or_default(),
                }
            }
        }
    )*};
}

frames!(ValidatingAdmissionPolicySpec, MutatingAdmissionPolicySpec);

/// Fills in what both kinds have defaults for.
pub fn default(failure_policy: &mut Option<String>, constraints: &mut Option<MatchResources>) {
    failure_policy.get_or_insert_with(|| "Fail".to_owned());
    constraints.iter_mut().for_each(matching::default_resources);
}

/// The cells of a policy that has so many rules or changes.
pub fn cells(metadata: &ObjectMeta, count: usize, parameters: Option<&ParamKind>, now: Timestamp) -> Vec<Value> {
    vec![cells::name(metadata), json!(count), json!(shown(parameters)), cells::age(metadata, now)]
}

/// Problems of what both kinds have. `compiler` gets to know the policy's variables.
pub fn validate(policy: &Policy<'_>, compiler: &mut Compiler, path: &Path) -> Vec<Cause> {
    let failure_policy = path.child("failurePolicy");
    let mut causes: Vec<Cause> = policy
        .failure_policy
        .and_then(|chosen| field::one_of(&failure_policy, chosen, matching::FAILURE_POLICIES))
        .into_iter()
        .collect();
    if let Some(kind) = policy.parameters {
        causes.extend(parameters(kind, &path.child("paramKind")));
    }
    let constraints = path.child("matchConstraints");
    match policy.constraints {
        None => causes.push(field::required(&constraints, "")),
        Some(matched) => {
            causes.extend(matching::resources(matched, &constraints));
            // Without a rule there would be no type to check expressions against.
            if matched.resource_rules.as_ref().is_none_or(Vec::is_empty) {
                causes.push(field::required(&constraints.child("resourceRules"), ""));
            }
        }
    }
    causes.extend(matching::conditions(policy.conditions, compiler, &path.child("matchConditions")));
    causes.extend(variables(policy.variables, compiler, &path.child("variables")));
    causes
}

fn shown(parameters: Option<&ParamKind>) -> String {
    let Some(kind) = parameters else { return cells::UNSET.to_owned() };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (version, kind) = (text(&kind.api_version), text(&kind.kind));
    if version.is_empty() { kind } else { format!("{version}/{kind}") }
}

fn parameters(kind: &ParamKind, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let text = kind.api_version.as_deref().unwrap_or_default();
    let version_path = path.child("apiVersion");
    match text.split('/').collect::<Vec<_>>().as_slice() {
        [""] => causes.push(field::required(&version_path, "")),
        [version] => causes.extend(field::invalid_each(&version_path, text, &name::dns1035_label(version))),
        [group, version] => {
            causes.extend(field::invalid_each(&version_path, text, &name::dns1123_subdomain(group)));
            causes.extend(field::invalid_each(&version_path, text, &name::dns1035_label(version)));
        }
        _ => {
            let detail = format!("unexpected GroupVersion string: {text}");
            causes.push(field::invalid(&version_path, text, &detail));
        }
    }
    let kind = kind.kind.as_deref().unwrap_or_default();
    if kind.is_empty() {
        causes.push(field::required(&path.child("kind"), ""));
    } else {
        let problems = name::dns1035_label(&kind.to_lowercase());
        if !problems.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", problems.join(","));
            causes.push(field::invalid(&path.child("kind"), kind, &detail));
        }
    }
    causes
}

fn variables(variables: &[Variable], compiler: &mut Compiler, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, variable) in variables.iter().enumerate() {
        let path = path.index(index);
        let name = variable.name.as_str();
        if name.trim().is_empty() {
            causes.push(field::required(&path.child("name"), "name is not specified"));
        } else if !is_identifier(name) {
            causes.push(field::invalid(&path.child("name"), name, "must be a valid CEL identifier"));
        }
        let define = |text: &str| compiler.variable(name, text);
        causes.extend(matching::expression(&variable.expression, NOT_SPECIFIED, &path.child("expression"), define));
    }
    causes
}

fn is_identifier(text: &str) -> bool {
    !text.starts_with(|letter: char| letter.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !RESERVED.contains(&text)
}
