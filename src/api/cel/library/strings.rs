//! Functions of text (cel-go's `ext.Strings`, version 2). Places are counted in characters.

use super::{Run, format_text};
use crate::api::cel::{
    error::Failure,
    value::{Outcome, Value},
};

/// Longer texts are not made: what they cost does not say how long they get.
pub(super) const TEXT_LIMIT_BYTES: usize = 16 * 1024 * 1024;

pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    ("(string).contains(string) bool", |values| Ok(values[0].text()?.contains(values[1].text()?).into())),
    ("(string).startsWith(string) bool", |values| Ok(values[0].text()?.starts_with(values[1].text()?).into())),
    ("(string).endsWith(string) bool", |values| Ok(values[0].text()?.ends_with(values[1].text()?).into())),
    ("(string).charAt(int) string", |values| char_at(values[0].text()?, values[1].int()?)),
    ("(string).indexOf(string) int", |values| index_of(values[0].text()?, values[1].text()?, 0)),
    ("(string).indexOf(string, int) int", |values| index_of(values[0].text()?, values[1].text()?, values[2].int()?)),
    ("(string).lastIndexOf(string) int", |values| last_index_of(values[0].text()?, values[1].text()?, None)),
    ("(string).lastIndexOf(string, int) int", |values| {
        last_index_of(values[0].text()?, values[1].text()?, Some(values[2].int()?))
    }),
    ("(string).lowerAscii() string", |values| Ok(Value::string(values[0].text()?.to_ascii_lowercase()))),
    ("(string).upperAscii() string", |values| Ok(Value::string(values[0].text()?.to_ascii_uppercase()))),
    ("(string).trim() string", |values| Ok(Value::string(values[0].text()?.trim()))),
    ("(string).replace(string, string) string", |values| {
        replace(values[0].text()?, values[1].text()?, values[2].text()?, -1)
    }),
    ("(string).replace(string, string, int) string", |values| {
        replace(values[0].text()?, values[1].text()?, values[2].text()?, values[3].int()?)
    }),
    ("(string).split(string) list<string>", |values| Ok(split(values[0].text()?, values[1].text()?, -1))),
    ("(string).split(string, int) list<string>", |values| {
        Ok(split(values[0].text()?, values[1].text()?, values[2].int()?))
    }),
    ("(string).substring(int) string", |values| {
        let text = values[0].text()?;
        part(text, values[1].int()?, i64::try_from(text.chars().count()).unwrap_or(i64::MAX), false)
    }),
    ("(string).substring(int, int) string", |values| part(values[0].text()?, values[1].int()?, values[2].int()?, true)),
    ("(list<string>).join() string", |values| join(&values[0], "")),
    ("(list<string>).join(string) string", |values| join(&values[0], values[1].text()?)),
    ("(string).format(list<dyn>) string", |values| format_text::format(values[0].text()?, values[1].items()?)),
    ("strings.quote(string) string", |values| Ok(Value::string(quote(values[0].text()?)))),
];

fn out_of_range(at: i64) -> Failure {
    Failure::new(format!("index out of range: {at}"))
}

/// The byte at which a character begins; the end for the one after the last.
fn byte_of(text: &str, at: i64) -> Option<usize> {
    let at = usize::try_from(at).ok()?;
    let mut starts = text.char_indices().map(|(start, _)| start).chain([text.len()]);
    starts.nth(at)
}

fn char_at<'a>(text: &str, at: i64) -> Outcome<'a> {
    let start = byte_of(text, at).ok_or_else(|| out_of_range(at))?;
    Ok(Value::string(text[start..].chars().next().map(String::from).unwrap_or_default()))
}

fn index_of<'a>(text: &str, part: &str, from: i64) -> Outcome<'a> {
    if part.is_empty() {
        return Ok(from.into());
    }
    if from < 0 {
        return Err(out_of_range(from));
    }
    let Some(start) = byte_of(text, from) else { return Ok((-1).into()) };
    Ok(place(text, text[start..].find(part).map(|found| start + found)))
}

fn last_index_of<'a>(text: &str, part: &str, from: Option<i64>) -> Outcome<'a> {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if part.is_empty() {
        return Ok(from.unwrap_or(length).into());
    }
    let from = from.unwrap_or(length - 1);
    if from < 0 && length > 0 {
        return Err(out_of_range(from));
    }
    let Some(start) = byte_of(text, from).filter(|start| *start < text.len()) else { return Ok((-1).into()) };
    // The part may begin at `start`, so that it may end behind it.
    let mut end = (start + part.len()).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Ok(place(text, text[..end].rfind(part)))
}

/// A place in bytes as one in characters.
fn place<'a>(text: &str, byte: Option<usize>) -> Value<'a> {
    byte.map_or(-1, |byte| i64::try_from(text[..byte].chars().count()).unwrap_or(i64::MAX)).into()
}

fn part<'a>(text: &str, start: i64, end: i64, both: bool) -> Outcome<'a> {
    if start > end && both {
        return Err(Failure::new(format!("invalid substring range. start: {start}, end: {end}")));
    }
    let from = byte_of(text, start).ok_or_else(|| out_of_range(start))?;
    let to = byte_of(text, end).ok_or_else(|| out_of_range(end))?;
    Ok(Value::string(&text[from..to]))
}

/// The first `most` occurrences replaced, or all if it is negative.
fn replace<'a>(text: &str, old: &str, new: &str, most: i64) -> Outcome<'a> {
    let occurrences = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() };
    let count = usize::try_from(most).map_or(occurrences, |most| most.min(occurrences));
    if text.len().saturating_add(count.saturating_mul(new.len())) > TEXT_LIMIT_BYTES {
        return Err(Failure::Limit);
    }
    Ok(Value::string(text.replacen(old, new, count)))
}

/// At most `most` parts, or all if it is negative.
fn split<'a>(text: &str, separator: &str, most: i64) -> Value<'a> {
    let Some(most) = usize::try_from(most).ok() else {
        return if separator.is_empty() {
            Value::strings(text.chars().map(String::from))
        } else {
            Value::strings(text.split(separator))
        };
    };
    if most == 0 {
        return Value::list(Vec::new());
    }
    if !separator.is_empty() {
        return Value::strings(text.splitn(most, separator));
    }
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next().filter(|_| parts.len() + 1 < most) {
        let (head, tail) = rest.split_at(next.len_utf8());
        parts.push(head);
        rest = tail;
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    Value::strings(parts)
}

fn join<'a>(list: &Value<'a>, separator: &str) -> Outcome<'a> {
    let mut joined = String::new();
    for (at, item) in list.items()?.iter().enumerate() {
        let item = item?;
        let text = item.as_str().ok_or_else(|| Failure::new(format!("join: invalid input: {}", item.shown())))?;
        if at > 0 {
            joined.push_str(separator);
        }
        joined.push_str(text);
        if joined.len() > TEXT_LIMIT_BYTES {
            return Err(Failure::Limit);
        }
    }
    Ok(Value::string(joined))
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for next in text.chars() {
        match next {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
