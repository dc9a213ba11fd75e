//! The server's keys as controllers use them.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    controllers::keys::{Audience, Error, Keys},
    pki::{self, certify::Usages},
};

/// The keys of a server that is also the issuer of service-account tokens.
pub struct ServerKeys {
    /// Keys and authorities.
    pub pki: Arc<pki::Server>,
    /// The issuer in tokens.
    pub issuer: &'static str,
}

impl Keys for ServerKeys {
    fn certify(
        &self,
        audience: Audience,
        request_pem: &[u8],
        usages: &[String],
        lifetime_seconds: i64,
    ) -> Result<String, Error> {
        let usages = Usages::parse(usages)?;
        Ok(self.pki.certify(request_pem, &usages, lifetime_seconds, audience == Audience::Api)?)
    }

    fn sign_account_token(&self, mut claims: Value) -> Result<String, Error> {
        claims["iss"] = self.issuer.into();
        Ok(self.pki.signing().sign(&claims)?)
    }

    fn is_account_token(&self, token: &str, subject: &str) -> bool {
        self.pki.signing().verify(token).is_ok_and(|claims| claims["sub"] == subject)
    }
}
