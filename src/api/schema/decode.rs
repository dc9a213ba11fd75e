//! Strict decoding: bytes to an object of a kind's schema, in one pass over JSON or YAML.
//!
//! What upstream's decoder does is kept: unknown and duplicate fields are reported as
//! `fieldValidation` asks and dropped, a wrong type is a 400 whatever was asked, `null` is "not
//! set", quantities and numbers in YAML take their canonical form. Depth is bounded by the
//! parsers (128), the number of values here.

use serde::de::DeserializeSeed;
use serde_json::Value;

use super::{
    Schema, Type, duplicates,
    walk::{Seed, State, Wording},
};
use crate::{
    api::{Status, protobuf, status::Reason},
    base::log,
};

/// Largest body that is decoded.
pub const LIMIT_BYTES: usize = 3 * 1024 * 1024;
/// Bytes of an unreadable body that are quoted.
const QUOTED_BYTES: usize = 30;

/// What Go reads the type of an object into.
const GO_STATED: &str = "value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
                         Kind string \"json:\\\"kind,omitempty\\\"\" }";

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
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
    /// Reads the parameter; empty is the default, `None` what it may not be.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "Ignore" => Some(Self::Ignore),
            "" | "Warn" => Some(Self::Warn),
            "Strict" => Some(Self::Strict),
            _ => None,
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
    let state = State::new(format == Format::Yaml);
    let seed = Seed::root(schema, &state);
    let result = match format {
        Format::Json => parse_json(bytes, seed).map_err(|error| json_error(bytes, &error)),
        Format::Yaml => parse_yaml(bytes, seed).map_err(|error| format!("error converting YAML to JSON: {error}")),
        Format::Protobuf => return decode_protobuf(bytes, schema),
    };
    match (result, state.take_failure()) {
        (Ok(value), None) => {
            settle(value, state.take_reported(), validation).map_err(|problem| unfit(schema, &problem))
        }
        (_, Some(problem)) => Err(match Stated::in_body(bytes, format, schema) {
            Ok(stated) => cannot_be_handled(&stated, schema, &problem),
            Err(problem) => unrecognized(bytes, Format::Json, schema, &problem),
        }),
        (Err(error), None) => Err(unrecognized(bytes, format, schema, &error)),
    }
}

/// Protobuf names fields by number: those that are unknown cannot be told to anybody.
fn decode_protobuf(bytes: &[u8], schema: &Schema) -> Result<(Value, Vec<String>), Status> {
    match protobuf::decode(bytes) {
        Ok(object) => check(object.value, schema, FieldValidation::Ignore, Wording::Decoder)
            .map_err(|problem| unfit(schema, &problem)),
        Err(error) => Err(unrecognized(bytes, Format::Protobuf, schema, &log::chain(&error))),
    }
}

/// Checks an object that is already a tree, such as the result of a patch, as [`decode`] does. Fails with
/// what is wrong with it: see [`unfit`].
pub fn check(
    value: Value,
    schema: &Schema,
    validation: FieldValidation,
    wording: Wording,
) -> Result<(Value, Vec<String>), String> {
    let state = State::of_tree(wording);
    let result = Seed::root(schema, &state).deserialize(value);
    match (result, state.take_failure()) {
        (Ok(value), None) => settle(value, state.take_reported(), validation),
        (_, Some(problem)) => Err(problem),
        (Err(error), None) => Err(error.to_string()),
    }
}

/// The answer to an object that does not fit its schema.
pub fn unfit(schema: &Schema, problem: &str) -> Status {
    cannot_be_handled(&Stated::by(schema), schema, problem)
}

/// Reads a body without regard to any kind: a tree with its nulls, and the lines that repeat a key.
pub fn tree(bytes: &[u8], format: Format) -> Result<(Value, Vec<String>), String> {
    let any = Schema { api_version: "".into(), kind: "".into(), root: Type::Any };
    let state = State::new(format == Format::Yaml);
    let seed = Seed::root(&any, &state);
    let value = match format {
        Format::Yaml => parse_yaml(bytes, seed).map_err(|error| error.to_string()),
        _ => parse_json(bytes, seed).map_err(|error| json_error(bytes, &error)),
    };
    // JSON is YAML: its lines are found in the same way.
    let repeated = |state: &State| if state.take_reported().is_empty() { Vec::new() } else { duplicates::lines(bytes) };
    value.map(|value| (value, repeated(&state)))
}

/// Does with unknown and duplicate fields what the request asks for: fails with them, or gives them back to
/// warn of.
pub fn settle(
    value: Value,
    problems: Vec<String>,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), String> {
    match validation {
        FieldValidation::Ignore => Ok((value, Vec::new())),
        FieldValidation::Warn => Ok((value, problems)),
        FieldValidation::Strict if problems.is_empty() => Ok((value, problems)),
        FieldValidation::Strict => Err(format!("strict decoding error: {}", problems.join(", "))),
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

/// The type that an object is said to have.
struct Stated {
    api_version: String,
    kind: String,
}

impl Stated {
    fn by(schema: &Schema) -> Self {
        Self { api_version: schema.api_version.to_string(), kind: schema.kind.to_string() }
    }

    /// What a body says, else what is asked for; or why a body cannot say so, which upstream finds out first.
    fn in_body(bytes: &[u8], format: Format, schema: &Schema) -> Result<Self, String> {
        let tree: Option<Value> = match format {
            Format::Json => serde_json::from_slice(bytes).ok(),
            Format::Yaml => serde_yaml::from_slice(bytes).ok(),
            Format::Protobuf => None,
        };
        let Some(tree) = tree else { return Ok(Self::by(schema)) };
        let cannot =
            |value: &Value, into: &str| Err(format!("json: cannot unmarshal {} into Go {into}", go_kind(value)));
        if !tree.is_object() {
            return cannot(&tree, GO_STATED);
        }
        let wrong = |name: &&str| !matches!(tree[*name], Value::String(_) | Value::Null);
        if let Some(name) = ["apiVersion", "kind"].into_iter().find(wrong) {
            return cannot(&tree[name], &format!("struct field .{name} of type string"));
        }
        let text = |name: &str| tree[name].as_str().unwrap_or_default().to_owned();
        let stated = Self { api_version: text("apiVersion"), kind: text("kind") };
        Ok(if stated.kind.is_empty() { Self::by(schema) } else { stated })
    }
}

/// What Go's decoder calls a JSON value.
pub fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn cannot_be_handled(stated: &Stated, schema: &Schema, problem: &str) -> Status {
    let version = stated.api_version.rsplit('/').next().unwrap_or_default();
    Status::bad_request(format!(
        "{} in version \"{version}\" cannot be handled as a {}: {problem}",
        stated.kind, schema.kind
    ))
}

fn unrecognized(bytes: &[u8], format: Format, schema: &Schema, error: &str) -> Status {
    let what = match format {
        Format::Json => "couldn't get version/kind; json parse error: ",
        Format::Yaml => "couldn't get version/kind; yaml parse error: ",
        Format::Protobuf => "",
    };
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {what}{error} ({})",
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
pub fn json_error(bytes: &[u8], error: &serde_json::Error) -> String {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::api::schema::Library;

    fn pod() -> Schema {
        Library::default().schema_of("v1", "Pod")
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
            (
                r#"{"spec":{"containers":[{"imagePullPolicy":1}]}}"#,
                "number into Go struct field Container.spec.containers.imagePullPolicy of type v1.PullPolicy",
            ),
            (
                r#"{"spec":{"volumes":[{"projected":{"sources":[{"secret":{"name":1}}]}}]}}"#,
                "number into Go struct field SecretProjection.spec.volumes.VolumeSource.projected.sources.secret.\
                 LocalObjectReference.name of type string",
            ),
            (
                r#"{"spec":{"containers":[{"resources":{"limits":[]}}]}}"#,
                "array into Go struct field ResourceRequirements.spec.containers.resources.limits of type \
                 v1.ResourceList",
            ),
            (
                r#"{"spec":{"containers":[{"livenessProbe":{"tcpSocket":{"port":true}}}]}}"#,
                "bool into Go struct field TCPSocketAction.spec.containers.livenessProbe.ProbeHandler.tcpSocket.port \
                 of type int32",
            ),
            (
                r#"{"spec":{"topologySpreadConstraints":[{"matchLabelKeys":[1]}]}}"#,
                "number into Go struct field TopologySpreadConstraint.spec.topologySpreadConstraints.matchLabelKeys \
                 of type string",
            ),
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
    fn what_an_object_is_comes_first() {
        let message = strict(r#"{"kind": [], "spec": 7}"#).unwrap_err();
        assert!(
            message
                .contains("json parse error: json: cannot unmarshal array into Go struct field .kind of type string (")
        );
        let message = strict("[]").unwrap_err();
        assert!(
            message.contains("array into Go value of type struct { APIVersion string \"json:\\\"apiV"),
            "{message}"
        );
    }

    #[test]
    fn schemas_and_what_stands_in_their_place_are_decoded() {
        let schema = Library::default().schema_of("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        let decoded = |properties: &str| {
            let schemas = format!(r#"{{"openAPIV3Schema": {{"properties": {{"a": {properties}}}}}}}"#);
            let body = format!(r#"{{"spec": {{"versions": [{{"schema": {schemas}}}]}}}}"#);
            let (value, warnings) = decode(body.as_bytes(), Format::Json, &schema, FieldValidation::Warn)
                .map_err(|status| status.message)?;
            assert_eq!(warnings, [""; 0]);
            Ok(value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["a"].clone())
        };
        // Nobody hears of unknown fields there, but they are gone.
        let of_any = r#"{"items": {"type": "x", "unknown": 1}, "additionalProperties": false, "default": {"b": 1}}"#;
        let expected = json!({"items": {"type": "x"}, "additionalProperties": false, "default": {"b": 1}});
        assert_eq!(decoded(of_any), Ok(expected));
        let problem: String = decoded(r#"{"items": {"required": 1}}"#).unwrap_err();
        assert!(
            problem.ends_with(
                "number into Go struct field JSONSchemaProps.spec.versions.schema.openAPIV3Schema.properties.items.\
                 required of type []string"
            ),
            "{problem}"
        );
        assert!(decoded(r#"{"additionalProperties": 1}"#).unwrap_err().ends_with(": boolean or JSON schema expected"));
    }

    #[test]
    fn bytes_may_be_numbers() {
        let schema = Library::default().schema_of("v1", "Secret");
        let (secret, _) =
            decode(br#"{"data": {"a": [104, 105]}}"#, Format::Json, &schema, FieldValidation::Strict).unwrap();
        assert_eq!(secret["data"]["a"], "aGk=");
        assert!(decode(br#"{"data": {"a": [256]}}"#, Format::Json, &schema, FieldValidation::Strict).is_err());
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
        let schema = Library::default().schema_of("v1", "Secret");
        let body = br#"{"data":{"a":"YQ==","b":"?"}}"#;
        let status = decode(body, Format::Json, &schema, FieldValidation::Warn).unwrap_err();
        assert!(status.message.ends_with("illegal base64 data at input byte 0"), "{status}");
    }

    #[test]
    fn a_tree_is_checked_like_a_body() {
        let tree = json!({"spec": {"nodeName": null, "x": 1}});
        let (value, warnings) = check(tree, &pod(), FieldValidation::Warn, Wording::Decoder).unwrap();
        assert_eq!(value, json!({"spec": {}}));
        assert_eq!(warnings, ["unknown field \"spec.x\""]);
        for (tree, problem) in [
            (json!({"metadata": {"labels": []}}), "cannot restore map from slice"),
            (json!({"spec": "x"}), "cannot restore struct from: string"),
            (json!({"spec": {"nodeName": 1}}), "cannot convert int64 to string"),
            (json!({"spec": {"priority": "x"}}), "unrecognized type: int32"),
        ] {
            let refused = check(tree, &pod(), FieldValidation::Warn, Wording::Conversion);
            assert_eq!(refused.unwrap_err(), problem);
        }
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
