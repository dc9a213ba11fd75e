//! Bootstrap tokens (Kubernetes reference, "Authenticating with Bootstrap Tokens"): `<id>.<secret>`, kept in
//! Secrets of `kube-system`, good for new machines to ask for their certificate.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::{
    api::{kind::GroupResource, meta},
    apiserver::reader::Reader,
    http::identity::{AUTHENTICATED, User},
};

const NAMESPACE: &str = "kube-system";
const SECRET_PREFIX: &str = "bootstrap-token-";
const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
const USER_PREFIX: &str = "system:bootstrap:";
const GROUP: &str = "system:bootstrappers";
const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;
/// Longest name of an extra group behind its prefix.
const GROUP_LIMIT: usize = 256;

/// Verifies bootstrap tokens.
pub struct BootstrapTokens {
    reader: Arc<dyn Reader>,
}

impl BootstrapTokens {
    /// Tokens are the Secrets that `reader` sees.
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }

    /// The user of a token; `None` if it is none or no longer good.
    pub fn authenticate(&self, token: &str) -> Option<User> {
        let (id, secret) = parse(token)?;
        let stored = self.reader.get(
            GroupResource { group: "", resource: "secrets" },
            NAMESPACE,
            &format!("{SECRET_PREFIX}{id}"),
        )?;
        let stored: Value = serde_json::from_slice(&stored).ok()?;
        if stored["type"] != SECRET_TYPE || meta::deletion_timestamp(&stored).is_some() {
            return None;
        }
        let kept = data(&stored, "token-secret")?;
        let is_same: bool = kept.as_bytes().ct_eq(secret.as_bytes()).into();
        let is_usable = data(&stored, "usage-bootstrap-authentication").as_deref() == Some("true");
        if !is_same || data(&stored, "token-id").as_deref() != Some(id) || !is_usable || has_expired(&stored) {
            return None;
        }
        let groups = groups(data(&stored, "auth-extra-groups").as_deref().unwrap_or_default())?;
        Some(User { name: format!("{USER_PREFIX}{id}"), groups, ..User::default() })
    }
}

/// Whether a text has the form of a bootstrap token.
pub fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let fits = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    (fits(id, ID_LENGTH) && fits(secret, SECRET_LENGTH)).then_some((id, secret))
}

fn data(secret: &Value, key: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(secret["data"][key].as_str()?).ok()?;
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

/// A time that cannot be read has passed.
fn has_expired(secret: &Value) -> bool {
    let Some(text) = data(secret, "expiration") else { return false };
    text.parse::<Timestamp>().map_or(true, |end| end <= Timestamp::now())
}

/// The groups, of which an extra one that is not a bootstrapper's spoils the token.
fn groups(extra: &str) -> Option<Vec<String>> {
    let mut groups = vec![GROUP.to_owned()];
    for group in extra.split(',').filter(|group| !group.is_empty()) {
        let rest = group.strip_prefix(GROUP)?.strip_prefix(':')?;
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_sound = rest.len() <= GROUP_LIMIT
            && rest.bytes().all(|byte| letter(byte) || matches!(byte, b':' | b'-'))
            && rest.bytes().last().is_some_and(letter);
        if !is_sound {
            return None;
        }
        if !groups.iter().any(|known| known == group) {
            groups.push(group.to_owned());
        }
    }
    groups.push(AUTHENTICATED.to_owned());
    Some(groups)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::reader::fake::FakeReader;

    const TOKEN: &str = "abcdef.0123456789abcdef";

    fn authenticate(changes: &[(&str, &str)], kind: &str) -> Option<User> {
        let mut all = vec![
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("auth-extra-groups", "system:bootstrappers:kubeadm:default-node-token"),
        ];
        all.extend(changes);
        let data: serde_json::Map<String, Value> =
            all.into_iter().map(|(key, value)| (key.to_owned(), BASE64_STANDARD.encode(value).into())).collect();
        let reader = FakeReader::default();
        let name = format!("{SECRET_PREFIX}abcdef");
        let secret = json!({"metadata": {"namespace": NAMESPACE, "name": name}, "type": kind, "data": data});
        reader.put("", "secrets", secret);
        BootstrapTokens::new(Arc::new(reader)).authenticate(TOKEN)
    }

    #[test]
    fn a_token_names_a_bootstrapper() {
        let user = authenticate(&[("expiration", "2999-01-01T00:00:00Z")], SECRET_TYPE).unwrap();
        assert_eq!(user.name, "system:bootstrap:abcdef");
        let groups = ["system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token", AUTHENTICATED];
        assert_eq!(user.groups, groups);
    }

    #[test]
    fn tokens_end_and_can_be_for_other_purposes() {
        let changes = [
            ("expiration", "2020-01-01T00:00:00Z"),
            ("expiration", "soon"),
            ("usage-bootstrap-authentication", "false"),
            ("token-secret", "0123456789abcdee"),
            ("token-id", "abcdeg"),
            ("auth-extra-groups", "system:masters"),
            ("auth-extra-groups", "system:bootstrappers:"),
        ];
        for change in changes {
            assert_eq!(authenticate(&[change], SECRET_TYPE), None, "{change:?}");
        }
        assert_eq!(authenticate(&[], "Opaque"), None);
    }

    #[test]
    fn other_texts_are_no_bootstrap_tokens() {
        for text in ["", ".", "abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde", "a.b.c"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
