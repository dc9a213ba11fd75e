//! Bearer tokens of all kinds: those of service accounts, of machines that join with a bootstrap token,
//! and of the OpenID Connect providers that the operator believes.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use crate::{
    apiserver::{
        authn::{
            BootstrapTokens, Issuers, Tokens, bootstrap_token,
            legacy_token::{LegacyTokens, Uses},
        },
        reader::Reader,
    },
    base::log::chain,
    http::identity::User,
    pki,
};

/// Verifies bearer tokens.
pub struct Bearers {
    tokens: Arc<Tokens>,
    legacy: LegacyTokens,
    uses: Mutex<Option<Uses>>,
    bootstrap: BootstrapTokens,
    issuers: Arc<Issuers>,
}

impl Bearers {
    /// Believes tokens that `own_issuer` signed for service accounts, bootstrap tokens that `reader` sees,
    /// and `issuers`.
    pub fn new(pki: Arc<pki::Server>, own_issuer: String, reader: Arc<dyn Reader>, issuers: Arc<Issuers>) -> Self {
        let (legacy, uses) = LegacyTokens::new(reader.clone(), pki.clone());
        Self {
            tokens: Arc::new(Tokens::new(reader.clone(), pki, own_issuer)),
            legacy,
            uses: Mutex::new(Some(uses)),
            bootstrap: BootstrapTokens::new(reader),
            issuers,
        }
    }

    /// The uses of tokens that are to be written down. There is one who does it.
    pub fn uses(&self) -> Option<Uses> {
        self.uses.lock().take()
    }

    /// Service-account tokens.
    pub fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }

    /// Other issuers.
    pub fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// What must be waited for before a token can be looked at, if anything.
    pub fn prepare(&self, token: &str) -> Option<BoxFuture<'static, ()>> {
        self.issuers.prepare(token)
    }

    /// The user of a token for this API.
    pub fn authenticate(&self, token: &str) -> Result<User, String> {
        self.review(token, &[self.tokens.issuer().to_owned()]).map(|(user, _)| user)
    }

    /// The user of a token, and which of the `wanted` audiences it is for. Tokens that know of no
    /// audiences are for this API. The error holds nothing of the token.
    pub fn review(&self, token: &str, wanted: &[String]) -> Result<(User, Vec<String>), String> {
        // Those of pods come by far the most often.
        let error = match self.tokens.review(token, wanted) {
            Ok(reviewed) => return Ok(reviewed),
            Err(error) => error,
        };
        let Some(user) = self.agnostic(token) else { return Err(chain(&error)) };
        let (user, own) = (user?, self.tokens.issuer());
        if !wanted.iter().any(|audience| audience == own) {
            return Err(format!("token audiences [{own:?}] is invalid for the target audiences {wanted:?}"));
        }
        Ok((user, vec![own.to_owned()]))
    }

    /// The user of a token that knows of no audiences; `None` if it is not one.
    fn agnostic(&self, token: &str) -> Option<Result<User, String>> {
        if bootstrap_token::parse(token).is_some() {
            return Some(self.bootstrap.authenticate(token).ok_or_else(|| "invalid bootstrap token".to_owned()));
        }
        self.legacy.authenticate(token).or_else(|| self.issuers.authenticate(token))
    }
}
