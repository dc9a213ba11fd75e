//! Admission of certificate signing requests: who asks is written into a request, and who approves
//! or signs one needs the verb `approve` or `sign` on its signer (upstream's plugins
//! `CertificateApproval`, `CertificateSigning` and `CertificateSubjectRestriction`).

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::{Status, kinds::certificate_signing_request::request, time},
    apiserver::{
        admission::{Operation, Plugin, Request, Warnings},
        attributes::Attributes,
        authz::Authorizer,
    },
    http::identity::MASTERS,
};

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";
const APPROVAL: &str = "certificatesigningrequests/approval";
const STATUS: &str = "certificatesigningrequests/status";
/// Signs clients of this API server.
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

pub struct Certificates {
    authorizer: Arc<Authorizer>,
}

impl Certificates {
    pub fn new(authorizer: Arc<Authorizer>) -> Self {
        Self { authorizer }
    }

    /// `approve` or `sign`, on the signer itself or on all signers of its domain.
    fn check_signer(&self, request: &Request<'_>, object: &Value, verb: &str) -> Result<(), Status> {
        let stored = request.old.unwrap_or(object);
        let signer = stored["spec"]["signerName"].as_str().unwrap_or_default();
        let domain = signer.split('/').next().unwrap_or_default();
        if [signer.to_owned(), format!("{domain}/*")].iter().any(|name| self.may(request.attributes, verb, name)) {
            return Ok(());
        }
        let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
        Err(request.forbid(object, &why))
    }

    fn may(&self, attributes: &Attributes, verb: &str, signer: &str) -> bool {
        self.authorizer.allows(&Attributes {
            user: attributes.user.clone(),
            verb: verb.into(),
            group: GROUP.into(),
            version: "*".into(),
            resource: "signers".into(),
            name: signer.into(),
            ..Attributes::default()
        })
    }
}

impl Plugin for Certificates {
    fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<Warnings, Status> {
        match request.operation {
            Operation::Create if request.is_for(GROUP, REQUESTS) => requested_by(request, object),
            Operation::Update if request.is_for(GROUP, APPROVAL) || request.is_for(GROUP, STATUS) => {
                date(object, request.old, Timestamp::now());
            }
            _ => {}
        }
        Ok(Warnings::new())
    }

    fn validate(&self, request: &Request<'_>, object: &Value) -> Result<Warnings, Status> {
        match request.operation {
            Operation::Create if request.is_for(GROUP, REQUESTS) => restrict_subject(request, object)?,
            Operation::Update if request.is_for(GROUP, APPROVAL) => self.check_signer(request, object, "approve")?,
            Operation::Update if request.is_for(GROUP, STATUS) && is_signed(request.old, object) => {
                self.check_signer(request, object, "sign")?;
            }
            _ => {}
        }
        Ok(Warnings::new())
    }
}

/// Nobody asks in another's name.
fn requested_by(request: &Request<'_>, object: &mut Value) {
    let user = &request.attributes.user;
    if !object["spec"].is_object() {
        return;
    }
    let present = |value: Value, empty: bool| if empty { Value::Null } else { value };
    object["spec"]["username"] = user.name.as_str().into();
    object["spec"]["uid"] = present(json!(user.uid), user.uid.is_empty());
    object["spec"]["groups"] = present(json!(user.groups), user.groups.is_empty());
    object["spec"]["extra"] = present(json!(user.extra), user.extra.is_empty());
}

/// Conditions without times get them: those of the stored condition that they repeat, or now.
fn date(object: &mut Value, old: Option<&Value>, now: Timestamp) {
    let now = Value::from(time::format(now));
    let before = old.and_then(|old| old["status"]["conditions"].as_array()).cloned().unwrap_or_default();
    let Some(conditions) = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut) else { return };
    for condition in conditions.iter_mut().filter(|condition| condition.is_object()) {
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = now.clone();
        }
        if condition["lastTransitionTime"].is_null() {
            let same = |other: &&Value| other["type"] == condition["type"] && other["status"] == condition["status"];
            let since = before.iter().find(same).map(|other| other["lastTransitionTime"].clone());
            condition["lastTransitionTime"] = since.filter(|since| !since.is_null()).unwrap_or_else(|| now.clone());
        }
    }
}

/// Conditions and certificate are the signer's to write.
fn is_signed(old: Option<&Value>, new: &Value) -> bool {
    old.is_none_or(|old| {
        old["status"]["certificate"] != new["status"]["certificate"]
            || old["status"]["conditions"] != new["status"]["conditions"]
    })
}

/// A certificate of an administrator could not be taken back.
fn restrict_subject(request: &Request<'_>, object: &Value) -> Result<(), Status> {
    if object["spec"]["signerName"] != CLIENT_SIGNER {
        return Ok(());
    }
    let pem = object["spec"]["request"].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
    let asked = request::Request::parse(&pem.unwrap_or_default());
    let asked = asked.map_err(|error| request.forbid(object, &format!("unable to parse spec.request: {error}")))?;
    if asked.organizations.iter().any(|organization| organization == MASTERS) {
        let why = format!("use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed");
        return Err(request.forbid(object, &why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::{admission::fixture, reader::fake::FakeReader};

    fn plugin() -> Certificates {
        Certificates::new(Arc::new(Authorizer::new(Arc::new(FakeReader::default()))))
    }

    #[test]
    fn the_user_is_written_into_the_request() {
        let attributes = fixture::attributes(fixture::user("jane", &["dev"]), "create", GROUP, REQUESTS, "", "a");
        let kind = fixture::any_kind();
        let mut object = json!({"metadata": {"name": "a"}, "spec": {"username": "root", "uid": "0"}});
        plugin().mutate(&fixture::request(&attributes, Operation::Create, &kind, None), &mut object).unwrap();
        assert_eq!(object["spec"]["username"], "jane");
        assert_eq!(object["spec"]["groups"], json!(["dev"]));
        assert!(object["spec"]["uid"].is_null());
    }

    #[test]
    fn approving_needs_the_signer() {
        let kind = fixture::any_kind();
        let old = json!({"metadata": {"name": "a"}, "spec": {"signerName": "example.com/s"}});
        let check = |groups: &[&str]| {
            let attributes = fixture::attributes(fixture::user("jane", groups), "update", GROUP, APPROVAL, "", "a");
            plugin().validate(&fixture::request(&attributes, Operation::Update, &kind, Some(&old)), &old)
        };
        assert!(check(&[MASTERS]).is_ok());
        assert_eq!(
            check(&[]).unwrap_err().message,
            "certificatesigningrequests.certificates.k8s.io \"a\" is forbidden: user not permitted to approve requests \
             with signerName \"example.com/s\""
        );
    }

    #[test]
    fn conditions_are_dated_once() {
        let old = json!({"status": {"conditions": [
            {"type": "Approved", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        let mut new = json!({"status": {"conditions": [
            {"type": "Approved", "status": "True"}, {"type": "Failed", "status": "True"}]}});
        date(&mut new, Some(&old), Timestamp::UNIX_EPOCH);
        let conditions = &new["status"]["conditions"];
        assert_eq!(conditions[0]["lastTransitionTime"], "2026-01-01T00:00:00Z");
        assert_eq!(conditions[1]["lastTransitionTime"], "1970-01-01T00:00:00Z");
        assert_eq!(conditions[0]["lastUpdateTime"], "1970-01-01T00:00:00Z");
    }
}
