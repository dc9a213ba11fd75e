//! The keys of an issuer: found through its discovery document (OpenID Connect Discovery 1.0), kept, and
//! fetched again when a token names a key that is not among them, but not as often as somebody who
//! makes up tokens would like.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use http::Uri;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::{
    apiserver::authn::oidc::site::{self, Site},
    base::log::chain,
    pki::jwt::{KeySet, Token},
};

/// Keys of this age are fetched again when they are next needed.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);
/// So many fetches are made in a row…
const BURST: u32 = 5;
/// …and then one after each of these.
const PAUSE: Duration = Duration::from_secs(10);

/// The keys of one issuer.
pub struct Keys {
    issuer: String,
    discovery: Uri,
    site: Site,
    known: ArcSwapOption<Known>,
    /// Held during a fetch, so that everybody who needs the same keys waits for the same answer.
    fetching: tokio::sync::Mutex<()>,
    allowance: Mutex<Allowance>,
}

struct Known {
    keys: KeySet,
    since: Instant,
}

/// Fetches that may still be made.
struct Allowance {
    left: u32,
    since: Instant,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Why there are no new keys.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Site(#[from] site::Error),
    #[error("oidc: failed to decode provider discovery object")]
    Discovery(#[source] serde_json::Error),
    #[error("oidc: issuer did not match the issuer returned by provider, expected {expected:?} got {found:?}")]
    Issuer { expected: String, found: String },
    #[error("the address of the key set is no URL")]
    Url(#[source] http::uri::InvalidUri),
    #[error("read the key set")]
    Keys(#[source] crate::pki::Error),
}

impl Keys {
    /// Keys of `issuer`, which is described at `discovery`. Nothing is fetched yet.
    pub fn new(issuer: String, discovery: Uri, site: Site) -> Self {
        Self {
            issuer,
            discovery,
            site,
            known: ArcSwapOption::empty(),
            fetching: tokio::sync::Mutex::new(()),
            allowance: Mutex::new(Allowance { left: BURST, since: Instant::now() }),
        }
    }

    /// The keys, if they were fetched.
    pub fn known(&self) -> Option<KeySet> {
        self.known.load_full().map(|known| known.keys.clone())
    }

    /// When the keys were fetched, if they were.
    pub fn since(&self) -> Option<Instant> {
        self.known.load().as_ref().map(|known| known.since)
    }

    /// Whether the key that signed a token is missing, or all are old.
    pub fn lacks(&self, token: &Token<'_>) -> bool {
        let known = self.known.load();
        let Some(known) = known.as_ref().filter(|known| known.since.elapsed() <= MAX_AGE) else { return true };
        if token.key_id.is_empty() { !known.keys.verifies(token) } else { !known.keys.knows(&token.key_id) }
    }

    /// Fetches the keys, unless somebody else has done so after those of the time `seen` were found
    /// wanting. A failure leaves those that are known.
    pub async fn fetch(&self, seen: Option<Instant>) {
        let _fetching = self.fetching.lock().await;
        if self.since() != seen || !self.allowance.lock().take() {
            return;
        }
        match self.ask().await {
            Ok(keys) => self.known.store(Some(Arc::new(Known { keys, since: Instant::now() }))),
            Err(error) => {
                tracing::warn!(issuer = self.issuer, error = chain(&error), "an issuer's keys could not be fetched");
            }
        }
    }

    async fn ask(&self) -> Result<KeySet, Error> {
        let answer = self.site.get(&self.discovery, None).await?;
        let discovery: Discovery = serde_json::from_slice(&answer).map_err(Error::Discovery)?;
        if discovery.issuer != self.issuer {
            return Err(Error::Issuer { expected: self.issuer.clone(), found: discovery.issuer });
        }
        let url = discovery.jwks_uri.parse().map_err(Error::Url)?;
        KeySet::parse(&self.site.get(&url, None).await?).map_err(Error::Keys)
    }
}

impl Allowance {
    fn take(&mut self) -> bool {
        let gained = self.since.elapsed().as_secs() / PAUSE.as_secs();
        if gained > 0 {
            self.left = self.left.saturating_add(u32::try_from(gained).unwrap_or(BURST)).min(BURST);
            self.since = Instant::now();
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}
