//! What validating and mutating policies and their bindings have in common, made once of what their
//! users wrote.

use k8s_openapi::api::admissionregistration::v1::{MatchCondition, MatchResources, ParamKind, ParamRef, Variable};

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

/// A policy's spec, as far as both kinds have it.
pub struct Spec<'a> {
    /// Name of the policy.
    pub name: &'a str,
    /// `Fail` or `Ignore`.
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
    /// Compiles what is common; `compiler` gets to know the variables.
    pub fn new(spec: &Spec<'_>, compiler: &mut Compiler, kinds: &Kinds<'_>) -> Self {
        let fails = spec.failure_policy != Some("Ignore");
        let variables = spec.variables.iter();
        Self {
            name: spec.name.to_owned(),
            fails,
            criteria: match spec.constraints {
                Some(constraints) => criteria(constraints),
                None => Err("policy contained no match constraints, a required field".to_owned()),
            },
            parameters: spec.parameters.map(|kind| kinds.find(kind)),
            variables: variables.map(|one| (one.name.clone(), compiler.variable(&one.name, &one.expression))).collect(),
            conditions: Conditions::new(spec.conditions, compiler, fails),
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

impl Binding {
    /// A binding of what its user wrote.
    pub fn new(
        name: &str,
        matched: Option<&MatchResources>,
        parameters: Option<&ParamRef>,
        actions: &[String],
    ) -> Self {
        Self {
            name: name.to_owned(),
            criteria: matched.map(criteria),
            parameters: parameters.map(Reference::new),
            actions: actions.to_vec(),
        }
    }
}

fn criteria(matched: &MatchResources) -> Result<Criteria, String> {
    Criteria::of_policy(matched).map_err(|error: selector::Error| error.to_string())
}
