//! Mutating admission policies: changes in CEL that are made to requests (KEP-3962).

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{MutatingAdmissionPolicy, MutatingAdmissionPolicySpec, Mutation};
use serde_json::Value;

use super::{CATEGORIES, GROUP_VERSION, expressions::Compiler, matching, policy};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names},
    kinds::{cells, names, pod_template::chosen},
    status::Cause,
    update_check::{self, UpdateCheck},
};

const PATCH_TYPES: &[&str] = &["ApplyConfiguration", "JSONPatch"];

/// `admissionregistration.k8s.io/v1.MutatingAdmissionPolicy`
pub struct MutatingAdmissionPolicyKind;

impl Kind for MutatingAdmissionPolicyKind {
    type Object = MutatingAdmissionPolicy;
    const NAMES: Names = Names {
        categories: CATEGORIES,
        ..names::cluster(
            GROUP_VERSION,
            "MutatingAdmissionPolicy",
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicy",
        )
    };
    const GENERATION: Generation = Generation::Spec;
    const UPDATES_UNCONDITIONALLY: bool = false;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::WHOLE;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Mutations", "integer", "How many changes it makes."),
        cells::column("ParamKind", "string", "The kind of its parameters."),
        cells::AGE,
    ];

    fn default(object: &mut MutatingAdmissionPolicy) {
        let Some(spec) = object.spec.as_mut() else { return };
        policy::default(&mut spec.failure_policy, &mut spec.match_constraints);
    }

    fn validate(object: &MutatingAdmissionPolicy) -> Vec<Cause> {
        validate(&object.spec.clone().unwrap_or_default(), &Path::new("spec"))
    }

    fn cells(object: &MutatingAdmissionPolicy, now: Timestamp) -> Vec<Value> {
        let spec = object.spec.as_ref();
        let changes = spec.and_then(|spec| spec.mutations.as_ref()).map_or(0, Vec::len);
        policy::cells(&object.metadata, changes, spec.and_then(|spec| spec.param_kind.as_ref()), now)
    }
}

fn validate(spec: &MutatingAdmissionPolicySpec, path: &Path) -> Vec<Cause> {
    let shared = policy::Policy::from(spec);
    let mut compiler = Compiler::new(shared.parameters.is_some()).composing().patching();
    let mut causes = policy::validate(&shared, &mut compiler, path);
    let constraints = path.child("matchConstraints");
    causes.extend(shared.constraints.iter().flat_map(|matched| matching::mutating_operations(matched, &constraints)));
    let mutations = spec.mutations.as_deref().unwrap_or_default();
    if mutations.is_empty() {
        causes.push(field::required(&path.child("mutations"), "mutations must contain at least one item"));
    }
    for (index, one) in mutations.iter().enumerate() {
        causes.extend(mutation(one, &compiler, &path.child("mutations").index(index)));
    }
    let policies = matching::REINVOCATION_POLICIES;
    causes.extend(chosen(spec.reinvocation_policy.as_deref(), policies, &path.child("reinvocationPolicy")));
    causes
}

fn mutation(mutation: &Mutation, compiler: &Compiler, path: &Path) -> Vec<Cause> {
    let kind = mutation.patch_type.as_str();
    let mut causes = chosen(Some(kind), PATCH_TYPES, &path.child("patchType"));
    if !causes.is_empty() {
        return causes;
    }
    let apply = mutation.apply_configuration.as_ref().map(|apply| apply.expression.as_deref().unwrap_or_default());
    let patch = mutation.json_patch.as_ref().map(|patch| patch.expression.as_deref().unwrap_or_default());
    for (name, of, given) in [("applyConfiguration", PATCH_TYPES[0], apply), ("jsonPatch", PATCH_TYPES[1], patch)] {
        let path = path.child(name);
        let compile =
            |text: &str| if of == PATCH_TYPES[0] { compiler.configuration(text) } else { compiler.patch(text) };
        match given {
            None if kind == of => {
                causes.push(field::required(&path, &format!("must be specified when patchType is {kind}")));
            }
            Some(_) if kind != of => {
                let detail = format!("must not be specified when patchType is {kind}");
                causes.push(field::invalid(&path, format!("{{{name}}}"), &detail));
            }
            Some(text) => causes.extend(matching::expression(text.trim(), "", &path.child("expression"), compile)),
            None => {}
        }
    }
    causes
}
