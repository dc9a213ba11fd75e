//! Regular expressions: `matches`, and Kubernetes' `find` and `findAll`.

use regex::{Regex, RegexBuilder};

use super::Run;
use crate::api::cel::{
    error::Failure,
    value::{Outcome, Value},
};

/// Memory that one compiled pattern may take.
const PATTERN_LIMIT_BYTES: usize = 1 << 18;

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
    let compiled = RegexBuilder::new(&translated(text)).size_limit(PATTERN_LIMIT_BYTES).build();
    compiled.map_err(|error| {
        let message = error.to_string();
        let last = message.lines().last().unwrap_or_default().trim();
        format!("error parsing regexp: {}: `{text}`", said(last.strip_prefix("error: ").unwrap_or(last)))
    })
}

/// An error as Go's `regexp` says it.
fn said(message: &str) -> &str {
    match message {
        "unclosed group" => "missing closing )",
        "unopened group" => "unexpected )",
        "unclosed character class" => "missing closing ]",
        "repetition operator missing expression" => "missing argument to repetition operator",
        other => other,
    }
}

/// A pattern of RE2 in the words of the `regex` crate, where classes have operators of their own, and what
/// `\d`, `\s`, `\w` and `\b` mean is not ASCII alone.
fn translated(text: &str) -> String {
    let (mut out, mut rest, mut in_class) = (String::with_capacity(text.len() + 16), text, false);
    while let Some(next) = rest.chars().next() {
        let mut length = next.len_utf8();
        match next {
            '\\' => {
                let escaped = rest[1..].chars().next();
                length += escaped.map_or(0, char::len_utf8);
                out.push_str(&escape(&rest[..length], in_class));
            }
            '[' if in_class && rest.starts_with("[:") => out.push('['),
            '[' if in_class => out.push_str("\\["),
            '[' => {
                in_class = true;
                // What closes a class at its beginning is a member of it.
                let begins = if rest.starts_with("[^") { "[^" } else { "[" };
                length = begins.len();
                out.push_str(begins);
                if rest[length..].starts_with(']') {
                    out.push_str("\\]");
                    length += 1;
                }
            }
            ']' if in_class && out.ends_with(':') => out.push(']'),
            ']' => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => out.extend(['\\', next]),
            other => out.push(other),
        }
        rest = &rest[length..];
    }
    out
}

fn escape(escape: &str, in_class: bool) -> String {
    let (set, negated) = match escape {
        "\\d" | "\\D" => ("0-9", escape == "\\D"),
        "\\s" | "\\S" => ("\\t\\n\\x0C\\r ", escape == "\\S"),
        "\\w" | "\\W" => ("0-9A-Za-z_", escape == "\\W"),
        "\\b" | "\\B" if !in_class => return format!("(?-u:{escape})"),
        other => return other.to_owned(),
    };
    match (negated, in_class) {
        (true, _) => format!("[^{set}]"),
        (false, true) => set.to_owned(),
        (false, false) => format!("[{set}]"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_re2() {
        for (text, subject, expected) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "\u{664}", false),
            (r"^[\w.-]+$", "a.b-c_1", true),
            (r"^\w+$", "\u{e4}", false),
            (r"^\W$", "\u{e4}", true),
            (r"^[^\s]+$", "a b", false),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[[a]+$", "[a", true),
            (r"^[]a]+$", "]a", true),
            (r"^[[:alpha:]_]+$", "ab_", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^\[\]$", "[]", true),
            (r"^[^]]$", "a", true),
        ] {
            assert_eq!(pattern(text).unwrap().is_match(subject), expected, "{text} {subject}");
        }
        assert_eq!(pattern("(").unwrap_err(), "error parsing regexp: missing closing ): `(`");
    }
}
