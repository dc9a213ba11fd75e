//! Where a webhook is called: a URL or a service, with the messages of apiserver's `util/webhook`.
//! Admission and the conversion of custom resources call webhooks by the same rules.

use k8s_openapi::{
    api::admissionregistration::v1 as admission, apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions,
};

use super::{name, network};
use crate::api::{
    field::{self, Path},
    status::Cause,
};

const FORM: &str = "; desired format: https://host[/path]";
/// The port of a service that names none.
pub const DEFAULT_PORT: i32 = 443;

/// A service that is called.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The path to call there.
    pub path: Option<&'a str>,
    /// Its port.
    pub port: Option<i32>,
}

impl Service<'_> {
    /// Its port, or the one that stands for none.
    pub fn port(&self) -> i32 {
        self.port.unwrap_or(DEFAULT_PORT)
    }
}

/// A client configuration, of admission or of conversion.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The URL that is called.
    pub url: Option<&'a str>,
    /// The service that is called.
    pub service: Option<Service<'a>>,
    /// The authorities of its certificate, in PEM; empty for those of the machine.
    pub ca_bundle: &'a [u8],
}

/// The two types of a client configuration have the same fields.
macro_rules! from_configuration {
    ($configuration:ty) => {
        impl<'a> From<&'a $configuration> for Client<'a> {
            fn from(client: &'a $configuration) -> Self {
                let service = client.service.as_ref().map(|service| Service {
                    name: &service.name,
                    namespace: &service.namespace,
                    path: service.path.as_deref(),
                    port: service.port,
                });
                let ca_bundle = client.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice()).unwrap_or_default();
                Self { url: client.url.as_deref(), service, ca_bundle }
            }
        }
    };
}

from_configuration!(admission::WebhookClientConfig);
from_configuration!(extensions::WebhookClientConfig);

/// Problems of a client configuration: exactly one of URL and service, which must be well-formed.
pub fn client<'a>(client: impl Into<Client<'a>>, path: &Path) -> Vec<Cause> {
    let Client { url, service: called, .. } = client.into();
    match (url, called) {
        (Some(text), None) => https(text, &path.child("url")),
        (None, Some(called)) => service(called, &path.child("service")),
        _ => vec![field::required(path, "exactly one of url or service is required")],
    }
}

/// The API versions of reviews that this server can send.
const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];

/// Problems of the review versions that a webhook says it understands. `missing` is what is said
/// of an empty list.
pub fn review_versions(versions: &[String], missing: &str, path: &Path) -> Vec<Cause> {
    if versions.is_empty() {
        return vec![field::required(path, missing)];
    }
    let mut causes = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        if versions[..index].contains(version) {
            causes.push(field::invalid(&path.index(index), version, "duplicate version"));
            continue;
        }
        causes.extend(field::invalid_each(&path.index(index), version, &name::dns1035_label(version)));
    }
    if !versions.iter().any(|version| REVIEW_VERSIONS.contains(&version.as_str())) {
        let detail = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        causes.push(field::invalid(path, versions, &detail));
    }
    causes
}

fn https(text: &str, path: &Path) -> Vec<Cause> {
    let url = Url::split(text);
    let mut causes = Vec::new();
    if url.scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{FORM}");
        causes.push(field::invalid(path, url.scheme, &detail));
    }
    if url.host.is_empty() {
        causes.push(field::invalid(path, url.host, &format!("host must be specified{FORM}")));
    }
    let absent = [
        (url.user, "user information is not permitted in the URL"),
        (url.fragment, "fragments are not permitted in the URL"),
        (url.query, "query parameters are not permitted in the URL"),
    ];
    let given = absent.into_iter().filter(|(part, _)| !part.is_empty());
    causes.extend(given.map(|(part, detail)| field::invalid(path, part, detail)));
    causes
}

fn service(called: Service<'_>, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    // Upstream mistakes the one for the other.
    if called.namespace.is_empty() {
        causes.push(field::required(&path.child("name"), ""));
    }
    if called.name.is_empty() {
        causes.push(field::required(&path.child("namespace"), ""));
    }
    let port = called.port();
    let problems = network::port(port.into());
    if !problems.is_empty() {
        let detail = format!("port is not valid: {}", problems.join(", "));
        causes.push(field::invalid(&path.child("port"), port, &detail));
    }
    causes.extend(service_path(called.path.unwrap_or_default(), &path.child("path")));
    causes
}

fn service_path(text: &str, path: &Path) -> Vec<Cause> {
    if matches!(text, "" | "/") {
        return Vec::new();
    }
    if text == "//" {
        return vec![field::invalid(path, text, "segment[0] may not be empty")];
    }
    let mut causes = Vec::new();
    // The first character is passed over, whatever it is.
    let mut steps = text.chars();
    if steps.next() != Some('/') {
        causes.push(field::invalid(path, text, "must start with a '/'"));
    }
    let steps = steps.as_str();
    for (index, step) in steps.strip_suffix('/').unwrap_or(steps).split('/').enumerate() {
        if step.is_empty() {
            causes.push(field::invalid(path, text, &format!("segment[{index}] may not be empty")));
            continue;
        }
        for problem in name::dns1123_subdomain(step) {
            causes.push(field::invalid(path, text, &format!("segment[{index}]: {problem}")));
        }
    }
    causes
}

/// The parts of a URL, each empty when it is not there.
struct Url<'a> {
    scheme: &'a str,
    user: &'a str,
    host: &'a str,
    query: &'a str,
    fragment: &'a str,
}

impl<'a> Url<'a> {
    /// Takes a URL apart without judging its parts.
    fn split(text: &'a str) -> Self {
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (scheme, rest) = rest.split_once("://").unwrap_or(("", ""));
        let authority = rest.split('/').next().unwrap_or_default();
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        Self { scheme, user, host, query, fragment }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(causes: Vec<Cause>) -> Vec<String> {
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    fn at<'a>(url: Option<&'a str>, service: Option<Service<'a>>) -> Client<'a> {
        Client { url, service, ca_bundle: b"" }
    }

    #[test]
    fn exactly_one_way_is_named() {
        assert!(client(at(Some("https://example.com:8443/x"), None), &Path::new("c")).is_empty());
        assert_eq!(
            messages(client(at(None, None), &Path::new("c"))),
            ["c: Required value: exactly one of url or service is required"]
        );
    }

    #[test]
    fn urls_are_bare_and_encrypted() {
        assert_eq!(
            messages(client(at(Some("http://u@example.com/x?a=b#c"), None), &Path::new("c"))),
            [
                "c.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
                "c.url: Invalid value: \"u\": user information is not permitted in the URL",
                "c.url: Invalid value: \"c\": fragments are not permitted in the URL",
                "c.url: Invalid value: \"a=b\": query parameters are not permitted in the URL",
            ]
        );
    }

    #[test]
    fn services_have_names_and_sound_paths() {
        let called = Service { name: "", namespace: "b", path: Some("a//b"), port: Some(0) };
        assert_eq!(
            messages(client(at(None, Some(called)), &Path::new("c"))),
            [
                "c.service.namespace: Required value",
                "c.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
                "c.service.path: Invalid value: \"a//b\": must start with a '/'",
                "c.service.path: Invalid value: \"a//b\": segment[0] may not be empty",
                "c.service.path: Invalid value: \"a//b\": segment[1] may not be empty",
            ]
        );
    }

    #[test]
    fn one_known_review_version_is_enough() {
        assert!(review_versions(&["v9".into(), "v1".into()], "", &Path::new("v")).is_empty());
        assert_eq!(
            messages(review_versions(&["v9".into(), "v9".into()], "", &Path::new("v"))),
            [
                "v[1]: Invalid value: \"v9\": duplicate version",
                "v: Invalid value: [\"v9\",\"v9\"]: must include at least one of v1, v1beta1",
            ]
        );
    }
}
