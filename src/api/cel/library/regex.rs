//! Regular expressions: `matches`, and Kubernetes' `find` and `findAll`.

use regex::{Regex, RegexBuilder};

use super::Run;
use crate::api::cel::{
    error::Failure,
    value::{Outcome, Value},
};

/// Memory that one compiled pattern may take.
const PATTERN_LIMIT_BYTES: usize = 1 << 20;

pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    ("matches(string, string) bool; (string).matches(string) bool", |values| {
        matches(&pattern(values[1].text()?).map_err(Failure::new)?, values)
    }),
    ("(string).find(string) string", |values| find(&illegal(values[1].text()?)?, values)),
    ("(string).findAll(string) list<string>; (string).findAll(string, int) list<string>", |values| {
        find_all(&illegal(values[1].text()?)?, values)
    }),
];

/// A function whose pattern is compiled before.
pub(in crate::api::cel) type Prepared = for<'a> fn(&Regex, &[Value<'a>]) -> Outcome<'a>;

/// The function `name` for a pattern that is compiled once.
pub(in crate::api::cel) fn prepared(name: &str) -> Option<Prepared> {
    match name {
        "matches" => Some(matches),
        "find" => Some(find),
        "findAll" => Some(find_all),
        _ => None,
    }
}

/// Compiles a pattern. The error is one line.
pub(in crate::api::cel) fn pattern(text: &str) -> Result<Regex, String> {
    let compiled = RegexBuilder::new(text).size_limit(PATTERN_LIMIT_BYTES).build();
    compiled.map_err(|error| {
        let message = error.to_string();
        let last = message.lines().last().unwrap_or_default().trim();
        format!("error parsing regexp: {}: `{text}`", last.strip_prefix("error: ").unwrap_or(last))
    })
}

fn illegal(text: &str) -> Result<Regex, Failure> {
    pattern(text).map_err(|message| Failure::new(format!("Illegal regex: {message}")))
}

fn matches<'a>(pattern: &Regex, values: &[Value<'a>]) -> Outcome<'a> {
    Ok(pattern.is_match(values[0].text()?).into())
}

fn find<'a>(pattern: &Regex, values: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::string(pattern.find(values[0].text()?).map_or("", |found| found.as_str())))
}

fn find_all<'a>(pattern: &Regex, values: &[Value<'a>]) -> Outcome<'a> {
    let most = match values.get(2) {
        Some(most) => usize::try_from(most.int()?).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    Ok(Value::strings(pattern.find_iter(values[0].text()?).take(most).map(|found| found.as_str())))
}
