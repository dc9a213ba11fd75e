//! Service account tokens for projected volumes: asked for once per pod and audience, kept in
//! memory, and renewed when four fifths of their life are over.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount},
};
use kube::{Api, Client, api::PostParams};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::kubelet::names;

/// Tokens that live longer are renewed after a day all the same (upstream's `maxTTL`).
const LONGEST_USE: Duration = Duration::from_secs(24 * 3600);
/// Share of a token's life after which it is renewed.
const RENEWAL_SHARE: f64 = 0.8;

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenKey {
    /// Who shall accept it; empty for the API server.
    pub audience: String,
    /// Seconds it shall live.
    pub expiration_seconds: i64,
}

/// A token and its dates.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What it is for.
    pub key: TokenKey,
    /// The token itself.
    pub token: String,
    /// When it was asked for.
    pub issued_at: Timestamp,
    /// When it is worth nothing any more.
    pub expires_at: Timestamp,
}

impl Token {
    /// How long until it is to be renewed.
    pub fn renew_in(&self, now: Timestamp) -> Duration {
        let life = Duration::try_from(self.expires_at.duration_since(self.issued_at)).unwrap_or_default();
        let age = Duration::try_from(now.duration_since(self.issued_at)).unwrap_or_default();
        life.mul_f64(RENEWAL_SHARE).min(LONGEST_USE).saturating_sub(age)
    }
}

/// The tokens of this node's pods.
pub struct Tokens {
    client: Client,
    held: Mutex<HashMap<(String, TokenKey), Token>>,
}

impl Tokens {
    /// Nothing is held yet.
    pub fn new(client: Client) -> Self {
        Self { client, held: Mutex::new(HashMap::new()) }
    }

    /// Takes over tokens that were kept on disk.
    pub fn restore(&self, uid: &str, tokens: Vec<Token>) {
        let mut held = self.held.lock();
        held.extend(tokens.into_iter().map(|token| ((uid.to_owned(), token.key.clone()), token)));
    }

    /// A token that is not due for renewal, and when it will be. While the server is away, one
    /// that has not expired yet is good enough.
    pub async fn get(&self, pod: &Pod, key: &TokenKey) -> Result<(Token, Instant), String> {
        let id = (names::uid(pod).to_owned(), key.clone());
        let now = Timestamp::now();
        let held = self.held.lock().get(&id).cloned();
        if let Some(token) = held.as_ref().filter(|token| !token.renew_in(now).is_zero()) {
            return Ok((token.clone(), Instant::now() + token.renew_in(now)));
        }
        match self.request(pod, key).await {
            Ok(token) => {
                let renew_at = Instant::now() + token.renew_in(now);
                self.held.lock().insert(id, token.clone());
                Ok((token, renew_at))
            }
            Err(error) => match held.filter(|token| token.expires_at > now) {
                Some(token) => Ok((token, Instant::now() + crate::kubelet::RETRY_PERIOD)),
                None => Err(crate::base::log::chain(&error)),
            },
        }
    }

    /// The tokens held for a pod.
    pub fn of(&self, uid: &str) -> Vec<Token> {
        let held = self.held.lock();
        held.iter().filter(|((owner, _), _)| owner == uid).map(|(_, token)| token.clone()).collect()
    }

    /// The pod is gone.
    pub fn forget(&self, uid: &str) {
        self.held.lock().retain(|(owner, _), _| owner != uid);
    }

    async fn request(&self, pod: &Pod, key: &TokenKey) -> kube::Result<Token> {
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
        let account = account.filter(|name| !name.is_empty()).unwrap_or("default");
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), names::namespace(pod));
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: (!key.audience.is_empty()).then(|| vec![key.audience.clone()]),
                expiration_seconds: Some(key.expiration_seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
            }),
            ..TokenRequest::default()
        };
        let issued_at = Timestamp::now();
        let issued = api.create_token_request(account, &PostParams::default(), &request).await?;
        // An answer without a token is worth nothing and counts as expired.
        let status = issued.status.unwrap_or_default();
        let expires_at = status.expiration_timestamp.map_or(issued_at, |time| time.0);
        Ok(Token { key: key.clone(), token: status.token.unwrap_or_default(), issued_at, expires_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_at_four_fifths() {
        let key = TokenKey { audience: String::new(), expiration_seconds: 1000 };
        let start = Timestamp::UNIX_EPOCH;
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let token = Token { key, token: String::new(), issued_at: start, expires_at: at(1000) };
        assert_eq!(token.renew_in(at(0)), Duration::from_secs(800));
        assert_eq!(token.renew_in(at(799)), Duration::from_secs(1));
        assert_eq!(token.renew_in(at(900)), Duration::ZERO);
        let long = Token { expires_at: at(10 * 24 * 3600), ..token };
        assert_eq!(long.renew_in(at(0)), LONGEST_USE);
    }
}
