//! Tests of the protobuf form as a whole: every kind's table against its schema, round trips, and
//! what kubectl sends.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Error, decode, encode,
    facts::{self, Instead, Kind, Message, Shape},
    items, list, put_object, watch_event,
};
use crate::api::{reference::Reference, schema::facts::short};

/// The schemas of types as the reference has them, by the names of their messages.
fn documented() -> BTreeMap<String, Value> {
    let reference = Reference::read();
    let parsed = |(name, text): (&str, &str)| (short(name).to_owned(), serde_json::from_str(text).unwrap());
    reference.lines().map(parsed).collect()
}

/// The form of a field in a document, as the table would have it.
fn form(schema: &Value, documents: &BTreeMap<String, Value>) -> String {
    let pointer = schema.pointer("/allOf/0/$ref").or_else(|| schema.get("$ref")).and_then(Value::as_str);
    if let Some(name) = pointer.and_then(|pointer| pointer.rsplit('/').next()) {
        return match short(name) {
            "io.k8s.apimachinery.pkg.api.resource.Quantity" => "Quantity".into(),
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => "IntOrString".into(),
            "io.k8s.apimachinery.pkg.runtime.RawExtension" => "any".into(),
            "meta.v1.Time" => "Time".into(),
            "meta.v1.MicroTime" => "MicroTime".into(),
            name => match documents.get(name).filter(|document| document.get("properties").is_none()) {
                Some(document) if document["type"] != "object" || name.ends_with("JSON") => form(document, documents),
                Some(document) if document.get("additionalProperties").is_some() => form(document, documents),
                _ => name.into(),
            },
        };
    }
    let format = schema["format"].as_str().unwrap_or_default();
    match (schema["type"].as_str().unwrap_or_default(), format) {
        ("boolean", _) => "Boolean".into(),
        ("integer", "int32") => "Int32".into(),
        ("integer", _) => "Int64".into(),
        ("number", _) => "Double".into(),
        ("string", "byte") => "Bytes".into(),
        ("string", _) => "Text".into(),
        ("array", _) => format!("[{}]", form(&schema["items"], documents)),
        ("object", _) if schema["additionalProperties"].is_object() => {
            format!("{{{}}}", form(&schema["additionalProperties"], documents))
        }
        _ => "any".into(),
    }
}

/// The form of a field in the table.
fn tabled(field: &facts::Field) -> String {
    let kind = match field.kind {
        Kind::Raw | Kind::SchemaOr(..) => "any".into(),
        Kind::Fields => "meta.v1.FieldsV1".into(),
        Kind::Texts => "[Text]".into(),
        Kind::Message(place) => facts::messages().at(place).name.to_owned(),
        scalar => format!("{scalar:?}"),
    };
    match field.shape {
        Shape::List => format!("[{kind}]"),
        Shape::Map => format!("{{{kind}}}"),
        Shape::One | Shape::Inline => kind,
    }
}

#[test]
fn the_table_has_exactly_the_fields_of_every_kind() {
    let documents = documented();
    let mut wrong = Vec::new();
    // What the prefixes do not shorten is no message.
    for (name, document) in documents.iter().filter(|(name, _)| !name.starts_with("io.k8s.")) {
        let Some(properties) = document["properties"].as_object() else { continue };
        let Some(message) = facts::messages().iter().find(|message| message.name == name) else {
            wrong.push(format!("{name} is missing"));
            continue;
        };
        let is_type = |name: &str| matches!(name, "apiVersion" | "kind") && message.spot(name).is_none();
        let declared: BTreeMap<&str, String> = properties
            .iter()
            .filter(|(name, _)| !is_type(name))
            .map(|(name, schema)| (&**name, form(schema, &documents)))
            .collect();
        let known: BTreeMap<&str, String> =
            message.fields_by_name().map(|(name, field)| (name, tabled(field))).collect();
        if declared != known {
            let differs = |name: &&&str| declared.get(**name) != known.get(**name);
            let names: BTreeSet<&str> = declared.keys().chain(known.keys()).filter(differs).copied().collect();
            wrong.extend(names.iter().map(|field| {
                format!(
                    "{name}.{field}: {:?} in the document, {:?} in the table",
                    declared.get(field),
                    known.get(field)
                )
            }));
        }
        let tells_its_kind = ["apiVersion", "kind"].iter().all(|name| properties.contains_key(*name));
        if tells_its_kind && message.spot("metadata").is_some() && !UNLISTED.contains(&&**name) {
            assert!(facts::messages().is_object(message), "{name}");
        }
        assert!(tells_its_kind || !facts::messages().is_object(message), "{name}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(documents.len() > 500, "{}", documents.len());
}

/// Objects that are sent, but never kept in lists.
const UNLISTED: [&str; 11] = [
    "authentication.v1.SelfSubjectReview",
    "authentication.v1.TokenRequest",
    "authentication.v1.TokenReview",
    "authorization.v1.LocalSubjectAccessReview",
    "authorization.v1.SelfSubjectAccessReview",
    "authorization.v1.SelfSubjectRulesReview",
    "authorization.v1.SubjectAccessReview",
    "autoscaling.v1.Scale",
    "core.v1.Binding",
    "meta.v1.Status",
    "policy.v1.Eviction",
];

#[test]
fn explicit_zeroes_go_where_json_has_none() {
    // As Go writes it: every field that is not a pointer, set or not.
    let written = json!({
        "metadata": {"name": "a", "generateName": "", "generation": 0, "creationTimestamp": null},
        "spec": {"replicas": 0, "paused": false, "minReadySeconds": 0, "selector": {},
                 "template": {"spec": {"automountServiceAccountToken": false, "nodeName": "", "hostNetwork": false,
                                       "volumes": [{"name": "", "secret": {"secretName": "s", "optional": false}}]}},
                 "strategy": {}},
        "status": {"replicas": 0},
    });
    let decoded = decode(&encode("apps/v1", "Deployment", &written).unwrap()).unwrap();
    assert_eq!((&*decoded.api_version, &*decoded.kind), ("apps/v1", "Deployment"));
    assert_eq!(
        decoded.value,
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
            "spec": {"replicas": 0, "selector": {}, "strategy": {}, "template": {"spec": {
                "automountServiceAccountToken": false,
                "volumes": [{"name": "", "secret": {"secretName": "s", "optional": false}}]}}},
            "status": {},
        })
    );
}

#[test]
fn special_types_keep_their_json() {
    for (version, kind, value) in [
        ("v1", "Secret", json!({"data": {"a": "AP8=", "empty": ""}, "immutable": false, "stringData": {"b": ""}})),
        ("v1", "Event", json!({"eventTime": "2026-01-02T03:04:05.000006Z", "lastTimestamp": "2026-01-02T03:04:05Z"})),
        (
            "v1",
            "Service",
            json!({"spec": {"ports": [{"port": 80, "targetPort": "web"}, {"port": 81, "targetPort": 8080}]}}),
        ),
        ("v1", "ResourceQuota", json!({"spec": {"hard": {"cpu": "500m", "pods": "0"}}})),
        ("apps/v1", "ControllerRevision", json!({"data": {"spec": [1, null]}, "revision": 9_007_199_254_740_993_i64})),
        (
            "v1",
            "ConfigMap",
            json!({"metadata": {"managedFields": [{"manager": "m", "fieldsV1": {"f:data": {".": {}}}}]}}),
        ),
        (
            "authentication.k8s.io/v1",
            "TokenReview",
            json!({"spec": {}, "status": {"user": {"extra": {"scopes": ["a", ""], "none": []}}}}),
        ),
        ("networking.k8s.io/v1", "NetworkPolicy", json!({"spec": {"podSelector": {}, "ingress": [{}]}})),
        (
            "v1",
            "Pod",
            json!({"spec": {"containers": [{"name": "a", "livenessProbe": {"httpGet": {"port": 0}},
                             "envFrom": [{"configMapRef": {"name": "c"}}]}],
                            "ephemeralContainers": [{"name": "e", "targetContainerName": "a"}],
                            "securityContext": {"supplementalGroups": [0, 7, -1]}}}),
        ),
        ("autoscaling/v1", "Scale", json!({"spec": {"replicas": 3}})),
        ("policy/v1", "Eviction", json!({"deleteOptions": {"gracePeriodSeconds": 0, "dryRun": ["All"]}})),
        ("v1", "Status", json!({"status": "Failure", "reason": "NotFound", "details": {"causes": [{"field": "x"}]}})),
    ] {
        let decoded = decode(&encode(version, kind, &value).unwrap()).unwrap();
        let mut expected = value;
        expected["apiVersion"] = version.into();
        expected["kind"] = kind.into();
        assert_eq!(decoded.value, expected);
    }
}

/// Bodies that kubectl 1.36 sends, as base64, and what its `-o yaml` shows of them.
#[test]
fn kubectls_bodies_are_understood() {
    let deployment = "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50EroBCh8KA3dlYhIAGgAiACoAMgA4AEIAWgoKA2FwcBIDd2ViEogBCAISDAoKCgNhcHA\
                      SA3dlYhpuChwKABIAGgAiACoAMgA4AEIAWgoKA2FwcBIDd2ViEk4SMAoFbmdpbngSB25naW54OjEqADIKCgAQABhQIgAqAEIAagByAI\
                      ABAIgBAJABAKIBABoAMgBCAEoAUgBYAGAAaACCAQCKAQCaAQDCAQAiAgoAKAA4ABoMCAAQABgAIAAoADgAGgAiAA==";
    let labels = json!({"app": "web"});
    let container = json!({"name": "nginx", "image": "nginx:1", "ports": [{"containerPort": 80}], "resources": {}});
    let token = "azhzAAooChhhdXRoZW50aWNhdGlvbi5rOHMuaW8vdjESDFRva2VuUmVxdWVzdBItChAKABIAGgAiACoAMgA4AEIAEhMaDgoDUG9kEgJ2MR\
                 oBcCIAINgEGgQKABIAGgAiAA==";
    let service = "azhzAAoNCgJ2MRIHU2VydmljZRJkChsKAXMSABoAIgAqADIAOABCAFoICgNhcHASAXMSQQocCgY4MC13ZWISA1RDUBhQIgkIARAAGgN3ZWI\
                   oABIICgNhcHASAXMaACIJQ2x1c3RlcklQOgBCAFIAWgBgAGgAGgIKABoAIgA=";
    let budget = "azhzAAogCglwb2xpY3kvdjESE1BvZERpc3J1cHRpb25CdWRnZXQSNgoRCgFwEgAaACIAKgAyADgAQgASFQoJCAEQABoDNTAlEggKBgoBYRI\
                  BYhoKCAAYACAAKAAwABoAIgA=";
    let quota =
        "azhzAAoTCgJ2MRINUmVzb3VyY2VRdW90YRIwChEKAXESABoAIgAqADIAOABCABIZCgoKA2NwdRIDCgExCgsKBHBvZHMSAwoBMhoAGgAiAA==";
    for (body, expected) in [
        (
            deployment,
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": labels},
                   "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "strategy": {},
                            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}},
                   "status": {}}),
        ),
        (
            "azhzAAoMCgJ2MRIGU2VjcmV0Eh0KEQoBcxIAGgAiACoAMgA4AEIAEgYKAWESAWIaABoAIgA=",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "Yg=="}}),
        ),
        (
            token,
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
                   "spec": {"expirationSeconds": 600,
                            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}},
                   "status": {"token": ""}}),
        ),
        (
            service,
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "labels": {"app": "s"}},
                   "spec": {"ports": [{"name": "80-web", "protocol": "TCP", "port": 80, "targetPort": "web"}],
                            "selector": {"app": "s"}, "type": "ClusterIP"},
                   "status": {"loadBalancer": {}}}),
        ),
        (
            budget,
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "p"},
                   "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}},
                   "status": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}}),
        ),
        (
            quota,
            json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
                   "spec": {"hard": {"cpu": "1", "pods": "2"}}, "status": {}}),
        ),
    ] {
        let decoded = decode(&STANDARD.decode(body).unwrap()).unwrap();
        assert_eq!(decoded.value, expected);
    }
}

fn sealed(api_version: &str, kind: &str, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    super::envelope::seal(&mut out, api_version, kind, fill);
    out
}

#[test]
fn packed_scalars_are_read() {
    // A pod whose spec.securityContext.supplementalGroups is [1, 300], packed.
    let mut bytes = encode("v1", "Pod", &json!({})).unwrap();
    bytes.extend_from_slice(b"\x12\x09\x12\x07\x72\x05\x22\x03\x01\xac\x02");
    let decoded = decode(&bytes).unwrap().value;
    assert_eq!(decoded["spec"]["securityContext"]["supplementalGroups"], json!([1, 300]));
}

#[test]
fn what_is_no_object_is_refused() {
    assert!(matches!(decode(b""), Err(Error::Magic)));
    assert!(matches!(decode(b"{}"), Err(Error::Magic)));
    assert!(matches!(decode(b"k8s\0"), Err(Error::Kind { .. })));
    assert!(matches!(encode("example.com/v1", "Widget", &json!({})), Err(Error::Kind { .. })));
    let whole = encode("v1", "ConfigMap", &json!({"data": {"a": "b"}})).unwrap();
    for length in 5..whole.len() {
        // Cuts between fields leave a shorter envelope; no cut may be read as the whole.
        let full = decode(&whole).unwrap().value;
        assert!(
            decode(&whole[..length]).map_or(true, |object| object.value == full || object.value.get("data").is_none())
        );
    }
}

#[test]
fn embedded_objects_do_not_nest_without_end() {
    let mut bytes = encode("apps/v1", "ControllerRevision", &json!({})).unwrap();
    for _ in 0..100 {
        bytes = sealed("apps/v1", "ControllerRevision", |out| {
            super::wire::put_message(out, 2, |out| super::wire::put_bytes(out, 1, &bytes));
        });
    }
    assert!(matches!(decode(&bytes), Err(Error::Depth(_))));
    let deep = format!("{}1{}", "[".repeat(4000), "]".repeat(4000));
    let bytes = sealed("apps/v1", "ControllerRevision", |out| {
        super::wire::put_message(out, 2, |out| super::wire::put_bytes(out, 1, deep.as_bytes()));
    });
    assert!(matches!(decode(&bytes), Err(Error::Json(_))));
}

/// Versions and names of everything in the table that is an object or a list.
fn top_level() -> impl Iterator<Item = (String, &'static str)> {
    let objects = facts::messages().iter().filter(|message| message.spot("metadata").is_some());
    objects.filter_map(|message| {
        let (package, kind) = message.name.rsplit_once('.')?;
        let (group, version) = package.split_once('.')?;
        let group = facts::GROUPS.iter().find(|known| known.split('.').next() == Some(group));
        // Types that are parts of objects and have metadata of their own are not told apart here.
        Some((group.map_or_else(|| version.to_owned(), |group| format!("{group}/{version}")), kind))
    })
}

#[test]
fn lists_are_one_message_in_pieces() {
    let pods: Vec<Vec<u8>> = (0..20_000)
        .map(|n| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("p{n}")}, "spec": {}}))
        .map(|pod| pod.to_string().into_bytes())
        .collect();
    let metadata = br#"{"resourceVersion":"7","continue":"c","remainingItemCount":0}"#;
    let part = |pods: &[Vec<u8>]| items("v1", "PodList", pods.iter().map(|pod| &**pod)).unwrap();
    let parts = [part(&pods[..7]), part(&pods[7..])].concat();
    let pieces = list("v1", "PodList", metadata, parts).unwrap();
    assert!(pieces.len() > 4);
    let decoded = decode(&pieces.concat()).unwrap().value;
    assert_eq!(decoded["metadata"], json!({"resourceVersion": "7", "continue": "c", "remainingItemCount": 0}));
    assert_eq!(
        (decoded["items"].as_array().unwrap().len(), &decoded["items"][19_999]["metadata"]["name"]),
        (20_000, &json!("p19999"))
    );
    let pod: Value = serde_json::from_slice(&pods[0]).unwrap();
    let whole = json!({"metadata": {"resourceVersion": "7"}, "items": [pod]});
    let pieces = list("v1", "PodList", br#"{"resourceVersion":"7"}"#, part(&pods[..1])).unwrap();
    let joined = decode(&pieces.concat()).unwrap().value;
    assert_eq!(joined, decode(&encode("v1", "PodList", &whole).unwrap()).unwrap().value);
}

#[test]
fn old_lists_of_metadata_have_their_own_numbers() {
    let (version, kind) = ("meta.k8s.io/v1beta1", "PartialObjectMetadataList");
    let encoded = items(version, kind, [&br#"{"metadata":{"name":"a"}}"#[..]]).unwrap();
    let pieces = list(version, kind, b"{}", encoded).unwrap();
    let decoded = decode(&pieces.concat()).unwrap().value;
    assert_eq!(decoded["items"], json!([{"metadata": {"name": "a"}}]));
}

#[test]
fn events_of_a_watch_have_their_length_and_no_envelope() {
    let json = br#"{"metadata":{"name":"a"}}"#;
    let frame = watch_event("ADDED", |out| put_object(out, "v1", "Pod", json)).unwrap();
    let (length, event) = frame.split_at(4);
    assert_eq!(u32::from_be_bytes(length.try_into().unwrap()) as usize, event.len());
    let mut pod = Vec::new();
    put_object(&mut pod, "v1", "Pod", json).unwrap();
    let raw = [&[0x0a, pod.len() as u8][..], &pod].concat();
    assert_eq!(event, [&b"\x0a\x05ADDED\x12"[..], &[raw.len() as u8], &raw].concat());
}

#[test]
fn schemas_of_custom_resources_keep_their_json() {
    for schema in [
        json!({"type": "object", "additionalProperties": false, "items": {"type": "string"}, "$ref": "#/x"}),
        json!({"additionalProperties": true, "items": [{"type": "string"}, {}], "default": {"a": [1]}, "maximum": 0.0}),
        json!({"additionalProperties": {"type": "integer"}, "dependencies": {"a": ["b"], "c": {"type": "object"}},
               "x-kubernetes-preserve-unknown-fields": false, "enum": [1, "x"]}),
    ] {
        let versions = json!([{"name": "v1", "served": true, "storage": false, "schema": {"openAPIV3Schema": schema}}]);
        let mut definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {}, "spec": {"group": "example.com", "names": {"plural": "a", "kind": "A"}, "scope": "Cluster"}});
        definition["spec"]["versions"] = versions;
        let bytes = encode("apiextensions.k8s.io/v1", "CustomResourceDefinition", &definition).unwrap();
        assert_eq!(decode(&bytes).unwrap().value, definition);
    }
}

/// An object of a message, of whose fields `choices` decide which are set.
fn generated(
    message: &Message,
    choices: &mut impl Iterator<Item = u8>,
    depth: usize,
) -> serde_json::Map<String, Value> {
    let mut object = serde_json::Map::new();
    for field in &message.fields {
        let choice = choices.next().unwrap_or(0);
        if let (Shape::Inline, Kind::Message(place)) = (field.shape, field.kind) {
            object.extend(generated(facts::messages().at(place), choices, depth));
            continue;
        }
        if choice % 4 != 1 || depth > 8 {
            continue;
        }
        let value = leaf(field.kind, choices, depth);
        let value = match field.shape {
            Shape::List => json!([value, leaf(field.kind, choices, depth)]),
            Shape::Map => json!({"k": value, "": leaf(field.kind, choices, depth)}),
            _ => value,
        };
        object.insert(field.name.to_owned(), value);
    }
    object
}

fn leaf(kind: Kind, choices: &mut impl Iterator<Item = u8>, depth: usize) -> Value {
    let number = i64::from(choices.next().unwrap_or(0)) + 1;
    match kind {
        Kind::Boolean => true.into(),
        Kind::Int32 => (number * if number % 2 == 0 { 1 } else { -1 }).into(),
        Kind::Int64 => (number << 40).into(),
        Kind::Double => (number as f64 / 4.0).into(),
        Kind::Text => format!("t{number}").into(),
        Kind::Bytes => "AAEC".into(),
        Kind::Time => "2026-01-02T03:04:05Z".into(),
        Kind::MicroTime => "2026-01-02T03:04:05.000006Z".into(),
        Kind::Quantity => format!("{number}m").into(),
        Kind::IntOrString if number % 2 == 0 => number.into(),
        Kind::IntOrString => "50%".into(),
        Kind::Raw | Kind::Fields => json!({"f": [number]}),
        Kind::Texts => json!(["a", "b"]),
        Kind::Message(place) => Value::Object(generated(facts::messages().at(place), choices, depth + 1)),
        Kind::SchemaOr(instead, place) if number % 2 == 0 => {
            let schema = Value::Object(generated(facts::messages().at(place), choices, depth + 1));
            if instead == Instead::Schemas && number % 4 == 0 { json!([schema, {}]) } else { schema }
        }
        Kind::SchemaOr(Instead::Boolean, _) => (number % 4 == 1).into(),
        Kind::SchemaOr(Instead::Schemas, _) => json!([{}]),
        Kind::SchemaOr(Instead::Texts, _) => json!(["a", "b"]),
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), pod: bool) {
        if pod {
            let body = bytes;
            bytes = sealed("v1", "Pod", |out| out.extend_from_slice(&body));
        }
        _ = decode(&bytes);
    }

    #[test]
    fn broken_objects_are_read_or_refused(at: prop::sample::Index, byte: u8, choices in proptest::collection::vec(any::<u8>(), 400)) {
        let message = facts::messages().of_kind("v1", "Pod").unwrap();
        let value = Value::Object(generated(message, &mut choices.into_iter(), 0));
        let mut bytes = encode("v1", "Pod", &value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        _ = decode(&bytes);
        _ = decode(&bytes[..at]);
    }

    #[test]
    fn objects_survive_the_way_there_and_back(kind: prop::sample::Index, choices in proptest::collection::vec(any::<u8>(), 900)) {
        let kinds: Vec<(String, &str)> = top_level().collect();
        let (version, kind) = kind.get(&kinds);
        let message = facts::messages().of_kind(version, kind).unwrap();
        let mut object = generated(message, &mut choices.into_iter(), 0);
        object.insert("apiVersion".into(), version.as_str().into());
        object.insert("kind".into(), (*kind).into());
        let object = Value::Object(object);
        let bytes = encode(version, kind, &object).unwrap();
        let decoded = decode(&bytes).unwrap();
        prop_assert_eq!((decoded.value, &*decoded.kind), (object.clone(), *kind));
        let mut streamed = Vec::new();
        put_object(&mut streamed, version, kind, object.to_string().as_bytes()).unwrap();
        prop_assert_eq!(streamed, bytes);
    }

    #[test]
    fn any_json_is_encoded_or_refused(text in "[\\[\\]{}\",:a-c0-9\\\\ntrue]{0,60}") {
        _ = put_object(&mut Vec::new(), "v1", "Pod", text.as_bytes());
        let nested = format!("{{\"spec\":{text},\"metadata\":{{\"labels\":{text}}}}}");
        _ = put_object(&mut Vec::new(), "v1", "Pod", nested.as_bytes());
    }
}
