//! The part of JSONPath that definitions may use for columns, scale and selectable fields:
//! `.spec.replicas`, `.metadata.labels['a\.b/c']`, `.status.list[0]`, `.spec.list[*].name`,
//! `.status.conditions[?(@.type=="Ready")].status`.

use serde_json::Value;

/// A way into an object.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath {
    steps: Box<[Step]>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(Box<str>),
    Index(i64),
    All,
    Filter { path: JsonPath, equal: bool, to: Value },
}

impl JsonPath {
    /// Reads a path; `None` if it is none, or uses what is not supported.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = match rest.as_bytes()[0] {
                b'[' => bracket(&rest[1..])?,
                b'.' if rest[1..].starts_with('[') => (None, &rest[1..]),
                b'.' => field(&rest[1..])?,
                _ if steps.is_empty() => field(rest)?,
                _ => return None,
            };
            steps.extend(step);
            rest = after;
        }
        Some(Self { steps: steps.into() })
    }

    /// The first value that the path leads to.
    pub fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        find(&self.steps, value)
    }

    /// Puts `value` where the path leads to, making objects on the way. `false` if there is
    /// something else than an object in between, or the path has other steps than fields.
    pub fn set(&self, object: &mut Value, value: Value) -> bool {
        let mut here = object;
        for step in &self.steps {
            let Step::Field(name) = step else { return false };
            if here.is_null() {
                *here = Value::Object(serde_json::Map::new());
            }
            let Value::Object(fields) = here else { return false };
            here = fields.entry(&**name).or_insert(Value::Null);
        }
        *here = value;
        true
    }
}

fn find<'v>(steps: &[Step], value: &'v Value) -> Option<&'v Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value) };
    match step {
        Step::Field(name) => find(rest, value.get(&**name)?),
        Step::Index(index) => {
            let items = value.as_array()?;
            let at = if *index < 0 { i64::try_from(items.len()).ok()? + index } else { *index };
            find(rest, items.get(usize::try_from(at).ok()?)?)
        }
        Step::All => match value {
            Value::Array(items) => items.iter().find_map(|item| find(rest, item)),
            Value::Object(fields) => fields.values().find_map(|item| find(rest, item)),
            _ => None,
        },
        Step::Filter { path, equal, to } => {
            let chosen = |item: &&Value| path.find(item).is_some_and(|found| (found == to) == *equal);
            value.as_array()?.iter().filter(chosen).find_map(|item| find(rest, item))
        }
    }
}

/// A name up to the next dot or bracket; a backslash takes the meaning from what follows it.
fn field(text: &str) -> Option<(Option<Step>, &str)> {
    let mut name = String::new();
    let mut letters = text.char_indices();
    let mut end = text.len();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => name.push(letters.next()?.1),
            '.' | '[' => {
                end = at;
                break;
            }
            letter => name.push(letter),
        }
    }
    let step = match name.as_str() {
        "" => return None,
        "*" => Step::All,
        name => Step::Field(name.into()),
    };
    Some((Some(step), &text[end..]))
}

/// What follows an opening bracket.
fn bracket(text: &str) -> Option<(Option<Step>, &str)> {
    if let Some(filter) = text.strip_prefix("?(") {
        let end = filter.find(")]")?;
        return Some((Some(comparison(&filter[..end])?), &filter[end + 2..]));
    }
    if let Some(quote @ ('\'' | '"')) = text.chars().next() {
        let end = text[1..].find(quote)? + 1;
        let rest = text[end + 1..].strip_prefix(']')?;
        return Some((Some(Step::Field(text[1..end].replace('\\', "").into())), rest));
    }
    let end = text.find(']')?;
    let step = match &text[..end] {
        "*" => Step::All,
        index => Step::Index(index.trim().parse().ok()?),
    };
    Some((Some(step), &text[end + 1..]))
}

/// `@.type=="Ready"`
fn comparison(text: &str) -> Option<Step> {
    let (equal, at) = match (text.find("=="), text.find("!=")) {
        (Some(at), None) => (true, at),
        (None, Some(at)) => (false, at),
        (Some(a), Some(b)) => (a < b, a.min(b)),
        (None, None) => return None,
    };
    let path = JsonPath::parse(text[..at].trim().strip_prefix('@')?)?;
    let literal = text[at + 2..].trim();
    let quoted = |quote: char| literal.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    let to = match quoted('"').or_else(|| quoted('\'')) {
        Some(text) => text.into(),
        None => serde_json::from_str(literal).ok()?,
    };
    Some(Step::Filter { path, equal, to })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn found(path: &str) -> Option<Value> {
        let object = json!({
            "spec": {"list": [{"name": "a"}, {"name": "b"}], "replicas": 3},
            "metadata": {"labels": {"a.b/c": "x"}},
            "status": {"conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]},
        });
        JsonPath::parse(path).unwrap().find(&object).cloned()
    }

    #[test]
    fn paths_lead_to_values() {
        assert_eq!(found(".spec.replicas"), Some(json!(3)));
        assert_eq!(found("{.spec.replicas}"), Some(json!(3)));
        assert_eq!(found(".spec.list[1].name"), Some(json!("b")));
        assert_eq!(found(".spec.list[-1].name"), Some(json!("b")));
        assert_eq!(found(".spec.list[*].name"), Some(json!("a")));
        assert_eq!(found(r".metadata.labels.a\.b/c"), Some(json!("x")));
        assert_eq!(found(".metadata.labels['a.b/c']"), Some(json!("x")));
        assert_eq!(found(r#".status.conditions[?(@.type=="Ready")].status"#), Some(json!("True")));
        assert_eq!(found(".status.conditions[?(@.type!='Ready')].status"), Some(json!("False")));
        assert_eq!(found(".spec.nothing.there"), None);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [".", ".a[", ".a[x]", ".a[?(x)]", ".a['b"] {
            assert_eq!(JsonPath::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_value_is_put_where_nothing_was() {
        let mut object = json!({"spec": {}});
        assert!(JsonPath::parse(".spec.deep.replicas").unwrap().set(&mut object, json!(2)));
        assert_eq!(object, json!({"spec": {"deep": {"replicas": 2}}}));
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_not(text in "[.\\[\\]@?()'\"a*\\\\0-9=!-]{0,20}") {
            let _ = JsonPath::parse(&text);
        }
    }
}
