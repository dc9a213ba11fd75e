//! Mutating admission policies: configurations and JSON patches that expressions make of a request,
//! and that are applied to its object (KEP-3962).

use k8s_openapi::api::admissionregistration::v1::{MutatingAdmissionPolicy, Mutation as Written};
use serde::Deserialize;
use serde_json::Value;

use super::source::Rules;
use crate::{
    api::{
        cel::{Activation, Budget, CompileError, OBJECT_BUDGET, Program},
        kinds::admission_registration::expressions::Compiler,
        patch::{apply, json},
        schema::Schema,
    },
    apiserver::admission::expressions::conditions::{Problem, evaluate},
};

/// What a mutating policy changes.
#[derive(Debug)]
pub struct Mutations {
    /// In the order in which they are made.
    pub all: Vec<Mutation>,
    /// Whether they are made again when the object was changed after them.
    pub repeats: bool,
}

/// One change.
#[derive(Debug)]
pub struct Mutation {
    program: Result<Program, CompileError>,
    /// Whether it is a JSON patch, and no apply configuration.
    pub patches: bool,
}

impl Rules for Mutations {
    const POLICIES: &'static str = "mutatingadmissionpolicies";
    const BINDINGS: &'static str = "mutatingadmissionpolicybindings";

    fn compiler(has_parameters: bool) -> Compiler {
        Compiler::new(has_parameters).composing().patching()
    }

    fn compile(policy: &Value, compiler: &Compiler) -> Option<Self> {
        let spec = MutatingAdmissionPolicy::deserialize(policy).ok()?.spec.unwrap_or_default();
        let all = spec.mutations.iter().flatten().map(|one| Mutation::new(one, compiler)).collect();
        Some(Self { all, repeats: spec.reinvocation_policy.as_deref() == Some("IfNeeded") })
    }
}

impl Mutation {
    fn new(written: &Written, compiler: &Compiler) -> Self {
        let patches = written.patch_type == "JSONPatch";
        let patch = written.json_patch.as_ref().and_then(|patch| patch.expression.as_deref());
        let apply = written.apply_configuration.as_ref().and_then(|apply| apply.expression.as_deref());
        let program = match (patches, patch, apply) {
            (true, Some(text), _) => compiler.patch(text.trim()),
            (_, _, text) => compiler.configuration(text.unwrap_or_default().trim()),
        };
        Self { program, patches }
    }

    /// What the change makes of `object`, which is of `schema`.
    pub fn apply<'a>(&'a self, activation: &Activation<'a>, object: &Value, schema: &Schema) -> Result<Value, String> {
        if let Err(error) = &self.program {
            return Err(error.to_string());
        }
        let value = evaluate(&self.program, activation, &mut Budget::new(OBJECT_BUDGET));
        let value = value.map_err(|problem| match problem {
            Problem::Failed(problem) | Problem::OutOfBudget(problem) => problem,
        })?;
        value.check_object_paths().map_err(|error| format!("type mismatch: {error}"))?;
        let made = value.to_json().map_err(|error| error.to_string())?;
        if self.patches { patched(object, &made) } else { applied(object, made, schema) }
    }
}

/// A patch whose `test` does not hold is not applied.
fn patched(object: &Value, patch: &Value) -> Result<Value, String> {
    let operations = Vec::<json::Operation>::deserialize(patch).map_err(|error| format!("JSON Patch: {error}"))?;
    match json::apply(object.clone(), &operations) {
        Err(json::Error::Test { .. }) => Ok(object.clone()),
        result => result.map_err(|error| format!("JSON Patch: {error}")),
    }
}

fn applied(object: &Value, mut configuration: Value, schema: &Schema) -> Result<Value, String> {
    for field in ["apiVersion", "kind"] {
        configuration[field] = object[field].clone();
    }
    apply::merge_unowned(schema, object, configuration).map_err(|problem| format!("error applying patch: {problem}"))
}
