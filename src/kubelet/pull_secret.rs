//! Registry credentials from image pull secrets.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{image::Credential, kubelet::objects::Object};

/// Key of the newer form, `kubernetes.io/dockerconfigjson`.
const CONFIG_JSON: &str = ".dockerconfigjson";
/// Key of the older form, `kubernetes.io/dockercfg`.
const CONFIG: &str = ".dockercfg";

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
}

/// The credentials in a secret; none if it is not a pull secret or cannot be read.
pub fn credentials(secret: &Object) -> Vec<Credential> {
    let of = |key: &str| secret.data.get(key).map(|value| value.0.as_slice());
    let entries = match (of(CONFIG_JSON), of(CONFIG)) {
        (Some(json), _) => serde_json::from_slice::<DockerConfig>(json).map(|config| config.auths).ok(),
        (None, Some(json)) => serde_json::from_slice(json).ok(),
        (None, None) => None,
    };
    entries.unwrap_or_default().into_iter().map(|(registry, entry)| credential(&registry, entry)).collect()
}

fn credential(registry: &str, entry: Entry) -> Credential {
    let decoded = STANDARD.decode(entry.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().and_then(|pair| pair.split_once(':'));
    let (username, password) = match pair {
        Some((username, password)) if entry.username.is_empty() => (username.to_owned(), password.to_owned()),
        _ => (entry.username, entry.password),
    };
    let registry = registry.trim_start_matches("https://").trim_start_matches("http://");
    // Docker Hub's historical key names an API path, not a repository.
    let registry = registry.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
    Credential { registry: registry.to_owned(), username, password, identity_token: entry.identitytoken }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn read(key: &str, json: &str) -> Vec<(String, String, String)> {
        let data = BTreeMap::from([(key.to_owned(), ByteString(json.as_bytes().to_vec()))]);
        let all = credentials(&Object { data, kind: String::new() });
        all.into_iter().map(|one| (one.registry, one.username, one.password)).collect()
    }

    #[test]
    fn reads_both_forms() {
        let json = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dTpwOnc="}}}"#;
        assert_eq!(read(CONFIG_JSON, json), [("index.docker.io".into(), "u".into(), "p:w".into())]);
        let old = r#"{"registry.local:5000": {"username": "u", "password": "p"}}"#;
        assert_eq!(read(CONFIG, old), [("registry.local:5000".into(), "u".into(), "p".into())]);
    }

    #[test]
    fn what_cannot_be_read_is_no_credential() {
        assert!(read(CONFIG_JSON, "{").is_empty());
        assert!(read("other", "{}").is_empty());
    }
}
