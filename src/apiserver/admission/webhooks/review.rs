//! `AdmissionReview` of `admission.k8s.io`: what a webhook is sent, and what it may answer.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::Shown;
use crate::{
    api::{
        Status, encode,
        patch::json::{self as json_patch, Operation},
        status::{Answered, Details, Reason},
    },
    apiserver::admission::{Request, describe::describe},
};

const V1: &str = "v1";
const V1_BETA1: &str = "v1beta1";
const JSON_PATCH: &str = "JSONPatch";

/// A question to a webhook.
pub struct Review {
    version: &'static str,
    uid: String,
    /// The body of the request.
    pub body: bytes::Bytes,
}

/// A verdict.
#[derive(Debug)]
pub struct Verdict {
    /// Nothing, or why the request is denied.
    pub refusal: Option<Refusal>,
    /// What is changed; empty for nothing.
    pub patch: Vec<Operation>,
    /// For the client.
    pub warnings: Vec<String>,
    /// For the audit log.
    pub annotations: BTreeMap<String, String>,
}

/// `status` of a response that does not allow the request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Refusal {
    message: String,
    reason: String,
    code: u16,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    api_version: String,
    kind: String,
    response: Option<Response>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    status: Option<Refusal>,
    patch: Option<String>,
    patch_type: Option<String>,
    audit_annotations: Option<BTreeMap<String, String>>,
    warnings: Option<Vec<String>>,
}

impl Review {
    /// Asks in the first form of `understood` that this server speaks.
    pub fn new(request: &Request<'_>, shown: &Shown, understood: &[String]) -> Option<Self> {
        let version = understood.iter().find_map(|version| match version.as_str() {
            V1 => Some(V1),
            V1_BETA1 => Some(V1_BETA1),
            _ => None,
        })?;
        let uid = Uuid::new_v4().to_string();
        let mut described = describe(request, &shown.matched, shown.object.as_ref());
        described.insert("uid".to_owned(), uid.as_str().into());
        described.insert("object".to_owned(), shown.object.clone().unwrap_or_default());
        described.insert("oldObject".to_owned(), shown.old.clone().unwrap_or_default());
        let review = json!({"kind": "AdmissionReview", "apiVersion": api_version(version), "request": described});
        Some(Self { version, uid, body: encode::encode(&review) })
    }

    /// What an answer says, or what is wrong with it. Only a `mutating` webhook may change anything.
    pub fn verdict(&self, answer: &[u8], mutating: bool) -> Result<Verdict, String> {
        let answer: Answer = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
        let response = answer.response.ok_or("webhook response was absent")?;
        // Webhooks of the older form were never held to saying what they answer.
        if self.version == V1 {
            if response.uid != self.uid {
                return Err(format!("expected response.uid={:?}, got {:?}", self.uid, response.uid));
            }
            let wanted = api_version(V1);
            if (answer.api_version.as_str(), answer.kind.as_str()) != (&wanted, "AdmissionReview") {
                let Answer { api_version, kind, .. } = answer;
                return Err(format!(
                    "expected webhook response of {wanted}, Kind=AdmissionReview, got {api_version}, Kind={kind}"
                ));
            }
            response.check_patch(mutating)?;
        }
        let patch = if mutating { response.patch()? } else { Vec::new() };
        Ok(Verdict {
            refusal: (!response.allowed).then(|| response.status.unwrap_or_default()),
            patch,
            warnings: response.warnings.unwrap_or_default(),
            annotations: response.audit_annotations.unwrap_or_default(),
        })
    }
}

impl Response {
    fn check_patch(&self, mutating: bool) -> Result<(), String> {
        let patch = self.patch.as_deref().filter(|patch| !patch.is_empty());
        let wrong = match (mutating, patch, self.patch_type.as_deref()) {
            (true, Some(_), None) => "webhook returned response.patch but not response.patchType",
            (true, None, Some(_)) => "webhook returned response.patchType but not response.patch",
            (true, Some(_), Some("")) => "webhook returned invalid response.patchType of \"\"",
            (false, Some(_), _) => "validating webhook may not return response.patch",
            (false, _, Some(_)) => "validating webhook may not return response.patchType",
            _ => return Ok(()),
        };
        Err(wrong.to_owned())
    }

    fn patch(&self) -> Result<Vec<Operation>, String> {
        let Some(patch) = self.patch.as_deref().filter(|patch| !patch.is_empty()) else { return Ok(Vec::new()) };
        match self.patch_type.as_deref() {
            None | Some(JSON_PATCH) => {}
            Some(other) => return Err(format!("unsupported patch type {other:?}")),
        }
        let undecodable =
            |why: &dyn std::fmt::Display| format!("received undecodable patch in webhook response: {why}");
        let patch = STANDARD.decode(patch).map_err(|error| undecodable(&error))?;
        json_patch::parse(&patch).map_err(|error| undecodable(&error))
    }
}

impl Refusal {
    /// The status of the request that was denied, which is a failure whatever the webhook has called it.
    pub fn status(self, name: &str) -> Status {
        let denied = format!("admission webhook {name:?} denied the request");
        let message = match (self.message.as_str(), self.reason.as_str()) {
            ("", "") => format!("{denied} without explanation"),
            ("", reason) => format!("{denied}: {reason}"),
            (message, _) => format!("{denied}: {message}"),
        };
        let code = if self.code < 400 { 400 } else { self.code };
        let mut details = self.details.unwrap_or_default();
        details.answered = Some(Answered { code, reason: self.reason });
        Status { reason: Reason::Unknown, message, details: Some(Box::new(details)) }
    }
}

fn api_version(version: &str) -> String {
    format!("admission.k8s.io/{version}")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn asked(version: &'static str) -> Review {
        Review { version, uid: "u".into(), body: bytes::Bytes::new() }
    }

    fn said(response: Value, mutating: bool) -> Result<Verdict, String> {
        let mut response = response;
        response["uid"] = "u".into();
        let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        asked(V1).verdict(answer.to_string().as_bytes(), mutating)
    }

    #[test]
    fn answers_are_checked() {
        assert!(said(json!({"allowed": true}), false).unwrap().refusal.is_none());
        for (response, mutating, wanted) in [
            (json!({"patch": "W10="}), true, "webhook returned response.patch but not response.patchType"),
            (json!({"patchType": "JSONPatch"}), true, "webhook returned response.patchType but not response.patch"),
            (json!({"patch": "W10=", "patchType": "X"}), true, "unsupported patch type \"X\""),
            (json!({"patch": "W10="}), false, "validating webhook may not return response.patch"),
        ] {
            assert_eq!(said(response, mutating).unwrap_err(), wanted);
        }
        let other = json!({"apiVersion": "v1", "kind": "Pod", "response": {"uid": "u"}}).to_string();
        assert_eq!(
            asked(V1).verdict(other.as_bytes(), false).unwrap_err(),
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got v1, Kind=Pod"
        );
        assert_eq!(asked(V1).verdict(b"{}", false).unwrap_err(), "webhook response was absent");
        let older = json!({"response": {"allowed": true, "patch": "W10="}}).to_string();
        assert!(asked(V1_BETA1).verdict(older.as_bytes(), false).unwrap().patch.is_empty());
    }

    #[test]
    fn patches_are_decoded() {
        let patch = STANDARD.encode(r#"[{"op":"remove","path":"/a"}]"#);
        let verdict = said(json!({"allowed": true, "patch": patch, "patchType": "JSONPatch"}), true).unwrap();
        assert_eq!(verdict.patch.len(), 1);
        let garbage = said(json!({"allowed": true, "patch": "!", "patchType": "JSONPatch"}), true).unwrap_err();
        assert!(garbage.starts_with("received undecodable patch in webhook response: "), "{garbage}");
    }

    #[test]
    fn refusals_keep_their_code_and_reason() {
        let refusal = |status: Value| {
            let verdict = said(json!({"allowed": false, "status": status}), false).unwrap();
            verdict.refusal.unwrap().status("a.b.c").to_json()
        };
        let shown = refusal(json!({"code": 402, "reason": "Broke", "message": "pay"}));
        assert_eq!((&shown["code"], &shown["reason"]), (&json!(402), &json!("Broke")));
        assert_eq!(shown["message"], "admission webhook \"a.b.c\" denied the request: pay");
        assert_eq!(refusal(json!({"reason": "no"}))["message"], "admission webhook \"a.b.c\" denied the request: no");
        let shown = refusal(Value::Null);
        assert_eq!(shown["message"], "admission webhook \"a.b.c\" denied the request without explanation");
        assert_eq!((&shown["code"], shown.get("reason")), (&json!(400), None));
    }
}
