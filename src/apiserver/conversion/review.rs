//! `ConversionReview` of `apiextensions.k8s.io`: what a conversion webhook is sent, and what may come
//! back. It may change everything but what an object is; of the metadata, labels and annotations.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::{field::Path, meta, validation::metadata};

const V1: &str = "v1";
const V1_BETA1: &str = "v1beta1";

/// A question to a conversion webhook.
pub struct Review<'a> {
    version: &'static str,
    uid: String,
    to: &'a str,
}

impl<'a> Review<'a> {
    /// For the version `to`, in the first form of `understood` that this server speaks.
    pub fn new(understood: &[String], to: &'a str) -> Option<Self> {
        let version = understood.iter().find_map(|version| match version.as_str() {
            V1 => Some(V1),
            V1_BETA1 => Some(V1_BETA1),
            _ => None,
        })?;
        Some(Self { version, uid: Uuid::new_v4().to_string(), to })
    }

    /// The request for these encoded objects.
    pub fn body(&self, objects: &[Bytes]) -> Bytes {
        let head = json!({"uid": self.uid, "desiredAPIVersion": self.to}).to_string();
        let mut body =
            BytesMut::with_capacity(head.len() + 128 + objects.iter().map(|json| json.len() + 1).sum::<usize>());
        body.put_slice(b"{\"kind\":\"ConversionReview\",\"apiVersion\":\"");
        body.put_slice(self.api_version().as_bytes());
        body.put_slice(b"\",\"request\":");
        body.put_slice(head.trim_end_matches('}').as_bytes());
        body.put_slice(b",\"objects\":[");
        for (position, object) in objects.iter().enumerate() {
            if position > 0 {
                body.put_u8(b',');
            }
            body.put_slice(object);
        }
        body.put_slice(b"]}}");
        body.freeze()
    }

    /// The objects of an answer, or what is wrong with it.
    pub fn converted(&self, answer: &[u8]) -> Result<Vec<Value>, String> {
        let mut answer: Value = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
        // Webhooks of the older form were never held to saying what they answer.
        if self.version == V1 {
            let found = group_version_kind(&answer);
            let wanted = format!("{}, Kind=ConversionReview", self.api_version());
            if found != wanted {
                return Err(format!("expected webhook response of {wanted}, got {found}"));
            }
        }
        let response =
            answer.get_mut("response").filter(|response| response.is_object()).ok_or("no response provided")?;
        let uid = response["uid"].as_str().unwrap_or_default();
        if self.version == V1 && uid != self.uid {
            return Err(format!("expected response.uid={:?}, got {uid:?}", self.uid));
        }
        let text = |field: &str| response["result"][field].as_str().unwrap_or_default();
        match (text("status"), text("message")) {
            ("Success", _) => {}
            (status, "") => return Err(format!("response.result.status was '{status}', not 'Success'")),
            (_, message) => return Err(message.to_owned()),
        }
        match response["convertedObjects"].take() {
            Value::Array(objects) => Ok(objects),
            _ => Ok(Vec::new()),
        }
    }

    fn api_version(&self) -> String {
        format!("apiextensions.k8s.io/{}", self.version)
    }
}

/// `example.com/v1, Kind=Foo`
pub fn group_version_kind(object: &Value) -> String {
    format!("{}, Kind={}", meta::api_version(object), meta::kind(object))
}

/// A converted object with the metadata that it must not have changed, or what is wrong with it.
pub fn restored(original: &Value, mut converted: Value, to: &str) -> Result<Value, String> {
    let version = meta::api_version(&converted);
    if version != to {
        return Err(format!("invalid groupVersion (expected {to}, received {version})"));
    }
    let kinds = (meta::kind(original), meta::kind(&converted));
    if kinds.0 != kinds.1 {
        return Err(format!("invalid kind (expected {}, received {})", kinds.0, kinds.1));
    }
    for (field, name) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (before, after) = (meta::text(original, field), meta::text(&converted, field));
        if before != after {
            return Err(format!("must have the same {name}: {before} != {after}"));
        }
    }
    let given = match converted.get_mut("metadata").map(Value::take) {
        Some(Value::Object(given)) => given,
        None => return Err("missing metadata in converted object".to_owned()),
        Some(_) => return Err("invalid metadata in converted object".to_owned()),
    };
    converted["metadata"] = metadata_of(original, given)?;
    Ok(converted)
}

/// The original's metadata with the labels and annotations that were `given`.
fn metadata_of(original: &Value, mut given: Map<String, Value>) -> Result<Value, String> {
    let mut kept = meta::metadata(original).cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        let before = kept.remove(field);
        let after = match given.remove(field) {
            None | Some(Value::Null) => continue,
            Some(Value::Object(after)) => after,
            Some(_) => return Err(format!("invalid metadata.{field} in converted object")),
        };
        if let Some((key, _)) = after.iter().find(|(_, value)| !value.is_string()) {
            return Err(format!("metadata.{field}[{key}] must be a string in converted object"));
        }
        if before.as_ref().and_then(Value::as_object) != Some(&after) {
            check(field, &after)?;
        }
        kept.insert(field.to_owned(), Value::Object(after));
    }
    Ok(Value::Object(kept))
}

fn check(field: &str, values: &Map<String, Value>) -> Result<(), String> {
    let path = Path::new("metadata").child(field);
    let pairs = values.iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()));
    let causes = match field {
        "labels" => metadata::labels(pairs, &path),
        _ => metadata::annotations(pairs, &path),
    };
    let each: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    match each.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn original() -> Value {
        json!({"apiVersion": "example.com/v1", "kind": "Foo",
               "metadata": {"name": "a", "uid": "u", "labels": {"x": "1"}, "finalizers": ["f"]}, "spec": {"a": 1}})
    }

    fn problem(change: impl Fn(&mut Value)) -> String {
        let mut converted = original();
        converted["apiVersion"] = "example.com/v2".into();
        change(&mut converted);
        restored(&original(), converted, "example.com/v2").unwrap_err()
    }

    #[test]
    fn labels_and_annotations_may_change_and_other_metadata_stays() {
        let converted = json!({"apiVersion": "example.com/v2", "kind": "Foo", "spec": {"b": 1},
            "metadata": {"name": "a", "uid": "u", "annotations": {"y": "2"}, "generation": 7}});
        let restored = restored(&original(), converted, "example.com/v2").unwrap();
        let wanted = json!({"name": "a", "uid": "u", "annotations": {"y": "2"}, "finalizers": ["f"]});
        assert_eq!((&restored["metadata"], &restored["spec"]), (&wanted, &json!({"b": 1})));
    }

    #[test]
    fn what_an_object_is_stays() {
        assert_eq!(
            problem(|object| object["apiVersion"] = "example.com/v3".into()),
            "invalid groupVersion (expected example.com/v2, received example.com/v3)"
        );
        assert_eq!(problem(|object| object["kind"] = "Bar".into()), "invalid kind (expected Foo, received Bar)");
        assert_eq!(problem(|object| object["metadata"]["name"] = "b".into()), "must have the same name: a != b");
        assert_eq!(problem(|object| object["metadata"]["uid"] = "v".into()), "must have the same UID: u != v");
        assert_eq!(
            problem(|object| object["metadata"]["labels"]["x"] = 1.into()),
            "metadata.labels[x] must be a string in converted object"
        );
        assert!(problem(|object| object["metadata"]["labels"]["x"] = "-".into()).starts_with("metadata.labels: "));
    }

    #[test]
    fn answers_are_to_this_question() {
        let review = Review::new(&["v9".into(), "v1".into()], "example.com/v2").unwrap();
        let sent: Value = serde_json::from_slice(&review.body(&["{}".into(), "{\"a\":1}".into()])).unwrap();
        assert_eq!(sent["request"]["objects"], json!([{}, {"a": 1}]));
        let uid = sent["request"]["uid"].clone();
        let answer = |response: Value| {
            let answer =
                json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
            review.converted(answer.to_string().as_bytes())
        };
        let good = answer(json!({"uid": uid, "result": {"status": "Success"}, "convertedObjects": [{}]}));
        assert_eq!(good.unwrap(), [json!({})]);
        assert!(answer(json!({"uid": "x"})).unwrap_err().starts_with("expected response.uid="));
        assert_eq!(answer(json!({"uid": uid, "result": {"status": "Failed", "message": "no"}})).unwrap_err(), "no");
        assert_eq!(answer(Value::Null).unwrap_err(), "no response provided");
        assert!(Review::new(&["v9".into()], "x").is_none());
    }
}
