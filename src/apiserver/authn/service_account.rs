//! Service-account tokens: issued bound to an audience, a time and an object, and good only for as
//! long as that object exists (Kubernetes reference, "Managing Service Accounts").

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    api::kind::GroupResource,
    apiserver::reader::Reader,
    http::identity::{AUTHENTICATED, User},
    pki::{self, authority::seconds_now},
};

/// Group of all service accounts.
pub const ALL_SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// How long a token outlives the end of the grace period of what it is bound to.
const DELETION_LEEWAY_SECONDS: i64 = 60;
/// Verified tokens that are remembered.
const CACHE_ENTRIES: usize = 4096;

/// Why a token is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Malformed, tampered with or signed by somebody else.
    #[error("verify the token")]
    Signature(#[from] pki::Error),
    /// Signed, but its claims are not those of a service-account token.
    #[error("the token's claims are incomplete")]
    Claims,
    /// Issued by somebody else.
    #[error("the token was issued by {0}")]
    Issuer(String),
    /// Not meant for us.
    #[error("token audiences {actual:?} is invalid for the target audiences {wanted:?}")]
    Audience {
        /// Those of the token.
        actual: Vec<String>,
        /// Those that would do.
        wanted: Vec<String>,
    },
    /// Too early or too late.
    #[error("service account token has expired or is not valid yet")]
    Time,
    /// The account or the object it is bound to is gone.
    #[error("{0} has been deleted")]
    Gone(String),
}

/// The claims of a token. `kubernetes.io` says what it is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Audiences.
    pub aud: Vec<String>,
    /// End, seconds since the epoch.
    pub exp: i64,
    /// Issue time.
    pub iat: i64,
    /// Issuer.
    pub iss: String,
    /// Identifier of the token.
    pub jti: String,
    /// What the token is bound to.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Binding,
    /// Begin.
    pub nbf: i64,
    /// `system:serviceaccount:<namespace>:<name>`
    pub sub: String,
}

/// What a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Namespace of the account, and of the pod or secret.
    pub namespace: String,
    /// A node, by itself or as that of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<ObjectReference>,
    /// A pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ObjectReference>,
    /// A secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectReference>,
    /// The account.
    pub serviceaccount: ObjectReference,
    /// From when on a client that still uses the token is late in renewing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// An object, and which incarnation of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectReference {
    /// Name.
    pub name: String,
    /// UID.
    #[serde(default)]
    pub uid: String,
}

/// Verifies service-account tokens, and signs them.
pub struct Tokens {
    reader: Arc<dyn Reader>,
    pki: Arc<pki::Server>,
    issuer: String,
    verified: Mutex<BTreeMap<[u8; 32], Arc<Claims>>>,
}

impl Tokens {
    /// Tokens of `issuer`, which is also the audience of those meant for the API itself.
    pub fn new(reader: Arc<dyn Reader>, pki: Arc<pki::Server>, issuer: String) -> Self {
        Self { reader, pki, issuer, verified: Mutex::default() }
    }

    /// The issuer's URL.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The public keys as a JSON Web Key Set.
    pub fn key_set(&self) -> serde_json::Value {
        serde_json::json!({"keys": [self.pki.signing().public_jwk()]})
    }

    /// Signs claims.
    pub fn sign(&self, claims: &Claims) -> Result<String, Error> {
        let claims = serde_json::to_value(claims).expect("a struct of strings and numbers can be written as JSON");
        Ok(self.pki.signing().sign(&claims)?)
    }

    /// The account a token for this API belongs to.
    pub fn authenticate(&self, token: &str) -> Result<User, Error> {
        let audiences = [self.issuer.clone()];
        self.review(token, &audiences).map(|(user, _)| user)
    }

    /// The account a token belongs to, and which of the `wanted` audiences it is for.
    pub fn review(&self, token: &str, wanted: &[String]) -> Result<(User, Vec<String>), Error> {
        let claims = self.claims(token)?;
        self.check_time_and_issuer(&claims)?;
        let audiences: Vec<String> = wanted.iter().filter(|audience| claims.aud.contains(audience)).cloned().collect();
        if audiences.is_empty() {
            return Err(Error::Audience { actual: claims.aud.clone(), wanted: wanted.to_vec() });
        }
        self.check_binding(&claims.kubernetes)?;
        Ok((user(&claims), audiences))
    }

    /// Checking a signature takes a hundred times as long as looking it up.
    fn claims(&self, token: &str) -> Result<Arc<Claims>, Error> {
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(claims) = self.verified.lock().get(&key) {
            return Ok(claims.clone());
        }
        let claims = self.pki.signing().verify(token)?;
        let claims: Claims = serde_json::from_value(claims).map_err(|_| Error::Claims)?;
        let expected =
            format!("system:serviceaccount:{}:{}", claims.kubernetes.namespace, claims.kubernetes.serviceaccount.name);
        if claims.sub != expected {
            return Err(Error::Claims);
        }
        let claims = Arc::new(claims);
        let mut verified = self.verified.lock();
        if verified.len() >= CACHE_ENTRIES {
            verified.clear();
        }
        verified.insert(key, claims.clone());
        Ok(claims)
    }

    fn check_time_and_issuer(&self, claims: &Claims) -> Result<(), Error> {
        let now = seconds_now();
        if claims.iss != self.issuer {
            return Err(Error::Issuer(claims.iss.clone()));
        }
        if now < claims.nbf || now >= claims.exp {
            return Err(Error::Time);
        }
        Ok(())
    }

    fn check_binding(&self, binding: &Binding) -> Result<(), Error> {
        let namespace = binding.namespace.as_str();
        self.check_exists("serviceaccounts", namespace, &binding.serviceaccount)?;
        if let Some(pod) = &binding.pod {
            return self.check_exists("pods", namespace, pod);
        }
        if let Some(secret) = &binding.secret {
            return self.check_exists("secrets", namespace, secret);
        }
        match &binding.node {
            Some(node) => self.check_exists("nodes", "", node),
            None => Ok(()),
        }
    }

    fn check_exists(&self, resource: &'static str, namespace: &str, wanted: &ObjectReference) -> Result<(), Error> {
        let object = self.reader.get(GroupResource { group: "", resource }, namespace, &wanted.name);
        let found = object.and_then(|object| serde_json::from_slice::<Found>(&object).ok());
        match found {
            Some(found) if found.metadata.uid == wanted.uid && !found.metadata.is_long_deleted() => Ok(()),
            _ => Err(Error::Gone(format!("{resource} \"{}\"", wanted.name))),
        }
    }
}

fn user(claims: &Claims) -> User {
    let binding = &claims.kubernetes;
    let mut extra = BTreeMap::new();
    let mut add = |key: &str, value: &str| {
        extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
    };
    add("credential-id", &format!("JTI={}", claims.jti));
    if let Some(pod) = &binding.pod {
        add("pod-name", &pod.name);
        add("pod-uid", &pod.uid);
    }
    if let Some(node) = &binding.node {
        add("node-name", &node.name);
        add("node-uid", &node.uid);
    }
    let account = account(&binding.namespace, &binding.serviceaccount.name, &binding.serviceaccount.uid);
    User { extra, ..account }
}

/// A service account as a user.
pub fn account(namespace: &str, name: &str, uid: &str) -> User {
    User {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        uid: uid.to_owned(),
        groups: vec![ALL_SERVICE_ACCOUNTS.into(), format!("{ALL_SERVICE_ACCOUNTS}:{namespace}"), AUTHENTICATED.into()],
        extra: BTreeMap::new(),
    }
}

#[derive(Deserialize)]
struct Found {
    metadata: FoundMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FoundMetadata {
    uid: String,
    deletion_timestamp: Option<jiff::Timestamp>,
}

impl FoundMetadata {
    /// Whether the time has passed in which what is being deleted may still say goodbye.
    fn is_long_deleted(&self) -> bool {
        self.deletion_timestamp.is_some_and(|end| end.as_second() + DELETION_LEEWAY_SECONDS < seconds_now())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::reader::fake::FakeReader;

    const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

    struct Fixture {
        _directory: tempfile::TempDir,
        reader: Arc<FakeReader>,
        tokens: Tokens,
    }

    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let pki = Arc::new(pki::Server::open(directory.path(), &pki::server::Options::default()).unwrap());
        let reader = Arc::new(FakeReader::default());
        reader.put("", "serviceaccounts", json!({"metadata": {"namespace": "a", "name": "default", "uid": "1"}}));
        reader.put("", "pods", json!({"metadata": {"namespace": "a", "name": "web", "uid": "2"}}));
        let tokens = Tokens::new(reader.clone(), pki, ISSUER.into());
        Fixture { _directory: directory, reader, tokens }
    }

    fn claims() -> Claims {
        let reference = |name: &str, uid: &str| ObjectReference { name: name.into(), uid: uid.into() };
        let now = seconds_now();
        Claims {
            aud: vec![ISSUER.into()],
            exp: now + 600,
            iat: now,
            iss: ISSUER.into(),
            jti: "j".into(),
            nbf: now,
            sub: "system:serviceaccount:a:default".into(),
            kubernetes: Binding {
                namespace: "a".into(),
                node: None,
                pod: Some(reference("web", "2")),
                secret: None,
                serviceaccount: reference("default", "1"),
                warnafter: None,
            },
        }
    }

    #[test]
    fn a_good_token_names_its_account() {
        let fixture = fixture();
        let user = fixture.tokens.authenticate(&fixture.tokens.sign(&claims()).unwrap()).unwrap();
        assert_eq!(user.name, "system:serviceaccount:a:default");
        assert!(user.is_in("system:serviceaccounts:a") && user.is_in(AUTHENTICATED));
        assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["web"]);
    }

    #[test]
    fn claims_that_do_not_hold_are_refused() {
        let fixture = fixture();
        let changes: [fn(&mut Claims); 7] = [
            |claims| claims.exp = seconds_now() - 1,
            |claims| claims.nbf = seconds_now() + 60,
            |claims| claims.iss = "https://elsewhere".into(),
            |claims| claims.aud = vec!["vault".into()],
            |claims| claims.sub = "system:serviceaccount:kube-system:admin".into(),
            |claims| claims.kubernetes.serviceaccount.uid = "9".into(),
            |claims| claims.kubernetes.pod = Some(ObjectReference { name: "other".into(), uid: "2".into() }),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut claims = claims();
            change(&mut claims);
            let token = fixture.tokens.sign(&claims).unwrap();
            assert!(fixture.tokens.authenticate(&token).is_err(), "change {index}");
        }
    }

    #[test]
    fn a_token_ends_with_its_pod() {
        let fixture = fixture();
        let token = fixture.tokens.sign(&claims()).unwrap();
        assert!(fixture.tokens.authenticate(&token).is_ok());
        fixture.reader.put("", "pods", json!({"metadata": {"namespace": "a", "name": "web", "uid": "3"}}));
        assert!(matches!(fixture.tokens.authenticate(&token), Err(Error::Gone(_))));
    }

    #[test]
    fn a_token_outlives_the_deletion_of_its_pod_by_a_minute_at_most() {
        let fixture = fixture();
        let token = fixture.tokens.sign(&claims()).unwrap();
        let deleted = |seconds_ago: i64| {
            let end = jiff::Timestamp::from_second(seconds_now() - seconds_ago).unwrap().to_string();
            let metadata = json!({"namespace": "a", "name": "web", "uid": "2", "deletionTimestamp": end});
            fixture.reader.put("", "pods", json!({"metadata": metadata}));
            fixture.tokens.authenticate(&token).is_ok()
        };
        assert_eq!([deleted(-30), deleted(30), deleted(90)], [true, true, false]);
    }

    #[test]
    fn a_token_for_another_audience_can_be_reviewed_for_it() {
        let fixture = fixture();
        let token = fixture.tokens.sign(&Claims { aud: vec!["vault".into()], ..claims() }).unwrap();
        let wanted = ["vault".to_owned(), "other".to_owned()];
        assert_eq!(fixture.tokens.review(&token, &wanted).unwrap().1, ["vault"]);
    }
}
