//! Questions about permissions: `authorizer.group('').resource('pods').namespace('x').check('get').allowed()`.

use std::sync::Arc;

use super::{Run, native::Native};
use crate::api::{
    cel::{
        authorizer::{Check, Decision, Identity, Question},
        error::Failure,
        types::Opaque,
        value::{Outcome, Value},
    },
    validation::name,
};

pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    ("(authorizer).path(string) path", |values| {
        let path = filled(&values[1], "path must not be empty")?;
        ask(values, Opaque::PathCheck, |question| question.path = Some(path))
    }),
    ("(authorizer).group(string) group", |values| {
        let group = values[1].text()?.to_owned();
        ask(values, Opaque::GroupCheck, |question| question.group = group)
    }),
    ("(authorizer).serviceAccount(string, string) authorizer", service_account),
    ("(group).resource(string) resource", |values| {
        let resource = filled(&values[1], "resource must not be empty")?;
        ask(values, Opaque::ResourceCheck, |question| question.resource = resource)
    }),
    ("(resource).subresource(string) resource", |values| set(values, |question| &mut question.subresource)),
    ("(resource).namespace(string) resource", |values| set(values, |question| &mut question.namespace)),
    ("(resource).name(string) resource", |values| set(values, |question| &mut question.name)),
    ("(resource).fieldSelector(string) resource", |values| set(values, |question| &mut question.field_selector)),
    ("(resource).labelSelector(string) resource", |values| set(values, |question| &mut question.label_selector)),
    ("(path).check(string) decision; (resource).check(string) decision", |values| {
        let decision = check(&values[0])?.decide(values[1].text()?);
        Ok(Native::Decision(Arc::new(decision)).into())
    }),
    ("(decision).errored() bool", |values| Ok(decision(&values[0])?.error.is_some().into())),
    ("(decision).error() string", |values| {
        Ok(Value::string(decision(&values[0])?.error.as_deref().unwrap_or_default()))
    }),
    ("(decision).allowed() bool", |values| Ok(decision(&values[0])?.allowed.into())),
    ("(decision).reason() string", |values| Ok(Value::string(decision(&values[0])?.reason.as_str()))),
];

fn check<'v, 'a>(value: &'v Value<'a>) -> Result<&'v Check<'a>, Failure> {
    match value.native()? {
        Native::Check(_, check) => Ok(check),
        _ => Err(Failure::no_overload()),
    }
}

fn decision<'v>(value: &'v Value<'_>) -> Result<&'v Decision, Failure> {
    match value.native()? {
        Native::Decision(decision) => Ok(decision),
        _ => Err(Failure::no_overload()),
    }
}

fn filled(value: &Value<'_>, empty: &str) -> Result<String, Failure> {
    let text = value.text()?;
    if text.trim().is_empty() { Err(Failure::new(empty)) } else { Ok(text.to_owned()) }
}

/// The question with a change.
fn ask<'a>(values: &[Value<'a>], kind: Opaque, change: impl FnOnce(&mut Question)) -> Outcome<'a> {
    let mut changed = check(&values[0])?.clone();
    change(&mut changed.question);
    Ok(Native::Check(kind, Arc::new(changed)).into())
}

fn set<'a>(values: &[Value<'a>], part: fn(&mut Question) -> &mut String) -> Outcome<'a> {
    let text = values[1].text()?.to_owned();
    ask(values, Opaque::ResourceCheck, |question| *part(question) = text)
}

fn service_account<'a>(values: &[Value<'a>]) -> Outcome<'a> {
    let (namespace, account) = (values[1].text()?.to_owned(), values[2].text()?.to_owned());
    if !name::dns1123_subdomain(&account).is_empty() {
        return Err(Failure::new("Invalid service account name"));
    }
    if !name::dns1123_label(&namespace).is_empty() {
        return Err(Failure::new("Invalid service account namespace"));
    }
    ask(values, Opaque::Authorizer, |question| {
        question.identity = Identity::ServiceAccount { namespace, name: account };
    })
}
