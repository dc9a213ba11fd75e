//! Bearer tokens of all kinds: those of service accounts, of machines that join with a bootstrap token,
//! and of the OpenID Connect providers that the operator believes.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::{
    apiserver::{
        authn::{BootstrapTokens, Issuers, Tokens, bootstrap_token},
        reader::Reader,
    },
    base::log::chain,
    http::identity::User,
};

/// Verifies bearer tokens.
pub struct Bearers {
    tokens: Arc<Tokens>,
    bootstrap: BootstrapTokens,
    issuers: Arc<Issuers>,
}

impl Bearers {
    /// Believes service-account `tokens`, bootstrap tokens that `reader` sees, and `issuers`.
    pub fn new(tokens: Arc<Tokens>, reader: Arc<dyn Reader>, issuers: Arc<Issuers>) -> Self {
        Self { tokens, bootstrap: BootstrapTokens::new(reader), issuers }
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
        if let Some(user) = self.agnostic(token) {
            let user = user?;
            let own = self.tokens.issuer();
            if !wanted.iter().any(|audience| audience == own) {
                return Err(format!("token audiences [{own:?}] is invalid for the target audiences {wanted:?}"));
            }
            return Ok((user, vec![own.to_owned()]));
        }
        self.tokens.review(token, wanted).map_err(|error| chain(&error))
    }

    /// The user of a token that knows of no audiences; `None` if it is not one.
    fn agnostic(&self, token: &str) -> Option<Result<User, String>> {
        if bootstrap_token::parse(token).is_some() {
            return Some(self.bootstrap.authenticate(token).ok_or_else(|| "invalid bootstrap token".to_owned()));
        }
        self.issuers.authenticate(token)
    }
}
