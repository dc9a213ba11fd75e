//! Whether a token is what it claims to be: for whom, from when until when, and signed by whom.

use jiff::Timestamp;
use serde_json::Value;

use crate::pki::{
    authority::seconds_now,
    jwt::{Algorithm, KeySet, Token},
};

/// By how much a token may be too early, for clocks that differ.
const LEEWAY_SECONDS: i64 = 5 * 60;

/// What tokens must be to be looked at.
#[derive(Debug, Clone)]
pub struct Verifier {
    audiences: Vec<String>,
    algorithms: Vec<Algorithm>,
}

impl Verifier {
    /// Wants one of these audiences and one of these algorithms.
    pub fn new(audiences: Vec<String>, algorithms: Vec<Algorithm>) -> Self {
        Self { audiences, algorithms }
    }

    /// Whether a token holds, whose issuer has these keys.
    pub fn verify(&self, keys: &KeySet, token: &Token<'_>) -> Result<(), String> {
        self.check_claims(&token.claims)?;
        if !self.algorithms.iter().any(|algorithm| algorithm.name() == token.algorithm) {
            let expected: Vec<&str> = self.algorithms.iter().map(|algorithm| algorithm.name()).collect();
            let found = &token.algorithm;
            return Err(format!(
                "oidc: id token signed with unsupported algorithm, expected {expected:?} got {found:?}"
            ));
        }
        if !keys.verifies(token) {
            return Err("failed to verify signature: failed to verify id token signature".to_owned());
        }
        Ok(())
    }

    /// For whom and when the token is good.
    fn check_claims(&self, claims: &Value) -> Result<(), String> {
        let audiences: Vec<&str> = match &claims["aud"] {
            Value::String(one) => vec![one],
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let wanted = &self.audiences;
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
