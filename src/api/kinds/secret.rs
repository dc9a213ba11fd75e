//! Secrets: bytes by key, with a type that says which keys must be there.

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::{Value, json};

use super::{cells, config_map::SIZE_LIMIT_BYTES, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    schema,
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::name,
};

/// The type of a secret that names none.
pub const OPAQUE: &str = "Opaque";
/// A long-lived token of a service account.
pub const SERVICE_ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";
/// Annotation of such a token that names its service account.
pub const SERVICE_ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
/// Credentials of a registry, as `docker login` writes them today.
pub const DOCKER_CONFIG_JSON: &str = "kubernetes.io/dockerconfigjson";
/// Credentials of a registry in their older form.
pub const DOCKER_CONFIG: &str = "kubernetes.io/dockercfg";
/// A certificate with its key.
pub const TLS: &str = "kubernetes.io/tls";
/// User name and password.
pub const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
/// A private key for SSH.
pub const SSH_AUTH: &str = "kubernetes.io/ssh-auth";

/// How each block of PEM begins.
const BLOCK: &[u8] = b"-----BEGIN ";

/// `v1.Secret`
pub struct SecretKind;

impl Kind for SecretKind {
    type Object = Secret;
    const NAMES: Names = names::namespaced(names::CORE, "Secret", "secrets", "secret");
    const FIELDS: &'static [&'static str] = &["type"];
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_WHOLE;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Type", "string", "What the secret is for."),
        cells::column("Data", "string", "Number of keys."),
        cells::AGE,
    ];

    fn default(secret: &mut Secret) {
        let kind = secret.type_.take().filter(|kind| !kind.is_empty());
        secret.type_ = Some(kind.unwrap_or_else(|| OPAQUE.to_owned()));
        for (key, value) in secret.string_data.take().into_iter().flatten() {
            secret.data.get_or_insert_default().insert(key, ByteString(value.into_bytes()));
        }
    }

    fn validate(secret: &Secret) -> Vec<Cause> {
        let path = Path::new("data");
        let mut causes = Vec::new();
        let mut size_bytes = 0;
        for (key, value) in secret.data.iter().flatten() {
            causes.extend(field::invalid_each(&path.key(key), key, &name::config_map_key(key)));
            size_bytes += value.0.len();
        }
        if size_bytes > SIZE_LIMIT_BYTES {
            causes.push(field::too_long(&path, SIZE_LIMIT_BYTES));
        }
        causes.extend(required_content(secret, &path));
        causes
    }

    fn validate_update(new: &Secret, old: &Secret) -> Vec<Cause> {
        let mut causes = field::immutable(&Path::new("type"), &new.type_, &old.type_);
        if old.immutable == Some(true) {
            let detail = "field is immutable when `immutable` is set";
            if new.immutable != Some(true) {
                causes.push(field::forbidden(&Path::new("immutable"), detail));
            }
            if new.data != old.data {
                causes.push(field::forbidden(&Path::new("data"), detail));
            }
        }
        causes
    }

    fn field_values(secret: &Secret) -> Vec<String> {
        vec![secret.type_.clone().unwrap_or_default()]
    }

    fn warnings(new: &Secret, _old: Option<&Secret>) -> Vec<String> {
        let is_tls = new.type_.as_deref() == Some(TLS);
        is_tls.then(|| pair_warning(new)).flatten().into_iter().collect()
    }

    fn cells(secret: &Secret, now: Timestamp) -> Vec<Value> {
        vec![
            cells::name(&secret.metadata),
            json!(secret.type_),
            json!(secret.data.as_ref().map_or(0, |data| data.len())),
            cells::age(&secret.metadata, now),
        ]
    }
}

/// What the secret's type asks for.
fn required_content(secret: &Secret, path: &Path) -> Vec<Cause> {
    match secret.type_.as_deref().unwrap_or(OPAQUE) {
        SERVICE_ACCOUNT_TOKEN => {
            let annotations = secret.metadata.annotations.as_ref();
            let account = annotations.and_then(|all| all.get(SERVICE_ACCOUNT_NAME)).is_none_or(String::is_empty);
            let path = Path::new("metadata.annotations").key(SERVICE_ACCOUNT_NAME);
            if account { vec![field::required(&path, "")] } else { Vec::new() }
        }
        DOCKER_CONFIG => json_under(secret, path, ".dockercfg"),
        DOCKER_CONFIG_JSON => json_under(secret, path, ".dockerconfigjson"),
        BASIC_AUTH if value(secret, "username").is_none() && value(secret, "password").is_none() => {
            ["username", "password"].iter().map(|key| field::required(&path.key(key), "")).collect()
        }
        SSH_AUTH if value(secret, "ssh-privatekey").is_none_or(|key| key.is_empty()) => {
            vec![field::required(&path.key("ssh-privatekey"), "")]
        }
        TLS => {
            let missing = ["tls.crt", "tls.key"].into_iter().filter(|key| value(secret, key).is_none());
            missing.map(|key| field::required(&path.key(key), "")).collect()
        }
        _ => Vec::new(),
    }
}

/// What is not there of a certificate and its key, in the words of Go's `tls.X509KeyPair`.
fn pair_warning(secret: &Secret) -> Option<String> {
    let lacks_blocks =
        |key: &str| !value(secret, key).unwrap_or_default().windows(BLOCK.len()).any(|text| text == BLOCK);
    let missing = [("tls.crt", "certificate"), ("tls.key", "key")].into_iter().find(|(key, _)| lacks_blocks(key));
    missing.map(|(_, what)| format!("tls: failed to find any PEM data in {what} input"))
}

/// The content of `key` is never shown, being secret.
fn json_under(secret: &Secret, path: &Path, key: &str) -> Vec<Cause> {
    match value(secret, key) {
        None => vec![field::required(&path.key(key), "")],
        Some(bytes) => match serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
            Ok(_) => Vec::new(),
            Err(error) => {
                let detail = schema::json_error(bytes, &error);
                vec![field::invalid(&path.key(key), "<secret contents redacted>", &detail)]
            }
        },
    }
}

fn value<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    fn problems(kind: &str, data: Value) -> Vec<String> {
        let strategy = descriptor::<SecretKind>().strategy;
        let secret = json!({"metadata": {"name": "a", "namespace": "b"}, "type": kind, "data": data});
        let causes = strategy.validate(&strategy.decode(secret).unwrap());
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn string_data_becomes_data() {
        let strategy = descriptor::<SecretKind>().strategy;
        let secret = strategy.decode(json!({"metadata": {"name": "a"}, "stringData": {"k": "hello"}})).unwrap();
        assert_eq!(secret["data"]["k"], "aGVsbG8=");
        assert!(secret.get("stringData").is_none());
        assert_eq!(secret["type"], "Opaque");
    }

    #[test]
    fn types_require_their_keys() {
        assert!(problems(OPAQUE, json!({})).is_empty());
        assert_eq!(problems(TLS, json!({"tls.crt": ""})), ["data[tls.key]: Required value"]);
        assert_eq!(problems(DOCKER_CONFIG_JSON, json!({})), ["data[.dockerconfigjson]: Required value"]);
        let shown = problems(DOCKER_CONFIG_JSON, json!({".dockerconfigjson": "e2E="}));
        assert!(shown[0].contains("<secret contents redacted>"), "{shown:?}");
        assert_eq!(
            problems(SERVICE_ACCOUNT_TOKEN, json!({})),
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"]
        );
    }

    #[test]
    fn the_type_cannot_change() {
        let strategy = descriptor::<SecretKind>().strategy;
        let secret = |kind: &str| json!({"metadata": {"name": "a"}, "type": kind}).into();
        let causes = strategy.validate_update(&secret("x"), &secret("y"));
        assert_eq!(causes[0].message, "Invalid value: \"x\": field is immutable");
    }
}
