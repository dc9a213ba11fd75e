//! Events go after an hour (kube-apiserver's `--event-ttl`). They expire in the order of their last
//! time, so one timer, set to the oldest, is enough.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::{Api, api::DeleteParams, core::PartialObjectMeta, runtime::watcher};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    client::ObjectKey,
    controllers::{Context, ignore_not_found},
};

/// How long an event is kept after it was written.
const TTL: SignedDuration = SignedDuration::from_hours(1);
/// Events that expire within this time of each other are deleted together.
const COALESCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Expiries {
    by_time: BTreeSet<(Timestamp, ObjectKey)>,
}

pub(super) async fn run(context: Context) {
    let expiries = Arc::new(Mutex::new(Expiries::default()));
    let changed = Arc::new(Notify::new());
    let feed = watch(context.informers.client(), expiries.clone(), changed.clone());
    let sweep = sweep(context.client("event-expiry-controller"), expiries, changed);
    futures_util::future::join(feed, sweep).await;
}

/// Learns of events by their metadata alone. The creation time is what counts: a repeated event is
/// patched, but upstream's lease is not renewed by less than its count either.
async fn watch(client: kube::Client, expiries: Arc<Mutex<Expiries>>, changed: Arc<Notify>) {
    use futures_util::StreamExt;
    use kube::runtime::{WatchStreamExt, watcher::Event as Watched};

    let api: Api<PartialObjectMeta<Event>> = Api::all(client);
    let stream = watcher(api, watcher::Config::default()).default_backoff();
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(Watched::Init) => expiries.lock().by_time.clear(),
            Ok(Watched::InitApply(object) | Watched::Apply(object)) => {
                expiries.lock().by_time.extend(expiry(&object));
                changed.notify_one();
            }
            Ok(Watched::Delete(object)) => {
                if let Some(entry) = expiry(&object) {
                    expiries.lock().by_time.remove(&entry);
                }
            }
            Ok(Watched::InitDone) | Err(_) => {}
        }
    }
}

fn expiry(object: &PartialObjectMeta<Event>) -> Option<(Timestamp, ObjectKey)> {
    let metadata = &object.metadata;
    let created = metadata.creation_timestamp.as_ref()?.0;
    let key = ObjectKey::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone()?);
    Some((created.checked_add(TTL).ok()?, key))
}

async fn sweep(client: kube::Client, expiries: Arc<Mutex<Expiries>>, changed: Arc<Notify>) {
    loop {
        let next = expiries.lock().by_time.first().map(|(at, _)| *at);
        match next {
            None => changed.notified().await,
            Some(at) => {
                let left = at.duration_since(Timestamp::now());
                tokio::time::sleep(Duration::try_from(left).unwrap_or_default() + COALESCE).await;
                delete_expired(&client, &expiries).await;
            }
        }
    }
}

async fn delete_expired(client: &kube::Client, expiries: &Mutex<Expiries>) {
    let now = Timestamp::now();
    loop {
        let first = expiries.lock().by_time.first().filter(|(at, _)| *at <= now).cloned();
        let Some((at, key)) = first else { return };
        let api: Api<Event> = Api::namespaced(client.clone(), &key.namespace);
        if let Err(error) = ignore_not_found(api.delete(&key.name, &DeleteParams::default()).await) {
            tracing::debug!(event = %key, error = %error, "expired event not deleted, trying again later");
            return;
        }
        expiries.lock().by_time.remove(&(at, key));
    }
}
