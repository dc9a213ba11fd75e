//! Writes values of the versioned API as Go's `json.MarshalIndent` writes the structs that upstream keeps them in: in the
//! structs' order, with everything that is not there. The shape is given by [`structs`], the layout by serde_json,
//! which differs from Go's in what it escapes alone.

use std::io;

use serde::{Serialize, Serializer};
use serde_json::{Value, json, ser::PrettyFormatter};

use super::structs::{self, Field, Hold, Kind, Role, Type};
use crate::api::quantity::Quantity;

/// Longest form, in bytes: some hundred times that of a common pod. A list of empty structs grows to hundreds of times
/// its length.
const LIMIT_BYTES: usize = 4 << 20;

/// A value of the versioned API that serializes as the struct which upstream keeps it in.
pub struct Form {
    of: Type,
    value: Value,
}

impl Form {
    /// The form of a value that is of a Go type, such as `PodSpec` or `[]Container`.
    pub fn new(go_type: &'static str, value: &impl Serialize) -> Self {
        Self { of: Type::parse(go_type), value: json!(value) }
    }

    /// The form with a field a line; none if it would be too long.
    pub fn lines(&self) -> Option<String> {
        let mut text = Bounded(Vec::new());
        let layout = PrettyFormatter::with_indent(b" ");
        self.serialize(&mut serde_json::Serializer::with_formatter(&mut text, layout)).ok()?;
        String::from_utf8(text.0).ok().map(|text| escape(&text))
    }
}

impl Serialize for Form {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = Some(&self.value).filter(|value| !value.is_null());
        Shaped { of: self.of, value, outer: None }.serialize(serializer)
    }
}

/// Go lets no `<`, `>` or `&` into JSON; they occur within texts alone.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for next in text.chars() {
        match next {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escaped.push_str(&format!("\\u{:04x}", u32::from(next))),
            _ => escaped.push(next),
        }
    }
    escaped
}

/// Takes so many bytes and no more.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LIMIT_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A value with the type that gives it its shape.
struct Shaped<'a> {
    of: Type,
    value: Option<&'a Value>,
    /// The struct that the value is a field of.
    outer: Option<&'a Value>,
}

impl Serialize for Shaped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let held = |value| Shaped { of: self.of.held(), value: Some(value), outer: None };
        match (self.of.hold, self.value) {
            (Hold::Pointer, None) => serializer.serialize_none(),
            // Where a list must be, types of the versioned API have an empty one for none.
            (Hold::Slice | Hold::Map, value) if value.is_none_or(is_empty) => serializer.serialize_none(),
            (Hold::Slice, Some(Value::Array(items))) => serializer.collect_seq(items.iter().map(held)),
            (Hold::Map, Some(Value::Object(entries))) => {
                serializer.collect_map(entries.iter().map(|(key, value)| (key, held(value))))
            }
            _ => self.one(serializer),
        }
    }
}

impl Shaped<'_> {
    fn one<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.of.kind, self.value) {
            (Kind::Struct(name), value) => {
                let mut members = Vec::new();
                gather(name, value, self.outer, &mut members);
                serializer.collect_map(members)
            }
            (Kind::Quantity, value) => serializer.serialize_str(&quantity(value)),
            (_, Some(value)) => value.serialize(serializer),
            (Kind::Text, None) => serializer.serialize_str(""),
            (Kind::Number, None) => serializer.serialize_u64(0),
            (Kind::Boolean, None) => serializer.serialize_bool(false),
            (Kind::Time, None) => serializer.serialize_none(),
        }
    }
}

/// Collects the members that a struct has in JSON, those of embedded structs in their places.
fn gather<'a>(
    name: &str,
    value: Option<&'a Value>,
    outer: Option<&'a Value>,
    members: &mut Vec<(&'static str, Shaped<'a>)>,
) {
    for Field { name, versioned, role, of } in structs::fields(name).iter().copied() {
        let found = member(if role == Role::Outer { outer } else { value }, versioned);
        match role {
            Role::Embedded => gather(name, value, outer, members),
            Role::Promoted => gather(name, found, value, members),
            Role::OmitEmpty if found.is_none_or(is_empty) => {}
            _ => members.push((name, Shaped { of, value: found, outer: value })),
        }
    }
}

fn member<'a>(object: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    let mut members = object?.as_object()?.iter();
    members.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).filter(|value| !value.is_null())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

/// A quantity in its canonical form.
fn quantity(value: Option<&Value>) -> String {
    let text = value.and_then(Value::as_str).unwrap_or("0");
    text.parse::<Quantity>().map_or_else(|_| text.to_owned(), |quantity| quantity.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The forms as upstream's server showed them.
    #[test]
    fn values_take_the_shape_of_gos_structs() {
        let cases = [
            (
                "ContainerPort",
                json!({"containerPort": 80}),
                json!({
                "Name": "", "HostPort": 0, "ContainerPort": 80, "Protocol": "", "HostIP": ""}),
            ),
            // The last `Name` is an embedded struct's.
            (
                "ConfigMapKeySelector",
                json!({"key": "k", "name": "n"}),
                json!({"Name": "n", "Key": "k", "Optional": null}),
            ),
            ("HostPathVolumeSource", json!({"path": "/", "type": ""}), json!({"Path": "/", "Type": ""})),
            (
                "GlusterfsVolumeSource",
                json!({"endpoints": "e"}),
                json!({
                "EndpointsName": "e", "Path": "", "ReadOnly": false}),
            ),
            // What the types of metadata omit.
            (
                "*LabelSelector",
                json!({"matchExpressions": [{"key": "k", "operator": "Exists"}], "matchLabels": {}}),
                json!({
                "matchExpressions": [{"key": "k", "operator": "Exists"}]}),
            ),
            (
                "PersistentVolumeClaimTemplate",
                json!({"metadata": {"labels": {"a": "b"}}, "spec": {"resources": {
                "requests": {"storage": "1024Mi"}}}}),
                json!({"labels": {"a": "b"}, "Spec": {
                "AccessModes": null, "Selector": null, "Resources": {"Limits": null, "Requests": {"storage": "1Gi"}},
                "VolumeName": "", "StorageClassName": null, "VolumeMode": null, "DataSource": null,
                "DataSourceRef": null, "VolumeAttributesClassName": null}}),
            ),
            (
                "ResourceFieldSelector",
                json!({"resource": "limits.cpu"}),
                json!({
                "ContainerName": "", "Resource": "limits.cpu", "Divisor": "0"}),
            ),
        ];
        for (go_type, value, expected) in cases {
            assert_eq!(json!(Form::new(go_type, &value)), expected, "{go_type}");
        }
    }

    #[test]
    fn a_pods_use_of_the_hosts_namespaces_is_in_its_security_context() {
        let shown = Form::new("PodSpec", &json!({"hostPID": true, "containers": []})).lines().unwrap();
        assert!(shown.contains(" \"Containers\": null,\n \"EphemeralContainers\": null,\n"), "{shown}");
        let context = "\n \"SecurityContext\": {\n  \"HostNetwork\": false,\n  \"HostPID\": true,\n  \"HostIPC\": false,\n  \
                       \"ShareProcessNamespace\": null,\n  \"HostUsers\": null,\n  \"SELinuxOptions\": null,\n";
        assert!(shown.contains(context), "{shown}");
    }

    #[test]
    fn the_layout_is_gos() {
        let value = json!([{"name": "a<&>\u{2028}\u{7}\u{7f}é\"", "value": "b\n"}]);
        let expected =
            "[\n {\n  \"Name\": \"a\\u003c\\u0026\\u003e\\u2028\\u0007\u{7f}é\\\"\",\n  \"Value\": \"b\\n\"\n }\n]";
        assert_eq!(Form::new("[]Sysctl", &value).lines().unwrap(), expected);
    }

    #[test]
    fn what_would_grow_too_long_has_no_form() {
        let volumes = vec![json!({}); LIMIT_BYTES / 500];
        assert_eq!(Form::new("[]Volume", &volumes).lines(), None);
    }
}
