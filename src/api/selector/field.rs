//! Field selectors: `status.phase=Running,metadata.name!=a`, with `\` escaping `,`, `=` and itself.

use super::{Error, check_length};

/// One condition on a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Path of the field, such as `spec.nodeName`.
    pub field: String,
    /// The value it is compared with.
    pub value: String,
    /// Whether it must be equal (or else different).
    pub equal: bool,
}

/// Conditions on fields, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

impl FieldSelector {
    /// Reads the text form; empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, Error> {
        check_length(text)?;
        let mut terms = Vec::new();
        for part in split(text) {
            if !part.is_empty() {
                terms.push(term(part, text)?);
            }
        }
        Ok(Self { terms })
    }

    /// These conditions.
    pub fn of(terms: Vec<Term>) -> Self {
        Self { terms }
    }

    /// The conditions.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether an object with these fields is selected; a field that is missing counts as empty.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|term| (field(&term.field).unwrap_or_default() == term.value) == term.equal)
    }

    /// The value that `field` must have, if the selector fixes one: `metadata.name=a` is a get.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }

    /// The first field that is not selectable: neither in `names` nor name or namespace.
    pub fn unsupported(&self, names: &[&str]) -> Option<&str> {
        let known = |field: &str| matches!(field, "metadata.name" | "metadata.namespace") || names.contains(&field);
        self.terms.iter().map(|term| term.field.as_str()).find(|field| !known(field))
    }
}

/// Splits at commas that are not escaped.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (position, next) in text.char_indices() {
        if next == ',' && !escaped {
            parts.push(&text[start..position]);
            start = position + 1;
        }
        escaped = next == '\\' && !escaped;
    }
    parts.push(&text[start..]);
    parts
}

fn term(part: &str, selector: &str) -> Result<Term, Error> {
    let not_understood = || Error::Term { selector: selector.to_owned(), term: part.to_owned() };
    let (position, operator) = operator(part).ok_or_else(not_understood)?;
    let (field, rest) = part.split_at(position);
    let value = unescape(&rest[operator.len()..])?;
    Ok(Term { field: field.to_owned(), value, equal: operator != "!=" })
}

/// The first operator that is not escaped.
fn operator(part: &str) -> Option<(usize, &'static str)> {
    let mut escaped = false;
    for (position, next) in part.char_indices() {
        if !escaped {
            let found = ["!=", "==", "="].into_iter().find(|operator| part[position..].starts_with(operator));
            if let Some(operator) = found {
                return Some((position, operator));
            }
        }
        escaped = next == '\\' && !escaped;
    }
    None
}

fn unescape(text: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            '\\' => match rest.next() {
                Some(literal @ ('\\' | ',' | '=')) => out.push(literal),
                Some(other) => return Err(Error::Escape(format!("\\{other}"))),
                None => return Err(Error::Escape("\\".into())),
            },
            ',' | '=' => return Err(Error::Escape(format!("unescaped {next}"))),
            literal => out.push(literal),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_split_and_unescaped() {
        let selector = FieldSelector::parse(r"metadata.name=a\,b\\,status.phase!=Running,x==y").unwrap();
        let shown: Vec<_> =
            selector.terms().iter().map(|term| (term.field.as_str(), term.value.as_str(), term.equal)).collect();
        assert_eq!(shown, [("metadata.name", r"a,b\", true), ("status.phase", "Running", false), ("x", "y", true)]);
    }

    #[test]
    fn a_missing_field_is_empty() {
        let selector = FieldSelector::parse("spec.nodeName=").unwrap();
        assert!(selector.matches(|_| None));
        assert!(!selector.matches(|_| Some("edge1")));
    }

    #[test]
    fn malformed_selectors_are_refused() {
        let error = FieldSelector::parse("a,b=c").unwrap_err();
        assert_eq!(error.to_string(), "invalid selector: 'a,b=c'; can't understand 'a'");
        assert!(FieldSelector::parse(r"a=\x").is_err());
        assert!(FieldSelector::parse("a=b=c").is_err());
    }

    #[test]
    fn unknown_fields_are_named() {
        let selector = FieldSelector::parse("metadata.name=a,spec.x=b").unwrap();
        assert_eq!(selector.unsupported(&["spec.y"]), Some("spec.x"));
        assert_eq!(selector.exact("metadata.name"), Some("a"));
    }
}
