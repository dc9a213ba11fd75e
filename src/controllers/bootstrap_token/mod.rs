//! Bootstrap tokens, which are Secrets of `kube-system`: those that have expired are removed, and the public
//! `cluster-info` is signed with each, so that a machine that knows a token knows the cluster by it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, runtime::watcher};

use crate::{client::informer::Informer, controllers::Context};

pub(super) mod cleaner;
pub(super) mod signer;

/// Where tokens are kept.
const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
/// Names of their Secrets, before their identifiers.
const NAME_PREFIX: &str = "bootstrap-token-";

/// The Secrets.
fn watch(context: &Context) -> Informer<Secret> {
    let api = Api::namespaced(context.informers.client(), NAMESPACE);
    let config = watcher::Config::default().fields(&format!("type={TYPE}"));
    Informer::start(context.informers.supervisor(), api, config)
}

fn data<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    let bytes = secret.data.as_ref()?.get(key)?;
    std::str::from_utf8(&bytes.0).ok().filter(|text| !text.is_empty())
}

/// When a token ends, if ever. A time that cannot be read has passed.
fn end(secret: &Secret) -> Option<Timestamp> {
    data(secret, "expiration").map(|text| text.parse().unwrap_or(Timestamp::MIN))
}

#[cfg(test)]
mod fixture {
    use k8s_openapi::ByteString;

    use super::*;

    /// The Secret of a token with an identifier and a secret, and more.
    pub fn token(id: &str, secret: &str, more: &[(&str, &str)]) -> Secret {
        let mut object = Secret { type_: Some(TYPE.into()), ..Secret::default() };
        object.metadata.name = Some(format!("{NAME_PREFIX}{id}"));
        let all = [("token-id", id), ("token-secret", secret)].into_iter().chain(more.iter().copied());
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        object.data = Some(all.map(|(key, text)| (key.to_owned(), bytes(text))).collect());
        object
    }
}
