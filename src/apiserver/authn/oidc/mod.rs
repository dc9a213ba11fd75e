//! Tokens of OpenID Connect providers (Kubernetes reference, "OpenID Connect Tokens" and "Authentication
//! configuration"): accepted from the issuers that the operator configured, verified with keys that
//! are fetched from them, and turned into users by claim mappings.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use http::Uri;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    base::task::Supervisor,
    http::identity::User,
    pki::{
        authority::seconds_now,
        jwt::{ALGORITHMS, Algorithm, Token},
        tls,
    },
};

mod claims;
pub mod config;
mod expressions;
mod keys;

pub use config::{Anonymous, Configuration};

use expressions::Expressions;
use keys::Keys;

const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";
/// By how much a token may be too early, for clocks that differ.
const LEEWAY_SECONDS: i64 = 5 * 60;

/// All issuers that are believed at the moment, and where nobody in particular may ask.
pub struct Issuers {
    current: ArcSwap<Current>,
    own_issuer: String,
    supervisor: Supervisor,
}

#[derive(Default)]
struct Current {
    issuers: Vec<Arc<Issuer>>,
    anonymous: Option<Anonymous>,
}

struct Issuer {
    config: config::Issuer,
    expressions: Expressions,
    algorithms: Vec<Algorithm>,
    keys: Keys,
}

impl Issuers {
    /// No issuers yet. `own_issuer` is that of the cluster's own tokens.
    pub fn new(own_issuer: &str, supervisor: Supervisor) -> Self {
        Self { current: ArcSwap::default(), own_issuer: own_issuer.to_owned(), supervisor }
    }

    /// Puts a configuration in the place of the one there is, or says what is wrong with it. Keys are
    /// fetched when they are needed. Blocks on the files of the machine's authorities.
    pub fn configure(&self, configuration: Configuration, algorithms: &[Algorithm]) -> Result<(), String> {
        let compiled = configuration.compile(&self.own_issuer)?;
        let issuers = configuration.jwt.into_iter().zip(compiled);
        let issuers = issuers.map(|(config, expressions)| self.issuer(config, expressions, algorithms).map(Arc::new));
        let issuers = issuers.collect::<Result<_, _>>()?;
        self.current.store(Arc::new(Current { issuers, anonymous: configuration.anonymous }));
        Ok(())
    }

    fn issuer(
        &self,
        config: config::Issuer,
        expressions: Expressions,
        algorithms: &[Algorithm],
    ) -> Result<Issuer, String> {
        let identity = &config.issuer;
        let authority = Some(identity.certificate_authority.as_str()).filter(|pem| !pem.is_empty());
        let tls = tls::outside_client(authority, tls::HTTP1_PROTOCOLS).map_err(|error| error.to_string())?;
        let discovery = match identity.discovery_url.as_str() {
            "" => format!("{}{DISCOVERY_PATH}", identity.url.trim_end_matches('/')),
            url => url.to_owned(),
        };
        let discovery: Uri = discovery.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
        let keys = Keys::new(identity.url.clone(), discovery, tls, self.supervisor.clone());
        Ok(Issuer { config, expressions, algorithms: algorithms.to_vec(), keys })
    }

    /// Whom the operator lets ask without credentials; `None` where nothing was said about it.
    pub fn allows_anonymous(&self, path: &str) -> Option<bool> {
        let current = self.current.load();
        let anonymous = current.anonymous.as_ref()?;
        let matches = anonymous.conditions.is_empty() || anonymous.conditions.iter().any(|place| place.path == path);
        Some(anonymous.enabled && matches)
    }

    /// What must be waited for before a token can be looked at, if anything.
    pub fn prepare(&self, token: &str) -> Option<BoxFuture<'static, ()>> {
        let (issuer, token) = self.of(token)?;
        let seen = issuer.keys.since();
        if !issuer.keys.lacks(&token) {
            return None;
        }
        Some(Box::pin(async move { issuer.keys.fetch(seen).await }))
    }

    /// The user whom a token of a configured issuer names; `None` if it is of nobody we know.
    pub fn authenticate(&self, token: &str) -> Option<Result<User, String>> {
        let (issuer, token) = self.of(token)?;
        Some(issuer.authenticate(&token))
    }

    fn of<'t>(&self, token: &'t str) -> Option<(Arc<Issuer>, Token<'t>)> {
        let current = self.current.load();
        if current.issuers.is_empty() {
            return None;
        }
        let token = Token::parse(token).ok()?;
        // Google's tokens name it in two ways (OpenID Connect Core 1.0, section 15.6.2).
        let name = match token.claims["iss"].as_str()? {
            "accounts.google.com" => "https://accounts.google.com",
            name => name,
        };
        let issuer = current.issuers.iter().find(|issuer| issuer.config.issuer.url == name)?;
        Some((issuer.clone(), token))
    }
}

impl Issuer {
    fn authenticate(&self, token: &Token<'_>) -> Result<User, String> {
        let Some(keys) = self.keys.known() else { return Err("oidc: authenticator not initialized".to_owned()) };
        self.check_claims(&token.claims).map_err(|why| format!("oidc: verify token: {why}"))?;
        if !self.algorithms.iter().any(|algorithm| algorithm.name() == token.algorithm) {
            let expected: Vec<&str> = self.algorithms.iter().map(|algorithm| algorithm.name()).collect();
            let found = &token.algorithm;
            let why = format!("id token signed with unsupported algorithm, expected {expected:?} got {found:?}");
            return Err(format!("oidc: verify token: oidc: {why}"));
        }
        if !keys.verifies(token) {
            return Err(
                "oidc: verify token: failed to verify signature: failed to verify id token signature".to_owned()
            );
        }
        claims::user(&self.config, &self.expressions, &token.claims)
    }

    /// For whom and when the token is good.
    fn check_claims(&self, claims: &Value) -> Result<(), String> {
        let audiences: Vec<&str> = match &claims["aud"] {
            Value::String(one) => vec![one],
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let wanted = &self.config.issuer.audiences;
        if !audiences.iter().any(|audience| wanted.iter().any(|wanted| wanted == audience)) {
            return Err(format!("oidc: expected audience in {wanted:?} got {audiences:?}"));
        }
        let now = seconds_now();
        let end = seconds(&claims["exp"]).unwrap_or_default();
        if end < now {
            return Err(format!("oidc: token is expired (Token Expiry: {})", shown(end)));
        }
        match seconds(&claims["nbf"]) {
            Some(begin) if now + LEEWAY_SECONDS < begin => {
                Err(format!("oidc: current time {} before the nbf (not before) time: {}", shown(now), shown(begin)))
            }
            _ => Ok(()),
        }
    }
}

/// Times in tokens are numbers, with or without a fraction.
fn seconds(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a time beyond all bounds is cut to the last there is")]
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

fn shown(seconds: i64) -> String {
    Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

/// Every algorithm that is known.
pub fn all_algorithms() -> Vec<Algorithm> {
    ALGORITHMS.map(|(_, algorithm)| algorithm).to_vec()
}

#[cfg(test)]
mod tests;
