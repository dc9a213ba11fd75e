//! Claims that stand elsewhere (OpenID Connect Core 1.0, section 5.6.2): a token names a source for its
//! groups, which is asked for another token that holds them. Only a token that was verified has its
//! sources asked; what they said is remembered as briefly as upstream remembers whom a token names.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Uri};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    apiserver::authn::oidc::{keys::Keys, site::Site, verify::Verifier},
    base::{log::chain, recent::Recent},
    pki::jwt::Token,
};

const NAMES: &str = "_claim_names";
const SOURCES: &str = "_claim_sources";
/// Tokens whose claims are remembered at most.
const REMEMBERED_LIMIT: usize = 256;
/// How long they are.
const MAX_AGE: Duration = Duration::from_secs(10);
/// Issuers of claims whose keys are kept at most.
const ISSUERS_LIMIT: usize = 16;

/// Finds out a claim's value where it stands.
pub struct Resolver {
    claim: String,
    site: Site,
    verifier: Verifier,
    issuers: Mutex<Recent<String, Arc<Keys>>>,
    found: Mutex<Recent<[u8; 32], Found>>,
}

struct Found {
    value: Result<Value, String>,
    since: Instant,
}

#[derive(Deserialize)]
struct Source {
    #[serde(default)]
    endpoint: String,
    #[serde(default)]
    access_token: String,
}

impl Resolver {
    /// Resolves `claim`. The tokens of sources must hold to what `verifier` wants, as those of the issuer do.
    pub fn new(claim: String, site: Site, verifier: Verifier) -> Self {
        let (issuers, found) = (Recent::new(ISSUERS_LIMIT), Recent::new(REMEMBERED_LIMIT));
        Self { claim, site, verifier, issuers: Mutex::new(issuers), found: Mutex::new(found) }
    }

    /// Whether a source must be asked before the claims of this token are known.
    pub fn lacks(&self, text: &str, claims: &Value) -> bool {
        let names_source = matches!(self.source(claims), Ok(Some(_)));
        names_source && self.remembered(text).is_none_or(|found| found.is_err())
    }

    /// Asks the source of a token that was verified.
    pub async fn resolve(&self, text: &str, claims: &Value) {
        let Ok(Some(source)) = self.source(claims) else { return };
        let value = self.ask(&source).await;
        self.found.lock().insert(digest(text), Found { value, since: Instant::now() });
    }

    /// Puts what a source said among the claims of a token.
    pub fn expand(&self, text: &str, claims: &mut Value) -> Result<(), String> {
        let failed = |why: String| format!("oidc: could not expand distributed claims: {why}");
        if self.source(claims).map_err(failed)?.is_none() {
            return Ok(());
        }
        let unknown = || Err(format!("while getting distributed claim {:?}: its source was not asked", self.claim));
        claims[&self.claim] = self.remembered(text).unwrap_or_else(unknown).map_err(failed)?;
        Ok(())
    }

    fn remembered(&self, text: &str) -> Option<Result<Value, String>> {
        let mut found = self.found.lock();
        found.get(&digest(text)).filter(|found| found.since.elapsed() <= MAX_AGE).map(|found| found.value.clone())
    }

    /// Where the claim stands, if it is not among the others.
    fn source(&self, claims: &Value) -> Result<Option<Source>, String> {
        let (own, names) = (claims.get(&self.claim), claims.get(NAMES));
        let (None, Some(names)) = (own, names) else { return Ok(None) };
        let names = BTreeMap::<String, String>::deserialize(names)
            .map_err(|error| format!("oidc: error parsing distributed claim names: {error}"))?;
        let sources = claims.get(SOURCES).ok_or("oidc: no claim sources")?;
        let mut sources = BTreeMap::<String, Source>::deserialize(sources)
            .map_err(|error| format!("oidc: could not parse claim sources: {error}"))?;
        let Some(name) = names.get(&self.claim) else { return Ok(None) };
        let source = sources.remove(name);
        let source = source
            .ok_or_else(|| format!("id token _claim_names contained a source {name} missing in _claims_sources"))?;
        // One without an endpoint holds the claims itself, which nobody reads.
        Ok(Some(source).filter(|source| !source.endpoint.is_empty()))
    }

    async fn ask(&self, source: &Source) -> Result<Value, String> {
        let failed = |why: String| format!("while getting distributed claim {:?}: {why}", self.claim);
        let url: Uri = source.endpoint.parse().map_err(|error: http::uri::InvalidUri| failed(error.to_string()))?;
        let header = |token: &str| HeaderValue::try_from(format!("Bearer {token}"));
        let authorization = Some(source.access_token.as_str()).filter(|token| !token.is_empty()).map(header);
        let authorization = authorization.transpose().map_err(|error| failed(error.to_string()))?;
        let answer = self.site.get(&url, authorization).await.map_err(|error| failed(chain(&error)))?;
        let text = std::str::from_utf8(&answer).map_err(|error| failed(error.to_string()))?;
        let mut token = Token::parse(text).map_err(|error| failed(chain(&error)))?;
        self.verify(&token).await?;
        let missing = || {
            format!(
                "jwt returned by distributed claim endpoint {:?} did not contain claim: {}",
                url.to_string(),
                self.claim
            )
        };
        token.claims.get_mut(&self.claim).map(Value::take).ok_or_else(missing)
    }

    /// A source's token may be of any issuer: it was a verified token that sent us there.
    async fn verify(&self, token: &Token<'_>) -> Result<(), String> {
        let issuer = token.claims["iss"].as_str().unwrap_or_default();
        let unknown =
            || format!("verifying untrusted issuer {issuer} failed: verifier not initialized for issuer: {issuer:?}");
        let keys = self.keys(issuer).ok_or_else(unknown)?;
        let seen = keys.since();
        if keys.lacks(token) {
            keys.fetch(seen).await;
        }
        let known = keys.known().ok_or_else(unknown)?;
        self.verifier.verify(&known, token).map_err(|why| format!("verify distributed claim token: {why}"))
    }

    fn keys(&self, issuer: &str) -> Option<Arc<Keys>> {
        let mut issuers = self.issuers.lock();
        if let Some(keys) = issuers.get(issuer) {
            return Some(keys.clone());
        }
        let discovery = super::discovery(issuer, "").ok()?;
        let keys = Arc::new(Keys::new(issuer.to_owned(), discovery, self.site.clone()));
        issuers.insert(issuer.to_owned(), keys.clone());
        Some(keys)
    }
}

/// Tokens themselves are not kept.
fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}
