//! Tests of the protobuf form as a whole: every kind's table against its schema, round trips, and
//! what kubectl sends.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Error, decode, encode,
    facts::{self, Kind, Message, Shape},
};
use crate::api::{
    kinds,
    schema::{Library, Struct, Type, facts::short},
};

/// Names of a message's fields as JSON shows them.
fn names(message: &Message) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for field in &message.fields {
        match (field.shape, field.kind) {
            (Shape::Inline, Kind::Message(place)) => names.extend(self::names(facts::messages().at(place))),
            _ => _ = names.insert(field.name),
        }
    }
    names
}

fn structs<'a>(kind: &'a Type, seen: &mut BTreeSet<String>, found: &mut Vec<&'a Struct>) {
    match kind {
        Type::Map(inner) | Type::List(inner) => structs(inner, seen, found),
        Type::Struct(structure) if seen.insert(structure.definition.to_string()) => {
            found.push(structure);
            structure.fields().iter().for_each(|field| structs(&field.kind, seen, found));
        }
        _ => {}
    }
}

#[test]
fn the_table_has_exactly_the_fields_of_every_kind() {
    let library = Library::default();
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    for kind in kinds::all() {
        let schema = library.schema(&kind);
        let mut found = Vec::new();
        structs(&schema.root, &mut seen, &mut found);
        for structure in found {
            let name = short(&structure.definition);
            let Some(message) = facts::messages().iter().find(|message| message.name == name) else {
                wrong.push(format!("{name} is missing"));
                continue;
            };
            let fields = structure.fields().iter().map(|field| &*field.name);
            let declared: BTreeSet<&str> = fields.filter(|name| !matches!(*name, "apiVersion" | "kind")).collect();
            let tabled: BTreeSet<&str> =
                names(message).into_iter().filter(|name| !matches!(*name, "apiVersion" | "kind")).collect();
            if declared != tabled {
                wrong.push(format!("{name}: {:?}", declared.symmetric_difference(&tabled).collect::<Vec<_>>()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

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
        bytes = super::envelope::seal("apps/v1", "ControllerRevision", |out| {
            super::wire::put_message(out, 2, |out| super::wire::put_bytes(out, 1, &bytes));
        });
    }
    assert!(matches!(decode(&bytes), Err(Error::Depth(_))));
    let deep = format!("{}1{}", "[".repeat(4000), "]".repeat(4000));
    let bytes = super::envelope::seal("apps/v1", "ControllerRevision", |out| {
        super::wire::put_message(out, 2, |out| super::wire::put_bytes(out, 1, deep.as_bytes()));
    });
    assert!(matches!(decode(&bytes), Err(Error::Json(_))));
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
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), pod: bool) {
        if pod {
            let body = bytes;
            bytes = super::envelope::seal("v1", "Pod", |out| out.extend_from_slice(&body));
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
    fn objects_survive_the_way_there_and_back(kind in 0..kinds::all().len(), choices in proptest::collection::vec(any::<u8>(), 900)) {
        let kind = &kinds::all()[kind];
        let message = facts::messages().of_kind(&kind.api_version(), kind.kind).unwrap();
        let mut object = generated(message, &mut choices.into_iter(), 0);
        let bytes = encode(&kind.api_version(), kind.kind, &Value::Object(object.clone())).unwrap();
        object.insert("apiVersion".into(), kind.api_version().into());
        object.insert("kind".into(), kind.kind.into());
        prop_assert_eq!(decode(&bytes).unwrap().value, Value::Object(object));
    }
}
