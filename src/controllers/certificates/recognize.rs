//! Which requests the cluster's own signers take, by what is in them (Kubernetes reference,
//! "Certificates and Certificate Signing Requests", Kubernetes signers).

use std::collections::BTreeSet;

use crate::{api::kinds::certificate_signing_request::request::Request, controllers::keys::Audience};

/// Certificates of clients of the API server.
pub const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Certificates of kubelets as clients of the API server.
pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Certificates of kubelets as servers.
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// Anything, without a promise that anybody believes it.
pub const LEGACY_UNKNOWN: &str = "kubernetes.io/legacy-unknown";

const DIGITAL_SIGNATURE: &str = "digital signature";
const KEY_ENCIPHERMENT: &str = "key encipherment";
const CLIENT_AUTH: &str = "client auth";
const SERVER_AUTH: &str = "server auth";

/// Who believes what a signer signs; `None` for signers that are not ours.
pub fn audience(signer: &str) -> Option<Audience> {
    match signer {
        CLIENT | KUBELET_CLIENT => Some(Audience::Api),
        KUBELET_SERVING | LEGACY_UNKNOWN => Some(Audience::Clients),
        _ => None,
    }
}

/// Why the signer refuses a request, in upstream's words.
pub fn check(signer: &str, request: &Request, usages: &[String]) -> Result<(), String> {
    match signer {
        CLIENT => client(usages),
        KUBELET_CLIENT => kubelet_client(request, usages),
        KUBELET_SERVING => kubelet_serving(request, usages),
        _ => Ok(()),
    }
}

fn client(usages: &[String]) -> Result<(), String> {
    let allowed = [DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, CLIENT_AUTH];
    if let Some(other) = usages.iter().find(|usage| !allowed.contains(&usage.as_str())) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    if !usages.iter().any(|usage| usage == CLIENT_AUTH) {
        return Err(format!("missing required usage for client certificate: {CLIENT_AUTH}"));
    }
    Ok(())
}

/// Whether a kubelet may be who the request says, as a client.
pub fn kubelet_client(request: &Request, usages: &[String]) -> Result<(), String> {
    check_organization(request)?;
    if !request.dns_names.is_empty() {
        return Err("DNS subjectAltNames are not allowed".to_owned());
    }
    if request.emails > 0 {
        return Err("Email subjectAltNames are not allowed".to_owned());
    }
    if !request.addresses.is_empty() {
        return Err("IP subjectAltNames are not allowed".to_owned());
    }
    if request.uris > 0 {
        return Err("URI subjectAltNames are not allowed".to_owned());
    }
    check_name(request)?;
    check_usages(usages, CLIENT_AUTH)
}

fn kubelet_serving(request: &Request, usages: &[String]) -> Result<(), String> {
    check_organization(request)?;
    if request.dns_names.is_empty() && request.addresses.is_empty() {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    if request.emails > 0 {
        return Err("Email subjectAltNames are not allowed".to_owned());
    }
    if request.uris > 0 {
        return Err("URI subjectAltNames are not allowed".to_owned());
    }
    check_usages(usages, SERVER_AUTH)?;
    check_name(request)
}

fn check_organization(request: &Request) -> Result<(), String> {
    if request.organizations == ["system:nodes"] {
        return Ok(());
    }
    Err("subject organization is not system:nodes".to_owned())
}

fn check_name(request: &Request) -> Result<(), String> {
    if request.common_name.starts_with("system:node:") {
        return Ok(());
    }
    Err("subject common name does not begin with system:node:".to_owned())
}

/// Exactly these, where key encipherment may be left out: only RSA keys can do it.
fn check_usages(usages: &[String], purpose: &str) -> Result<(), String> {
    let asked: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let without = BTreeSet::from([DIGITAL_SIGNATURE, purpose]);
    let with = BTreeSet::from([DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, purpose]);
    if asked == with || asked == without {
        return Ok(());
    }
    Err(format!("usages did not match [{}]", with.into_iter().collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubelet() -> Request {
        Request {
            common_name: "system:node:edge1".into(),
            organizations: vec!["system:nodes".into()],
            ..Request::default()
        }
    }

    fn list(usages: &[&str]) -> Vec<String> {
        usages.iter().map(|usage| (*usage).to_owned()).collect()
    }

    #[test]
    fn a_client_must_ask_to_be_a_client_and_no_more() {
        let check = |usages: &[&str]| check(CLIENT, &Request::default(), &list(usages));
        assert_eq!(check(&[CLIENT_AUTH]), Ok(()));
        assert_eq!(check(&[CLIENT_AUTH, KEY_ENCIPHERMENT, DIGITAL_SIGNATURE]), Ok(()));
        let missing = Err("missing required usage for client certificate: client auth".to_owned());
        assert_eq!(check(&[DIGITAL_SIGNATURE]), missing);
        let invalid = Err("invalid usage for client certificate: server auth".to_owned());
        assert_eq!(check(&[CLIENT_AUTH, SERVER_AUTH]), invalid);
    }

    #[test]
    fn a_kubelets_client_certificate_has_no_names() {
        let usages = list(&[DIGITAL_SIGNATURE, CLIENT_AUTH]);
        assert_eq!(kubelet_client(&kubelet(), &usages), Ok(()));
        type Change = fn(&mut Request);
        let changes: [(Change, &str); 6] = [
            (|request| request.organizations.push("x".into()), "subject organization is not system:nodes"),
            (|request| request.dns_names.push("x".into()), "DNS subjectAltNames are not allowed"),
            (|request| request.addresses.push([10, 0, 0, 1].into()), "IP subjectAltNames are not allowed"),
            (|request| request.emails = 1, "Email subjectAltNames are not allowed"),
            (|request| request.uris = 1, "URI subjectAltNames are not allowed"),
            (|request| request.common_name = "jane".into(), "subject common name does not begin with system:node:"),
        ];
        for (change, expected) in changes {
            let mut request = kubelet();
            change(&mut request);
            assert_eq!(kubelet_client(&request, &usages), Err(expected.to_owned()));
        }
        let wrong = Err("usages did not match [client auth digital signature key encipherment]".to_owned());
        assert_eq!(kubelet_client(&kubelet(), &list(&[CLIENT_AUTH])), wrong);
    }

    #[test]
    fn a_kubelets_serving_certificate_needs_a_name() {
        let usages = list(&[KEY_ENCIPHERMENT, DIGITAL_SIGNATURE, SERVER_AUTH]);
        let refused = check(KUBELET_SERVING, &kubelet(), &usages);
        assert_eq!(refused, Err("DNS or IP subjectAltName is required".to_owned()));
        let named = Request { addresses: vec![[10, 0, 0, 1].into()], ..kubelet() };
        assert_eq!(check(KUBELET_SERVING, &named, &usages), Ok(()));
        assert_eq!(check(LEGACY_UNKNOWN, &Request::default(), &[]), Ok(()));
    }
}
