//! The server's keys as controllers use them.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    controllers::keys::{Audience, Error, Keys},
    pki::{self, certify::Usages},
};

/// The keys of a server.
pub struct ServerKeys(pub Arc<pki::Server>);

impl Keys for ServerKeys {
    fn certify(
        &self,
        audience: Audience,
        request_pem: &[u8],
        usages: &[String],
        lifetime_seconds: i64,
    ) -> Result<String, Error> {
        let usages = Usages::parse(usages)?;
        Ok(self.0.certify(request_pem, &usages, lifetime_seconds, audience == Audience::Api)?)
    }

    fn sign_account_token(&self, claims: &Value) -> Result<String, Error> {
        Ok(self.0.signing().sign(claims)?)
    }
}
