//! Bindings put a policy into force, with parameters, for some resources.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, MutatingAdmissionPolicyBinding, ParamRef, ValidatingAdmissionPolicyBinding,
};
use serde_json::{Value, json};

use super::{CATEGORIES, GROUP_VERSION, matching};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names},
    kinds::{cells, label_selector, names},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::name,
};

const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
const NOT_FOUND_ACTIONS: &[&str] = &["Deny", "Allow"];
const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::column("PolicyName", "string", "The policy that is put into force."),
    cells::column("ParamRef", "string", "The parameters it is put into force with."),
    cells::AGE,
];

/// `admissionregistration.k8s.io/v1.ValidatingAdmissionPolicyBinding`
pub struct ValidatingAdmissionPolicyBindingKind;

impl Kind for ValidatingAdmissionPolicyBindingKind {
    type Object = ValidatingAdmissionPolicyBinding;
    const NAMES: Names = Names {
        categories: CATEGORIES,
        ..names::cluster(
            GROUP_VERSION,
            "ValidatingAdmissionPolicyBinding",
            "validatingadmissionpolicybindings",
            "validatingadmissionpolicybinding",
        )
    };
    const GENERATION: Generation = Generation::Spec;
    const UPDATES_UNCONDITIONALLY: bool = false;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::WHOLE;
    const COLUMNS: &'static [Column] = COLUMNS;

    fn default(binding: &mut ValidatingAdmissionPolicyBinding) {
        binding.spec.match_resources.iter_mut().for_each(matching::default_resources);
    }

    fn validate(binding: &ValidatingAdmissionPolicyBinding) -> Vec<Cause> {
        let (spec, path) = (&binding.spec, Path::new("spec"));
        let mut causes = policy_name(&spec.policy_name, &path.child("policyName"));
        causes.extend(parameters(spec.param_ref.as_ref(), &path.child("paramRef")));
        causes.extend(matched(spec.match_resources.as_ref(), &path));
        causes.extend(actions(&spec.validation_actions, &path.child("validationActions")));
        causes
    }

    fn cells(binding: &ValidatingAdmissionPolicyBinding, now: Timestamp) -> Vec<Value> {
        vec![
            cells::name(&binding.metadata),
            json!(binding.spec.policy_name),
            json!(shown(binding.spec.param_ref.as_ref())),
            cells::age(&binding.metadata, now),
        ]
    }
}

/// `admissionregistration.k8s.io/v1.MutatingAdmissionPolicyBinding`
pub struct MutatingAdmissionPolicyBindingKind;

impl Kind for MutatingAdmissionPolicyBindingKind {
    type Object = MutatingAdmissionPolicyBinding;
    const NAMES: Names = Names {
        categories: CATEGORIES,
        ..names::cluster(
            GROUP_VERSION,
            "MutatingAdmissionPolicyBinding",
            "mutatingadmissionpolicybindings",
            "mutatingadmissionpolicybinding",
        )
    };
    const GENERATION: Generation = Generation::Spec;
    const UPDATES_UNCONDITIONALLY: bool = false;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::WHOLE;
    const COLUMNS: &'static [Column] = COLUMNS;

    fn default(binding: &mut MutatingAdmissionPolicyBinding) {
        let matched = binding.spec.as_mut().and_then(|spec| spec.match_resources.as_mut());
        matched.into_iter().for_each(matching::default_resources);
    }

    fn validate(binding: &MutatingAdmissionPolicyBinding) -> Vec<Cause> {
        let (spec, path) = (binding.spec.clone().unwrap_or_default(), Path::new("spec"));
        let mut causes = policy_name(spec.policy_name.as_deref().unwrap_or_default(), &path.child("policyName"));
        causes.extend(parameters(spec.param_ref.as_ref(), &path.child("paramRef")));
        causes.extend(matched(spec.match_resources.as_ref(), &path));
        let resources = path.child("matchResources");
        causes.extend(spec.match_resources.iter().flat_map(|one| matching::mutating_operations(one, &resources)));
        causes
    }

    fn cells(binding: &MutatingAdmissionPolicyBinding, now: Timestamp) -> Vec<Value> {
        let spec = binding.spec.clone().unwrap_or_default();
        vec![
            cells::name(&binding.metadata),
            json!(spec.policy_name.unwrap_or_default()),
            json!(shown(spec.param_ref.as_ref())),
            cells::age(&binding.metadata, now),
        ]
    }
}

fn shown(parameters: Option<&ParamRef>) -> String {
    let Some(parameters) = parameters else { return cells::UNSET.to_owned() };
    let name = match (&parameters.name, &parameters.selector) {
        (Some(name), _) if !name.is_empty() => name.clone(),
        (_, Some(selector)) => cells::selector(Some(selector)),
        _ => "*".to_owned(),
    };
    match parameters.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name,
    }
}

fn policy_name(text: &str, path: &Path) -> Vec<Cause> {
    if text.is_empty() {
        return vec![field::required(path, "")];
    }
    field::invalid_each(path, text, &name::dns1123_subdomain(text))
}

fn parameters(parameters: Option<&ParamRef>, path: &Path) -> Vec<Cause> {
    let Some(parameters) = parameters else { return Vec::new() };
    let name = parameters.name.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    if !name.is_empty() {
        causes.extend(field::invalid_each(&path.child("name"), name, &name::path_segment(name)));
    }
    if let Some(selector) = &parameters.selector {
        causes.extend(label_selector::validate(selector, &path.child("selector")));
    }
    match (name.is_empty(), parameters.selector.is_some()) {
        (false, true) => {
            let detail = "name and selector are mutually exclusive";
            causes.push(field::forbidden(&path.child("name"), detail));
            causes.push(field::forbidden(&path.child("selector"), detail));
        }
        (true, false) => causes.push(field::required(path, "one of name or selector must be specified")),
        _ => {}
    }
    let path = path.child("parameterNotFoundAction");
    match parameters.parameter_not_found_action.as_deref().unwrap_or_default() {
        "" => causes.push(field::required(&path, "")),
        action if !NOT_FOUND_ACTIONS.contains(&action) => {
            causes.push(field::unsupported(&path, action, NOT_FOUND_ACTIONS));
        }
        _ => {}
    }
    causes
}

fn matched(resources: Option<&MatchResources>, path: &Path) -> Vec<Cause> {
    resources.map(|resources| matching::resources(resources, &path.child("matchResources"))).unwrap_or_default()
}

fn actions(actions: &[String], path: &Path) -> Vec<Cause> {
    if actions.is_empty() {
        return vec![field::required(path, "at least one validation action is required")];
    }
    let mut causes = Vec::new();
    for (index, action) in actions.iter().enumerate() {
        if !ACTIONS.contains(&action.as_str()) {
            causes.push(field::unsupported(&path.index(index), action, ACTIONS));
        }
        if actions[..index].contains(action) {
            causes.push(field::duplicate(&path.index(index), action));
        }
    }
    let has = |wanted: &str| actions.iter().any(|action| action == wanted);
    if has("Deny") && has("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                      response and headers serves no purpose)";
        causes.push(field::invalid(path, actions, detail));
    }
    causes
}
