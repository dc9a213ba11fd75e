//! Label selectors.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as metav1;

use super::{
    Error, check_length,
    lexer::{Token, tokens},
};
use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::name,
};

const OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

/// What a requirement says about a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// The label is one of these.
    In(Vec<String>),
    /// The label is missing or none of these.
    NotIn(Vec<String>),
    /// The label is there.
    Exists,
    /// The label is missing.
    DoesNotExist,
    /// The label is a number above this.
    GreaterThan(i64),
    /// The label is a number below this.
    LessThan(i64),
}

/// One condition on a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// The condition.
    pub operator: Operator,
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.iter().any(|one| one == value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Operator::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

/// Conditions on labels, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Option<Vec<Requirement>>,
}

impl LabelSelector {
    /// Selects everything.
    pub fn everything() -> Self {
        Self { requirements: Some(Vec::new()) }
    }

    /// Selects nothing: what a LabelSelector that is not there means. The same as `default()`.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Reads the text form; empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, Error> {
        check_length(text)?;
        Parser { tokens: tokens(text), next: 0 }.parse()
    }

    /// Converts the object form (`metav1.LabelSelectorAsSelector`): empty selects everything.
    pub fn from_object(object: &metav1::LabelSelector) -> Result<Self, Error> {
        let equal = |(key, value): (&String, &String)| requirement(key, Operator::In(vec![value.clone()]));
        let mut requirements: Vec<_> =
            object.match_labels.iter().flatten().map(equal).collect::<Result<_, _>>().map_err(Error::Form)?;
        for expression in object.match_expressions.iter().flatten() {
            let values = expression.values.clone().unwrap_or_default();
            let operator = match expression.operator.as_str() {
                "In" => Operator::In(values),
                "NotIn" => Operator::NotIn(values),
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(Error::Operator(other.to_owned())),
            };
            requirements.push(requirement(&expression.key, operator).map_err(Error::Form)?);
        }
        Ok(Self { requirements: Some(requirements) })
    }

    /// Selects objects that have exactly these labels among theirs; an empty set selects everything.
    pub fn from_map<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let equal = |(key, value): (&str, &str)| Requirement {
            key: key.to_owned(),
            operator: Operator::In(vec![value.to_owned()]),
        };
        Self { requirements: Some(labels.into_iter().map(equal).collect()) }
    }

    /// Whether an object with these labels is selected.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let Some(requirements) = &self.requirements else { return false };
        requirements.iter().all(|requirement| requirement.matches(label(&requirement.key)))
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// The conditions; empty also for a selector of nothing.
    pub fn requirements(&self) -> &[Requirement] {
        self.requirements.as_deref().unwrap_or_default()
    }
}

/// The text form, as `status.selector` of a Scale shows it.
impl std::fmt::Display for LabelSelector {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, Requirement { key, operator }) in self.requirements().iter().enumerate() {
            if position > 0 {
                out.write_str(",")?;
            }
            match operator {
                Operator::In(values) if values.len() == 1 => write!(out, "{key}={}", values[0])?,
                Operator::In(values) => write!(out, "{key} in ({})", values.join(","))?,
                Operator::NotIn(values) if values.len() == 1 => write!(out, "{key}!={}", values[0])?,
                Operator::NotIn(values) => write!(out, "{key} notin ({})", values.join(","))?,
                Operator::Exists => out.write_str(key)?,
                Operator::DoesNotExist => write!(out, "!{key}")?,
                Operator::GreaterThan(bound) => write!(out, "{key}>{bound}")?,
                Operator::LessThan(bound) => write!(out, "{key}<{bound}")?,
            }
        }
        Ok(())
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
}

impl<'a> Parser<'a> {
    fn parse(mut self) -> Result<LabelSelector, Error> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::End => return Ok(LabelSelector { requirements: Some(requirements) }),
                Token::Word(_) | Token::Symbol("!") => {}
                other => {
                    let found = other.text();
                    return Err(Error::Form(format!("found '{found}', expected: !, identifier, or 'end of string'")));
                }
            }
            requirements.push(self.requirement().map_err(Error::Requirement)?);
            match self.take() {
                Token::End => return Ok(LabelSelector { requirements: Some(requirements) }),
                Token::Symbol(",") => self.expect_requirement()?,
                other => {
                    let found = other.text();
                    return Err(Error::Form(format!("found '{found}', expected: ',' or 'end of string'")));
                }
            }
        }
    }

    fn expect_requirement(&self) -> Result<(), Error> {
        match self.peek() {
            Token::Word(_) | Token::Symbol("!") => Ok(()),
            other => Err(Error::Form(format!("found '{}', expected: identifier after ','", other.text()))),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let negated = self.peek() == Token::Symbol("!");
        if negated {
            self.take();
        }
        let key = match self.take() {
            Token::Word(key) => key,
            other => return Err(format!("found '{}', expected: identifier", other.text())),
        };
        if let Some(cause) = wrong_key(key, &Path::new("<nil>")) {
            return Err(format!("{}: {}", cause.field, cause.message));
        }
        let alone = matches!(self.peek(), Token::End | Token::Symbol(","));
        match (alone, negated) {
            (true, true) => return requirement(key, Operator::DoesNotExist),
            (true, false) => return requirement(key, Operator::Exists),
            _ => {}
        }
        let operator = match self.take() {
            Token::Word("in") => Operator::In(self.values()?),
            Token::Word("notin") => Operator::NotIn(self.values()?),
            Token::Symbol("=" | "==") => Operator::In(vec![self.exact()?]),
            Token::Symbol("!=") => Operator::NotIn(vec![self.exact()?]),
            Token::Symbol(">") | Token::Word("gt") => Operator::GreaterThan(self.number()?),
            Token::Symbol("<") | Token::Word("lt") => Operator::LessThan(self.number()?),
            other => return Err(format!("found '{}', expected: {OPERATORS}", other.text())),
        };
        requirement(key, operator)
    }

    /// `(a,b,)`; an item between two commas may be empty.
    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.take() {
            Token::Symbol("(") => {}
            other => return Err(format!("found '{}' expected: '('", other.text())),
        }
        let mut values = Vec::new();
        loop {
            let value = match self.peek() {
                Token::Word(value) => {
                    self.take();
                    value
                }
                Token::Symbol("," | ")") => "",
                other => return Err(format!("found '{}', expected: ',', ')' or identifier", other.text())),
            };
            if !values.iter().any(|known| known == value) {
                values.push(value.to_owned());
            }
            match self.take() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => break,
                other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
            }
        }
        values.sort_unstable();
        Ok(values)
    }

    fn exact(&mut self) -> Result<String, String> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(value) => {
                self.take();
                Ok(value.to_owned())
            }
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    fn number(&mut self) -> Result<i64, String> {
        let text = self.exact()?;
        text.parse().map_err(|_| {
            let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
            let cause = field::invalid(&Path::new("values").index(0), &text, detail);
            format!("{}: {}", cause.field, cause.message)
        })
    }

    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.next).copied().unwrap_or(Token::End)
    }

    fn take(&mut self) -> Token<'a> {
        let token = self.peek();
        self.next += 1;
        token
    }
}

/// What is wrong with a key, all at once.
fn wrong_key(key: &str, path: &Path) -> Option<Cause> {
    let problems = name::label_key(key);
    (!problems.is_empty()).then(|| field::invalid(path, key, &problems.join("; ")))
}

/// Checks key and values as labels.
fn requirement(key: &str, operator: Operator) -> Result<Requirement, String> {
    let mut causes: Vec<Cause> = wrong_key(key, &Path::new("key")).into_iter().collect();
    let path = Path::new("values");
    if let Operator::In(values) | Operator::NotIn(values) = &operator {
        if values.is_empty() {
            causes.push(field::invalid(&path, values, "for 'in', 'notin' operators, values set can't be empty"));
        }
        for (index, value) in values.iter().enumerate() {
            let problems = name::label_value(value);
            if !problems.is_empty() {
                causes.push(field::invalid(&path.index(index).key(key), value, &problems.join("; ")));
            }
        }
    }
    let messages: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    match messages.as_slice() {
        [] => Ok(Requirement { key: key.to_owned(), operator }),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
        LabelSelector::parse(selector).unwrap().matches(|key| labels.get(key).copied())
    }

    #[test]
    fn every_operator_selects() {
        let web = [("app", "web"), ("n", "5")];
        for yes in [
            "",
            "app",
            "app=web",
            "app==web",
            "app!=db",
            "x!=y",
            "!x",
            "app in (a, web)",
            "app notin (a)",
            "x notin (a)",
            "n>4",
            "n<6",
            " app = web , n ",
            "a.b/c!=d",
        ] {
            assert!(selects(yes, &web), "{yes}");
        }
        for no in ["x", "!app", "app=db", "app!=web", "app in (a,b)", "app notin (web)", "n>5", "app>1", "x in (a,)"] {
            assert!(!selects(no, &web), "{no}");
        }
        assert!(selects("app=", &[("app", "")]));
    }

    #[test]
    fn errors_have_upstreams_wording() {
        for (text, message) in [
            ("app=web,", "found '', expected: identifier after ','"),
            ("=web", "found '=', expected: !, identifier, or 'end of string'"),
            ("app web", "unable to parse requirement: found 'web', expected: in, notin, =, ==, !=, gt, lt"),
            ("app in a", "unable to parse requirement: found 'a' expected: '('"),
            ("app in (a", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("!", "unable to parse requirement: found '', expected: identifier"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap_err().to_string(), message, "{text}");
        }
        let error = LabelSelector::parse("app=a@b").unwrap_err().to_string();
        assert!(error.starts_with("unable to parse requirement: values[0][app]: Invalid value: \"a@b\""), "{error}");
    }

    #[test]
    fn an_object_is_converted() {
        let object: metav1::LabelSelector = serde_json::from_value(serde_json::json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "old", "operator": "DoesNotExist"}]
        }))
        .unwrap();
        let selector = LabelSelector::from_object(&object).unwrap();
        assert_eq!(selector.to_string(), "app=web,!old");
        assert!(LabelSelector::from_object(&metav1::LabelSelector::default()).unwrap().is_everything());
        assert!(!LabelSelector::nothing().matches(|_| None));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z=!<>(), ]{0,30}") {
            if let Ok(selector) = LabelSelector::parse(&text) {
                let again = LabelSelector::parse(&selector.to_string()).unwrap();
                prop_assert_eq!(again, selector);
            }
        }
    }
}
