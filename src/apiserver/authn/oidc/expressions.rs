//! The expressions of an issuer's configuration, compiled, and what they make of claims.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::{
    api::{
        cel::{Activation, Budget, CALL_LIMIT, Environment, Program, Type, Value},
        field::{self, Path},
        status::Cause,
    },
    apiserver::authn::oidc::config::{Issuer, Mapping, validate_extra_key},
    http::identity::User,
};

const CLAIMS: &str = "claims";
const USER: &str = "user";

/// Compiled expressions; those that were not given are missing.
#[derive(Debug, Default)]
pub struct Expressions {
    username: Option<Program>,
    groups: Option<Program>,
    uid: Option<Program>,
    extra: Vec<(String, Program)>,
    claim_rules: Vec<Rule>,
    user_rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    program: Program,
    message: String,
}

impl Expressions {
    /// Checks everything in which expressions may stand, and compiles them.
    pub fn compile(issuer: &Issuer, path: &Path, causes: &mut Vec<Cause>) -> Self {
        let mappings = path.child("claimMappings");
        let of = &issuer.claim_mappings;
        let claim_rules = claim_rules(issuer, &path.child("claimValidationRules"), causes);
        let username = prefixed(&of.username, &mappings.child("username"), true, causes);
        let groups = prefixed(&of.groups, &mappings.child("groups"), false, causes);
        let uid = uid(&of.uid, &mappings.child("uid"), causes);
        let extra = extra(issuer, &mappings.child("extra"), causes);
        let user_rules = user_rules(issuer, &path.child("userValidationRules"), causes);
        let compiled = Self { username, groups, uid, extra, claim_rules, user_rules };
        compiled.check_email(issuer, &mappings.child("username").child("expression"), causes);
        compiled
    }

    /// An address that its owner did not confirm must name nobody.
    fn check_email(&self, issuer: &Issuer, path: &Path, causes: &mut Vec<Cause>) {
        let Some(username) = &self.username else { return };
        let extra = self.extra.iter().map(|(_, program)| program);
        let rules = self.claim_rules.iter().map(|rule| &rule.program);
        let is_checked =
            rules.chain(extra).chain([username]).any(|program| mentions(program.source(), "email_verified"));
        if mentions(username.source(), "email") && !is_checked {
            let detail = "claims.email_verified must be used in claimMappings.username.expression or \
                          claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when \
                          claims.email is used in claimMappings.username.expression";
            causes.push(field::invalid(path, &issuer.claim_mappings.username.expression, detail));
        }
    }

    /// The name, if an expression gives it.
    pub fn username(&self, claims: &Json) -> Option<Result<String, String>> {
        let found = text(self.username.as_ref()?, claims, "username");
        Some(found.and_then(|name| match name.as_str() {
            "" => Err("oidc: empty username via CEL expression is not allowed".to_owned()),
            _ => Ok(name),
        }))
    }

    /// The groups, if an expression gives them.
    pub fn groups(&self, claims: &Json) -> Option<Result<Vec<String>, String>> {
        let failed = |why: String| format!("oidc: error evaluating group claim expression: {why}");
        Some(evaluate(self.groups.as_ref()?, CLAIMS, claims).and_then(|value| list(&value)).map_err(failed))
    }

    /// The UID, if an expression gives it.
    pub fn uid(&self, claims: &Json) -> Option<Result<String, String>> {
        Some(text(self.uid.as_ref()?, claims, "uid"))
    }

    /// Extra attributes.
    pub fn extra(&self, claims: &Json) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut extra = BTreeMap::new();
        for (key, program) in &self.extra {
            let values = evaluate(program, CLAIMS, claims)
                .and_then(|value| list(&value))
                .map_err(|why| format!("oidc: error evaluating extra claim expression: {}: {why}", program.source()))?;
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        Ok(extra)
    }

    /// Whether all rules about claims hold.
    pub fn check_claims(&self, claims: &Json) -> Result<(), String> {
        let failed = |why: String| format!("oidc: error evaluating claim validation expression: {why}");
        self.claim_rules.iter().try_for_each(|rule| rule.check(CLAIMS, claims)).map_err(failed)
    }

    /// Whether all rules about the user hold.
    pub fn check_user(&self, user: &User) -> Result<(), String> {
        if self.user_rules.is_empty() {
            return Ok(());
        }
        let User { name, uid, groups, extra } = user;
        let user = json!({"username": name, "uid": uid, "groups": groups, "extra": extra});
        let failed = |why: String| format!("oidc: error evaluating user info validation rule: {why}");
        self.user_rules.iter().try_for_each(|rule| rule.check(USER, &user)).map_err(failed)
    }
}

impl Rule {
    fn check(&self, variable: &str, value: &Json) -> Result<(), String> {
        match evaluate(&self.program, variable, value)?.as_bool() {
            Some(true) => Ok(()),
            Some(false) => Err(format!("validation expression '{}' failed: {}", self.program.source(), self.message)),
            None => Err("validation expression must return a boolean".to_owned()),
        }
    }
}

fn evaluate(program: &Program, variable: &str, value: &Json) -> Result<Json, String> {
    let mut activation = Activation::new();
    activation.bind(variable, Value::from(value));
    let outcome = program.evaluate(&activation, &mut Budget::new(CALL_LIMIT));
    outcome.and_then(|value| value.to_json()).map_err(|error| error.to_string())
}

fn text(program: &Program, claims: &Json, what: &str) -> Result<String, String> {
    let failed = |why: String| format!("oidc: error evaluating {what} claim expression: {why}");
    match evaluate(program, CLAIMS, claims).map_err(failed)? {
        Json::String(text) => Ok(text),
        _ => Err(failed(format!("{what} claim expression must return a string"))),
    }
}

/// Nothing, a text, or a list of texts. Empty ones do not count.
fn list(value: &Json) -> Result<Vec<String>, String> {
    let wrong = || "expression must return a string or a list of strings".to_owned();
    let texts = match value {
        Json::Null => Vec::new(),
        Json::String(text) => vec![text.clone()],
        Json::Array(items) => {
            let text = |item: &Json| item.as_str().map(str::to_owned).ok_or_else(wrong);
            items.iter().map(text).collect::<Result<_, _>>()?
        }
        _ => return Err(wrong()),
    };
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}

/// Whether a text names `claims.<claim>`.
fn mentions(source: &str, claim: &str) -> bool {
    let dense: String = source.chars().filter(|letter| !letter.is_whitespace()).collect();
    [".", ".?"].iter().any(|operator| {
        let name = format!("{CLAIMS}{operator}{claim}");
        dense.match_indices(&name).any(|(position, _)| {
            let next = dense[position + name.len()..].chars().next();
            !next.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
        })
    })
}

fn of_claims() -> Environment {
    Environment::new().with(CLAIMS, Type::map(Type::String, Type::Dyn))
}

fn of_user() -> Environment {
    let texts = || Type::list(Type::String);
    let extra = Type::map(Type::String, texts());
    let fields = [("username", Type::String), ("uid", Type::String), ("groups", texts()), ("extra", extra)];
    Environment::new().with(USER, Type::object("kubernetes.UserInfo", fields))
}

fn program(
    source: &str,
    environment: &Environment,
    expected: &[Type],
    path: &Path,
    causes: &mut Vec<Cause>,
) -> Option<Program> {
    match Program::compile(source, environment, expected) {
        Ok(program) => Some(program),
        Err(error) => {
            causes.push(field::invalid(path, source, &error.to_string()));
            None
        }
    }
}

fn prefixed(mapping: &Mapping, path: &Path, is_required: bool, causes: &mut Vec<Cause>) -> Option<Program> {
    match (mapping.claim.as_str(), mapping.expression.as_str()) {
        ("", "") => {
            if is_required {
                causes.push(field::required(path, "claim or expression is required"));
            }
            None
        }
        ("", expression) => {
            if let Some(prefix) = &mapping.prefix {
                let detail = "may not be specified when expression is set";
                causes.push(field::invalid(&path.child("prefix"), prefix, detail));
            }
            program(expression, &of_claims(), &[], &path.child("expression"), causes)
        }
        (_, "") => {
            if mapping.prefix.is_none() {
                let detail =
                    "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
                causes.push(field::required(&path.child("prefix"), detail));
            }
            None
        }
        _ => {
            causes.push(field::invalid(path, "", "claim and expression can't both be set"));
            None
        }
    }
}

fn uid(mapping: &Mapping, path: &Path, causes: &mut Vec<Cause>) -> Option<Program> {
    if !mapping.claim.is_empty() && !mapping.expression.is_empty() {
        causes.push(field::invalid(path, "", "claim and expression can't both be set"));
        return None;
    }
    let expression = Some(&mapping.expression).filter(|expression| !expression.is_empty())?;
    program(expression, &of_claims(), &[], &path.child("expression"), causes)
}

fn extra(issuer: &Issuer, path: &Path, causes: &mut Vec<Cause>) -> Vec<(String, Program)> {
    let all = &issuer.claim_mappings.extra;
    let mut compiled = Vec::new();
    for (index, mapping) in all.iter().enumerate() {
        let path = path.index(index);
        validate_extra_key(&mapping.key, &path.child("key"), causes);
        if all[..index].iter().any(|other| other.key == mapping.key) {
            causes.push(field::duplicate(&path.child("key"), &mapping.key));
        } else if mapping.value_expression.is_empty() {
            causes.push(field::required(&path.child("valueExpression"), ""));
        } else {
            let path = path.child("valueExpression");
            let program = program(&mapping.value_expression, &of_claims(), &[], &path, causes);
            compiled.extend(program.map(|program| (mapping.key.clone(), program)));
        }
    }
    compiled
}

fn claim_rules(issuer: &Issuer, path: &Path, causes: &mut Vec<Cause>) -> Vec<Rule> {
    let all = &issuer.claim_validation_rules;
    let mut compiled = Vec::new();
    for (index, rule) in all.iter().enumerate() {
        let (path, before) = (path.index(index), &all[..index]);
        match (rule.claim.as_str(), rule.expression.as_str()) {
            ("", "") => causes.push(field::required(&path, "claim or expression is required")),
            ("", expression) => {
                if !rule.required_value.is_empty() {
                    let detail = "may not be specified when expression is set";
                    causes.push(field::invalid(&path.child("requiredValue"), &rule.required_value, detail));
                }
                let place = path.child("expression");
                if before.iter().any(|other| other.expression == expression) {
                    causes.push(field::duplicate(&place, expression));
                } else {
                    let program = program(expression, &of_claims(), &[Type::Bool], &place, causes);
                    compiled.extend(program.map(|program| Rule { program, message: rule.message.clone() }));
                }
            }
            (claim, "") => {
                if !rule.message.is_empty() {
                    let detail = "may not be specified when claim is set";
                    causes.push(field::invalid(&path.child("message"), &rule.message, detail));
                }
                if before.iter().any(|other| other.claim == claim) {
                    causes.push(field::duplicate(&path.child("claim"), claim));
                }
            }
            (claim, _) => causes.push(field::invalid(&path, claim, "claim and expression can't both be set")),
        }
    }
    compiled
}

fn user_rules(issuer: &Issuer, path: &Path, causes: &mut Vec<Cause>) -> Vec<Rule> {
    let all = &issuer.user_validation_rules;
    let mut compiled = Vec::new();
    for (index, rule) in all.iter().enumerate() {
        let path = path.index(index).child("expression");
        if rule.expression.is_empty() {
            causes.push(field::required(&path, ""));
        } else if all[..index].iter().any(|other| other.expression == rule.expression) {
            causes.push(field::duplicate(&path, &rule.expression));
        } else {
            let program = program(&rule.expression, &of_user(), &[Type::Bool], &path, causes);
            compiled.extend(program.map(|program| Rule { program, message: rule.message.clone() }));
        }
    }
    compiled
}
