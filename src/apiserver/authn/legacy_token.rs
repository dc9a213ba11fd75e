//! Tokens that are kept in Secrets of the type `kubernetes.io/service-account-token`: good for as long as
//! the Secret holds them (Kubernetes reference, "Managing Service Accounts"). When one is used, its Secret
//! is labelled with the day, so that operators can see which are not used any more.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::sync::mpsc;

use crate::{
    api::{kind::GroupResource, meta},
    apiserver::{authn::service_account::account, reader::Reader},
    http::identity::User,
    pki::{self, jwt},
};

/// Issuer of these tokens.
pub const ISSUER: &str = "kubernetes/serviceaccount";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALIDATED: &str = "Token has been invalidated";
/// Uses that wait to be written down; further ones of the moment are not.
const USES_LIMIT: usize = 64;

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    uid: String,
}

/// The use of a token that its Secret does not know of yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    namespace: String,
    secret: String,
    uid: String,
    day: String,
}

/// Uses to be written down.
pub type Uses = mpsc::Receiver<Use>;

/// Verifies tokens that are kept in Secrets.
pub struct LegacyTokens {
    reader: Arc<dyn Reader>,
    pki: Arc<pki::Server>,
    uses: mpsc::Sender<Use>,
}

impl LegacyTokens {
    /// Tokens are what the Secrets hold that `reader` sees, signed with the server's key.
    pub fn new(reader: Arc<dyn Reader>, pki: Arc<pki::Server>) -> (Self, Uses) {
        let (uses, received) = mpsc::channel(USES_LIMIT);
        (Self { reader, pki, uses }, received)
    }

    /// The account a token belongs to; `None` if it is of another kind.
    pub fn authenticate(&self, token: &str) -> Option<Result<User, String>> {
        let claims = jwt::Token::parse(token).ok()?.claims;
        if claims["iss"] != ISSUER {
            return None;
        }
        Some(self.verify(token))
    }

    fn verify(&self, token: &str) -> Result<User, String> {
        let claims = self.pki.signing().verify(token).map_err(|error| error.to_string())?;
        let claims: Claims = serde_json::from_value(claims).map_err(|error| error.to_string())?;
        let Claims { namespace, account: name, secret: secret_name, .. } = &claims;
        if claims.sub != format!("system:serviceaccount:{namespace}:{name}") {
            return Err("sub claim is invalid".to_owned());
        }
        let secret = self.get("secrets", namespace, secret_name).ok_or(INVALIDATED)?;
        if meta::deletion_timestamp(&secret).is_some() {
            return Err(INVALIDATED.to_owned());
        }
        let kept = secret["data"]["token"].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
        if !bool::from(kept.unwrap_or_default().ct_eq(token.as_bytes())) {
            return Err("Token does not match server's copy".to_owned());
        }
        let account = self.get("serviceaccounts", namespace, name);
        let account = account.ok_or_else(|| format!("serviceaccounts \"{name}\" not found"))?;
        if meta::deletion_timestamp(&account).is_some() {
            return Err(format!("ServiceAccount {namespace}/{name} has been deleted"));
        }
        if meta::uid(&account) != claims.uid {
            let uid = meta::uid(&account);
            return Err(format!("ServiceAccount UID ({uid}) does not match claim ({})", claims.uid));
        }
        self.note(&secret, &claims);
        if meta::label(&secret, INVALID_SINCE).is_some_and(|since| !since.is_empty()) {
            return Err(format!(
                "the token in secret {namespace}/{secret_name} for service account {namespace}/{name} has been marked \
                 invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the \
                 '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
            ));
        }
        Ok(account_user(&claims))
    }

    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let object = self.reader.get(GroupResource { group: "", resource }, namespace, name)?;
        serde_json::from_slice(&object).ok()
    }

    /// Has the use written down, once a day. What is forgotten because there is too much of it is
    /// noted the next time.
    fn note(&self, secret: &Value, claims: &Claims) {
        let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
        let now = Timestamp::now();
        let (today, tomorrow) = (day(now), day(now + jiff::SignedDuration::from_hours(24)));
        let known = meta::label(secret, LAST_USED).unwrap_or_default();
        if known != today && known != tomorrow {
            let (namespace, secret_name) = (claims.namespace.clone(), claims.secret.clone());
            let uid = meta::uid(secret).to_owned();
            let _ = self.uses.try_send(Use { namespace, secret: secret_name, uid, day: today });
        }
    }
}

/// Labels the Secrets of tokens that are used, as long as the server runs.
pub async fn write_down(client: Client, mut uses: Uses) {
    let mut last = None;
    while let Some(used) = uses.recv().await {
        // Of many requests at once only the first one is news.
        if last.as_ref() == Some(&used) {
            continue;
        }
        let Use { namespace, secret, uid, day } = &used;
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let patch = json!({"metadata": {"uid": uid, "labels": {LAST_USED: day}}});
        match api.patch(secret, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => last = Some(used),
            Err(error) => tracing::debug!(%error, "the use of a token could not be written down"),
        }
    }
}

fn account_user(claims: &Claims) -> User {
    account(&claims.namespace, &claims.account, &claims.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{apiserver::reader::fake::FakeReader, http::identity::AUTHENTICATED};

    struct Fixture {
        _directory: tempfile::TempDir,
        reader: Arc<FakeReader>,
        tokens: LegacyTokens,
        uses: Uses,
        token: String,
    }

    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let pki = Arc::new(pki::Server::open(directory.path(), &pki::server::Options::default()).unwrap());
        let claims = json!({
            "iss": ISSUER, "sub": "system:serviceaccount:a:web",
            "kubernetes.io/serviceaccount/namespace": "a",
            "kubernetes.io/serviceaccount/secret.name": "t",
            "kubernetes.io/serviceaccount/service-account.name": "web",
            "kubernetes.io/serviceaccount/service-account.uid": "1",
        });
        let token = pki.signing().sign(&claims).unwrap();
        let reader = Arc::new(FakeReader::default());
        reader.put("", "serviceaccounts", json!({"metadata": {"namespace": "a", "name": "web", "uid": "1"}}));
        let (tokens, uses) = LegacyTokens::new(reader.clone(), pki);
        let fixture = Fixture { _directory: directory, reader, tokens, uses, token };
        fixture.keep(json!({}));
        fixture
    }

    impl Fixture {
        fn keep(&self, labels: Value) {
            let metadata = json!({"namespace": "a", "name": "t", "uid": "2", "labels": labels});
            let data = json!({"token": BASE64_STANDARD.encode(&self.token)});
            self.reader.put("", "secrets", json!({"metadata": metadata, "data": data}));
        }

        fn outcome(&self) -> Result<User, String> {
            self.tokens.authenticate(&self.token).unwrap()
        }
    }

    #[test]
    fn a_token_is_good_while_its_secret_holds_it() {
        let mut fixture = fixture();
        let user = fixture.outcome().unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("system:serviceaccount:a:web", "1"));
        assert!(user.is_in("system:serviceaccounts:a") && user.is_in(AUTHENTICATED));
        let used = fixture.uses.try_recv().unwrap();
        assert_eq!((used.secret.as_str(), used.uid.as_str()), ("t", "2"));
        fixture.keep(json!({LAST_USED: used.day}));
        fixture.outcome().unwrap();
        assert!(fixture.uses.try_recv().is_err());
        fixture.reader.remove("", "secrets", "a", "t");
        assert_eq!(fixture.outcome(), Err(INVALIDATED.to_owned()));
    }

    #[test]
    fn a_token_ends_with_its_account_and_with_a_label() {
        let fixture = fixture();
        fixture.keep(json!({INVALID_SINCE: "2026-01-01"}));
        assert!(fixture.outcome().unwrap_err().contains("has been marked invalid"));
        fixture.keep(json!({}));
        fixture.reader.put("", "serviceaccounts", json!({"metadata": {"namespace": "a", "name": "web", "uid": "9"}}));
        assert_eq!(fixture.outcome().unwrap_err(), "ServiceAccount UID (9) does not match claim (1)");
        assert!(fixture.tokens.authenticate("a.b.c").is_none());
    }
}
