//! Service-account issuer discovery: how others verify our tokens (OpenID Connect Discovery 1.0,
//! KEP-1393).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use serde_json::json;

use crate::{
    api::Status,
    apiserver::{attributes::Attributes, authn::Tokens, handler::Handler, respond},
    http::body::{self, Body},
};

/// Path of the provider's configuration.
pub const CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";
/// Path of the key set.
pub const KEYS_PATH: &str = "/openid/v1/jwks";

/// Serves both paths.
pub struct IssuerDiscovery {
    tokens: Arc<Tokens>,
    keys_url: String,
}

impl IssuerDiscovery {
    /// Describes the issuer of `tokens`, reached at `server` (`https://host:port`).
    pub fn new(tokens: Arc<Tokens>, server: &str) -> Self {
        Self { tokens, keys_url: format!("{}{KEYS_PATH}", server.trim_end_matches('/')) }
    }

    fn answer(&self, path: &str) -> Response<Body> {
        if path.trim_end_matches('/') == KEYS_PATH {
            let keys = self.tokens.key_set().to_string();
            let mut response = Response::new(body::full(keys));
            let content_type = http::HeaderValue::from_static("application/jwk-set+json");
            response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
            return response;
        }
        let configuration = json!({
            "issuer": self.tokens.issuer(),
            "jwks_uri": self.keys_url,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        });
        respond::json(StatusCode::OK, &configuration)
    }
}

impl Handler for IssuerDiscovery {
    fn handle<'a>(
        &'a self,
        attributes: &'a Attributes,
        _request: Request<Body>,
    ) -> BoxFuture<'a, Result<Response<Body>, Status>> {
        Box::pin(std::future::ready(Ok(self.answer(&attributes.path))))
    }
}
