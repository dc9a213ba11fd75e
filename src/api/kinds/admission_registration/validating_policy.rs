//! Validating admission policies: rules in CEL that a request must satisfy.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    AuditAnnotation, ExpressionWarning, ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec, Validation,
};
use serde_json::Value;

use super::{CATEGORIES, GROUP_VERSION, expressions::Compiler, matching, policy};
use crate::api::{
    custom::json_path::JsonPath,
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    kinds::{cells, names, status},
    status::Cause,
    update_check::{self, UpdateCheck},
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
    const UPDATES_UNCONDITIONALLY: bool = false;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::WHOLE;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Validations", "integer", "How many rules it has."),
        cells::column("ParamKind", "string", "The kind of its parameters."),
        cells::AGE,
    ];

    fn default(object: &mut ValidatingAdmissionPolicy) {
        let Some(spec) = object.spec.as_mut() else { return };
        policy::default(&mut spec.failure_policy, &mut spec.match_constraints);
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

    fn validate_status_update(new: &ValidatingAdmissionPolicy, _: &ValidatingAdmissionPolicy) -> Vec<Cause> {
        let (status, path) = (new.status.clone().unwrap_or_default(), Path::new("status"));
        let checked = status.type_checking.unwrap_or_default();
        let warnings = path.child("typeChecking").child("expressionWarnings");
        let warned = checked.expression_warnings.iter().flatten().enumerate();
        let mut causes: Vec<Cause> = warned.flat_map(|(index, one)| warning(one, &warnings.index(index))).collect();
        let conditions = status.conditions.unwrap_or_default();
        causes.extend(status::conditions(&conditions, &path.child("conditions")));
        causes
    }

    fn cells(object: &ValidatingAdmissionPolicy, now: Timestamp) -> Vec<Value> {
        let spec = object.spec.as_ref();
        let rules = spec.and_then(|spec| spec.validations.as_ref()).map_or(0, Vec::len);
        policy::cells(&object.metadata, rules, spec.and_then(|spec| spec.param_kind.as_ref()), now)
    }
}

fn warning(warning: &ExpressionWarning, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if warning.warning.is_empty() {
        causes.push(field::required(&path.child("warning"), ""));
    }
    let (field, path) = (warning.field_ref.trim(), path.child("fieldRef"));
    if field.is_empty() {
        causes.push(field::required(&path, ""));
    } else if JsonPath::parse(field).is_none() {
        causes.push(field::invalid(&path, field, &format!("invalid JSONPath: unrecognized text in {field}")));
    }
    causes
}

fn validate(spec: &ValidatingAdmissionPolicySpec, name: &str, path: &Path) -> Vec<Cause> {
    let shared = policy::Policy::from(spec);
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
