//! Tokens of OpenID Connect providers (Kubernetes reference, "OpenID Connect Tokens" and "Authentication
//! configuration"): accepted from the issuers that the operator configured, verified with keys that
//! are fetched from them, and turned into users by claim mappings.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use http::Uri;

use crate::{
    base::task::Supervisor,
    http::identity::User,
    pki::{
        jwt::{ALGORITHMS, Algorithm, Token},
        tls,
    },
};

mod claims;
pub mod config;
mod distributed;
mod expressions;
mod keys;
mod site;
mod verify;

pub use config::{Anonymous, Configuration};

use distributed::Resolver;
use expressions::Expressions;
use keys::Keys;
use site::Site;
use verify::Verifier;

const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

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
    verifier: Verifier,
    keys: Keys,
    /// Of groups, if these are a claim.
    resolver: Option<Resolver>,
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
        let issuers = issuers
            .map(|(config, expressions)| Issuer::new(config, expressions, algorithms, &self.supervisor).map(Arc::new));
        let issuers = issuers.collect::<Result<_, _>>()?;
        self.current.store(Arc::new(Current { issuers, anonymous: configuration.anonymous }));
        Ok(())
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
        let (issuer, parsed) = self.of(token)?;
        if !issuer.lacks(token, &parsed) {
            return None;
        }
        let token = token.to_owned();
        Some(Box::pin(async move { issuer.prepare(&token).await }))
    }

    /// The user whom a token of a configured issuer names; `None` if it is of nobody we know.
    pub fn authenticate(&self, token: &str) -> Option<Result<User, String>> {
        let (issuer, parsed) = self.of(token)?;
        Some(issuer.authenticate(token, parsed))
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
    fn new(
        config: config::Issuer,
        expressions: Expressions,
        algorithms: &[Algorithm],
        supervisor: &Supervisor,
    ) -> Result<Self, String> {
        let identity = &config.issuer;
        let authority = Some(identity.certificate_authority.as_str()).filter(|pem| !pem.is_empty());
        let tls = tls::outside_client(authority, tls::HTTP1_PROTOCOLS).map_err(|error| error.to_string())?;
        let discovery = discovery(&identity.url, &identity.discovery_url)?;
        let site = Site::new(tls, supervisor.clone());
        let verifier = Verifier::new(identity.audiences.clone(), algorithms.to_vec());
        let groups = Some(config.claim_mappings.groups.claim.clone()).filter(|claim| !claim.is_empty());
        let resolver = groups.map(|claim| Resolver::new(claim, site.clone(), verifier.clone()));
        let keys = Keys::new(identity.url.clone(), discovery, site);
        Ok(Self { config, expressions, verifier, keys, resolver })
    }

    fn lacks(&self, text: &str, token: &Token<'_>) -> bool {
        self.keys.lacks(token) || self.resolver.as_ref().is_some_and(|resolver| resolver.lacks(text, &token.claims))
    }

    /// Fetches what is needed to say whom a token names.
    async fn prepare(&self, text: &str) {
        let Ok(token) = Token::parse(text) else { return };
        let seen = self.keys.since();
        if self.keys.lacks(&token) {
            self.keys.fetch(seen).await;
        }
        if let Some(resolver) = &self.resolver
            && resolver.lacks(text, &token.claims)
            && self.verify(&token).is_ok()
        {
            resolver.resolve(text, &token.claims).await;
        }
    }

    fn verify(&self, token: &Token<'_>) -> Result<(), String> {
        let Some(keys) = self.keys.known() else { return Err("oidc: authenticator not initialized".to_owned()) };
        self.verifier.verify(&keys, token).map_err(|why| format!("oidc: verify token: {why}"))
    }

    fn authenticate(&self, text: &str, mut token: Token<'_>) -> Result<User, String> {
        self.verify(&token)?;
        if let Some(resolver) = &self.resolver {
            resolver.expand(text, &mut token.claims)?;
        }
        claims::user(&self.config, &self.expressions, &token.claims)
    }
}

/// Where an issuer is described, unless it is at `url`.
fn discovery(issuer: &str, url: &str) -> Result<Uri, String> {
    let url = match url {
        "" => format!("{}{DISCOVERY_PATH}", issuer.trim_end_matches('/')),
        url => url.to_owned(),
    };
    url.parse().map_err(|error: http::uri::InvalidUri| error.to_string())
}

/// Every algorithm that is known.
pub fn all_algorithms() -> Vec<Algorithm> {
    ALGORITHMS.map(|(_, algorithm)| algorithm).to_vec()
}

#[cfg(test)]
mod tests;
