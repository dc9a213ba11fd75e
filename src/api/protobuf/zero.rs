//! Zeroes as Go leaves them: its types cannot tell an empty text, `0`, `false` or an empty list from
//! nothing, unless they hold it by pointer. So an object of upstream's has no fields that say nothing,
//! and has those that Go writes whatever is in them. Objects take this form before anybody compares,
//! stores or owns them.

use serde_json::{Map, Value};

use super::facts::{self, Field, Kind, Message, Shape};

/// Groups whose objects upstream stores as JSON: they keep empty lists that are always written.
const STORED_AS_JSON: [&str; 2] = ["apiextensions.", "apiregistration."];

/// Which way an object goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From a client, before defaults: a zero is no value.
    In,
    /// On to others: what is always written is there.
    Out,
}

/// Drops the zeroes of an object that Go would not have, and adds those that it always writes. Kinds
/// without a message are left as they are.
pub fn settle(api_version: &str, kind: &str, object: &mut Value) {
    walk(api_version, kind, object, Way::Out);
}

/// Drops the zeroes of an object that mean nothing, so that defaults take their place. Structures that are
/// always there are added: they look alike in new and in stored objects.
pub fn unset(api_version: &str, kind: &str, object: &mut Value) {
    walk(api_version, kind, object, Way::In);
}

/// An object of a kind as Go writes it before anything is set. Kinds without a message have nothing in it.
pub fn blank(api_version: &str, kind: &str) -> Value {
    let mut object = Value::Object(Map::new());
    settle(api_version, kind, &mut object);
    object
}

fn walk(api_version: &str, kind: &str, object: &mut Value, way: Way) {
    let message = facts::messages().of_kind(api_version, kind);
    if let (Some(message), Value::Object(fields)) = (message, object) {
        settle_message(message, fields, way);
    }
}

/// Fields of objects and messages are both in the order of their names: one walk meets them all.
fn settle_message(message: &Message, fields: &mut Map<String, Value>, way: Way) {
    let keeps_empty_lists = STORED_AS_JSON.iter().any(|group| message.name.starts_with(group));
    let mut expected = 0;
    fields.retain(|name, value| {
        let Some((at, spot)) = message.spot_near(name, expected) else { return true };
        expected = at + 1;
        settle_field(&spot.field, value, keeps_empty_lists, way)
    });
    for field in message.written_fields().filter(|field| is_added(field, way)) {
        if !fields.contains_key(field.name) {
            fields.insert(field.name.to_owned(), zero(field, way));
        }
    }
}

/// Whether the field is there even if nothing is in it.
fn is_added(field: &Field, way: Way) -> bool {
    let is_structure = field.shape == Shape::One && matches!(field.kind, Kind::Message(_));
    field.always && (way == Way::Out || is_structure)
}

/// Settles a field's value; whether it stays.
fn settle_field(field: &Field, value: &mut Value, keeps_empty_lists: bool, way: Way) -> bool {
    settle_value(field, value, way);
    if !is_zero(field, value, way) {
        return true;
    }
    let stays = is_added(field, way);
    if stays && (value.is_null() || !keeps_empty_lists) {
        *value = zero(field, way);
    }
    stays
}

fn settle_value(field: &Field, value: &mut Value, way: Way) {
    let message = match field.kind {
        Kind::Double => return settle_double(value),
        Kind::Message(place) | Kind::SchemaOr(_, place) => facts::messages().at(place),
        _ => return,
    };
    match (field.shape, value) {
        (Shape::Map, Value::Object(values)) => values.values_mut().for_each(|value| settle_inner(message, value, way)),
        (_, Value::Array(items)) => items.iter_mut().for_each(|item| settle_inner(message, item, way)),
        (_, value) => settle_inner(message, value, way),
    }
}

/// Go writes whole numbers without a fraction.
fn settle_double(value: &mut Value) {
    let whole = value.as_f64().filter(|_| value.is_f64()).filter(|number| number.fract() == 0.0 && number.abs() < 1e15);
    if let Some(whole) = whole {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within these bounds is kept")]
        let whole = whole as i64;
        *value = whole.into();
    }
}

fn settle_inner(message: &Message, value: &mut Value, way: Way) {
    if let Value::Object(fields) = value {
        settle_message(message, fields, way);
    }
}

/// Whether Go has nothing in a field with this value. A structure that is not held by pointer is always
/// written, one that is says something by being there.
fn is_zero(field: &Field, value: &Value, way: Way) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty() && field.shape == Shape::List,
        Value::Object(entries) => entries.is_empty() && field.shape == Shape::Map,
        // Held by pointer; or written even so, and then nothing only on the way in.
        _ if field.keeps_zero && !(field.always && way == Way::In) => false,
        // Anything may be in a raw field, and a boolean in the place of a schema.
        Value::Bool(value) => !value && field.kind == Kind::Boolean,
        Value::Number(number) => {
            let is_number = matches!(field.kind, Kind::Int32 | Kind::Int64 | Kind::Double);
            number.as_f64() == Some(0.0) && (is_number || (field.always && field.kind == Kind::IntOrString))
        }
        Value::String(text) => text.is_empty() && matches!(field.kind, Kind::Text | Kind::Bytes | Kind::Quantity),
    }
}

/// What Go writes for nothing.
fn zero(field: &Field, way: Way) -> Value {
    match (field.shape, field.kind) {
        (Shape::List | Shape::Map, _) => Value::Null,
        (_, Kind::Boolean) => false.into(),
        (_, Kind::Int32 | Kind::Int64 | Kind::Double | Kind::IntOrString) => 0.into(),
        (_, Kind::Text) => "".into(),
        (_, Kind::Quantity) => "0".into(),
        (_, Kind::Message(place)) => {
            let mut fields = Map::new();
            settle_message(facts::messages().at(place), &mut fields, way);
            Value::Object(fields)
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settled(api_version: &str, kind: &str, mut object: Value) -> Value {
        settle(api_version, kind, &mut object);
        object
    }

    #[test]
    fn zeroes_that_go_does_not_write_are_dropped() {
        let pod = json!({"metadata": {"name": "a", "labels": {}, "finalizers": []},
                         "spec": {"hostNetwork": false, "hostUsers": false, "nodeName": "", "tolerations": [],
                                  "containers": [{"name": "a", "stdin": false, "securityContext": {}}]}});
        assert_eq!(
            settled("v1", "Pod", pod),
            json!({"metadata": {"name": "a"}, "status": {},
                   "spec": {"hostUsers": false,
                            "containers": [{"name": "a", "resources": {}, "securityContext": {}}]}})
        );
    }

    #[test]
    fn what_go_always_writes_is_added() {
        let role = settled("rbac.authorization.k8s.io/v1", "Role", json!({"metadata": {}, "rules": []}));
        assert_eq!(role, json!({"metadata": {}, "rules": null}));
        let status = settled("v1", "Pod", json!({"status": {"containerStatuses": [{"name": "a"}]}}));
        assert_eq!(
            status["status"]["containerStatuses"][0],
            json!({"name": "a", "state": {}, "lastState": {}, "ready": false, "restartCount": 0, "image": "",
                   "imageID": ""})
        );
        let selector = json!({"resource": "limits.cpu"});
        let environment = json!({"env": [{"name": "a", "valueFrom": {"resourceFieldRef": selector}}]});
        let pod = settled("v1", "Pod", json!({"spec": {"containers": [environment]}}));
        let source = &pod["spec"]["containers"][0]["env"][0]["valueFrom"]["resourceFieldRef"];
        assert_eq!(source["divisor"], "0");
    }

    #[test]
    fn empty_lists_stay_in_what_upstream_stores_as_json() {
        let mut definition = json!({"metadata": {}, "status": {"conditions": [], "storedVersions": []}});
        settle("apiextensions.k8s.io/v1", "CustomResourceDefinition", &mut definition);
        assert_eq!(
            (&definition["status"]["storedVersions"], &definition["spec"]["versions"]),
            (&json!([]), &Value::Null)
        );
    }

    #[test]
    fn what_schemas_say_by_a_zero_stays() {
        let schema = json!({"type": "object", "additionalProperties": false, "nullable": false,
                            "properties": {"a": {"type": "boolean", "default": false}, "b": {"default": ""}}});
        let versions = json!([{"name": "v1", "schema": {"openAPIV3Schema": schema}}]);
        let mut definition = json!({"metadata": {}, "spec": {"versions": versions}});
        settle("apiextensions.k8s.io/v1", "CustomResourceDefinition", &mut definition);
        assert_eq!(
            definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
            json!({"type": "object", "additionalProperties": false,
                   "properties": {"a": {"type": "boolean", "default": false}, "b": {"default": ""}}})
        );
    }

    #[test]
    fn zeroes_of_clients_make_room_for_defaults() {
        let port = json!({"port": 80, "targetPort": 0, "nodePort": 0});
        let mut service = json!({"metadata": {}, "spec": {"ports": [port, {"port": 81}]}});
        unset("v1", "Service", &mut service);
        assert_eq!(service["spec"], json!({"ports": [{"port": 80}, {"port": 81}]}));
        assert_eq!(service["status"], json!({"loadBalancer": {}}));
    }

    #[test]
    fn a_settled_object_stays_as_it_is() {
        let once = settled("apps/v1", "Deployment", json!({"spec": {"replicas": 0, "paused": false}}));
        assert_eq!(once["spec"]["replicas"], 0);
        assert_eq!(settled("apps/v1", "Deployment", once.clone()), once);
    }
}
