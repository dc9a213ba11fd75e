//! Certificate signing requests: somebody asks a signer for a certificate, somebody else approves.

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    kind::{Column, Kind, Names, Subresource},
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

    /// Approval is for `/approval` alone.
    fn prepare_for_status_update(new: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
        let is_approval = |one: &CertificateSigningRequestCondition| matches!(one.type_.as_str(), APPROVED | DENIED);
        let approvals = conditions(old).iter().filter(|condition| is_approval(condition)).cloned();
        let others = conditions(new).iter().filter(|condition| !is_approval(condition)).cloned();
        let kept: Vec<_> = approvals.chain(others).collect();
        new.status.get_or_insert_default().conditions = (!kept.is_empty()).then_some(kept);
    }

    /// `/approval` writes conditions, and metadata as every write does.
    fn prepare_for_part_update(_part: &str, new: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
        let conditions = new.status.take().and_then(|status| status.conditions);
        new.spec.clone_from(&old.spec);
        new.status.clone_from(&old.status);
        new.status.get_or_insert_default().conditions = conditions;
    }

    fn validate(request: &CertificateSigningRequest) -> Vec<Cause> {
        validation::request(request)
    }

    fn validate_update(new: &CertificateSigningRequest, old: &CertificateSigningRequest) -> Vec<Cause> {
        validation::change(new, old)
    }

    fn validate_status_update(new: &CertificateSigningRequest, old: &CertificateSigningRequest) -> Vec<Cause> {
        let mut causes = validation::status(new);
        causes.extend(validation::change(new, old));
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
