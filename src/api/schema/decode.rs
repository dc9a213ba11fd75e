//! Strict decoding: bytes to an object of a kind's schema, in one pass over JSON or YAML.
//!
//! What upstream's decoder does is kept: unknown and duplicate fields are reported as
//! `fieldValidation` asks and dropped, a wrong type is a 400 whatever was asked, `null` is "not
//! set", quantities and numbers in YAML take their canonical form. Depth is bounded by the
//! parsers (128), the number of values here.

use std::cell::{Cell, RefCell};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{Schema, Struct, Type};
use crate::api::{
    Status,
    quantity::{self, Quantity},
    status::Reason,
    time,
};

/// Largest body that is decoded.
pub const LIMIT_BYTES: usize = 3 * 1024 * 1024;
/// Most values of one object: repeated YAML aliases end here.
const VALUES: usize = 1_000_000;
/// Most unknown or duplicate fields that are reported.
const REPORTED: usize = 100;
/// Bytes of an unreadable body that are quoted.
const QUOTED_BYTES: usize = 30;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
}

/// What happens to unknown and duplicate fields (the `fieldValidation` parameter).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Nothing is said.
    Ignore,
    /// The response has a warning for each.
    #[default]
    Warn,
    /// The request fails with 400.
    Strict,
}

impl FieldValidation {
    /// Reads the parameter; empty is the default.
    pub fn parse(text: &str) -> Result<Self, Status> {
        match text {
            "Ignore" => Ok(Self::Ignore),
            "" | "Warn" => Ok(Self::Warn),
            "Strict" => Ok(Self::Strict),
            other => Err(Status::bad_request(format!(
                "fieldValidation: Unsupported value: \"{other}\": supported values: \"\", \"Ignore\", \"Strict\", \
                 \"Warn\""
            ))),
        }
    }
}

/// Decodes `bytes` as an object of `schema`: the object without unknown fields and nulls, and the
/// warnings to send (`unknown field "spec.foo"`). `apiVersion` and `kind` are not checked here but
/// by [`crate::api::kind::Strategy::decode`].
///
/// Fails with 400 for what cannot be read, has a wrong type, or breaks [`FieldValidation::Strict`];
/// with 413 above [`LIMIT_BYTES`].
pub fn decode(
    bytes: &[u8],
    format: Format,
    schema: &Schema,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    if bytes.len() > LIMIT_BYTES {
        let message = format!("Request entity too large: limit is {LIMIT_BYTES}");
        return Err(Status::new(Reason::RequestEntityTooLarge, message));
    }
    let state = State { yaml: format == Format::Yaml, ..State::default() };
    let result = match format {
        Format::Json => parse_json(bytes, Seed::root(schema, &state)).map_err(|error| json_error(bytes, &error)),
        Format::Yaml => parse_yaml(bytes, Seed::root(schema, &state))
            .map_err(|error| format!("error converting YAML to JSON: {error}")),
    };
    match (result, state.failure.take()) {
        (Ok(value), None) => finish(value, &state, schema, validation),
        (_, Some(problem)) => Err(cannot_be_handled(&stated_kind(bytes, format, schema), schema, &problem)),
        (Err(error), None) => Err(unrecognized(bytes, format, schema, &error)),
    }
}

/// Checks an object that is already a tree, such as the result of a patch, as [`decode`] does.
pub fn check(value: Value, schema: &Schema, validation: FieldValidation) -> Result<(Value, Vec<String>), Status> {
    let state = State::default();
    let result = Seed::root(schema, &state).deserialize(value);
    match (result, state.failure.take()) {
        (Ok(value), None) => finish(value, &state, schema, validation),
        (_, Some(problem)) => Err(cannot_be_handled(&schema.stated(), schema, &problem)),
        (Err(error), None) => Err(cannot_be_handled(&schema.stated(), schema, &error.to_string())),
    }
}

fn finish(
    value: Value,
    state: &State,
    schema: &Schema,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    let problems = state.reported.take();
    match validation {
        FieldValidation::Ignore => Ok((value, Vec::new())),
        FieldValidation::Warn => Ok((value, problems)),
        FieldValidation::Strict if problems.is_empty() => Ok((value, problems)),
        FieldValidation::Strict => {
            let problem = format!("strict decoding error: {}", problems.join(", "));
            Err(cannot_be_handled(&schema.stated(), schema, &problem))
        }
    }
}

fn parse_json(bytes: &[u8], seed: Seed<'_>) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

fn parse_yaml(bytes: &[u8], seed: Seed<'_>) -> Result<Value, serde_yaml::Error> {
    seed.deserialize(serde_yaml::Deserializer::from_slice(bytes))
}

/// The type that a body says it has.
#[derive(Default, Deserialize)]
struct Stated {
    #[serde(default, rename = "apiVersion")]
    api_version: String,
    #[serde(default)]
    kind: String,
}

impl Schema {
    fn stated(&self) -> Stated {
        Stated { api_version: self.api_version.to_string(), kind: self.kind.to_string() }
    }
}

fn stated_kind(bytes: &[u8], format: Format, schema: &Schema) -> Stated {
    let stated: Option<Stated> = match format {
        Format::Json => serde_json::from_slice(bytes).ok(),
        Format::Yaml => serde_yaml::from_slice(bytes).ok(),
    };
    stated.filter(|stated| !stated.kind.is_empty()).unwrap_or_else(|| schema.stated())
}

fn cannot_be_handled(stated: &Stated, schema: &Schema, problem: &str) -> Status {
    let version = stated.api_version.rsplit('/').next().unwrap_or_default();
    Status::bad_request(format!(
        "{} in version \"{version}\" cannot be handled as a {}: {problem}",
        stated.kind, schema.kind
    ))
}

fn unrecognized(bytes: &[u8], format: Format, schema: &Schema, error: &str) -> Status {
    let what = if format == Format::Json { "json parse error" } else { "yaml parse error" };
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): couldn't get version/kind; {what}: {error} ({})",
        schema.kind,
        quoted(bytes)
    ))
}

/// The beginning of a body: as text if it may be JSON, in hexadecimal otherwise.
fn quoted(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(QUOTED_BYTES)];
    let more = if bytes.len() > QUOTED_BYTES { " ..." } else { "" };
    match start.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(start)),
        Some(_) => {
            let hex: String = start.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}{more}")
        }
    }
}

/// A syntax error in the words of Go's decoder, which clients have seen all along.
fn json_error(bytes: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".into();
    }
    let text = error.to_string();
    let place = match text.split(" at line ").next().unwrap_or_default() {
        "expected value" => "looking for beginning of value",
        "key must be a string" => "looking for beginning of object key string",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "trailing characters" => "after top-level value",
        _ => return text,
    };
    let line = bytes.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    match line.get(error.column().saturating_sub(1)) {
        Some(byte) => format!("invalid character '{}' {place}", char::from(*byte)),
        None => text,
    }
}

/// What is found out on the way.
#[derive(Default)]
struct State {
    yaml: bool,
    values: Cell<usize>,
    reported: RefCell<Vec<String>>,
    failure: RefCell<Option<String>>,
}

impl State {
    fn report(&self, problem: String) {
        let mut reported = self.reported.borrow_mut();
        if reported.len() < REPORTED && !reported.contains(&problem) {
            reported.push(problem);
        }
    }

    fn fail<E: serde::de::Error>(&self, problem: String) -> E {
        let error = E::custom(&problem);
        self.failure.replace(Some(problem));
        error
    }
}

/// The way from the root to a value; lives on the stack.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Field { parent: &'a Place<'a>, owner: &'a Struct, name: &'a str },
    Key { parent: &'a Place<'a>, key: &'a str },
    Item { parent: &'a Place<'a>, index: usize },
}

impl Place<'_> {
    /// `spec.containers[0].image`
    fn path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field { parent, name, .. } => joined(&parent.path(), name),
            Self::Key { parent, key } => joined(&parent.path(), key),
            Self::Item { parent, index } => format!("{}[{index}]", parent.path()),
        }
    }

    /// As Go names a field in type errors: `Container.spec.containers.image`.
    fn go_field(&self) -> Option<String> {
        let owner = self.owner()?.short_name();
        Some(format!("{owner}.{}", self.go_path()))
    }

    fn owner(&self) -> Option<&Struct> {
        match self {
            Self::Root => None,
            Self::Field { owner, .. } => Some(owner),
            Self::Key { parent, .. } | Self::Item { parent, .. } => parent.owner(),
        }
    }

    fn go_path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field { parent, name, .. } => joined(&parent.go_path(), name),
            Self::Key { parent, .. } | Self::Item { parent, .. } => parent.go_path(),
        }
    }
}

fn joined(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// Decodes one value of a known type.
#[derive(Clone, Copy)]
struct Seed<'a> {
    kind: &'a Type,
    place: Place<'a>,
    state: &'a State,
}

impl<'a> Seed<'a> {
    fn root(schema: &'a Schema, state: &'a State) -> Self {
        Self { kind: &schema.root, place: Place::Root, state }
    }

    fn mismatch<E: serde::de::Error>(&self, found: &str) -> E {
        let kind = self.kind.shown();
        self.state.fail(match self.place.go_field() {
            Some(field) => format!("json: cannot unmarshal {found} into Go struct field {field} of type {kind}"),
            None => format!("json: cannot unmarshal {found} into Go value of type {kind}"),
        })
    }

    fn integer<E: serde::de::Error>(&self, number: i64) -> Result<Value, E> {
        match self.kind {
            Type::Any | Type::Int64 => Ok(number.into()),
            Type::Int32 | Type::IntOrString if i32::try_from(number).is_ok() => Ok(number.into()),
            Type::Int32 | Type::IntOrString => Err(self.mismatch(&format!("number {number}"))),
            Type::Number => Ok(number.into()),
            Type::Quantity => self.quantity(&number.to_string()),
            _ => Err(self.mismatch("number")),
        }
    }

    fn text<E: serde::de::Error>(&self, text: &str) -> Result<Value, E> {
        match self.kind {
            Type::Any | Type::String | Type::IntOrString => Ok(text.into()),
            Type::Bytes => self.bytes(text),
            Type::Time => self.time(text, time::format),
            Type::MicroTime => self.time(text, time::format_micro),
            Type::Quantity => self.quantity(text),
            Type::Boolean if self.state.yaml => {
                yaml_boolean(text).map(Value::from).ok_or_else(|| self.mismatch("string"))
            }
            Type::Int32 | Type::Int64 if self.state.yaml => {
                yaml_octal(text).map(Value::from).ok_or_else(|| self.mismatch("string"))
            }
            _ => Err(self.mismatch("string")),
        }
    }

    fn quantity<E: serde::de::Error>(&self, text: &str) -> Result<Value, E> {
        match text.parse::<Quantity>() {
            Ok(quantity) => Ok(quantity.to_string().into()),
            Err(error @ (quantity::Error::Form | quantity::Error::Suffix)) => Err(self.state.fail(error.to_string())),
        }
    }

    fn time<E: serde::de::Error>(&self, text: &str, format: fn(jiff::Timestamp) -> String) -> Result<Value, E> {
        match time::parse(text) {
            Some(time) => Ok(format(time).into()),
            None => Err(self.state.fail(format!(
                "parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{text}\" as \"2006\""
            ))),
        }
    }

    fn bytes<E: serde::de::Error>(&self, text: &str) -> Result<Value, E> {
        use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};
        let text: String = text.chars().filter(|next| !matches!(next, '\r' | '\n')).collect();
        match STANDARD.decode(&text) {
            Ok(_) => Ok(text.into()),
            Err(DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _)) => {
                Err(self.state.fail(format!("illegal base64 data at input byte {at}")))
            }
            Err(_) => Err(self.state.fail(format!("illegal base64 data at input byte {}", text.len()))),
        }
    }

    fn structure<'de, A: MapAccess<'de>>(&self, structure: &Struct, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let Some(field) = structure.field(&name) else {
                self.state.report(format!("unknown field \"{}\"", joined(&self.place.path(), &name)));
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let place = Place::Field { parent: &self.place, owner: structure, name: &name };
            let value = map.next_value_seed(Seed { kind: &field.kind, place, state: self.state })?;
            let duplicate = if value.is_null() { object.remove(&name) } else { object.insert(name.clone(), value) };
            if duplicate.is_some() {
                self.state.report(format!("duplicate field \"{}\"", joined(&self.place.path(), &name)));
            }
        }
        Ok(Value::Object(object))
    }

    fn map<'de, A: MapAccess<'de>>(&self, values: &Type, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let place = Place::Key { parent: &self.place, key: &key };
            let value = map.next_value_seed(Seed { kind: values, place, state: self.state })?;
            if object.insert(key.clone(), zero(values, value)).is_some() {
                self.state.report(format!("duplicate field \"{}\"", joined(&self.place.path(), &key)));
            }
        }
        Ok(Value::Object(object))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.state.values.set(self.state.values.get() + 1);
        if self.state.values.get() > VALUES {
            return Err(D::Error::custom(format!("more than {VALUES} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.kind.shown())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<Value, E> {
        match self.kind {
            Type::Any | Type::Boolean => Ok(flag.into()),
            _ => Err(self.mismatch("bool")),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
        self.integer(number)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        match (i64::try_from(number), self.kind) {
            (Ok(number), _) => self.integer(number),
            (Err(_), Type::Any | Type::Number) => Ok(number.into()),
            (Err(_), Type::Quantity) => self.quantity(&number.to_string()),
            (Err(_), _) => Err(self.mismatch(&format!("number {number}"))),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        match self.kind {
            Type::Any | Type::Number => Ok(number.into()),
            Type::Quantity => self.quantity(&number.to_string()),
            Type::Int32 | Type::Int64 | Type::IntOrString => Err(self.mismatch(&format!("number {number:?}"))),
            _ => Err(self.mismatch("number")),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let kind = match self.kind {
            Type::List(items) => items,
            Type::Any => self.kind,
            _ => return Err(self.mismatch("array")),
        };
        let mut list = Vec::new();
        loop {
            let place = Place::Item { parent: &self.place, index: list.len() };
            match items.next_element_seed(Seed { kind, place, state: self.state })? {
                Some(item) => list.push(zero(kind, item)),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        match self.kind {
            Type::Struct(structure) => self.structure(structure, map),
            Type::Map(values) => self.map(values, map),
            Type::Any => self.map(self.kind, map),
            _ => Err(self.mismatch("object")),
        }
    }
}

/// What `null` means where something must stand: an empty value of the type.
fn zero(kind: &Type, value: Value) -> Value {
    match (kind, &value) {
        (Type::String | Type::Bytes, Value::Null) => Value::String(String::new()),
        (Type::Struct(_) | Type::Map(_), Value::Null) => Value::Object(Map::new()),
        (Type::Int32 | Type::Int64 | Type::Number | Type::IntOrString, Value::Null) => 0.into(),
        (Type::Boolean, Value::Null) => false.into(),
        (Type::Quantity, Value::Null) => "0".into(),
        (Type::List(_), Value::Null) => Value::Array(Vec::new()),
        _ => value,
    }
}

/// YAML 1.1 writes file modes as `0644`.
fn yaml_octal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix('0'))?;
    i64::from_str_radix(digits, 8).ok()
}

/// YAML 1.1 has more words for true and false than 1.2.
fn yaml_boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Pod, Secret};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::api::schema::Library;

    fn pod() -> Schema {
        Library::default().schema_of::<Pod>("v1", "Pod")
    }

    fn strict(body: &str) -> Result<Value, String> {
        decode(body.as_bytes(), Format::Json, &pod(), FieldValidation::Strict)
            .map(|(value, _)| value)
            .map_err(|status| status.message)
    }

    fn yaml(body: &str) -> Result<Value, String> {
        decode(body.as_bytes(), Format::Yaml, &pod(), FieldValidation::Strict)
            .map(|(value, _)| value)
            .map_err(|status| status.message)
    }

    #[test]
    fn unknown_and_duplicate_fields_are_named_by_their_path() {
        let body =
            r#"{"kind":"Pod","apiVersion":"v1","spec":{"foo":1,"containers":[{"bar":{}, "name":"a","name":"b"}]}}"#;
        let message = strict(body).unwrap_err();
        assert_eq!(
            message,
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.foo\", \
             unknown field \"spec.containers[0].bar\", duplicate field \"spec.containers[0].name\""
        );
        let (value, warnings) = decode(body.as_bytes(), Format::Json, &pod(), FieldValidation::Warn).unwrap();
        assert_eq!(warnings[0], "unknown field \"spec.foo\"");
        assert_eq!(value["spec"], json!({"containers": [{"name": "b"}]}));
    }

    #[test]
    fn field_names_are_case_sensitive() {
        assert!(strict(r#"{"Spec":{}}"#).unwrap_err().ends_with("unknown field \"Spec\""));
    }

    #[test]
    fn wrong_types_read_as_upstreams() {
        for (body, problem) in [
            (
                r#"{"spec":{"containers":"x"}}"#,
                "string into Go struct field PodSpec.spec.containers of type []v1.Container",
            ),
            (r#"{"spec":7}"#, "number into Go struct field Pod.spec of type v1.PodSpec"),
            (
                r#"{"spec":{"containers":[{"env":[{"value":1}]}]}}"#,
                "number into Go struct field EnvVar.spec.containers.env.value of type string",
            ),
            (
                r#"{"spec":{"priority":99999999999}}"#,
                "number 99999999999 into Go struct field PodSpec.spec.priority of type int32",
            ),
            (
                r#"{"metadata":{"labels":{"a":true}}}"#,
                "bool into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            ("[]", "array into Go value of type v1.Pod"),
        ] {
            let message = strict(body).unwrap_err();
            assert_eq!(
                message,
                format!("Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal {problem}"),
                "{body}"
            );
        }
    }

    #[test]
    fn syntax_errors_quote_the_body() {
        assert_eq!(
            strict("{x").unwrap_err(),
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: \
             invalid character 'x' looking for beginning of object key string ({x)"
        );
        assert!(strict("").unwrap_err().ends_with("json parse error: unexpected end of JSON input (<empty>)"));
        assert!(strict("{} {}").unwrap_err().contains("invalid character '{' after top-level value"));
    }

    #[test]
    fn null_is_not_set() {
        let body = r#"{"metadata":{"creationTimestamp":null,"labels":{"a":null}},"spec":{"containers":null}}"#;
        assert_eq!(strict(body).unwrap(), json!({"metadata": {"labels": {"a": ""}}, "spec": {}}));
    }

    #[test]
    fn leaves_take_their_canonical_form() {
        let body = r#"{"metadata":{"deletionTimestamp":"2026-01-02T03:04:05.6+01:00"},
                       "spec":{"containers":[{"resources":{"limits":{"cpu":0.5,"memory":"1024Mi","x":2}}}]}}"#;
        let value = strict(body).unwrap();
        assert_eq!(value["metadata"]["deletionTimestamp"], "2026-01-02T02:04:05Z");
        assert_eq!(
            value["spec"]["containers"][0]["resources"]["limits"],
            json!({"cpu": "500m", "memory": "1Gi", "x": "2"})
        );
    }

    #[test]
    fn yaml_numbers_and_words_of_version_1_1() {
        let value = yaml("spec:\n  hostNetwork: yes\n  volumes:\n  - configMap: {defaultMode: 0644}\n  nodeName: on\n");
        let spec = &value.unwrap()["spec"];
        assert_eq!(spec["volumes"][0]["configMap"]["defaultMode"], 420);
        assert_eq!((&spec["hostNetwork"], &spec["nodeName"]), (&json!(true), &json!("on")));
        assert!(yaml("metadata:\n  name: 1\n").unwrap_err().contains("cannot unmarshal number"));
        assert!(yaml("a: [").unwrap_err().contains("error converting YAML to JSON"));
    }

    #[test]
    fn alias_bombs_and_deep_nesting_are_refused() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let items = vec![format!("*a{}", level - 1); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        let bomb = format!(
            "spec:\n  overhead: 1\nmetadata:\n  managedFields:\n  - fieldsV1:\n      x:\n{}",
            bomb.replace('a', "      a")
        );
        assert!(yaml(&bomb).is_err());
        let deep = format!("{}{}", "{\"a\":".repeat(5000), "}".repeat(5000));
        assert!(strict(&deep).is_err());
        assert_eq!(
            decode(&vec![b' '; LIMIT_BYTES + 1], Format::Json, &pod(), FieldValidation::Warn).unwrap_err().code(),
            413
        );
    }

    #[test]
    fn bytes_are_base64() {
        let schema = Library::default().schema_of::<Secret>("v1", "Secret");
        let body = br#"{"data":{"a":"YQ==","b":"?"}}"#;
        let status = decode(body, Format::Json, &schema, FieldValidation::Warn).unwrap_err();
        assert!(status.message.ends_with("illegal base64 data at input byte 0"), "{status}");
    }

    #[test]
    fn a_tree_is_checked_like_a_body() {
        let tree = json!({"spec": {"nodeName": null, "x": 1}});
        let (value, warnings) = check(tree, &pod(), FieldValidation::Warn).unwrap();
        assert_eq!(value, json!({"spec": {}}));
        assert_eq!(warnings, ["unknown field \"spec.x\""]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let schema = pod();
            _ = decode(&body, Format::Json, &schema, FieldValidation::Strict);
            _ = decode(&body, Format::Yaml, &schema, FieldValidation::Strict);
        }
    }
}
