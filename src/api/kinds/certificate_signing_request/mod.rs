//! Certificate signing requests: somebody asks a signer for a certificate, somebody else approves.

use jiff::Timestamp;
use k8s_openapi::{
    api::certificates::v1::{
        CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    kind::{Column, Kind, NameRule, Names, Subresource},
    status::Cause,
    time,
};

pub mod request;
mod validation;

/// The condition of a request that was approved.
pub const APPROVED: &str = "Approved";
/// The condition of a request that was denied.
pub const DENIED: &str = "Denied";
/// The condition of a request whose signer gave up.
pub const FAILED: &str = "Failed";

/// `certificates.k8s.io/v1.CertificateSigningRequest`
pub struct CertificateSigningRequestKind;

impl Kind for CertificateSigningRequestKind {
    type Object = CertificateSigningRequest;
    const NAMES: Names = Names {
        short_names: &["csr"],
        subresources: &[Subresource::Part("approval"), Subresource::Status],
        ..names::cluster(
            names::GroupVersion::v1("certificates.k8s.io"),
            "CertificateSigningRequest",
            "certificatesigningrequests",
            "certificatesigningrequest",
        )
    };
    /// Upstream checks no more than that a name fits into a path.
    const NAME_RULE: NameRule = NameRule::PathSegment;
    const FIELDS: &'static [&'static str] = &["spec.signerName"];
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::AGE,
        cells::column("SignerName", "string", "Who is asked to sign."),
        cells::column("Requestor", "string", "Who asks."),
        cells::column("RequestedDuration", "string", "How long the certificate should live."),
        cells::column("Condition", "string", "What became of the request."),
    ];

    fn prepare_for_create(request: &mut CertificateSigningRequest) {
        request.status = Some(CertificateSigningRequestStatus::default());
    }

    /// What was asked for stays as it is.
    fn prepare_for_update(new: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
        new.spec.clone_from(&old.spec);
    }

    /// Approval is for `/approval` alone: as many conditions of it as before are those from before, and more or
    /// fewer are refused.
    fn prepare_for_status_update(new: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
        for kind in [APPROVED, DENIED] {
            keep_conditions(new, old, kind);
        }
        date_conditions(new, old, Timestamp::now());
    }

    /// `/approval` writes conditions, and metadata as every write does.
    fn prepare_for_part_update(_part: &str, new: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
        let conditions = new.status.take().and_then(|status| status.conditions);
        new.spec.clone_from(&old.spec);
        new.status.clone_from(&old.status);
        new.status.get_or_insert_default().conditions = conditions;
        date_conditions(new, old, Timestamp::now());
    }

    fn validate(request: &CertificateSigningRequest) -> Vec<Cause> {
        validation::request(request)
    }

    fn validate_update(new: &CertificateSigningRequest, old: &CertificateSigningRequest) -> Vec<Cause> {
        let mut causes = validation::change(new, old);
        causes.extend(validation::approval(new, old));
        causes
    }

    fn validate_status_update(new: &CertificateSigningRequest, old: &CertificateSigningRequest) -> Vec<Cause> {
        let mut causes = validation::request(new);
        causes.extend(validation::change(new, old));
        causes.extend(validation::approval(new, old));
        causes
    }

    fn validate_part_update(
        _part: &str,
        new: &CertificateSigningRequest,
        old: &CertificateSigningRequest,
    ) -> Vec<Cause> {
        let mut causes = validation::status(new);
        causes.extend(validation::change(new, old));
        causes
    }

    fn reset_fields(part: &str) -> Option<&'static [&'static str]> {
        match part {
            "" => Some(&["spec", "status"]),
            "status" => Some(&["spec", "status.conditions"]),
            _ => Some(&["spec", "status.certificate"]),
        }
    }

    fn field_values(request: &CertificateSigningRequest) -> Vec<String> {
        vec![request.spec.signer_name.clone()]
    }

    fn cells(request: &CertificateSigningRequest, now: Timestamp) -> Vec<Value> {
        let spec = &request.spec;
        let duration = spec.expiration_seconds.map(|seconds| time::human_duration(seconds.into()));
        vec![
            cells::name(&request.metadata),
            cells::age(&request.metadata, now),
            json!(if spec.signer_name.is_empty() { cells::NONE } else { &spec.signer_name }),
            json!(spec.username.as_deref().unwrap_or_default()),
            json!(duration.as_deref().unwrap_or(cells::NONE)),
            json!(outcome(request)),
        ]
    }
}

/// Whether the request has a condition of this type.
pub fn is(request: &CertificateSigningRequest, kind: &str) -> bool {
    conditions(request).iter().any(|condition| condition.type_ == kind)
}

/// The certificate, empty when none was issued yet.
pub fn certificate(request: &CertificateSigningRequest) -> &[u8] {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.map(|bytes| bytes.0.as_slice()).unwrap_or_default()
}

fn conditions(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

/// Makes the conditions of a type what they were, unless there are more or fewer.
fn keep_conditions(new: &mut CertificateSigningRequest, old: &CertificateSigningRequest, kind: &str) {
    let before: Vec<_> = conditions(old).iter().filter(|condition| condition.type_ == kind).cloned().collect();
    let all = new.status.iter_mut().flat_map(|status| status.conditions.iter_mut().flatten());
    let after: Vec<_> = all.filter(|condition| condition.type_ == kind).collect();
    if before.len() == after.len() {
        after.into_iter().zip(before).for_each(|(after, before)| *after = before);
    }
}

/// Says since when conditions are there that do not say it themselves.
fn date_conditions(new: &mut CertificateSigningRequest, old: &CertificateSigningRequest, now: Timestamp) {
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or_default());
    for condition in new.status.iter_mut().flat_map(|status| status.conditions.iter_mut().flatten()) {
        condition.last_update_time.get_or_insert_with(|| now.clone());
        let before = conditions(old).iter().find(|before| {
            (&before.type_, &before.status) == (&condition.type_, &condition.status)
                && before.last_transition_time.is_some()
        });
        let since = before.and_then(|before| before.last_transition_time.clone());
        condition.last_transition_time.get_or_insert_with(|| since.unwrap_or_else(|| now.clone()));
    }
}

/// `Pending`, `Approved,Issued`, `Denied`…
fn outcome(request: &CertificateSigningRequest) -> String {
    let mut text = match () {
        () if is(request, DENIED) => DENIED.to_owned(),
        () if is(request, APPROVED) => APPROVED.to_owned(),
        () => "Pending".to_owned(),
    };
    if is(request, FAILED) {
        text.push_str(",Failed");
    }
    if !certificate(request).is_empty() {
        text.push_str(",Issued");
    }
    text
}

#[cfg(test)]
mod tests;
