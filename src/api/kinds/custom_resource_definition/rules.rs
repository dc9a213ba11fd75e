//! Validation rules in the schema of a version: that they are expressions about what they stand
//! beside, that a request of any size can be held against them in time, and that rules about changes
//! stand where there is something to compare with.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, ValidationRule};
use serde::Serialize;
use serde_json::json;

use crate::api::{
    cel::Shape,
    custom::{
        rules::{self, Rule, field_path},
        structural::{Kind, ListKind, Structural},
    },
    field::{self, Path},
    status::Cause,
};

/// The extension that holds the rules of a schema.
const EXTENSION: &str = "x-kubernetes-validations";
const REASONS: &[&str] = &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
/// What one expression may cost by estimate.
const EXPRESSION_LIMIT: u64 = 10_000_000;
/// What all expressions of a schema may cost by estimate.
const SCHEMA_LIMIT: u64 = 100_000_000;
/// Most of the expensive rules that are named.
const EXPENSIVE: usize = 4;
/// Largest request, which bounds how often a value can be there.
const REQUEST_BYTES: u64 = 3 << 20;

/// Problems of how the rules of one schema are written.
pub fn written(schema: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let all = schema.x_kubernetes_validations.as_deref().unwrap_or_default();
    let parsed = all.iter().any(|rule| rule.field_path.is_some()).then(|| Structural::read(&json!(schema)));
    let path = path.child(EXTENSION);
    all.iter().enumerate().flat_map(|(index, rule)| one(rule, parsed.as_ref(), &path.index(index))).collect()
}

/// Problems of what the rules of a version say. `root` is a structural schema.
pub fn compiled(root: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let mut check = Check { causes: Vec::new(), total: 0, expensive: Vec::new() };
    let place = Place { path: path.clone(), count: Some(1), uncorrelated: None, root: true };
    check.schema(&Structural::read(&json!(root)), &place);
    check.finish(path)
}

fn one(rule: &ValidationRule, schema: Option<&Structural>, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (message, expression, field_path) =
        (text(&rule.message), text(&rule.message_expression), text(&rule.field_path));
    let blank = |text: &str| !text.is_empty() && text.trim().is_empty();
    let broken = |text: &str| text.contains(['\n', '\r']);
    let message_path = path.child("message");
    if rule.rule.trim().is_empty() {
        causes.push(field::required(&path.child("rule"), "rule is not specified"));
    } else if blank(&message) {
        causes.push(field::invalid(&message_path, &message, "must be non-empty if specified"));
    } else if broken(message.trim()) {
        causes.push(field::invalid(&message_path, &message, "must not contain line breaks"));
    } else if broken(rule.rule.trim()) && message.is_empty() {
        causes.push(field::required(&message_path, "message must be specified if rule contains line breaks"));
    }
    if blank(&expression) {
        let path = path.child("messageExpression");
        causes.push(field::required(&path, "messageExpression must be non-empty if specified"));
    }
    if let Some(reason) = rule.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
        causes.push(field::unsupported(&path.child("reason"), reason, REASONS));
    }
    let path = path.child("fieldPath");
    if blank(&field_path) {
        causes.push(field::invalid(&path, &field_path, "must be non-empty if specified"));
    }
    if broken(&field_path) {
        causes.push(field::invalid(&path, &field_path, "must not contain line breaks"));
    }
    let leads = schema.is_none_or(|schema| field_path::resolve(&field_path, schema, true).is_ok());
    if !field_path.is_empty() && !leads {
        causes.push(field::invalid(&path, &field_path, "must be a valid path"));
    }
    causes
}

/// Where in a schema a value is described.
struct Place {
    path: Path,
    /// How many values there are at most; `None` if the schema sets no bound.
    count: Option<u64>,
    /// The list around it whose items have no past.
    uncorrelated: Option<Path>,
    root: bool,
}

struct Check {
    causes: Vec<Cause>,
    total: u64,
    expensive: Vec<(Path, u64)>,
}

impl Check {
    fn schema(&mut self, schema: &Structural, place: &Place) {
        let below = |path: Path, schema: &Structural| Place {
            path,
            count: place.count.zip(multiplicity(schema)).map(|(count, each)| count.saturating_mul(each)),
            uncorrelated: place.uncorrelated.clone(),
            root: false,
        };
        if let Some(values) = &schema.additional {
            self.schema(values, &below(place.path.child("additionalProperties"), schema));
        }
        for (name, property) in &schema.properties {
            self.schema(property, &below(place.path.child("properties").key(name), schema));
        }
        if let Some(items) = &schema.items {
            let mut below = below(place.path.child("items"), schema);
            if !matches!(schema.list, ListKind::Map(_)) {
                below.uncorrelated.get_or_insert_with(|| place.path.clone());
            }
            self.schema(items, &below);
        }
        if !schema.validations().is_empty() {
            self.own(schema, place);
        }
    }

    fn own(&mut self, schema: &Structural, place: &Place) {
        let path = place.path.child(EXTENSION);
        let Some(shape) = rules::shape_of(schema, place.root || schema.embedded) else {
            let detail = "internal error: failed to construct type information for x-kubernetes-validations rules: \
                          unable to convert structural schema to CEL declarations";
            self.causes.push(field::internal(&path, detail));
            return;
        };
        for (index, source) in schema.validations().iter().enumerate() {
            if !source.rule.trim().is_empty() {
                let rule = Rule::compile(source, &shape, schema);
                self.rule(&rule, &shape, place, &path.index(index));
            }
        }
    }

    fn rule(&mut self, rule: &Rule, shape: &Shape, place: &Place, path: &Path) {
        let at = path.child("rule");
        let (source, shown) = (&rule.source, Shown::of(&rule.source));
        match &rule.program {
            Ok(program) => {
                let count = place.count.unwrap_or_else(|| REQUEST_BYTES / (shape.least_bytes() + 1));
                let cost = program.estimated_cost().max.saturating_mul(count);
                self.spend(cost, "estimated rule cost", &at);
            }
            Err(problem) => self.causes.push(field::invalid(&at, &shown, problem)),
        }
        let message_at = path.child("messageExpression");
        match &rule.message {
            // It is evaluated for one value, that which is wrong.
            Some(Ok(program)) => {
                self.spend(program.estimated_cost().max, "estimated messageExpression cost", &message_at);
            }
            Some(Err(problem)) => self.causes.push(field::invalid(&message_at, &shown, problem)),
            None => {}
        }
        if rule.is_transition() {
            if let Some(list) = &place.uncorrelated {
                let detail =
                    format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {list}");
                self.causes.push(field::invalid(&at, &source.rule, &detail));
            }
        } else if let Some(optional) = source.optional_old_self {
            let detail = "may not be set if oldSelf is not used in rule";
            self.causes.push(field::invalid(&path.child("optionalOldSelf"), optional, detail));
        }
    }

    fn spend(&mut self, cost: u64, what: &str, path: &Path) {
        if cost > EXPRESSION_LIMIT {
            self.causes.push(field::forbidden(path, &too_expensive(what, cost, EXPRESSION_LIMIT)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= SCHEMA_LIMIT / 100 {
            self.expensive.push((path.clone(), cost));
        }
    }

    fn finish(mut self, path: &Path) -> Vec<Cause> {
        if self.total > SCHEMA_LIMIT {
            self.expensive.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
            let detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            let named = self.expensive.iter().take(EXPENSIVE);
            self.causes.extend(named.map(|(path, _)| field::forbidden(path, detail)));
            let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
            self.causes.push(field::forbidden(path, &too_expensive(what, self.total, SCHEMA_LIMIT)));
        }
        self.causes
    }
}

/// How many values there are at most below one value of a schema.
fn multiplicity(schema: &Structural) -> Option<u64> {
    let rules = schema.rules.as_deref();
    match schema.kind {
        Kind::Object if schema.additional.is_some() => rules?.properties.max,
        Kind::Array => rules?.items.max,
        _ => Some(1),
    }
}

fn too_expensive(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        factor if factor > 100.0 => "more than 100x".to_owned(),
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

/// A rule as upstream's problems show it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'r> {
    rule: &'r str,
    message: &'r str,
    message_expression: &'r str,
    reason: Option<&'r str>,
    field_path: &'r str,
    optional_old_self: Option<bool>,
}

impl<'r> Shown<'r> {
    fn of(rule: &'r ValidationRule) -> Self {
        let text = |text: &'r Option<String>| text.as_deref().unwrap_or_default();
        Self {
            rule: &rule.rule,
            message: text(&rule.message),
            message_expression: text(&rule.message_expression),
            reason: rule.reason.as_deref(),
            field_path: text(&rule.field_path),
            optional_old_self: rule.optional_old_self,
        }
    }
}
