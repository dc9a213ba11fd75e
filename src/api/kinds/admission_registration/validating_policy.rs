//! Validating admission policies: rules in CEL that a request must satisfy.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    AuditAnnotation, ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec, Validation,
};
use serde_json::{Value, json};

use super::{CATEGORIES, GROUP_VERSION, expressions::Compiler, matching, policy};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    kinds::{cells, names, status},
    status::Cause,
    validation::name,
};

const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
const ANNOTATIONS_LIMIT: usize = 20;
/// Longest expression of an audit annotation.
const ANNOTATION_LIMIT_BYTES: usize = 5 * 1024;

/// `admissionregistration.k8s.io/v1.ValidatingAdmissionPolicy`
pub struct ValidatingAdmissionPolicyKind;

impl Kind for ValidatingAdmissionPolicyKind {
    type Object = ValidatingAdmissionPolicy;
    const NAMES: Names = Names {
        categories: CATEGORIES,
        subresources: &[Subresource::Status],
        ..names::cluster(
            GROUP_VERSION,
            "ValidatingAdmissionPolicy",
            "validatingadmissionpolicies",
            "validatingadmissionpolicy",
        )
    };
    const GENERATION: Generation = Generation::Spec;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Validations", "integer", "How many rules it has."),
        cells::column("ParamKind", "string", "The kind of its parameters."),
        cells::AGE,
    ];

    fn default(object: &mut ValidatingAdmissionPolicy) {
        let Some(spec) = object.spec.as_mut() else { return };
        spec.failure_policy.get_or_insert_with(|| "Fail".to_owned());
        spec.match_constraints.iter_mut().for_each(matching::default_resources);
    }

    fn prepare_for_create(object: &mut ValidatingAdmissionPolicy) {
        object.status = Some(Default::default());
    }

    fn prepare_for_status_update(new: &mut ValidatingAdmissionPolicy, old: &ValidatingAdmissionPolicy) {
        status::keep_metadata(&mut new.metadata, &old.metadata);
    }

    fn validate(object: &ValidatingAdmissionPolicy) -> Vec<Cause> {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        validate(&object.spec.clone().unwrap_or_default(), name, &Path::new("spec"))
    }

    fn cells(object: &ValidatingAdmissionPolicy, now: Timestamp) -> Vec<Value> {
        let spec = object.spec.as_ref();
        let rules = spec.and_then(|spec| spec.validations.as_ref()).map_or(0, Vec::len);
        let parameters = policy::shown(spec.and_then(|spec| spec.param_kind.as_ref()));
        vec![cells::name(&object.metadata), json!(rules), json!(parameters), cells::age(&object.metadata, now)]
    }
}

fn validate(spec: &ValidatingAdmissionPolicySpec, name: &str, path: &Path) -> Vec<Cause> {
    let shared = policy::Policy {
        failure_policy: spec.failure_policy.as_deref(),
        parameters: spec.param_kind.as_ref(),
        constraints: spec.match_constraints.as_ref(),
        conditions: spec.match_conditions.as_deref().unwrap_or_default(),
        variables: spec.variables.as_deref().unwrap_or_default(),
    };
    let compiler = Compiler::new(shared.parameters.is_some());
    // Without variables there is nothing called so.
    let mut compiler = if shared.variables.is_empty() { compiler } else { compiler.composing() };
    let mut causes = policy::validate(&shared, &mut compiler, path);
    let validations = spec.validations.as_deref().unwrap_or_default();
    let annotations = spec.audit_annotations.as_deref().unwrap_or_default();
    if validations.is_empty() && annotations.is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        causes.push(field::required(&path.child("validations"), detail));
        causes.push(field::required(&path.child("auditAnnotations"), detail));
    }
    for (index, one) in validations.iter().enumerate() {
        causes.extend(validation(one, &compiler, &path.child("validations").index(index)));
    }
    causes.extend(audit_annotations(annotations, name, &compiler, &path.child("auditAnnotations")));
    causes
}

fn validation(rule: &Validation, compiler: &Compiler, path: &Path) -> Vec<Cause> {
    let compile = |text: &str| compiler.validation(text);
    let written = matching::expression(&rule.expression, policy::NOT_SPECIFIED, &path.child("expression"), compile);
    let mut causes: Vec<Cause> = written.into_iter().collect();
    let blank = |text: &str| !text.is_empty() && text.trim().is_empty();
    let expression = rule.message_expression.as_deref().unwrap_or_default();
    let path_of_expression = path.child("messageExpression");
    if blank(expression) {
        causes.push(field::invalid(&path_of_expression, expression, "must be non-empty if specified"));
    } else if !expression.is_empty() {
        causes.extend(matching::expression(expression, "", &path_of_expression, |text| compiler.message(text)));
    }
    let message = rule.message.as_deref().unwrap_or_default();
    if blank(message) {
        causes.push(field::invalid(&path.child("message"), message, "must be non-empty if specified"));
    } else if message.trim().contains(['\n', '\r']) {
        causes.push(field::invalid(&path.child("message"), message, "must not contain line breaks"));
    }
    if let Some(reason) = rule.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
        causes.push(field::unsupported(&path.child("reason"), reason, REASONS));
    }
    causes
}

fn audit_annotations(annotations: &[AuditAnnotation], policy: &str, compiler: &Compiler, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if annotations.len() > ANNOTATIONS_LIMIT {
        let detail = format!("must not have more than {ANNOTATIONS_LIMIT} auditAnnotations");
        causes.push(field::invalid(path, annotations, &detail));
    }
    for (index, one) in annotations.iter().enumerate() {
        let (path, text) = (path.index(index), one.value_expression.trim());
        if policy.is_empty() {
            causes.push(field::invalid(&path.child("key"), &one.key, "requires metadata.name be non-empty"));
        } else {
            let key = format!("{policy}/{}", one.key);
            causes.extend(field::invalid_each(&path.child("key"), &key, &name::label_key(&key)));
        }
        let at = path.child("valueExpression");
        if text.len() > ANNOTATION_LIMIT_BYTES {
            let detail = format!("must not exceed {ANNOTATION_LIMIT_BYTES} bytes in length");
            causes.push(field::required(&at, &detail));
        } else {
            let missing = "valueExpression is not specified";
            causes.extend(matching::expression(text, missing, &at, |text| compiler.annotation(text)));
        }
        if annotations[..index].iter().any(|other| other.key == one.key) {
            causes.push(field::duplicate(&path.child("key"), &one.key));
        }
    }
    causes
}
