//! Holds an object against the rules of its schema, in upstream's words and within upstream's
//! budget. Rules about changes are asked where there is something to compare with; what was wrong
//! before and has not changed is not held against an update (KEP-4008).

use serde_json::{Map, Value};

use super::{
    super::{
        correlate::{counterpart, is_unchanged},
        structural::{Kind, Structural},
    },
    OLD_SELF, Rule, Rules, SELF,
};
use crate::api::{
    cel::{self, Activation, Budget, EvaluationError, OBJECT_BUDGET, Program, Shape},
    field::{self, Path},
    status::Cause,
};

/// Longest message that an expression may make, in bytes.
const MESSAGE_LIMIT: usize = 5 * 1024;
/// How messages begin of an evaluation that costs more than one may.
const TOO_EXPENSIVE: &str = "operation cancelled: actual cost limit exceeded";
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// Every rule that an object does not satisfy, and of these those that it did not satisfy before either and has not
/// changed, which are tolerated; `old` is what it was before.
pub fn validate(object: &Value, old: Option<&Value>, schema: &Structural, rules: &Rules) -> Vec<Cause> {
    validate_at(object, old, schema, rules, &Path::default())
}

/// Every rule that a value does not satisfy, told of as being at `path`.
pub fn validate_at(value: &Value, old: Option<&Value>, schema: &Structural, rules: &Rules, path: &Path) -> Vec<Cause> {
    let mut walk = Walk { budget: Budget::new(OBJECT_BUDGET), causes: Vec::new(), stopped: false };
    walk.value(rules, &Site { value, old, parent: None, schema }, path);
    walk.causes
}

struct Walk {
    budget: Budget,
    causes: Vec<Cause>,
    /// The budget is used up.
    stopped: bool,
}

/// A value, its schema, and what it was.
#[derive(Clone, Copy)]
struct Site<'v> {
    value: &'v Value,
    old: Option<&'v Value>,
    schema: &'v Structural,
    /// The value around it of which the past is known, with that past.
    parent: Option<(&'v Value, &'v Value, &'v Structural)>,
}

impl<'v> Site<'v> {
    fn child(&self, value: &'v Value, old: Option<&'v Value>, schema: &'v Structural) -> Self {
        let parent = self.old.map(|old| (self.value, old, self.schema)).or(self.parent);
        Self { value, old, schema, parent }
    }

    /// Whether the value, or else what it is a part of, is what it was.
    fn is_unchanged(&self) -> bool {
        let known = self.old.map(|old| (self.value, old, self.schema)).or(self.parent);
        known.is_some_and(|(new, old, schema)| is_unchanged(new, old, schema))
    }
}

impl Walk {
    fn value(&mut self, rules: &Rules, site: &Site<'_>, path: &Path) {
        if self.stopped || site.value.is_null() {
            return;
        }
        if let (Some(shape), false) = (&rules.shape, rules.own.is_empty()) {
            self.own(&rules.own, shape, site, path);
        }
        match site.value {
            Value::Object(fields) => self.fields(rules, fields, site, path),
            Value::Array(items) => self.items(rules, items, site, path),
            _ => {}
        }
    }

    fn fields(&mut self, rules: &Rules, fields: &Map<String, Value>, site: &Site<'_>, path: &Path) {
        let past = |name: &str| site.old.and_then(|old| old.get(name));
        for (name, value) in fields {
            let declared = rules.property(name).zip(site.schema.property(name));
            let additional = rules.additional.as_deref().zip(site.schema.additional.as_deref());
            if let Some((rules, schema)) = declared {
                self.value(rules, &site.child(value, past(name), schema), &path.child(name));
            } else if let Some((rules, schema)) = additional {
                self.value(rules, &site.child(value, past(name), schema), &path.key(name));
            }
        }
    }

    fn items(&mut self, rules: &Rules, items: &[Value], site: &Site<'_>, path: &Path) {
        let Some((rules, schema)) = rules.items.as_deref().zip(site.schema.items.as_deref()) else { return };
        let before = site.old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            let old = counterpart(item, before, &site.schema.list);
            self.value(rules, &site.child(item, old, schema), &path.index(index));
        }
    }

    fn own(&mut self, rules: &[Rule], shape: &Shape, site: &Site<'_>, path: &Path) {
        let old = site.old.filter(|old| !old.is_null());
        for rule in rules {
            let optional = rule.source.optional_old_self == Some(true);
            if self.stopped || old.is_none() && !optional && rule.is_transition() {
                continue;
            }
            match values(site.value, old, shape, optional) {
                Ok(activation) => self.rule(rule, &activation, site, path),
                Err(error) => self.not_evaluated(rule, &error, site, path),
            }
        }
    }

    fn rule<'a>(&mut self, rule: &'a Rule, activation: &Activation<'a>, site: &Site<'_>, path: &Path) {
        let program = match &rule.program {
            Ok(program) => program,
            Err(error) => {
                let detail = format!("rule compile error: {error}");
                return self.causes.push(field::invalid(&shown(path), site.schema.kind.name(), &detail));
            }
        };
        match program.evaluate(activation, &mut self.budget) {
            Ok(result) if result.as_bool() == Some(true) => {}
            Ok(_) => self.failed(rule, activation, site, path),
            Err(error) => self.not_evaluated(rule, &error, site, path),
        }
    }

    fn not_evaluated(&mut self, rule: &Rule, error: &EvaluationError, site: &Site<'_>, path: &Path) {
        let detail = self.explain(rule, error);
        self.causes.push(field::invalid(&shown(path), site.schema.kind.name(), &detail));
    }

    /// What went wrong in an evaluation; and no rule is evaluated after one that was too expensive.
    fn explain(&mut self, rule: &Rule, error: &EvaluationError) -> String {
        let text = named(rule);
        match error {
            EvaluationError::OutOfBudget => {
                self.stopped = true;
                OUT_OF_BUDGET.to_owned()
            }
            EvaluationError::Failed(problem) if problem.starts_with("no such overload") => format!(
                "'{problem}': call arguments did not match a supported operator, function or macro signature for rule: \
                 {text}"
            ),
            EvaluationError::Failed(problem) if problem.starts_with(TOO_EXPENSIVE) => {
                self.stopped = true;
                format!(
                    "'{problem}': no further validation rules will be run due to call cost exceeds limit for rule: \
                     {text}"
                )
            }
            EvaluationError::Failed(problem) => format!("{problem} evaluating rule: {text}"),
        }
    }

    fn failed<'a>(&mut self, rule: &'a Rule, activation: &Activation<'a>, site: &Site<'_>, path: &Path) {
        let path = rule.field.as_ref().map_or_else(|| path.clone(), |field| path.child(field));
        let message = match &rule.message {
            Some(Ok(program)) => self.message(program, activation),
            _ => Ok(None),
        };
        let cause = match message {
            Ok(message) => {
                let detail = message.unwrap_or_else(|| own_message(rule));
                cause(&shown(&path), site, &detail, rule.source.reason.as_deref())
            }
            Err(problem) => {
                self.stopped = true;
                field::invalid(&shown(&path), site.schema.kind.name(), &problem)
            }
        };
        let is_tolerated = !rule.is_transition() && site.is_unchanged();
        self.causes.push(Cause { is_tolerated, ..cause });
    }

    /// What an expression makes the message to be, unless that is unfit to be one; an error if it costs
    /// too much.
    fn message<'a>(&mut self, program: &'a Program, activation: &Activation<'a>) -> Result<Option<String>, String> {
        match program.evaluate(activation, &mut self.budget) {
            Ok(message) => {
                let text = message.as_str().unwrap_or_default().trim();
                let fits = !text.is_empty() && text.len() <= MESSAGE_LIMIT && !text.contains('\n');
                Ok(fits.then(|| text.to_owned()))
            }
            Err(EvaluationError::OutOfBudget) => Err("messageExpression evaluation failed due to running out of cost \
                                                      budget, no further validation rules will be run"
                .into()),
            Err(EvaluationError::Failed(problem)) if problem.starts_with(TOO_EXPENSIVE) => {
                let text = program.source();
                Err(format!(
                    "no further validation rules will be run due to call cost exceeds limit for messageExpression: \
                     {text:?}"
                ))
            }
            Err(EvaluationError::Failed(problem)) => {
                tracing::debug!(problem, "the expression of a message failed");
                Ok(None)
            }
        }
    }
}

/// What a rule may name. `optional` says that the past is a value that may be none.
fn values<'v>(
    value: &'v Value,
    old: Option<&'v Value>,
    shape: &'v Shape,
    optional: bool,
) -> Result<Activation<'v>, EvaluationError> {
    let mut activation = Activation::new();
    activation.bind(SELF, cel::Value::shaped(value, shape)?);
    let past = old.map(|old| cel::Value::shaped(old, shape)).transpose()?;
    if optional {
        activation.bind(OLD_SELF, cel::Value::optional(past));
    } else if let Some(past) = past {
        activation.bind(OLD_SELF, past);
    }
    Ok(activation)
}

/// The root has no path.
fn shown(path: &Path) -> Path {
    if path.as_str().is_empty() { Path::new("<nil>") } else { path.clone() }
}

/// A rule as messages name it.
fn named(rule: &Rule) -> &str {
    rule.source.message.as_deref().filter(|message| !message.is_empty()).unwrap_or(&rule.source.rule).trim()
}

fn own_message(rule: &Rule) -> String {
    match rule.source.message.as_deref() {
        None | Some("") => format!("failed rule: {}", named(rule)),
        Some(message) => message.trim().to_owned(),
    }
}

/// Structures are not shown: they are large.
fn cause(path: &Path, site: &Site<'_>, detail: &str, reason: Option<&str>) -> Cause {
    let hidden = matches!(site.schema.kind, Kind::Object | Kind::Array);
    match (reason, hidden) {
        (Some("FieldValueForbidden"), _) => field::forbidden(path, detail),
        (Some("FieldValueRequired"), _) => field::required(path, detail),
        (Some("FieldValueDuplicate"), true) => field::duplicate_hidden(path),
        (Some("FieldValueDuplicate"), false) => field::duplicate(path, site.value),
        (_, true) => field::invalid_hidden(path, detail),
        (_, false) => field::invalid(path, site.value, detail),
    }
}
