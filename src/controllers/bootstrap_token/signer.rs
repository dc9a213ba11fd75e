//! The bootstrap signer: `kube-public/cluster-info`, if there is one, carries a signature of its kubeconfig
//! for every bootstrap token that may sign (a detached JWS, RFC 7515 appendix F, with HMAC-SHA256).

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, api::PostParams, runtime::watcher};
use ring::hmac;

use crate::{
    client::{
        ObjectKey,
        informer::Informer,
        queue::{Outcome, WorkQueue},
    },
    controllers::{
        Context,
        bootstrap_token::{NAME_PREFIX, data, end, watch},
        ignore_not_found, is_conflict,
    },
};

const NAME: &str = "bootstrap-signer";
const PUBLIC_NAMESPACE: &str = "kube-public";
const CLUSTER_INFO: &str = "cluster-info";
const KUBECONFIG: &str = "kubeconfig";
/// Keys of signatures, before the token's identifier.
const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

pub async fn run(context: Context) {
    let queue = WorkQueue::<ObjectKey>::new();
    let key = || ObjectKey::new(PUBLIC_NAMESPACE, CLUSTER_INFO);
    let tokens = watch(&context);
    let nudged = queue.clone();
    tokens.on_change(move |_| nudged.add(key()));
    let api = Api::namespaced(context.informers.client(), PUBLIC_NAMESPACE);
    let config = watcher::Config::default().fields(&format!("metadata.name={CLUSTER_INFO}"));
    let maps: Informer<ConfigMap> = Informer::start(context.informers.supervisor(), api, config);
    let nudged = queue.clone();
    maps.on_change(move |delta| nudged.add(ObjectKey::of(&**delta.latest())));
    tokens.synced().await;
    maps.synced().await;
    let api: Api<ConfigMap> = Api::namespaced(context.client(NAME), PUBLIC_NAMESPACE);
    let reconcile = |key: ObjectKey| {
        let signed = maps.get(&key).and_then(|map| plan(&map, &secrets(&tokens)));
        let (api, tokens) = (api.clone(), tokens.clone());
        async move {
            if signed.is_some()
                && let Some(mut map) = api.get_opt(&key.name).await?
                && let Some(data) = plan(&map, &secrets(&tokens))
            {
                map.data = Some(data);
                match ignore_not_found(api.replace(&key.name, &PostParams::default(), &map).await) {
                    Err(error) if !is_conflict(&error) => return Err(error),
                    _ => {}
                }
            }
            Ok::<_, kube::Error>(Outcome::Done)
        }
    };
    queue.run(NAME, 1, reconcile).await;
}

/// Secrets of the tokens that may sign, by their identifiers.
fn secrets(tokens: &Informer<Secret>) -> BTreeMap<String, String> {
    tokens.list().iter().filter_map(|token| usable(token, Timestamp::now())).collect()
}

fn usable(token: &Secret, now: Timestamp) -> Option<(String, String)> {
    let (id, secret) = (data(token, "token-id")?, data(token, "token-secret")?);
    let is_named = token.metadata.name.as_deref() == Some(format!("{NAME_PREFIX}{id}").as_str());
    let may_sign = data(token, "usage-bootstrap-signing") == Some("true");
    let lives = end(token).is_none_or(|end| end > now);
    (is_named && may_sign && lives).then(|| (id.to_owned(), secret.to_owned()))
}

/// What the map should hold, unless it does.
fn plan(map: &ConfigMap, secrets: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    let held = map.data.as_ref()?;
    let content = held.get(KUBECONFIG)?;
    let mut data = held.clone();
    data.retain(|key, _| !key.starts_with(SIGNATURE_PREFIX));
    data.extend(secrets.iter().map(|(id, secret)| (format!("{SIGNATURE_PREFIX}{id}"), sign(content, id, secret))));
    (data != *held).then_some(data)
}

fn sign(content: &str, id: &str, secret: &str) -> String {
    let header = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{id}"}}"#));
    let signed = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(content));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{header}..{}", BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::bootstrap_token::fixture::token;

    fn map(data: &[(&str, &str)]) -> ConfigMap {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ConfigMap { data: Some(data), ..ConfigMap::default() }
    }

    #[test]
    fn every_token_that_may_sign_signs() {
        let secrets = BTreeMap::from([("abcdef".to_owned(), "0123456789abcdef".to_owned())]);
        let held = map(&[(KUBECONFIG, "k"), ("jws-kubeconfig-gone00", "x"), ("other", "y")]);
        let data = plan(&held, &secrets).unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["jws-kubeconfig-abcdef", KUBECONFIG, "other"]);
        let signature = &data["jws-kubeconfig-abcdef"];
        let header = BASE64_URL_SAFE_NO_PAD.decode(signature.split("..").next().unwrap()).unwrap();
        assert_eq!(header, br#"{"alg":"HS256","kid":"abcdef"}"#);
        let signed = ConfigMap { data: Some(data), ..ConfigMap::default() };
        assert_eq!(plan(&signed, &secrets), None);
        assert_eq!(plan(&map(&[]), &secrets), None);
    }

    #[test]
    fn tokens_that_are_not_for_it_do_not_sign() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let signs = |more: &[(&str, &str)]| usable(&token("abcdef", "s", more), now).is_some();
        let signing = ("usage-bootstrap-signing", "true");
        assert!(signs(&[signing]) && signs(&[signing, ("expiration", "2027-01-01T00:00:00Z")]));
        assert!(!signs(&[]) && !signs(&[("usage-bootstrap-signing", "false")]));
        assert!(!signs(&[signing, ("expiration", "2025-01-01T00:00:00Z")]));
        assert!(!signs(&[signing, ("expiration", "later")]));
        assert!(!signs(&[signing, ("token-id", "abcdeg")]));
    }
}
