//! Automatic approval (upstream's `csrapproving`): a kubelet gets its client certificate when whoever
//! asks may create `certificatesigningrequests/nodeclient`, or `/selfnodeclient` for its own name.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
        certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{Api, Client, api::PostParams};

use crate::{
    api::kinds::certificate_signing_request::{self as csr, request::Request},
    controllers::{
        Context,
        certificates::{ACCOUNT, Error, recognize, usages},
        ignore_not_found,
    },
};

/// What approves a request: the subresource that its author may create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ground {
    subresource: &'static str,
    message: &'static str,
}

const OWN: Ground = Ground {
    subresource: "selfnodeclient",
    message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
};
const ANY: Ground = Ground {
    subresource: "nodeclient",
    message: "Auto approving kubelet client certificate after SubjectAccessReview.",
};

pub async fn run(context: Context) {
    let client = context.client(ACCOUNT);
    let work = |request: Arc<CertificateSigningRequest>| {
        let client = client.clone();
        async move { consider(&client, &request).await }
    };
    super::run(&context, "csrapproving", work).await;
}

async fn consider(client: &Client, request: &CertificateSigningRequest) -> Result<(), Error> {
    let name = request.metadata.name.as_deref().unwrap_or_default();
    for ground in grounds(request)? {
        if may(client, request, ground).await? {
            return approve(client, name, ground).await;
        }
        tracing::debug!(request = name, subresource = ground.subresource, "the request's author may not create this");
    }
    Ok(())
}

/// What could approve the request, if nobody has decided about it yet.
fn grounds(request: &CertificateSigningRequest) -> Result<Vec<Ground>, Error> {
    let is_decided = csr::is(request, csr::APPROVED) || csr::is(request, csr::DENIED);
    if is_decided || !csr::certificate(request).is_empty() || request.spec.signer_name != recognize::KUBELET_CLIENT {
        return Ok(Vec::new());
    }
    let name = || request.metadata.name.clone().unwrap_or_default();
    let asked = Request::parse(&request.spec.request.0).map_err(|why| Error::Parse { name: name(), why })?;
    if recognize::kubelet_client(&asked, usages(request)).is_err() {
        return Ok(Vec::new());
    }
    let is_own = request.spec.username.as_deref() == Some(asked.common_name.as_str());
    Ok(if is_own { vec![OWN, ANY] } else { vec![ANY] })
}

async fn may(client: &Client, request: &CertificateSigningRequest, ground: Ground) -> Result<bool, Error> {
    let spec = &request.spec;
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some("certificates.k8s.io".into()),
                resource: Some("certificatesigningrequests".into()),
                subresource: Some(ground.subresource.into()),
                verb: Some("create".into()),
                version: Some("*".into()),
                ..ResourceAttributes::default()
            }),
            non_resource_attributes: None,
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

async fn approve(client: &Client, name: &str, ground: Ground) -> Result<(), Error> {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let Some(mut request) = api.get_opt(name).await? else { return Ok(()) };
    if csr::is(&request, csr::APPROVED) || csr::is(&request, csr::DENIED) {
        return Ok(());
    }
    let condition = CertificateSigningRequestCondition {
        type_: csr::APPROVED.into(),
        status: "True".into(),
        reason: Some("AutoApproved".into()),
        message: Some(ground.message.into()),
        last_update_time: Some(Time(Timestamp::now())),
        last_transition_time: None,
    };
    request.status.get_or_insert_default().conditions.get_or_insert_default().push(condition);
    ignore_not_found(api.replace_subresource("approval", name, &PostParams::default(), &request).await)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn request(user: &str, common_name: &str) -> CertificateSigningRequest {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let mut request = CertificateSigningRequest::default();
        request.spec.request = ByteString(pem.into_bytes());
        request.spec.signer_name = recognize::KUBELET_CLIENT.into();
        request.spec.usages = Some(vec!["digital signature".into(), "client auth".into()]);
        request.spec.username = Some(user.into());
        request
    }

    #[test]
    fn a_kubelet_may_renew_and_a_bootstrapper_ask_for_any() {
        assert_eq!(grounds(&request("system:node:a", "system:node:a")).unwrap(), [OWN, ANY]);
        assert_eq!(grounds(&request("system:bootstrap:abc", "system:node:a")).unwrap(), [ANY]);
    }

    #[test]
    fn everything_else_is_left_to_people() {
        assert!(grounds(&request("jane", "jane")).unwrap().is_empty());
        let mut other = request("system:node:a", "system:node:a");
        other.spec.signer_name = recognize::CLIENT.into();
        assert!(grounds(&other).unwrap().is_empty());
        let mut serving = request("system:node:a", "system:node:a");
        serving.spec.usages = Some(vec!["digital signature".into(), "server auth".into()]);
        assert!(grounds(&serving).unwrap().is_empty());
        let mut broken = request("system:node:a", "system:node:a");
        broken.spec.request = ByteString(b"x".to_vec());
        assert!(grounds(&broken).is_err());
    }
}
