//! Custom resources from one version to another. Where the definition names a webhook, that is asked,
//! for many objects at once; what it made of an object is remembered for as long as the object is the
//! same. Else versions differ in nothing but their name.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, header};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::WebhookConversion;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    api::{Status, custom::CustomKind, encode, meta, status::Reason, validation::webhook::Client},
    apiserver::{
        cache::object::{self, Object},
        outbound::{self, Outbound, Peer},
    },
    base::recent::Recent,
};

mod review;

/// How long a webhook may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Objects that are sent at once.
const BATCH_LIMIT: usize = 256;
/// Bytes of objects that are sent at once, unless a single one is larger. Answers are bounded, too.
const BATCH_LIMIT_BYTES: usize = 1 << 20;
/// Results that are remembered.
const RECENT_LIMIT: usize = 1024;
/// Largest result that is remembered; with [`RECENT_LIMIT`] it bounds the memory.
const RECENT_LIMIT_BYTES: usize = 32 << 10;

/// Converts objects.
pub struct Converter {
    outbound: Outbound,
    recent: Mutex<Recent<Key, Bytes>>,
}

/// An object at one revision, in one version, by one state of its definition.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    definition: Box<str>,
    object: Arc<str>,
    revision: u64,
    api_version: Box<str>,
}

impl Converter {
    /// Calls webhooks through `outbound`.
    pub fn new(outbound: Outbound) -> Self {
        Self { outbound, recent: Mutex::new(Recent::new(RECENT_LIMIT)) }
    }

    /// One object in the version `to` of its kind.
    pub async fn value(&self, kind: &CustomKind, mut object: Value, to: &str) -> Result<Value, Status> {
        let Some(webhook) = &kind.conversion else {
            object["apiVersion"] = to.into();
            return Ok(object);
        };
        if meta::api_version(&object) == to {
            return Ok(object);
        }
        let converted = self.ask(webhook, &[encode::encode(&object)], to).await?;
        converted.into_iter().next().ok_or_else(|| failure("the conversion webhook returned nothing".to_owned()))
    }

    /// Objects of the cache in the version `to` of their kind.
    pub async fn objects(
        &self,
        kind: &CustomKind,
        objects: Vec<Arc<Object>>,
        to: &str,
    ) -> Result<Vec<Arc<Object>>, Status> {
        let Some(webhook) = &kind.conversion else {
            return Ok(objects.iter().map(|object| object.in_version(to)).collect());
        };
        let mut shown: Vec<Arc<Object>> = Vec::with_capacity(objects.len());
        let mut missing: Vec<usize> = Vec::new();
        for object in objects {
            let json = object.json();
            if object::api_version(&json) == Some(to) {
                shown.push(object);
                continue;
            }
            match self.recent.lock().get(&key(kind, &object, to)) {
                Some(known) => shown.push(Arc::new(object.with_json(known))),
                None => {
                    missing.push(shown.len());
                    shown.push(object);
                }
            }
        }
        for batch in batches(&missing, &shown) {
            let jsons: Vec<Bytes> = batch.iter().map(|at| shown[*at].json()).collect();
            let converted = self.ask(webhook, &jsons, to).await?;
            for (at, value) in batch.iter().zip(converted) {
                let made = without_revision(value);
                self.remember(key(kind, &shown[*at], to), &made);
                shown[*at] = Arc::new(shown[*at].with_json(&made));
            }
        }
        Ok(shown)
    }

    fn remember(&self, key: Key, made: &Bytes) {
        if made.len() <= RECENT_LIMIT_BYTES {
            self.recent.lock().insert(key, made.clone());
        }
    }

    async fn ask(&self, webhook: &WebhookConversion, objects: &[Bytes], to: &str) -> Result<Vec<Value>, Status> {
        let originals: Vec<Value> = objects
            .iter()
            .map(|json| serde_json::from_slice(json))
            .collect::<Result<_, _>>()
            .map_err(Status::internal)?;
        let kind = originals.first().map(review::group_version_kind).unwrap_or_default();
        let failed = |why: String| failure(format!("conversion webhook for {kind} failed: {why}"));
        let request = review::Review::new(&webhook.conversion_review_versions, to)
            .ok_or_else(|| failure("no supported conversion review versions".to_owned()))?;
        let answer = self.post(webhook, request.body(objects)).await.map_err(&failed)?;
        let converted = request.converted(&answer).map_err(&failed)?;
        if converted.len() != originals.len() {
            let (found, wanted) = (converted.len(), originals.len());
            return Err(failure(format!("conversion webhook for {kind} returned {found} objects, expected {wanted}")));
        }
        let checked = originals.iter().zip(converted).enumerate().map(|(index, (original, converted))| {
            review::restored(original, converted, to).map_err(|why| {
                failure(format!(
                    "conversion webhook for {kind} returned invalid converted object at index {index}: {why}"
                ))
            })
        });
        checked.collect()
    }

    async fn post(&self, webhook: &WebhookConversion, body: Bytes) -> Result<Bytes, String> {
        let client = webhook.client_config.as_ref().map(Client::from);
        let named = client.and_then(|client| Peer::of_webhook(&client));
        let (peer, path) = named.ok_or("webhook configuration must have either service or URL")?;
        let url = format!("https://{}{path}", peer.place.authority());
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(body)
            .map_err(|error| error.to_string())?;
        let answer = self.outbound.call(&peer, request, TIMEOUT).await;
        outbound::status::body(answer.map_err(|error| format!("Post {url:?}: {error}"))?)
    }
}

/// 500 without a reason, as upstream answers.
fn failure(message: String) -> Status {
    Status::new(Reason::Unknown, message)
}

fn key(kind: &CustomKind, object: &Object, to: &str) -> Key {
    Key { definition: kind.tag.clone(), object: object.key.clone(), revision: object.revision, api_version: to.into() }
}

/// Runs of `positions` whose objects are sent at once.
fn batches(positions: &[usize], objects: &[Arc<Object>]) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for at in positions {
        let size = objects[*at].size();
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_LIMIT && bytes + size <= BATCH_LIMIT_BYTES => {
                batch.push(*at);
                bytes += size;
            }
            _ => {
                batches.push(vec![*at]);
                bytes = size;
            }
        }
    }
    batches
}

/// The object as the store has it: encoded, its resource version apart.
fn without_revision(mut object: Value) -> Bytes {
    meta::set(&mut object, "resourceVersion", Value::Null);
    encode::encode(&object)
}
