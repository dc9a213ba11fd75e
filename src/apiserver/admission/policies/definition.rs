//! What validating and mutating policies and their bindings have in common, made once of what their
//! users wrote.

use k8s_openapi::{
    api::admissionregistration::v1::{MatchCondition, MatchResources, ParamKind, ParamRef, Variable},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::Deserialize;
use serde_json::Value;

use super::parameters::{Kind, Kinds, Reference};
use crate::{
    api::{
        cel::{Activation, CompileError, Program},
        kinds::admission_registration::expressions::Compiler,
        selector,
    },
    apiserver::admission::{expressions::Conditions, matching::Criteria},
};

/// A policy, but for its rules.
#[derive(Debug)]
pub struct Definition {
    /// Name.
    pub name: String,
    /// Whether requests are refused that it cannot be evaluated for.
    pub fails: bool,
    /// The requests it is about.
    pub criteria: Result<Criteria, String>,
    /// The kind of its parameters, if it has any; or why that is none.
    pub parameters: Option<Result<Kind, String>>,
    variables: Vec<(String, Result<Program, CompileError>)>,
    conditions: Conditions,
}

/// A policy as far as both kinds have it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Written {
    metadata: ObjectMeta,
    spec: Option<Spec>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    failure_policy: Option<String>,
    param_kind: Option<ParamKind>,
    match_constraints: Option<MatchResources>,
    match_conditions: Option<Vec<MatchCondition>>,
    variables: Option<Vec<Variable>>,
}

/// A binding as far as either kind has it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenBinding {
    metadata: ObjectMeta,
    spec: Option<BindingSpec>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BindingSpec {
    policy_name: Option<String>,
    match_resources: Option<MatchResources>,
    param_ref: Option<ParamRef>,
    validation_actions: Option<Vec<String>>,
}

/// What puts a policy into force.
#[derive(Debug)]
pub struct Binding {
    /// Name.
    pub name: String,
    /// Which of the policy's requests it is for; `None` for all.
    pub criteria: Option<Result<Criteria, String>>,
    /// Which parameters it brings.
    pub parameters: Option<Reference>,
    /// What happens to requests that do not satisfy a validating policy.
    pub actions: Vec<String>,
}

impl Definition {
    /// Compiles what is common; the policy's variables become known to `compiler`.
    pub fn new(written: Written, compiler: &mut Compiler, kinds: &Kinds<'_>) -> Self {
        let spec = written.spec.unwrap_or_default();
        let fails = spec.failure_policy.as_deref() != Some("Ignore");
        let mut variable = |one: Variable| (one.name.clone(), compiler.variable(&one.name, &one.expression));
        let variables = spec.variables.into_iter().flatten().map(&mut variable).collect();
        Self {
            name: written.metadata.name.unwrap_or_default(),
            fails,
            criteria: match &spec.match_constraints {
                Some(constraints) => criteria(constraints),
                None => Err("policy contained no match constraints, a required field".to_owned()),
            },
            parameters: spec.param_kind.map(|kind| kinds.find(&kind)),
            variables,
            conditions: Conditions::new(&spec.match_conditions.unwrap_or_default(), compiler, fails),
        }
    }

    /// Lets expressions name the policy's variables.
    pub fn define<'a>(&'a self, activation: &mut Activation<'a>) {
        for (name, program) in &self.variables {
            activation.define(name, program.as_ref());
        }
    }

    /// Whether the match conditions hold.
    pub fn is_met<'a>(&'a self, activation: &Activation<'a>) -> Result<bool, String> {
        self.conditions.hold(activation)
    }
}

impl Written {
    /// Reads a policy. `None` for what is none.
    pub fn read(policy: &Value) -> Option<Self> {
        Self::deserialize(policy).ok()
    }

    /// Whether its requests come with parameters.
    pub fn has_parameters(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.param_kind.is_some())
    }
}

impl Binding {
    /// A binding and the name of the policy that it puts into force. `None` for what is none.
    pub fn read(binding: &Value) -> Option<(String, Self)> {
        let WrittenBinding { metadata, spec } = WrittenBinding::deserialize(binding).ok()?;
        let spec = spec?;
        let read = Self {
            name: metadata.name.unwrap_or_default(),
            criteria: spec.match_resources.as_ref().map(criteria),
            parameters: spec.param_ref.as_ref().map(Reference::new),
            actions: spec.validation_actions.unwrap_or_default(),
        };
        Some((spec.policy_name?, read))
    }
}

fn criteria(matched: &MatchResources) -> Result<Criteria, String> {
    Criteria::of_policy(matched).map_err(|error: selector::Error| error.to_string())
}
