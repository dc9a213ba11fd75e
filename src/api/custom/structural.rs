//! A structural schema (apiextensions `JSONSchemaProps`), parsed into what pruning, defaulting and
//! validation ask for. Schemas are kept for as long as their definition is served, so that fields
//! which most schemas lack share one allocation.

use std::sync::OnceLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::{Map, Value};

const VALIDATIONS: &str = "x-kubernetes-validations";
/// Memory that one compiled pattern may take.
const PATTERN_LIMIT_BYTES: usize = 1 << 20;

/// What is known of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Anything.
    #[default]
    Any,
    /// Fields or keys.
    Object,
    /// Items.
    Array,
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A whole number or text (`x-kubernetes-int-or-string`).
    IntOrString,
}

impl Kind {
    /// The `type` in the schema, which is empty where none is given.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any | Self::IntOrString => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// How a list is shared and checked (`x-kubernetes-list-type`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListKind {
    /// As a whole.
    #[default]
    Atomic,
    /// Distinct scalars.
    Set,
    /// Structures, told apart by these fields.
    Map(Box<[Box<str>]>),
}

/// The schema of one value.
#[derive(Debug, Default)]
pub struct Structural {
    /// Its type.
    pub kind: Kind,
    /// Whether `null` is a value.
    pub nullable: bool,
    /// Whether unknown fields are kept (`x-kubernetes-preserve-unknown-fields`).
    pub preserves_unknown: bool,
    /// Whether it is an object with `apiVersion`, `kind` and `metadata`.
    pub embedded: bool,
    /// Whether appliers own a structure or map only as a whole (`x-kubernetes-map-type: atomic`).
    pub atomic_map: bool,
    /// What it is when it is not given.
    pub default: Option<Box<Value>>,
    /// Declared fields, sorted by name.
    pub properties: Box<[(Box<str>, Structural)]>,
    /// The schema of undeclared keys.
    pub additional: Option<Box<Structural>>,
    /// The schema of items.
    pub items: Option<Box<Structural>>,
    /// How a list is shared.
    pub list: ListKind,
    /// What values must satisfy beyond their type.
    pub rules: Option<Box<Rules>>,
}

/// What values must satisfy beyond their type.
#[derive(Debug, Default)]
pub struct Rules {
    /// Fields that must be there.
    pub required: Box<[Box<str>]>,
    /// The values there are; empty for no limit.
    pub allowed: Box<[Value]>,
    /// What text is to match.
    pub pattern: Option<Pattern>,
    /// A well-known form of text.
    pub format: Option<Box<str>>,
    /// Smallest and largest number.
    pub minimum: Option<Limit>,
    /// Largest number.
    pub maximum: Option<Limit>,
    /// What numbers are multiples of.
    pub multiple_of: Option<f64>,
    /// Bounds of text in characters.
    pub length: Bounds,
    /// Bounds of lists in items.
    pub items: Bounds,
    /// Bounds of objects in keys.
    pub properties: Bounds,
    /// All of these hold.
    pub all_of: Box<[Structural]>,
    /// At least one of these holds.
    pub any_of: Box<[Structural]>,
    /// Exactly one of these holds.
    pub one_of: Box<[Structural]>,
    /// This does not hold.
    pub not: Option<Box<Structural>>,
    /// Rules in CEL (`x-kubernetes-validations`); [`super::rules`] evaluates them.
    pub validations: Box<[ValidationRule]>,
}

/// A bound of numbers.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The bound.
    pub value: f64,
    /// Whether the bound itself is outside.
    pub exclusive: bool,
}

/// How many there may be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// At least.
    pub min: Option<u64>,
    /// At most.
    pub max: Option<u64>,
}

/// A regular expression, compiled when it is first needed.
#[derive(Debug)]
pub struct Pattern {
    /// As it is written.
    pub text: Box<str>,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// Whether `text` has a match. A pattern that cannot be compiled matches nothing.
    pub fn matches(&self, text: &str) -> bool {
        let compile = || RegexBuilder::new(&self.text).size_limit(PATTERN_LIMIT_BYTES).build().ok();
        self.compiled.get_or_init(compile).as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

impl Structural {
    /// Reads a schema. What it does not know is left out: definitions were validated before.
    pub fn read(schema: &Value) -> Self {
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or(false);
        Self {
            kind: kind(schema),
            nullable: flag("nullable"),
            preserves_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            atomic_map: text(schema, "x-kubernetes-map-type") == "atomic",
            default: schema.get("default").filter(|value| !value.is_null()).map(|value| Box::new(value.clone())),
            properties: properties(schema),
            additional: additional(schema),
            items: schema.get("items").filter(|items| items.is_object()).map(|items| Box::new(Self::read(items))),
            list: list(schema),
            rules: Rules::read(schema).map(Box::new),
        }
    }

    /// The schema of a declared field.
    pub fn property(&self, name: &str) -> Option<&Self> {
        let at = self.properties.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.properties[at].1)
    }

    /// Rules in CEL of this value itself.
    pub fn validations(&self) -> &[ValidationRule] {
        self.rules.as_ref().map(|rules| &*rules.validations).unwrap_or_default()
    }

    /// The schema of a field, declared or not.
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.property(name).or(self.additional.as_deref())
    }
}

impl Rules {
    /// `None` if nothing but the type matters.
    fn read(schema: &Value) -> Option<Self> {
        const KEYWORDS: [&str; 19] = [
            "required",
            "enum",
            "pattern",
            "format",
            "minimum",
            "maximum",
            "multipleOf",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "minProperties",
            "maxProperties",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
            "uniqueItems",
            VALIDATIONS,
        ];
        if !KEYWORDS.iter().any(|keyword| schema.get(keyword).is_some()) {
            return None;
        }
        let junction = |name: &str| array(schema, name).iter().map(Structural::read).collect();
        let text = |name: &str| schema.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        Some(Self {
            required: names(schema, "required"),
            allowed: array(schema, "enum").into(),
            pattern: text("pattern").map(|text| Pattern { text: text.into(), compiled: OnceLock::new() }),
            format: text("format").map(Into::into),
            minimum: limit(schema, "minimum", "exclusiveMinimum"),
            maximum: limit(schema, "maximum", "exclusiveMaximum"),
            multiple_of: schema.get("multipleOf").and_then(Value::as_f64).filter(|of| *of != 0.0),
            length: bounds(schema, "minLength", "maxLength"),
            items: bounds(schema, "minItems", "maxItems"),
            properties: bounds(schema, "minProperties", "maxProperties"),
            all_of: junction("allOf"),
            any_of: junction("anyOf"),
            one_of: junction("oneOf"),
            not: schema.get("not").map(|not| Box::new(Structural::read(not))),
            validations: array(schema, VALIDATIONS)
                .iter()
                .filter_map(|rule| ValidationRule::deserialize(rule).ok())
                .collect(),
        })
    }
}

fn kind(schema: &Value) -> Kind {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return Kind::IntOrString;
    }
    match text(schema, "type") {
        "object" => Kind::Object,
        "array" => Kind::Array,
        "string" => Kind::String,
        "integer" => Kind::Integer,
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        _ => Kind::Any,
    }
}

fn properties(schema: &Value) -> Box<[(Box<str>, Structural)]> {
    let none = Map::new();
    let declared = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let mut read: Vec<(Box<str>, Structural)> =
        declared.iter().map(|(name, schema)| (name.as_str().into(), Structural::read(schema))).collect();
    read.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    read.into()
}

/// `additionalProperties` is a schema, or `true` for "anything".
fn additional(schema: &Value) -> Option<Box<Structural>> {
    match schema.get("additionalProperties")? {
        Value::Bool(true) => Some(Box::new(Structural { preserves_unknown: true, ..Structural::default() })),
        values @ Value::Object(_) => Some(Box::new(Structural::read(values))),
        _ => None,
    }
}

fn list(schema: &Value) -> ListKind {
    match text(schema, "x-kubernetes-list-type") {
        "set" => ListKind::Set,
        "map" => ListKind::Map(names(schema, "x-kubernetes-list-map-keys")),
        _ => ListKind::Atomic,
    }
}

fn limit(schema: &Value, name: &str, exclusive: &str) -> Option<Limit> {
    let value = schema.get(name)?.as_f64()?;
    Some(Limit { value, exclusive: schema.get(exclusive) == Some(&Value::Bool(true)) })
}

fn bounds(schema: &Value, min: &str, max: &str) -> Bounds {
    let number = |name: &str| schema.get(name).and_then(Value::as_u64);
    Bounds { min: number(min), max: number(max) }
}

fn names(schema: &Value, name: &str) -> Box<[Box<str>]> {
    array(schema, name).iter().filter_map(Value::as_str).map(Into::into).collect()
}

fn array<'a>(schema: &'a Value, name: &str) -> &'a [Value] {
    schema.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(schema: &'a Value, name: &str) -> &'a str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_read_with_its_extensions() {
        let schema = Structural::read(&json!({
            "type": "object", "required": ["b"],
            "properties": {
                "b": {"x-kubernetes-int-or-string": true},
                "a": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                      "items": {"type": "object", "x-kubernetes-map-type": "atomic"}},
            },
        }));
        assert_eq!(schema.property("b").unwrap().kind, Kind::IntOrString);
        let list = schema.property("a").unwrap();
        assert_eq!(list.list, ListKind::Map(["name".into()].into()));
        assert!(list.items.as_ref().unwrap().atomic_map);
        assert!(list.rules.is_none() && schema.rules.is_some());
    }

    #[test]
    fn a_pattern_that_is_none_matches_nothing() {
        let pattern = |text: &str| Pattern { text: text.into(), compiled: OnceLock::new() };
        assert!(pattern("^a+$").matches("aa"));
        assert!(!pattern("(").matches("("));
    }
}
