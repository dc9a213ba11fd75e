//! The cluster's own signers (upstream's `csrsigning`): approved requests get their certificate, or
//! the condition `Failed` when they ask for what the signer does not sign.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{Api, api::PostParams};

use crate::{
    api::kinds::certificate_signing_request::{self as csr, request::Request},
    controllers::{
        Context,
        certificates::{ACCOUNT, Error, recognize, usages},
        ignore_not_found,
        keys::{Audience, Keys},
    },
};

/// Longest life of a certificate (`--cluster-signing-duration`).
const LONGEST_SECONDS: i64 = 365 * 24 * 60 * 60;
/// Shortest life of a certificate, twice of what it is backdated.
const SHORTEST_SECONDS: i64 = 10 * 60;

pub async fn run(context: Context) {
    let api: Api<CertificateSigningRequest> = Api::all(context.client(ACCOUNT));
    let work = |request: Arc<CertificateSigningRequest>| {
        let (api, keys) = (api.clone(), context.keys.clone());
        async move {
            match &request.metadata.name {
                Some(name) if plan(&request).is_some() => sign(&api, &*keys, name).await,
                _ => Ok(()),
            }
        }
    };
    super::run(&context, "csrsigning", work).await;
}

/// Signs the request as it is now: what the informer holds lacks some of it.
async fn sign(api: &Api<CertificateSigningRequest>, keys: &dyn Keys, name: &str) -> Result<(), Error> {
    let Some(mut request) = api.get_opt(name).await? else { return Ok(()) };
    let Some(audience) = plan(&request) else { return Ok(()) };
    let status = match verdict(&request)? {
        Ok(()) => {
            let certificate = keys.certify(audience, &request.spec.request.0, usages(&request), lifetime(&request));
            let certificate = certificate.map_err(|error| Error::Sign(Arc::from(error.to_string())))?;
            let status = request.status.get_or_insert_default();
            status.certificate = Some(ByteString(certificate.into_bytes()));
            request
        }
        Err(why) => {
            let status = request.status.get_or_insert_default();
            status.conditions.get_or_insert_default().push(failed(why));
            request
        }
    };
    ignore_not_found(api.replace_status(name, &PostParams::default(), &status).await)?;
    Ok(())
}

/// Whose signature the request is waiting for, if it is one of ours.
fn plan(request: &CertificateSigningRequest) -> Option<Audience> {
    let waits = csr::is(request, csr::APPROVED)
        && !csr::is(request, csr::DENIED)
        && !csr::is(request, csr::FAILED)
        && csr::certificate(request).is_empty();
    recognize::audience(&request.spec.signer_name).filter(|_| waits)
}

/// Whether the signer takes the request, or why not.
fn verdict(request: &CertificateSigningRequest) -> Result<Result<(), String>, Error> {
    let name = || request.metadata.name.clone().unwrap_or_default();
    let asked = Request::parse(&request.spec.request.0).map_err(|why| Error::Parse { name: name(), why })?;
    Ok(recognize::check(&request.spec.signer_name, &asked, usages(request)))
}

fn lifetime(request: &CertificateSigningRequest) -> i64 {
    let asked = request.spec.expiration_seconds.map_or(LONGEST_SECONDS, i64::from);
    asked.clamp(SHORTEST_SECONDS, LONGEST_SECONDS)
}

fn failed(why: String) -> CertificateSigningRequestCondition {
    CertificateSigningRequestCondition {
        type_: csr::FAILED.into(),
        status: "True".into(),
        reason: Some("SignerValidationFailure".into()),
        message: Some(why),
        last_update_time: Some(Time(Timestamp::now())),
        last_transition_time: None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::certificates::v1::CertificateSigningRequestStatus;

    use super::*;

    fn request(signer: &str, conditions: &[&str]) -> CertificateSigningRequest {
        let mut request = CertificateSigningRequest::default();
        request.spec.signer_name = signer.into();
        let condition = |kind: &&str| CertificateSigningRequestCondition {
            type_: (*kind).into(),
            status: "True".into(),
            ..CertificateSigningRequestCondition::default()
        };
        request.status = Some(CertificateSigningRequestStatus {
            conditions: Some(conditions.iter().map(condition).collect()),
            certificate: None,
        });
        request
    }

    #[test]
    fn approved_requests_to_our_signers_wait_for_us() {
        assert_eq!(plan(&request(recognize::CLIENT, &["Approved"])), Some(Audience::Api));
        assert_eq!(plan(&request(recognize::KUBELET_SERVING, &["Approved"])), Some(Audience::Clients));
        assert_eq!(plan(&request(recognize::CLIENT, &[])), None);
        assert_eq!(plan(&request(recognize::CLIENT, &["Approved", "Failed"])), None);
        assert_eq!(plan(&request("example.com/mine", &["Approved"])), None);
        let mut signed = request(recognize::CLIENT, &["Approved"]);
        signed.status.as_mut().unwrap().certificate = Some(ByteString(b"x".to_vec()));
        assert_eq!(plan(&signed), None);
    }

    #[test]
    fn lifetimes_are_what_was_asked_within_bounds() {
        let lives = |seconds: Option<i32>| {
            let mut request = request(recognize::CLIENT, &[]);
            request.spec.expiration_seconds = seconds;
            lifetime(&request)
        };
        assert_eq!(lives(None), LONGEST_SECONDS);
        assert_eq!([lives(Some(60)), lives(Some(3600)), lives(Some(i32::MAX))], [600, 3600, LONGEST_SECONDS]);
    }
}
