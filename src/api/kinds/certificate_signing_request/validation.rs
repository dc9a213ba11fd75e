//! Rules of requests, their conditions and certificates.

use std::cmp::Ordering;

use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use x509_parser::{pem::Pem, prelude::FromDer};

use super::{APPROVED, DENIED, FAILED, certificate, conditions, request::Request};
use crate::api::{
    field::{self, Path},
    go,
    status::Cause,
    validation::name,
};

/// Shortest life of a certificate that can be asked for.
const LEAST_SECONDS: i32 = 600;
const STATES: &[&str] = &["False", "True", "Unknown"];
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// Problems of a request.
pub fn request(request: &CertificateSigningRequest) -> Vec<Cause> {
    let (spec, path) = (&request.spec, Path::new("spec"));
    let mut causes = Vec::new();
    if let Err(error) = Request::parse(&spec.request.0) {
        causes.push(field::invalid(&path.child("request"), &spec.request, &error));
    }
    let usages = spec.usages.as_deref().unwrap_or_default();
    if usages.is_empty() {
        causes.push(field::required(&path.child("usages"), ""));
    }
    for (index, usage) in usages.iter().enumerate() {
        let path = path.child("usages").index(index);
        if !USAGES.contains(&usage.as_str()) {
            causes.push(field::unsupported(&path, usage, USAGES));
        }
        if usages[..index].contains(usage) {
            causes.push(field::duplicate(&path, usage));
        }
    }
    causes.extend(signer_name(&spec.signer_name, &path.child("signerName")));
    if let Some(seconds) = spec.expiration_seconds.filter(|seconds| *seconds < LEAST_SECONDS) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        causes.push(field::invalid(&path.child("expirationSeconds"), seconds, detail));
    }
    causes.extend(status(request));
    causes
}

/// Problems of a status.
pub fn status(request: &CertificateSigningRequest) -> Vec<Cause> {
    let path = Path::new("status");
    let mut causes = all_conditions(conditions(request), &path.child("conditions"));
    let issued = certificate(request);
    if !issued.is_empty()
        && let Err(error) = certificates(issued)
    {
        causes.push(field::invalid(&path.child("certificate"), "<certificate data>", &error));
    }
    causes
}

/// Problems of a change: what was decided or issued stays.
pub fn change(new: &CertificateSigningRequest, old: &CertificateSigningRequest) -> Vec<Cause> {
    let path = Path::new("status");
    let mut causes = Vec::new();
    for kind in [APPROVED, DENIED, FAILED] {
        if of(new, kind).len() < of(old, kind).len() {
            let detail = format!("updates may not remove a condition of type {kind:?}");
            causes.push(field::forbidden(&path.child("conditions"), &detail));
        }
    }
    if !certificate(old).is_empty() && certificate(new) != certificate(old) {
        let detail = "updates may not modify existing certificate content";
        causes.push(field::forbidden(&path.child("certificate"), detail));
    }
    causes
}

/// Problems of a change that may not approve or deny.
pub fn approval(new: &CertificateSigningRequest, old: &CertificateSigningRequest) -> Vec<Cause> {
    let mut causes = Vec::new();
    for kind in [APPROVED, DENIED] {
        let (before, after) = (of(old, kind), of(new, kind));
        let action = match after.len().cmp(&before.len()) {
            Ordering::Greater => "add",
            Ordering::Equal if before != after => "modify",
            Ordering::Equal | Ordering::Less => continue,
        };
        let mut detail = format!("updates may not {action} a condition of type {kind:?}");
        if action == "modify" {
            let difference = go::difference("[]CertificateSigningRequestCondition", &before, &after);
            detail.push_str(&format!("\n{difference}"));
        }
        causes.push(field::forbidden(&Path::new("status").child("conditions"), &detail));
    }
    causes
}

fn of<'a>(request: &'a CertificateSigningRequest, kind: &str) -> Vec<&'a CertificateSigningRequestCondition> {
    conditions(request).iter().filter(|condition| condition.type_ == kind).collect()
}

fn all_conditions(conditions: &[CertificateSigningRequestCondition], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, one) in conditions.iter().enumerate() {
        let own = path.index(index);
        let is_final = matches!(one.type_.as_str(), APPROVED | DENIED | FAILED);
        if one.type_.is_empty() {
            causes.push(field::required(&own.child("type"), ""));
        }
        let states = if is_final { &["True"][..] } else { STATES };
        match one.status.as_str() {
            "" => causes.push(field::required(&own.child("status"), "")),
            state => causes.extend(field::one_of(&own.child("status"), state, states)),
        }
        let before = &conditions[..index];
        let opposite = if one.type_ == APPROVED { DENIED } else { APPROVED };
        let decides = matches!(one.type_.as_str(), APPROVED | DENIED);
        if decides && before.iter().any(|other| other.type_ == opposite) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            causes.push(field::invalid(path, &one.type_, detail));
        }
        if before.iter().any(|other| other.type_ == one.type_) {
            causes.push(field::duplicate(&own.child("type"), &one.type_));
        }
    }
    causes
}

/// `example.com/signer`
fn signer_name(text: &str, path: &Path) -> Vec<Cause> {
    if text.is_empty() {
        return vec![field::required(path, "")];
    }
    let parts: Vec<&str> = text.split('/').collect();
    let [domain, signer] = parts.as_slice() else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return vec![field::invalid(path, text, detail)];
    };
    let mut causes = Vec::new();
    let problems = name::dns1123_subdomain(domain);
    if !problems.is_empty() {
        causes.push(field::invalid(path, domain, &problems.join(",")));
    } else if !domain.contains('.') {
        causes.push(field::invalid(path, domain, "should be a domain with at least two segments separated by dots"));
    }
    for label in signer.split('.') {
        let problems = name::dns1123_label(label);
        if !problems.is_empty() {
            let detail = format!("validating label {label:?}: {}", problems.join(", "));
            causes.push(field::invalid(path, signer, &detail));
        }
    }
    causes
}

fn certificates(pem: &[u8]) -> Result<(), String> {
    let mut found = 0;
    for block in Pem::iter_from_buffer(pem) {
        let block = block.map_err(|error| error.to_string())?;
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        x509_parser::certificate::X509Certificate::from_der(&block.contents).map_err(|error| error.to_string())?;
        found += 1;
    }
    if found == 0 { Err("must contain at least one CERTIFICATE PEM block".to_owned()) } else { Ok(()) }
}
