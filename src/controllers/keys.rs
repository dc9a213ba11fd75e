//! What the server's keys do for controllers, which never hold them.

use serde_json::Value;

/// Why something was not signed. Holds no secret.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Who has to believe a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The API server: the holder is its client.
    Api,
    /// Clients: the holder is a server.
    Clients,
}

/// Signs.
pub trait Keys: Send + Sync {
    /// Signs what a PEM certificate signing request asks for, for `usages` (as
    /// `certificates.k8s.io/v1` names them) and `lifetime_seconds`. Returns PEM.
    fn certify(
        &self,
        audience: Audience,
        request_pem: &[u8],
        usages: &[String],
        lifetime_seconds: i64,
    ) -> Result<String, Error>;

    /// Signs the claims of a service-account token.
    fn sign_account_token(&self, claims: &Value) -> Result<String, Error>;
}
