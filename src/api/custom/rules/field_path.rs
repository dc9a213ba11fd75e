//! The simple JSON paths of rules and selectable fields: fields (`.spec.color`) and keys of maps
//! (`.labels['a.b']`) that the schema declares, and nothing else.

use super::super::structural::Structural;
use crate::api::field::Path;

const NO_FIELD: &str = "does not refer to a valid field";
const END: &str = "unexpected end of JSON path";

/// Where a path leads to: as problems show it, and the schema there; or why it leads nowhere.
pub fn resolve<'s>(text: &str, schema: &'s Structural, brackets: bool) -> Result<(Path, &'s Structural), String> {
    let (mut here, mut path) = (schema, Path::default());
    let mut tokens = Tokens(text);
    while let Some(token) = tokens.next() {
        let name = match token {
            "." => tokens.next().ok_or(END)?.to_owned(),
            "[" if !brackets => return Err("array notation is not allowed".into()),
            "[" => key(tokens.next().ok_or(END)?)?,
            other => return Err(format!("expected [ or . but got: {other}")),
        };
        (here, path) = step(here, &path, &name)?;
        if token == "[" {
            match tokens.next().ok_or(END)? {
                "]" => {}
                other => return Err(format!("expected ] but got {other}")),
            }
        }
    }
    Ok((path, here))
}

fn step<'s>(schema: &'s Structural, path: &Path, name: &str) -> Result<(&'s Structural, Path), &'static str> {
    if !schema.properties.is_empty() {
        return Ok((schema.property(name).ok_or(NO_FIELD)?, path.child(name)));
    }
    Ok((schema.additional.as_deref().ok_or(NO_FIELD)?, path.key(name)))
}

/// The text in quotes.
fn key(token: &str) -> Result<String, String> {
    let quoted = token.strip_prefix('\'').and_then(|token| token.strip_suffix('\''));
    let quoted = quoted.ok_or_else(|| format!("expected single quoted string but got {token}"))?;
    let mut name = String::with_capacity(quoted.len());
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        name.push(match letter {
            '\\' => escaped(letters.next())?,
            letter => letter,
        });
    }
    Ok(name)
}

fn escaped(letter: Option<char>) -> Result<char, String> {
    Ok(match letter {
        Some('a') => '\u{7}',
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('v') => '\u{b}',
        Some(letter @ ('\'' | '\\')) => letter,
        other => {
            let letter = other.map(String::from).unwrap_or_default();
            return Err(format!("invalid string literal: invalid escape char \\{letter}"));
        }
    })
}

/// Dots and brackets, texts in quotes, and what is between them.
struct Tokens<'t>(&'t str);

impl<'t> Iterator for Tokens<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let text = self.0;
        let end = match text.as_bytes().first()? {
            b'\'' => end_of_quotes(text),
            b'.' | b'[' | b']' => 1,
            _ => text.find(['.', '[', ']']).unwrap_or(text.len()),
        };
        let (token, rest) = text.split_at(end);
        self.0 = rest;
        Some(token)
    }
}

fn end_of_quotes(text: &str) -> usize {
    let bytes = text.as_bytes();
    let closes = |at: &usize| bytes[*at] == b'\'' && bytes[at - 1] != b'\\';
    (1..bytes.len()).find(closes).map_or(text.len(), |at| at + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn schema() -> Structural {
        Structural::read(&json!({"properties": {
            "spec": {"properties": {"color": {"type": "string"}, "x.y": {"type": "integer"}}},
            "labels": {"additionalProperties": {"type": "boolean"}},
        }}))
    }

    #[test]
    fn paths_lead_to_declared_fields_and_keys() {
        let schema = schema();
        let found = |text: &str| resolve(text, &schema, true).map(|(path, at)| (path.to_string(), at.kind.name()));
        assert_eq!(found(".spec.color").unwrap(), ("spec.color".into(), "string"));
        assert_eq!(found(".spec['x.y']").unwrap(), ("spec.x.y".into(), "integer"));
        assert_eq!(found(".labels['a\\'b']").unwrap(), ("labels[a'b]".into(), "boolean"));
        for (text, problem) in [
            (".spec.size", NO_FIELD),
            (".spec.color.deep", NO_FIELD),
            ("spec", "expected [ or . but got: spec"),
            (".", END),
            (".labels[0]", "expected single quoted string but got 0"),
            (".labels['a", "expected single quoted string but got 'a"),
            (".labels['a'.", "expected ] but got ."),
            (".labels['\\x']", "invalid string literal: invalid escape char \\x"),
        ] {
            assert_eq!(found(text).unwrap_err(), problem, "{text}");
        }
        assert_eq!(resolve(".labels['a']", &schema, false).unwrap_err(), "array notation is not allowed");
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_not(text in "[.\\[\\]'a\\\\ü]{0,12}") {
            let _ = resolve(&text, &schema(), true);
        }
    }
}
