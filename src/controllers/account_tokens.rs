//! The token controller: Secrets of the type `kubernetes.io/service-account-token` are filled with a token,
//! the namespace and the cluster's authority, and go with the service account that they name.

use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams, Preconditions},
    runtime::watcher,
};
use serde_json::json;

use crate::{
    client::{
        ObjectKey,
        informer::Informer,
        queue::{Outcome, WorkQueue},
    },
    controllers::{Context, ignore_not_found, is_conflict, keys::Keys},
};

const NAME: &str = "service account tokens";
/// The type of the Secrets.
const TYPE: &str = "kubernetes.io/service-account-token";
/// Issuer of tokens that are kept in Secrets.
const ISSUER: &str = "kubernetes/serviceaccount";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
const TOKEN: &str = "token";
const NAMESPACE: &str = "namespace";
const AUTHORITY: &str = "ca.crt";

/// What is to become of a Secret.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Fill,
    Delete,
}

/// Why a Secret was not worked on to its end.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("write the secret")]
    Api(#[from] kube::Error),
    #[error("sign the token: {0}")]
    Sign(String),
}

pub(super) async fn run(context: Context) {
    let queue = WorkQueue::<ObjectKey>::new();
    let client = context.informers.client();
    let config = watcher::Config::default().fields(&format!("type={TYPE}"));
    let secrets: Informer<Secret> = Informer::start(context.informers.supervisor(), Api::all(client.clone()), config);
    let nudged = queue.clone();
    secrets.on_change(move |delta| nudged.add(ObjectKey::of(&**delta.latest())));
    let accounts = context.informers.of::<ServiceAccount>();
    let (nudged, known) = (queue.clone(), secrets.clone());
    accounts.on_change(move |delta| {
        let account = delta.latest();
        let namespace = account.metadata.namespace.as_deref().unwrap_or_default();
        let of_account =
            |secret: &&std::sync::Arc<Secret>| annotation(secret, ACCOUNT_NAME) == account.metadata.name.as_deref();
        known.list_in(namespace).iter().filter(of_account).for_each(|secret| nudged.add(ObjectKey::of(&**secret)));
    });
    secrets.synced().await;
    accounts.synced().await;
    let authority = context.config.root_ca_pem.as_str();
    let reconcile = |key: ObjectKey| {
        let secret = secrets.get(&key);
        let name = secret.as_ref().and_then(|secret| annotation(secret, ACCOUNT_NAME)).unwrap_or_default();
        let account = accounts.get(&ObjectKey::new(&*key.namespace, name));
        let step = secret.as_ref().and_then(|secret| plan(secret, account.as_deref(), authority));
        let (client, keys) = (client.clone(), context.keys.clone());
        async move {
            match (step, secret, account) {
                (Some(Step::Fill), Some(_), Some(account)) => fill(&client, &key, &account, &*keys, authority).await?,
                (Some(Step::Delete), Some(secret), _) => delete(&client, &key, &secret).await?,
                _ => {}
            }
            Ok::<_, Error>(Outcome::Done)
        }
    };
    queue.run(NAME, 4, reconcile).await;
}

fn annotation<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    secret.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn plan(secret: &Secret, account: Option<&ServiceAccount>, authority: &str) -> Option<Step> {
    if secret.metadata.deletion_timestamp.is_some() || annotation(secret, ACCOUNT_NAME).is_none() {
        return None;
    }
    let uid = annotation(secret, ACCOUNT_UID).filter(|uid| !uid.is_empty());
    let is_of = |account: &ServiceAccount| uid.is_none() || account.metadata.uid.as_deref() == uid;
    if !account.is_some_and(is_of) {
        return Some(Step::Delete);
    }
    is_lacking(secret, authority).then_some(Step::Fill)
}

fn is_lacking(secret: &Secret, authority: &str) -> bool {
    let kept = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[][..], |bytes| &bytes.0);
    kept(TOKEN).is_empty() || kept(NAMESPACE).is_empty() || kept(AUTHORITY) != authority.as_bytes()
}

async fn fill(
    client: &Client,
    key: &ObjectKey,
    account: &ServiceAccount,
    keys: &dyn Keys,
    authority: &str,
) -> Result<(), Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    // What the informer holds lacks some of it.
    let Some(mut secret) = api.get_opt(&key.name).await? else { return Ok(()) };
    if plan(&secret, Some(account), authority) != Some(Step::Fill) {
        return Ok(());
    }
    let (name, uid) =
        (account.metadata.name.clone().unwrap_or_default(), account.metadata.uid.clone().unwrap_or_default());
    let data = secret.data.get_or_insert_default();
    data.insert(AUTHORITY.into(), ByteString(authority.as_bytes().to_vec()));
    data.insert(NAMESPACE.into(), ByteString(key.namespace.clone().into_bytes()));
    if data.get(TOKEN).is_none_or(|token| token.0.is_empty()) {
        let token = keys.sign_account_token(&claims(key, &name, &uid));
        let token = token.map_err(|error| Error::Sign(error.to_string()))?;
        data.insert(TOKEN.into(), ByteString(token.into_bytes()));
    }
    let annotations = secret.metadata.annotations.get_or_insert_default();
    annotations.insert(ACCOUNT_NAME.into(), name);
    annotations.insert(ACCOUNT_UID.into(), uid);
    match ignore_not_found(api.replace(&key.name, &PostParams::default(), &secret).await) {
        // Whoever changed it brings it back into the queue.
        Err(error) if !is_conflict(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

fn claims(secret: &ObjectKey, account: &str, uid: &str) -> serde_json::Value {
    let namespace = &secret.namespace;
    json!({
        "iss": ISSUER,
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/secret.name": secret.name,
        "kubernetes.io/serviceaccount/service-account.name": account,
        "kubernetes.io/serviceaccount/service-account.uid": uid,
        "sub": format!("system:serviceaccount:{namespace}:{account}"),
    })
}

async fn delete(client: &Client, key: &ObjectKey, secret: &Secret) -> Result<(), Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let preconditions = Preconditions { uid: secret.metadata.uid.clone(), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match ignore_not_found(api.delete(&key.name, &params).await) {
        Err(error) if !is_conflict(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(uid: Option<&str>, data: &[(&str, &str)]) -> Secret {
        let mut secret = Secret::default();
        let annotations = secret.metadata.annotations.get_or_insert_default();
        annotations.insert(ACCOUNT_NAME.into(), "web".into());
        annotations.extend(uid.map(|uid| (ACCOUNT_UID.to_owned(), uid.to_owned())));
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        secret.data = Some(data.iter().map(|(key, text)| ((*key).to_owned(), bytes(text))).collect());
        secret
    }

    fn account() -> ServiceAccount {
        let mut account = ServiceAccount::default();
        account.metadata.uid = Some("1".into());
        account
    }

    #[test]
    fn a_secret_is_filled_once_and_when_the_authority_changes() {
        assert_eq!(plan(&secret(None, &[]), Some(&account()), "CA"), Some(Step::Fill));
        let full = [(TOKEN, "t"), (NAMESPACE, "a"), (AUTHORITY, "CA")];
        assert_eq!(plan(&secret(Some("1"), &full), Some(&account()), "CA"), None);
        assert_eq!(plan(&secret(Some("1"), &full), Some(&account()), "other"), Some(Step::Fill));
    }

    #[test]
    fn a_secret_goes_with_its_account() {
        assert_eq!(plan(&secret(Some("1"), &[]), None, "CA"), Some(Step::Delete));
        assert_eq!(plan(&secret(Some("2"), &[]), Some(&account()), "CA"), Some(Step::Delete));
        assert_eq!(plan(&Secret::default(), None, "CA"), None);
    }
}
