//! Tokens of an issuer on loopback, which the tests make themselves.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::{
    http::{
        body::{self, Body},
        identity::AUTHENTICATED,
        server::{self, Limits},
    },
    pki::{self, authority::seconds_now, signing::SigningKey},
};

/// An issuer that describes itself and its keys over TLS.
struct Provider {
    _directory: tempfile::TempDir,
    url: String,
    authority: String,
    keys: Arc<Mutex<Vec<Value>>>,
    asked: Arc<AtomicUsize>,
    /// What it says about groups to whoever shows that the token sent them.
    groups: Arc<Mutex<String>>,
    supervisor: Supervisor,
}

impl Provider {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pki = pki::Server::open(directory.path(), &pki::server::Options::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (keys, asked) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let supervisor = Supervisor::new();
        let (tls, verifier) = (pki.api_tls().unwrap(), pki.client_verifier().unwrap());
        let groups = Arc::new(Mutex::new(String::new()));
        let (served, counted, issuer, source) = (keys.clone(), asked.clone(), url.clone(), groups.clone());
        let service = move |request: Request<Body>| {
            counted.fetch_add(1, Ordering::SeqCst);
            let is_sent = request.headers().get("authorization").is_some_and(|shown| shown == "Bearer sesame");
            let answer = match request.uri().path() {
                DISCOVERY_PATH | "/elsewhere" => json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}),
                "/groups" => return std::future::ready(answer(is_sent, &source.lock())),
                _ => json!({"keys": *served.lock()}),
            };
            std::future::ready(Response::new(body::full(answer.to_string())))
        };
        server::serve(listener, tls, verifier, service, &supervisor, Limits::default());
        let authority = pki.server_authority().to_owned();
        Self { _directory: directory, url, authority, keys, asked, groups, supervisor }
    }

    /// A key of the issuer that signs from now on, and verifies beside those before.
    fn key(&self) -> SigningKey {
        let directory = tempfile::tempdir().unwrap();
        let key = SigningKey::open(&directory.path().join("key")).unwrap();
        self.keys.lock().push(key.public_jwk());
        key
    }

    fn claims(&self, more: Value) -> Value {
        let mut claims = json!({"iss": self.url, "aud": "kubernetes", "sub": "1", "exp": seconds_now() + 600});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    }

    fn issuers(&self, mappings: &str, more: &str) -> Issuers {
        let issuers = Issuers::new("https://own", self.supervisor.clone());
        issuers.configure(self.configuration(mappings, more), &all_algorithms()).unwrap();
        issuers
    }

    fn configuration(&self, mappings: &str, more: &str) -> Configuration {
        let authority = serde_json::to_string(&self.authority).unwrap();
        let text = format!(
            "{{apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration, jwt: [{{issuer: {{url: \
             '{}', audiences: [kubernetes], certificateAuthority: {authority}}}, claimMappings: {mappings}{more}}}]}}",
            self.url
        );
        Configuration::parse(&text).unwrap()
    }
}

fn answer(is_allowed: bool, content: &str) -> Response<Body> {
    let code = if is_allowed { 200 } else { 403 };
    Response::builder().status(code).body(body::full(content.to_owned())).unwrap()
}

const PLAIN: &str = "{username: {claim: sub, prefix: 'oidc:'}, groups: {claim: roles, prefix: 'oidc:'}}";

async fn authenticate(issuers: &Issuers, token: &str) -> Option<Result<User, String>> {
    if let Some(prepared) = issuers.prepare(token) {
        prepared.await;
    }
    issuers.authenticate(token)
}

#[tokio::test]
async fn a_token_of_a_known_issuer_names_its_user() {
    let provider = Provider::start().await;
    let (key, issuers) = (provider.key(), provider.issuers(PLAIN, ""));
    let token = key.sign(&provider.claims(json!({"roles": ["a", "b"], "jti": "7"}))).unwrap();
    let user = authenticate(&issuers, &token).await.unwrap().unwrap();
    assert_eq!(
        (user.name.as_str(), user.groups),
        ("oidc:1", ["oidc:a", "oidc:b", AUTHENTICATED].map(str::to_owned).to_vec())
    );
    assert_eq!(user.extra["authentication.kubernetes.io/credential-id"], ["JTI=7"]);
    let one = key.sign(&provider.claims(json!({"roles": "a"}))).unwrap();
    assert!(authenticate(&issuers, &one).await.unwrap().unwrap().is_in("oidc:a"));
    assert_eq!(provider.asked.load(Ordering::SeqCst), 2);
    let foreign = key.sign(&json!({"iss": "https://elsewhere", "aud": "kubernetes", "sub": "1"})).unwrap();
    assert!(authenticate(&issuers, &foreign).await.is_none());
}

#[tokio::test]
async fn tokens_that_do_not_hold_are_refused_with_the_reason() {
    let provider = Provider::start().await;
    let (key, issuers) =
        (provider.key(), provider.issuers(PLAIN, ", claimValidationRules: [{claim: hd, requiredValue: x}]"));
    let refused = async |claims: Value| {
        let token = key.sign(&provider.claims(claims)).unwrap();
        authenticate(&issuers, &token).await.unwrap().unwrap_err()
    };
    let audience = refused(json!({"aud": ["vault"]})).await;
    assert_eq!(audience, r#"oidc: verify token: oidc: expected audience in ["kubernetes"] got ["vault"]"#);
    assert!(refused(json!({"exp": 10})).await.contains("oidc: token is expired (Token Expiry: 1970-01-01T00:00:10Z)"));
    assert!(refused(json!({"nbf": seconds_now() + 3600})).await.contains("before the nbf (not before) time"));
    assert_eq!(refused(json!({"sub": 1})).await, r#"oidc: parse username claims "sub": it is not a string"#);
    assert_eq!(refused(json!({})).await, "oidc: required claim hd not present in ID token");
    assert_eq!(refused(json!({"hd": "y"})).await, "oidc: required claim hd value does not match. Got = y, want = x");
    let directory = tempfile::tempdir().unwrap();
    let other = SigningKey::open(&directory.path().join("key")).unwrap();
    let forged = other.sign(&provider.claims(json!({"hd": "x"}))).unwrap();
    assert!(authenticate(&issuers, &forged).await.unwrap().unwrap_err().contains("failed to verify signature"));
}

#[tokio::test]
async fn new_keys_are_fetched_but_not_without_end() {
    let provider = Provider::start().await;
    let (first, issuers) = (provider.key(), provider.issuers(PLAIN, ""));
    let token = |key: &SigningKey| key.sign(&provider.claims(json!({}))).unwrap();
    assert!(authenticate(&issuers, &token(&first)).await.unwrap().is_ok());
    let second = provider.key();
    assert!(authenticate(&issuers, &token(&second)).await.unwrap().is_ok());
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let made_up = SigningKey::open(&directory.path().join("key")).unwrap();
        assert!(authenticate(&issuers, &token(&made_up)).await.unwrap().is_err());
    }
    // Each fetch asks for the description and for the keys.
    assert_eq!(provider.asked.load(Ordering::SeqCst), 2 * 5);
    assert!(authenticate(&issuers, &token(&first)).await.unwrap().is_ok());
}

#[tokio::test]
async fn an_address_must_be_confirmed() {
    let provider = Provider::start().await;
    let (key, issuers) = (provider.key(), provider.issuers("{username: {claim: email, prefix: ''}}", ""));
    let outcome = async |claims: Value| {
        let token = key.sign(&provider.claims(claims)).unwrap();
        authenticate(&issuers, &token).await.unwrap().map(|user| user.name)
    };
    assert_eq!(outcome(json!({"email": "j@x", "email_verified": true})).await.unwrap(), "j@x");
    assert_eq!(
        outcome(json!({"email": "j@x", "email_verified": false})).await.unwrap_err(),
        "oidc: email not verified"
    );
    assert_eq!(outcome(json!({"email": "j@x"})).await.unwrap(), "j@x");
}

#[test]
fn mistakes_in_a_configuration_are_named() {
    let problem = |jwt: &str| {
        let text = format!("{{apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration, jwt: {jwt}}}");
        Configuration::parse(&text).unwrap().compile("https://own").unwrap_err()
    };
    let mapped = |issuer: &str| format!("[{{issuer: {issuer}, claimMappings: {PLAIN}}}]");
    assert!(problem("[{}]").starts_with("jwt[0].issuer.url: Required value, jwt[0].issuer.audiences: Required value"));
    assert!(problem("[{}]").contains("jwt[0].claimMappings.username: Required value: claim or expression is required"));
    let own = problem(&mapped("{url: 'https://own', audiences: [a]}"));
    assert!(own.contains("URL must not overlap with disallowed issuers: [https://own]"), "{own}");
    let plain = problem(&mapped("{url: 'http://x', audiences: [a]}"));
    assert_eq!(plain, "jwt[0].issuer.url: Invalid value: \"http://x\": URL scheme must be https");
    let audiences = problem(&mapped("{url: 'https://x', audiences: [a, b, a]}"));
    assert!(audiences.contains("jwt[0].issuer.audiences[2]: Duplicate value: \"a\""), "{audiences}");
    assert!(audiences.contains("audienceMatchPolicy must be MatchAny for multiple audiences"));
    let discovery = problem(&mapped("{url: 'https://x', discoveryURL: 'https://x/', audiences: [a]}"));
    assert!(discovery.contains("discoveryURL must be different from URL"));
    let prefix = problem("[{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub}}}]");
    assert!(prefix.starts_with("jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim"));
    assert!(Configuration::parse("{kind: Other}").unwrap_err().contains("expected apiserver.config.k8s.io/v1"));
    assert!(Configuration::parse("{jwks: []}").unwrap_err().contains("unknown field"));
}

#[tokio::test]
async fn expressions_make_a_user_of_claims() {
    let provider = Provider::start().await;
    let mappings = "{username: {expression: '\"id:\" + claims.sub'}, groups: {expression: 'claims.roles.split(\",\")'}, \
                    uid: {expression: 'claims.oid'}, extra: [{key: example.com/tenant, valueExpression: claims.tenant}]}";
    let rules = ", claimValidationRules: [{expression: 'claims.tenant == \"a\"', message: wrong tenant}], \
                 userValidationRules: [{expression: '!user.username.startsWith(\"id:system\")', message: reserved}]";
    let (key, issuers) = (provider.key(), provider.issuers(mappings, rules));
    let outcome = async |claims: Value| {
        let mut all = json!({"roles": "x,y", "oid": "7", "tenant": "a"});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let token = key.sign(&provider.claims(all)).unwrap();
        authenticate(&issuers, &token).await.unwrap()
    };
    let user = outcome(json!({})).await.unwrap();
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("id:1", "7"));
    assert_eq!(user.groups, ["x", "y", AUTHENTICATED]);
    assert_eq!(user.extra["example.com/tenant"], ["a"]);
    assert_eq!(
        outcome(json!({"tenant": "b"})).await.unwrap_err(),
        "oidc: error evaluating claim validation expression: validation expression 'claims.tenant == \"a\"' failed: wrong \
         tenant"
    );
    let reserved = outcome(json!({"sub": "system:x"})).await.unwrap_err();
    assert!(reserved.ends_with("failed: reserved"), "{reserved}");
    assert!(
        outcome(json!({"sub": 1})).await.unwrap_err().starts_with("oidc: error evaluating username claim expression")
    );
}

#[test]
fn expressions_are_checked_when_they_are_configured() {
    let problem = |mappings: &str| {
        let text = format!(
            "{{apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration, jwt: [{{issuer: {{url: \
             'https://x', audiences: [a]}}, claimMappings: {mappings}}}]}}"
        );
        Configuration::parse(&text).unwrap().compile("https://own").unwrap_err()
    };
    let syntax = problem("{username: {expression: 'claims.'}}");
    assert!(
        syntax.starts_with("jwt[0].claimMappings.username.expression: Invalid value: \"claims.\": compilation failed")
    );
    let email = problem("{username: {expression: claims.email}}");
    assert!(email.contains("claims.email_verified must be used in"), "{email}");
    let key =
        problem("{username: {expression: claims.sub}, extra: [{key: kubernetes.io/x, valueExpression: claims.a}]}");
    assert!(key.contains("are reserved for Kubernetes use"), "{key}");
}

/// Claims whose groups stand elsewhere.
fn distributed(provider: &Provider, endpoint: &str) -> Value {
    let source = json!({"endpoint": format!("{}{endpoint}", provider.url), "access_token": "sesame"});
    provider.claims(json!({"_claim_names": {"roles": "there"}, "_claim_sources": {"there": source}}))
}

#[tokio::test]
async fn groups_may_stand_elsewhere() {
    let provider = Provider::start().await;
    let (key, issuers) = (provider.key(), provider.issuers(PLAIN, ""));
    *provider.groups.lock() = key.sign(&provider.claims(json!({"roles": ["a"]}))).unwrap();
    let token = key.sign(&distributed(&provider, "/groups")).unwrap();
    let user = authenticate(&issuers, &token).await.unwrap().unwrap();
    assert!(user.is_in("oidc:a"), "{user:?}");
    let asked = provider.asked.load(Ordering::SeqCst);
    assert!(authenticate(&issuers, &token).await.unwrap().unwrap().is_in("oidc:a"));
    assert_eq!(provider.asked.load(Ordering::SeqCst), asked);
    let mut both = distributed(&provider, "/none");
    both["roles"] = json!("own");
    assert!(authenticate(&issuers, &key.sign(&both).unwrap()).await.unwrap().unwrap().is_in("oidc:own"));
}

#[tokio::test]
async fn groups_that_cannot_be_had_are_the_end_of_it() {
    let provider = Provider::start().await;
    let (key, issuers) = (provider.key(), provider.issuers(PLAIN, ""));
    let refused = async |claims: &Value| authenticate(&issuers, &key.sign(claims).unwrap()).await.unwrap().unwrap_err();
    let (mut nowhere, mut unsourced) = (distributed(&provider, "/groups"), distributed(&provider, "/groups"));
    nowhere["_claim_names"] = json!({"roles": "elsewhere"});
    unsourced.as_object_mut().unwrap().remove("_claim_sources");
    assert!(refused(&nowhere).await.ends_with("contained a source elsewhere missing in _claims_sources"));
    let why = refused(&unsourced).await;
    assert_eq!(why, "oidc: could not expand distributed claims: oidc: no claim sources");
    let directory = tempfile::tempdir().unwrap();
    let other = SigningKey::open(&directory.path().join("key")).unwrap();
    for (said, expected) in [
        (
            key.sign(&provider.claims(json!({"aud": "x", "roles": "a"}))).unwrap(),
            "verify distributed claim token: oidc: exp",
        ),
        (key.sign(&provider.claims(json!({}))).unwrap(), "did not contain claim: roles"),
        (other.sign(&provider.claims(json!({"roles": "a"}))).unwrap(), "failed to verify signature"),
        ("rubbish".to_owned(), "while getting distributed claim \"roles\""),
    ] {
        *provider.groups.lock() = said;
        let why = refused(&distributed(&provider, "/groups")).await;
        assert!(why.starts_with("oidc: could not expand distributed claims: ") && why.contains(expected), "{why}");
    }
    let mut unsent = distributed(&provider, "/groups");
    unsent["_claim_sources"]["there"]["access_token"] = json!("");
    assert!(refused(&unsent).await.contains("403"));
}

#[tokio::test]
async fn nobody_is_sent_to_a_source_by_a_token_that_does_not_hold() {
    let provider = Provider::start().await;
    let (key, issuers) = (provider.key(), provider.issuers(PLAIN, ""));
    assert!(authenticate(&issuers, &key.sign(&provider.claims(json!({}))).unwrap()).await.unwrap().is_ok());
    let asked = provider.asked.load(Ordering::SeqCst);
    let mut expired = distributed(&provider, "/groups");
    expired["exp"] = json!(10);
    assert!(authenticate(&issuers, &key.sign(&expired).unwrap()).await.unwrap().is_err());
    assert_eq!(provider.asked.load(Ordering::SeqCst), asked);
}
