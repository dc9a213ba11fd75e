//! The token cleaner: bootstrap tokens are removed when they expire.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};

use crate::{
    client::{
        ObjectKey,
        queue::{Outcome, WorkQueue},
    },
    controllers::{
        Context,
        bootstrap_token::{NAMESPACE, end, watch},
        ignore_not_found, is_conflict,
    },
};

const NAME: &str = "token-cleaner";

pub async fn run(context: Context) {
    let queue = WorkQueue::<ObjectKey>::new();
    let tokens = watch(&context);
    let nudged = queue.clone();
    tokens.on_change(move |delta| {
        if delta.new.is_some() {
            nudged.add(ObjectKey::of(&**delta.latest()));
        }
    });
    let api: Api<Secret> = Api::namespaced(context.client(NAME), NAMESPACE);
    let reconcile = |key: ObjectKey| {
        let (token, api) = (tokens.get(&key), api.clone());
        async move {
            let Some(token) = token else { return Ok(Outcome::Done) };
            let Some(end) = end(&token) else { return Ok(Outcome::Done) };
            let left = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default();
            if !left.is_zero() {
                return Ok(Outcome::After(left));
            }
            let preconditions = Preconditions { uid: token.metadata.uid.clone(), resource_version: None };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            match ignore_not_found(api.delete(&key.name, &params).await) {
                Err(error) if !is_conflict(&error) => Err(error),
                _ => Ok(Outcome::Done),
            }
        }
    };
    queue.run(NAME, 1, reconcile).await;
}
