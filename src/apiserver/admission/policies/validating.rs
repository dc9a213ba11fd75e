//! Validating admission policies: rules that a request must satisfy, what is said of one that does
//! not, and what the audit log shall know (KEP-3488).

use k8s_openapi::api::admissionregistration::v1::{AuditAnnotation, ValidatingAdmissionPolicy, Validation};
use serde::Deserialize;
use serde_json::Value;

use super::source::{Policy, Rules};
use crate::{
    api::{
        cel::{Activation, Budget, CompileError, OBJECT_BUDGET, Program},
        kinds::admission_registration::expressions::Compiler,
        status::Reason,
    },
    apiserver::admission::expressions::conditions::{Problem, evaluate},
};

/// Longest message that an expression may make, in bytes.
const MESSAGE_LIMIT: usize = 5 * 1024;
/// Longest value of an audit annotation, in bytes.
const ANNOTATION_LIMIT: usize = 10 * 1024;

/// What a validating policy demands and notes.
#[derive(Debug)]
pub struct Validations {
    rules: Vec<Rule>,
    annotations: Vec<Note>,
}

#[derive(Debug)]
struct Rule {
    text: String,
    program: Result<Program, CompileError>,
    /// What is said unless an expression makes the message.
    message: String,
    message_program: Option<Result<Program, CompileError>>,
    reason: Reason,
}

#[derive(Debug)]
struct Note {
    key: String,
    text: String,
    program: Result<Program, CompileError>,
}

/// A rule that is not satisfied, or that could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Which of the policy's rules it is.
    pub index: usize,
    /// What is said of it.
    pub message: String,
    /// The reason of the refusal.
    pub reason: Reason,
}

/// What a policy makes of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// What is wrong with the request; what follows of it is the binding's to say.
    pub denials: Vec<Denial>,
    /// Annotations for the audit log: key and value.
    pub annotations: Vec<(String, String)>,
    /// Annotations that could not be made, for which the request is refused in any case.
    pub failures: Vec<String>,
}

impl Rules for Validations {
    const POLICIES: &'static str = "validatingadmissionpolicies";
    const BINDINGS: &'static str = "validatingadmissionpolicybindings";

    fn compiler(has_parameters: bool) -> Compiler {
        Compiler::new(has_parameters).composing()
    }

    fn compile(policy: &Value, compiler: &Compiler) -> Option<Self> {
        let spec = ValidatingAdmissionPolicy::deserialize(policy).ok()?.spec.unwrap_or_default();
        let rules = spec.validations.iter().flatten().map(|rule| Rule::new(rule, compiler)).collect();
        let annotations = spec.audit_annotations.iter().flatten().map(|note| Note::new(note, compiler)).collect();
        Some(Self { rules, annotations })
    }
}

impl Rule {
    fn new(rule: &Validation, compiler: &Compiler) -> Self {
        let message = rule.message.as_deref().unwrap_or_default().trim();
        let message_expression = rule.message_expression.as_deref().filter(|text| !text.is_empty());
        Self {
            text: rule.expression.trim().to_owned(),
            program: compiler.validation(&rule.expression),
            message: message.to_owned(),
            message_program: message_expression.map(|text| compiler.message(text)),
            reason: match rule.reason.as_deref() {
                Some("Unauthorized") => Reason::Unauthorized,
                Some("Forbidden") => Reason::Forbidden,
                Some("RequestEntityTooLarge") => Reason::RequestEntityTooLarge,
                _ => Reason::Invalid,
            },
        }
    }

    /// What is wrong with the request, if something is; an error if the budget is used up.
    fn review<'a>(&'a self, activation: &Activation<'a>, budget: &mut Budget) -> Result<Verdict, String> {
        match evaluate(&self.program, activation, budget) {
            Ok(value) if value.as_bool() == Some(true) => Ok(Verdict::Satisfied),
            Ok(_) => self.message(activation, budget),
            Err(Problem::Failed(problem)) => Ok(Verdict::Failed(problem)),
            Err(Problem::OutOfBudget(problem)) => Err(problem),
        }
    }

    fn message<'a>(&'a self, activation: &Activation<'a>, budget: &mut Budget) -> Result<Verdict, String> {
        let made = match self.message_program.as_ref().map(|program| evaluate(program, activation, budget)) {
            Some(Ok(value)) => value.as_str().unwrap_or_default().trim().to_owned(),
            Some(Err(Problem::Failed(problem))) => {
                tracing::debug!(problem, "the expression of a message failed");
                String::new()
            }
            Some(Err(Problem::OutOfBudget(problem))) => {
                return Ok(Verdict::Failed(format!("failed messageExpression: {problem}")));
            }
            None => String::new(),
        };
        let is_fit = !made.is_empty() && made.len() <= MESSAGE_LIMIT && !made.contains('\n');
        Ok(Verdict::Denied(match (is_fit, self.message.as_str()) {
            (true, _) => made,
            (false, "") => format!("failed expression: {}", self.text),
            (false, own) => own.to_owned(),
        }))
    }
}

impl Note {
    fn new(note: &AuditAnnotation, compiler: &Compiler) -> Self {
        let text = note.value_expression.trim();
        Self { key: note.key.clone(), text: text.to_owned(), program: compiler.annotation(text) }
    }
}

enum Verdict {
    Satisfied,
    Denied(String),
    Failed(String),
}

impl Policy<Validations> {
    /// What the policy makes of a request. `asked` has the values that its match conditions may look at,
    /// `activation` those of its rules.
    pub fn review<'a>(&'a self, asked: &Activation<'a>, activation: &Activation<'a>) -> Review {
        match self.definition.is_met(asked) {
            Ok(true) => {}
            Ok(false) => return Review::default(),
            Err(problem) => return self.failed(problem),
        }
        let mut review = Review::default();
        let mut budget = Budget::new(OBJECT_BUDGET);
        for (index, rule) in self.rules.rules.iter().enumerate() {
            let (message, reason) = match rule.review(activation, &mut budget) {
                Ok(Verdict::Satisfied) => continue,
                Ok(Verdict::Failed(_)) if !self.definition.fails => continue,
                Ok(Verdict::Failed(message)) => (message, Reason::Invalid),
                Ok(Verdict::Denied(message)) => (message, rule.reason),
                Err(problem) => return self.failed(problem),
            };
            review.denials.push(Denial { index, message, reason });
        }
        match self.annotate(activation, &mut review) {
            Ok(()) => review,
            Err(problem) => self.failed(problem),
        }
    }

    /// What could not be evaluated at all is refused, or ignored, as the policy says.
    fn failed(&self, message: String) -> Review {
        let denial = Denial { index: 0, message, reason: Reason::Invalid };
        Review { denials: self.definition.fails.then_some(denial).into_iter().collect(), ..Review::default() }
    }

    fn annotate<'a>(&'a self, activation: &Activation<'a>, review: &mut Review) -> Result<(), String> {
        let mut budget = Budget::new(OBJECT_BUDGET);
        for note in &self.rules.annotations {
            match evaluate(&note.program, activation, &mut budget) {
                Ok(value) if value.is_null() => {}
                Ok(value) => match value.as_str().map(str::trim) {
                    Some("") => {}
                    Some(text) => {
                        let text = &text[..text.floor_char_boundary(ANNOTATION_LIMIT)];
                        review.annotations.push((note.key.clone(), text.to_owned()));
                    }
                    None => review.failures.push(format!(
                        "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either \
                         string or null.",
                        note.text,
                        value.kind()
                    )),
                },
                Err(Problem::Failed(problem)) if self.definition.fails => review.failures.push(problem),
                Err(Problem::Failed(_)) => {}
                Err(Problem::OutOfBudget(problem)) => return Err(problem),
            }
        }
        Ok(())
    }
}
