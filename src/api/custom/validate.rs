//! Validation by a structural schema, in the words of upstream's OpenAPI validator. What was there
//! before and has not changed is not held against an update (KEP-4008, "CRD validation ratcheting").

use serde_json::{Map, Value};

use super::{
    correlate::{counterpart, is_unchanged, key_of},
    formats,
    structural::{Bounds, Kind, Limit, ListKind, Rules, Structural},
};
use crate::api::{
    field::{self, Path},
    status::Cause,
};

/// Problems that are reported of one object.
const REPORTED: usize = 100;

/// Every problem of an object; `old` is what it was before.
pub fn validate(object: &Value, old: Option<&Value>, schema: &Structural) -> Vec<Cause> {
    validate_at(object, old, schema, &Path::default())
}

/// Every problem of a value, told of as being at `path`. Messages name what is in it from there on.
pub fn validate_at(value: &Value, old: Option<&Value>, schema: &Structural, path: &Path) -> Vec<Cause> {
    let mut walk = Walk { causes: Vec::new(), root: path.as_str().len() };
    walk.value(value, old, schema, path);
    walk.causes
}

struct Walk {
    causes: Vec<Cause>,
    /// How long the path of the whole value is, which is no part of names.
    root: usize,
}

impl Walk {
    fn value(&mut self, value: &Value, old: Option<&Value>, schema: &Structural, path: &Path) {
        if old.is_some_and(|old| is_unchanged(value, old, schema)) || self.causes.len() >= REPORTED {
            return;
        }
        if !has_kind(value, schema) {
            self.wrong_kind(value, schema, path);
            return;
        }
        if let Some(rules) = &schema.rules {
            self.rules(value, rules, path);
        }
        match value {
            Value::Object(fields) => self.fields(fields, old, schema, path),
            Value::Array(items) => self.items(items, old, schema, path),
            _ => {}
        }
    }

    fn fields(&mut self, fields: &Map<String, Value>, old: Option<&Value>, schema: &Structural, path: &Path) {
        if schema.embedded {
            self.embedded(fields, path);
        }
        for (name, value) in fields {
            if let Some(schema) = schema.field(name) {
                self.value(value, old.and_then(|old| old.get(name)), schema, &path.child(name));
            }
        }
    }

    fn embedded(&mut self, fields: &Map<String, Value>, path: &Path) {
        for name in ["apiVersion", "kind"] {
            if fields.get(name).and_then(Value::as_str).unwrap_or_default().is_empty() {
                self.causes.push(field::required(&path.child(name), "must not be empty"));
            }
        }
    }

    fn items(&mut self, items: &[Value], old: Option<&Value>, schema: &Structural, path: &Path) {
        let before = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if let Some(item_schema) = &schema.items {
            for (index, item) in items.iter().enumerate() {
                let old = counterpart(item, before, &schema.list);
                self.value(item, old, item_schema, &path.index(index));
            }
        }
        match &schema.list {
            ListKind::Atomic => {}
            ListKind::Set => self.distinct(items, path, Clone::clone),
            ListKind::Map(keys) => self.distinct(items, path, |item| key_of(item, keys)),
        }
    }

    fn distinct(&mut self, items: &[Value], path: &Path, key: impl Fn(&Value) -> Value) {
        let mut seen = std::collections::HashSet::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let key = key(item);
            if !seen.insert(key.to_string()) {
                self.causes.push(field::duplicate(&path.index(index), &key));
            }
        }
    }

    fn rules(&mut self, value: &Value, rules: &Rules, path: &Path) {
        self.junctions(value, rules, path);
        match value {
            Value::String(text) => self.text(text, rules, path),
            Value::Number(number) => self.number(value, number.as_f64().unwrap_or_default(), rules, path),
            Value::Array(items) => self.count(items.len(), rules.items, "items", path),
            Value::Object(fields) => {
                self.count(fields.len(), rules.properties, "properties", path);
                for name in rules.required.iter().filter(|name| !fields.contains_key(&***name)) {
                    self.causes.push(field::required(&path.child(name), ""));
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
        if !rules.allowed.is_empty() && !rules.allowed.iter().any(|allowed| equal(allowed, value)) {
            self.causes.push(unsupported(path, value, &rules.allowed));
        }
    }

    fn text(&mut self, text: &str, rules: &Rules, path: &Path) {
        let characters = text.chars().count() as u64;
        if let Some(max) = rules.length.max.filter(|max| characters > *max) {
            self.causes.push(field::too_long(path, usize::try_from(max).unwrap_or(usize::MAX)));
        }
        if let Some(min) = rules.length.min.filter(|min| characters < *min) {
            self.invalid(path, text, &format!("should be at least {min} chars long"));
        }
        if let Some(pattern) = rules.pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
            self.invalid(path, text, &format!("should match '{}'", pattern.text));
        }
        if let Some(format) = rules.format.as_ref().filter(|format| !formats::is(text, format)) {
            let found = Value::from(text);
            self.causes.push(wrong_type(path, self.name(path), &found, format, &found));
        }
    }

    fn number(&mut self, value: &Value, number: f64, rules: &Rules, path: &Path) {
        if let Some(Limit { value: max, exclusive }) = rules.maximum
            && (number > max || exclusive && number >= max)
        {
            let or_equal = if exclusive { "" } else { " or equal to" };
            self.invalid(path, value, &format!("should be less than{or_equal} {max}"));
        }
        if let Some(Limit { value: min, exclusive }) = rules.minimum
            && (number < min || exclusive && number <= min)
        {
            let or_equal = if exclusive { "" } else { " or equal to" };
            self.invalid(path, value, &format!("should be greater than{or_equal} {min}"));
        }
        if let Some(of) = rules.multiple_of.filter(|of| (number / of).fract() != 0.0) {
            self.invalid(path, value, &format!("should be a multiple of {of}"));
        }
    }

    fn count(&mut self, count: usize, bounds: Bounds, what: &str, path: &Path) {
        if let Some(max) = bounds.max.filter(|max| count as u64 > *max) {
            self.causes.push(field::too_many(path, count, usize::try_from(max).unwrap_or(usize::MAX)));
        }
        if let Some(min) = bounds.min.filter(|min| (count as u64) < *min) {
            self.invalid(path, count, &format!("should have at least {min} {what}"));
        }
    }

    fn junctions(&mut self, value: &Value, rules: &Rules, path: &Path) {
        let problems = |schema: &Structural| {
            let mut walk = Walk { causes: Vec::new(), root: self.root };
            walk.value(value, None, schema, path);
            walk.causes
        };
        let all: Vec<Cause> = rules.all_of.iter().flat_map(problems).collect();
        if !all.is_empty() {
            self.causes.push(composite(path, "must validate all the schemas (allOf)"));
            self.causes.extend(all);
        }
        if !rules.any_of.is_empty() {
            let tried: Vec<Vec<Cause>> = rules.any_of.iter().map(problems).collect();
            if tried.iter().all(|causes| !causes.is_empty()) {
                self.causes.push(composite(path, "must validate at least one schema (anyOf)"));
                self.causes.extend(least(tried));
            }
        }
        if !rules.one_of.is_empty() {
            let tried: Vec<Vec<Cause>> = rules.one_of.iter().map(problems).collect();
            let only = "must validate one and only one schema (oneOf).";
            match tried.iter().filter(|causes| causes.is_empty()).count() {
                1 => {}
                0 => {
                    self.causes.push(composite(path, &format!("{only} Found none valid")));
                    self.causes.extend(least(tried));
                }
                valid => self.causes.push(composite(path, &format!("{only} Found {valid} valid alternatives"))),
            }
        }
        if rules.not.as_deref().is_some_and(|not| problems(not).is_empty()) {
            self.causes.push(composite(path, "must not validate the schema (not)"));
        }
    }

    fn wrong_kind(&mut self, value: &Value, schema: &Structural, path: &Path) {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let format = schema.rules.as_ref().and_then(|rules| rules.format.as_deref());
        let is_scalar = matches!(value, Value::Bool(_) | Value::Number(_) | Value::Object(_));
        let (wanted, found) = match format.filter(|_| is_scalar) {
            // Values other than texts and lists are of a format first of all.
            Some(format) => (format, if found == "integer" { "int64" } else { "" }),
            None => (kind_name(schema.kind), found),
        };
        self.causes.push(wrong_type(path, self.name(path), &found.into(), wanted, &found.into()));
    }

    fn name<'a>(&self, path: &'a Path) -> &'a str {
        let name = path.as_str().get(self.root..).unwrap_or_default();
        name.strip_prefix('.').unwrap_or(name)
    }

    /// `spec.x in body should …`
    fn invalid(&mut self, path: &Path, value: impl serde::Serialize, problem: &str) {
        self.causes.push(field::invalid(path, value, &format!("{} in body {problem}", self.name(path))));
    }
}

fn has_kind(value: &Value, schema: &Structural) -> bool {
    let whole = |number: &serde_json::Number| !number.is_f64() || number.as_f64().is_some_and(|f| f.fract() == 0.0);
    match (schema.kind, value) {
        (_, Value::Null) => schema.nullable || schema.kind == Kind::Any,
        (Kind::Any, _)
        | (Kind::Object, Value::Object(_))
        | (Kind::Array, Value::Array(_))
        | (Kind::String | Kind::IntOrString, Value::String(_))
        | (Kind::Number, Value::Number(_))
        | (Kind::Boolean, Value::Bool(_)) => true,
        (Kind::Integer | Kind::IntOrString, Value::Number(number)) => whole(number),
        _ => false,
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Any => "any",
        Kind::IntOrString => "integer,string",
        kind => kind.name(),
    }
}

/// `Invalid value: "string": spec.replicas in body must be of type integer: "string"`
fn wrong_type(path: &Path, name: &str, value: &Value, wanted: &str, found: &Value) -> Cause {
    let cause = field::invalid(path, value, &format!("{name} in body must be of type {wanted}: {found}"));
    Cause { reason: "FieldValueTypeInvalid".into(), ..cause }
}

/// Alternatives are told without a field, as upstream does.
fn composite(path: &Path, problem: &str) -> Cause {
    field::invalid(&Path::new("<nil>"), "", &format!("\"{path}\" {problem}"))
}

/// Values are named in the order of the schema.
fn unsupported(path: &Path, value: &Value, allowed: &[Value]) -> Cause {
    let quoted = |allowed: &Value| match allowed {
        Value::String(text) => Value::from(text.as_str()).to_string(),
        other => Value::from(other.to_string()).to_string(),
    };
    let supported: Vec<String> = allowed.iter().map(quoted).collect();
    let cause = field::unsupported(path, value, &[]);
    Cause { message: format!("{}: supported values: {}", cause.message, supported.join(", ")), ..cause }
}

/// `1` and `1.0` are the same number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

/// Of several failed alternatives the one that came closest is told.
fn least(tried: Vec<Vec<Cause>>) -> Vec<Cause> {
    tried.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(spec: Value, schema: &Value) -> Vec<String> {
        let schema = Structural::read(&json!({"type": "object", "properties": {"spec": schema}}));
        let causes = validate(&json!({"spec": spec}), None, &schema);
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn wrong_types_are_named() {
        assert_eq!(
            problems(json!("x"), &json!({"type": "integer"})),
            ["spec: Invalid value: \"string\": spec in body must be of type integer: \"string\""]
        );
        assert_eq!(
            problems(json!([]), &json!({"x-kubernetes-int-or-string": true})),
            ["spec: Invalid value: \"array\": spec in body must be of type integer,string: \"array\""]
        );
        assert!(problems(json!(2.0), &json!({"type": "integer"})).is_empty());
        assert!(problems(json!(null), &json!({"type": "string", "nullable": true})).is_empty());
        assert_eq!(problems(json!(null), &json!({"type": "string"})).len(), 1);
    }

    #[test]
    fn numbers_have_bounds() {
        let schema = json!({"type": "integer", "minimum": 1, "maximum": 10, "exclusiveMinimum": true});
        assert_eq!(
            problems(json!(11), &schema),
            ["spec: Invalid value: 11: spec in body should be less than or equal to 10"]
        );
        assert_eq!(problems(json!(1), &schema), ["spec: Invalid value: 1: spec in body should be greater than 1"]);
        assert!(problems(json!(10), &schema).is_empty());
        assert_eq!(
            problems(json!(3), &json!({"multipleOf": 2})),
            ["spec: Invalid value: 3: spec in body should be a multiple of 2"]
        );
    }

    #[test]
    fn text_has_length_pattern_form_and_values() {
        assert_eq!(
            problems(json!("ab"), &json!({"pattern": "^a$", "minLength": 3})),
            [
                "spec: Invalid value: \"ab\": spec in body should be at least 3 chars long",
                "spec: Invalid value: \"ab\": spec in body should match '^a$'"
            ]
        );
        assert_eq!(problems(json!("abc"), &json!({"maxLength": 2})), ["spec: Too long: may not be more than 2 bytes"]);
        assert_eq!(
            problems(json!("x"), &json!({"type": "string", "format": "date-time"})),
            ["spec: Invalid value: \"x\": spec in body must be of type date-time: \"x\""]
        );
        assert_eq!(
            problems(json!("c"), &json!({"enum": ["b", "a", 1]})),
            ["spec: Unsupported value: \"c\": supported values: \"b\", \"a\", \"1\""]
        );
    }

    #[test]
    fn structures_have_required_fields_and_counts() {
        let schema = json!({"type": "object", "required": ["a"], "maxProperties": 1,
                            "properties": {"list": {"type": "array", "minItems": 1}}});
        assert_eq!(
            problems(json!({"list": [], "b": 1}), &schema),
            [
                "spec: Too many: 2: must have at most 1 item",
                "spec.a: Required value",
                "spec.list: Invalid value: 0: spec.list in body should have at least 1 items"
            ]
        );
    }

    #[test]
    fn items_of_sets_and_maps_are_distinct() {
        let set = json!({"type": "array", "x-kubernetes-list-type": "set"});
        assert_eq!(problems(json!(["a", "b", "a"]), &set), ["spec[2]: Duplicate value: \"a\""]);
        let map = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]});
        assert_eq!(
            problems(json!([{"name": "a", "x": 1}, {"name": "a", "x": 2}]), &map),
            ["spec[1]: Duplicate value: {\"name\":\"a\"}"]
        );
    }

    #[test]
    fn alternatives_are_told_as_a_whole_and_by_the_closest() {
        let schema = json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
        assert_eq!(
            problems(json!({}), &schema),
            [
                "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found none valid",
                "spec.a: Required value"
            ]
        );
        assert_eq!(problems(json!({"a": 1, "b": 1}), &schema).len(), 1);
        assert!(problems(json!({"a": 1}), &schema).is_empty());
        assert_eq!(
            problems(json!("x"), &json!({"not": {"enum": ["x"]}})),
            ["<nil>: Invalid value: \"\": \"spec\" must not validate the schema (not)"]
        );
        assert_eq!(problems(json!(5), &json!({"anyOf": [{"maximum": 1}, {"maximum": 2}]})).len(), 2);
        assert_eq!(problems(json!(5), &json!({"allOf": [{"maximum": 9}, {"maximum": 2}]})).len(), 2);
    }

    #[test]
    fn what_was_wrong_before_may_stay() {
        let schema = Structural::read(&json!({"properties": {
            "a": {"type": "integer"},
            "list": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                     "items": {"properties": {"port": {"maximum": 1}}}},
        }}));
        let old = json!({"a": "x", "list": [{"name": "p", "port": 5}]});
        let new = json!({"a": "x", "list": [{"name": "n", "port": 1}, {"name": "p", "port": 5}], "b": 1});
        assert!(validate(&new, Some(&old), &schema).is_empty());
        assert_eq!(validate(&new, None, &schema).len(), 2);
        let changed = json!({"a": "y", "list": []});
        assert_eq!(validate(&changed, Some(&old), &schema).len(), 1);
    }

    #[test]
    fn embedded_objects_say_what_they_are() {
        let schema = json!({"type": "object", "x-kubernetes-embedded-resource": true});
        assert_eq!(problems(json!({"kind": "Pod"}), &schema), ["spec.apiVersion: Required value: must not be empty"]);
    }
}
