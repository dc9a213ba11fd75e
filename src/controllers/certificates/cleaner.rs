//! The cleaner of certificate signing requests (upstream's `csrcleaner`): what was decided goes after
//! an hour, what nobody decided or signed after a day, and what was issued with its certificate.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::{Api, api::DeleteParams};
use x509_parser::{certificate::X509Certificate, pem::Pem, prelude::FromDer};

use crate::{
    api::kinds::certificate_signing_request as csr,
    client::{
        ObjectKey,
        queue::{Outcome, WorkQueue},
    },
    controllers::{
        Context,
        certificates::{ACCOUNT, Error, watch},
        ignore_not_found,
    },
};

/// How long decided requests stay.
const DECIDED: SignedDuration = SignedDuration::from_hours(1);
/// How long requests stay that nobody decides about, or signs.
const PENDING: SignedDuration = SignedDuration::from_hours(24);

pub async fn run(context: Context) {
    let queue = WorkQueue::new();
    let requests = watch(&context, &queue);
    requests.synced().await;
    let api: Api<CertificateSigningRequest> = Api::all(context.client(ACCOUNT));
    let reconcile = |key: ObjectKey| {
        let end = requests.get(&key).and_then(|request| end(&request));
        let api = api.clone();
        async move {
            let Some(end) = end else { return Ok(Outcome::Done) };
            let left = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default();
            if !left.is_zero() {
                return Ok(Outcome::After(left));
            }
            ignore_not_found(api.delete(&key.name, &DeleteParams::default()).await)?;
            Ok::<_, Error>(Outcome::Done)
        }
    };
    queue.run("csrcleaner", 1, reconcile).await;
}

/// When the request is to go, if ever.
fn end(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let is_issued = !csr::certificate(request).is_empty();
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let decided = conditions.iter().filter_map(|condition| {
        let updated = condition.last_update_time.as_ref()?.0;
        match condition.type_.as_str() {
            csr::APPROVED if !is_issued => Some(updated.saturating_add(PENDING).ok()?),
            csr::APPROVED | csr::DENIED | csr::FAILED => Some(updated.saturating_add(DECIDED).ok()?),
            _ => None,
        }
    });
    let created = request.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let pending = created.filter(|_| conditions.is_empty()).and_then(|time| time.saturating_add(PENDING).ok());
    let expired = is_issued.then(|| certificate_end(csr::certificate(request))).flatten();
    let is_approved = csr::is(request, csr::APPROVED);
    decided.chain(pending).chain(expired.filter(|_| is_approved)).min()
}

fn certificate_end(pem: &[u8]) -> Option<Timestamp> {
    let block = Pem::iter_from_buffer(pem).next()?.ok()?;
    let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        ByteString,
        api::certificates::v1::{CertificateSigningRequestCondition, CertificateSigningRequestStatus},
        apimachinery::pkg::apis::meta::v1::Time,
    };

    use super::*;

    const HOUR: i64 = 3600;

    fn request(conditions: &[(&str, i64)], certificate: &[u8]) -> CertificateSigningRequest {
        let mut request = CertificateSigningRequest::default();
        request.metadata.creation_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let condition = |(kind, at): &(&str, i64)| CertificateSigningRequestCondition {
            type_: (*kind).into(),
            status: "True".into(),
            last_update_time: Some(Time(Timestamp::from_second(*at).unwrap())),
            ..CertificateSigningRequestCondition::default()
        };
        request.status = Some(CertificateSigningRequestStatus {
            conditions: (!conditions.is_empty()).then(|| conditions.iter().map(condition).collect()),
            certificate: (!certificate.is_empty()).then(|| ByteString(certificate.to_vec())),
        });
        request
    }

    fn seconds(request: &CertificateSigningRequest) -> Option<i64> {
        end(request).map(Timestamp::as_second)
    }

    #[test]
    fn requests_stay_as_long_as_upstream_keeps_them() {
        assert_eq!(seconds(&request(&[], b"")), Some(24 * HOUR));
        assert_eq!(seconds(&request(&[("Approved", 10)], b"")), Some(24 * HOUR + 10));
        assert_eq!(seconds(&request(&[("Approved", 10)], b"no certificate")), Some(HOUR + 10));
        assert_eq!(seconds(&request(&[("Denied", 20)], b"")), Some(HOUR + 20));
        assert_eq!(seconds(&request(&[("Approved", 10), ("Failed", 30)], b"")), Some(HOUR + 30));
        assert_eq!(seconds(&request(&[("Other", 30)], b"")), None);
    }

    #[test]
    fn an_issued_request_goes_with_its_certificate() {
        let mut params = rcgen::CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(1970, 1, 2);
        let pem = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
        let now = 48 * HOUR;
        assert_eq!(seconds(&request(&[("Approved", now)], pem.as_bytes())), Some(24 * HOUR));
    }
}
