//! Paths that are of no kind: discovery, the server's version, and what verifies service accounts' tokens.

use serde_json::{Map, Value};

use super::{
    Dialect,
    operation::{OBJECTS, Operation, item},
    paths::{capitalized, tag, title},
};

/// Documents of version 3 that are there whatever is served.
pub(super) const FIXED: [&str; 5] = [".well-known/openid-configuration", "api", "apis", "openid/v1/jwks", "version"];

const JSON: &[&str] = &["application/json"];

/// The path that the document called `path` is about, with what it gives: `api`, `apis/apps`, `apis/apps/v1`.
pub(super) fn of(path: &str, dialect: Dialect) -> Map<String, Value> {
    let operation = match path {
        ".well-known/openid-configuration" => issuer(
            "WellKnown",
            "getServiceAccountIssuerOpenIDConfiguration",
            "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'",
            JSON,
        ),
        "openid/v1/jwks" => issuer(
            "openid",
            "getServiceAccountIssuerOpenIDKeyset",
            "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)",
            &["application/jwk-set+json"],
        ),
        "api" => get("core", "getCoreAPIVersions", "get available API versions", "APIVersions"),
        "apis" => get("apis", "getAPIVersions", "get available API versions", "APIGroupList"),
        "version" => Operation {
            consumes: JSON,
            produces: JSON,
            response: Some("io.k8s.apimachinery.pkg.version.Info".into()),
            ..get("version", "getCodeVersion", "get the version information for this server", "")
        },
        path => of_group(path),
    };
    Map::from_iter([(format!("/{path}/"), item(vec![operation], dialect))])
}

/// Discovery of a group, or of one of its versions.
fn of_group(path: &str) -> Operation {
    let (group, version) = match path.split('/').collect::<Vec<&str>>()[..] {
        ["apis", group, version] => (group, Some(version)),
        ["apis", group] => (group, None),
        [_, version] => ("", Some(version)),
        _ => ("", None),
    };
    let title = title(group);
    match version {
        None => get(&tag(group), &format!("get{title}APIGroup"), "get information of a group", "APIGroup"),
        Some(version) => {
            let id = format!("get{title}{}APIResources", capitalized(version));
            get(&format!("{}_{version}", tag(group)), &id, "get available resources", "APIResourceList")
        }
    }
}

fn get(tag: &str, id: &str, description: &str, response: &str) -> Operation {
    Operation {
        method: "get",
        action: None,
        id: id.into(),
        description: description.into(),
        tag: tag.into(),
        consumes: OBJECTS,
        produces: OBJECTS,
        parameters: std::collections::BTreeSet::new(),
        body: None,
        codes: &[200],
        response: Some(format!("io.k8s.apimachinery.pkg.apis.meta.v1.{response}")),
    }
}

/// What the issuer of service accounts' tokens gives, as text.
fn issuer(tag: &str, id: &str, description: &str, produces: &'static [&'static str]) -> Operation {
    Operation { consumes: &[], produces, response: None, ..get(tag, id, description, "") }
}
