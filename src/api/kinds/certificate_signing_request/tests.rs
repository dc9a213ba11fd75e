//! Requests on their way from creation over approval to a certificate.

use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::api::{
    decoded::Decoded,
    kind::{Strategy, Typed},
};

fn pem(common_name: &str) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["a.example".to_owned(), "10.0.0.1".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.serialize_request(&key).unwrap().pem().unwrap().into_bytes()
}

fn strategy() -> Typed<CertificateSigningRequestKind> {
    Typed::default()
}

fn created(spec: Value) -> Decoded {
    let mut spec = spec;
    if spec.get("request").is_none() {
        spec["request"] = json!(k8s_openapi::ByteString(pem("jane")));
    }
    let object = json!({"metadata": {"name": "a", "uid": "u"}, "spec": spec});
    strategy().prepare_for_create(object).unwrap()
}

fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": "r", "message": "m"})
}

fn messages(causes: Vec<Cause>) -> Vec<String> {
    causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

#[test]
fn a_request_is_read() {
    let request = request::Request::parse(&pem("system:node:a")).unwrap();
    assert_eq!(request.common_name, "system:node:a");
    assert_eq!(request.organizations, ["system:nodes"]);
    assert_eq!(request.dns_names, ["a.example"]);
    assert_eq!(request.addresses, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn a_sound_request_is_accepted_and_a_broken_one_told_why() {
    let good = created(json!({"signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}));
    assert_eq!(messages(strategy().validate(&good)), Vec::<String>::new());
    let bad =
        created(json!({"signerName": "x", "request": "YQ==", "usages": ["fly", "any", "any"], "expirationSeconds": 1}));
    let found = messages(strategy().validate(&bad));
    assert_eq!(found[0], "spec.request: Invalid value: \"YQ==\": PEM block type must be CERTIFICATE REQUEST");
    assert!(found[1].starts_with("spec.usages[0]: Unsupported value: \"fly\": supported values: \"any\", "));
    assert_eq!(
        found[2..],
        [
            "spec.usages[2]: Duplicate value: \"any\"",
            "spec.signerName: Invalid value: \"x\": must be a fully qualified domain and path of the form \
             'example.com/signer-name'",
            "spec.expirationSeconds: Invalid value: 1: may not specify a duration less than 600 seconds (10 minutes)",
        ]
    );
}

#[test]
fn approval_writes_conditions_and_nothing_else() {
    let old = created(json!({"signerName": "a.b/c"}));
    let mut new = Value::clone(&old);
    new["spec"]["signerName"] = json!("d.e/f");
    new["status"] = json!({"conditions": [condition(APPROVED)], "certificate": "YQ=="});
    let approved = strategy().prepare_for_part_update("approval", new.clone(), &old).unwrap();
    assert_eq!(approved["spec"]["signerName"], "a.b/c");
    let shown = &approved["status"]["conditions"][0];
    assert!(shown["lastTransitionTime"].is_string() && shown["lastUpdateTime"].is_string(), "{shown}");
    assert!(approved["status"].get("certificate").is_none());
    assert_eq!(messages(strategy().validate_part_update("approval", &approved, &old)), Vec::<String>::new());
    let status = strategy().prepare_for_status_update(new, &old).unwrap();
    let found = messages(strategy().validate_status_update(&status, &old));
    let forbidden = "status.conditions: Forbidden: updates may not add a condition of type \"Approved\"";
    assert!(found.iter().any(|message| message == forbidden), "{found:?}");
    let denied = json!({"status": {"conditions": [condition(APPROVED), condition(DENIED)]}});
    let denied = strategy().prepare_for_part_update("approval", denied, &approved).unwrap();
    assert_eq!(
        messages(strategy().validate_part_update("approval", &denied, &approved)),
        ["status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive"]
    );
    let undone = strategy().prepare_for_part_update("approval", json!({}), &approved).unwrap();
    assert_eq!(
        messages(strategy().validate_part_update("approval", &undone, &approved)),
        ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]
    );
}

#[test]
fn a_row_tells_what_became_of_the_request() {
    let mut object =
        Value::clone(&created(json!({"signerName": "a.b/c", "username": "jane", "expirationSeconds": 3600})));
    let row = |object: &Value| strategy().cells(&object.clone().into(), Timestamp::UNIX_EPOCH)[2..].to_vec();
    assert_eq!(row(&object), ["a.b/c", "jane", "60m", "Pending"].map(Value::from));
    object["status"] = json!({"conditions": [condition(APPROVED)], "certificate": "YQ=="});
    assert_eq!(row(&object)[3], "Approved,Issued");
}
