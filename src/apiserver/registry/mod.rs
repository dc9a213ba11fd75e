//! The generic registry: every operation on every stored kind, one file per operation. What a kind
//! does differently is in its strategy. Reads come from the watch cache, writes go through
//! admission to the store.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    api::{
        Status,
        decoded::Decoded,
        encode,
        kind::{Descriptor, Scope},
        kinds, meta,
        schema::FieldValidation,
        status::{Cause, Reason},
    },
    apiserver::{
        admission::{self, Operation, Reservation},
        allocator::Allocator,
        attributes::Attributes,
        cache::{Caches, ResourceCache, object, selectable::Selectable},
        conversion::Converter,
        gates::Admit,
        metrics::Metrics,
        payload,
    },
    base::log,
    store::{self, Change, Durability, Expect, Revision, Store},
};

pub mod apply;
pub mod binding;
mod claim;
pub mod continuation;
pub mod create;
pub mod decode;
pub mod delete;
mod durability;
pub mod eviction;
mod expiry;
pub mod finalize;
pub mod list;
pub mod own;
mod owners;
pub mod ownership;
pub mod scale;
pub mod update;
mod versions;
pub mod watch;

/// Largest object that is stored, as etcd's request limit has it.
pub const OBJECT_LIMIT_BYTES: usize = 1536 << 10;
/// How often a write is tried again after somebody else's write came in between.
const CONFLICT_RETRIES: usize = 16;
/// What is said when somebody else's write came in between.
const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";

/// Operations on stored objects. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    caches: Arc<Caches>,
    admission: Arc<dyn Admit>,
    allocator: Arc<Allocator>,
    metrics: Arc<Metrics>,
    decoder: decode::Decoder,
    converter: Arc<Converter>,
}

/// One request to the registry.
pub struct Call<'a> {
    /// Who asks for what.
    pub attributes: &'a Attributes,
    /// The kind that the endpoint serves.
    pub kind: &'a Descriptor,
    /// Do everything but store.
    pub dry_run: bool,
    /// What to do about unknown fields.
    pub field_validation: FieldValidation,
    /// What the client is to be warned of.
    pub warnings: &'a Warnings,
    /// Who writes, as owners of fields are named; empty if unknown.
    pub manager: &'a str,
}

/// Warnings for the client, gathered on the way.
#[derive(Default)]
pub struct Warnings {
    /// Of what is asked for, whatever comes of it.
    request: Mutex<Vec<String>>,
    object: Mutex<Vec<String>>,
}

impl Warnings {
    /// Adds warnings.
    pub fn extend(&self, warnings: Vec<String>) {
        self.object.lock().extend(warnings);
    }

    /// Adds a warning of the request itself, which comes before all others.
    pub fn of_request(&self, warning: Option<String>) {
        self.request.lock().extend(warning);
    }

    /// Puts warnings in the place of those there are of the object.
    pub fn replace(&self, warnings: Vec<String>) {
        *self.object.lock() = warnings;
    }

    /// Takes all there are.
    pub fn take(&self) -> Vec<String> {
        let mut all = std::mem::take(&mut *self.request.lock());
        all.append(&mut self.object.lock());
        all
    }
}

impl Registry {
    /// A registry over an open store and the caches that follow it.
    pub fn new(
        store: Store,
        caches: Arc<Caches>,
        admission: Arc<dyn Admit>,
        allocator: Arc<Allocator>,
        metrics: Arc<Metrics>,
        converter: Arc<Converter>,
    ) -> Self {
        for conflict in allocator.rebuild(&*caches) {
            tracing::warn!(conflict, "two services want the same");
        }
        let decoder = decode::Decoder::default();
        Self { inner: Arc::new(Inner { store, caches, admission, allocator, metrics, decoder, converter }) }
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The caches.
    pub fn caches(&self) -> &Arc<Caches> {
        &self.inner.caches
    }

    /// Decodes request bodies.
    pub fn decoder(&self) -> &decode::Decoder {
        &self.inner.decoder
    }

    /// One object, encoded.
    pub async fn get(&self, call: &Call<'_>) -> Result<Bytes, Status> {
        let (cache, key) = self.locate(call)?;
        let object = cache.get(&key).ok_or_else(|| call.not_found())?;
        self.shown(call, &object).await
    }

    /// The cache that the call is about.
    fn cache(&self, call: &Call<'_>) -> Result<Arc<ResourceCache>, Status> {
        let unknown = || Status::new(Reason::NotFound, "the server could not find the requested resource");
        self.inner.caches.of_kind(call.kind).ok_or_else(unknown)
    }

    /// The cache and key that the call is about.
    fn locate(&self, call: &Call<'_>) -> Result<(Arc<ResourceCache>, Arc<str>), Status> {
        let cache = self.cache(call)?;
        let key = cache.key(call.namespace(), &call.attributes.name);
        Ok((cache, key))
    }

    async fn mutate(
        &self,
        call: &Call<'_>,
        operation: Operation,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let warnings = self.inner.admission.mutate(&call.admission(operation, old), object).await?;
        call.warnings.extend(warnings);
        Ok(())
    }

    /// Lets validating admission refuse the object. What is set aside for it is to be kept until it
    /// is stored or has failed.
    async fn admit(
        &self,
        call: &Call<'_>,
        operation: Operation,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<Vec<Reservation>, Status> {
        let request = call.admission(operation, old);
        self.review(call, &request, object).await?;
        self.inner.admission.reserve(&request, object)
    }

    /// Lets admission change or refuse a stream, which `options` are about.
    pub async fn connect(&self, call: &Call<'_>, mut options: Value) -> Result<Value, Status> {
        self.mutate(call, Operation::Connect, &mut options, None).await?;
        self.review(call, &call.admission(Operation::Connect, None), &options).await?;
        Ok(options)
    }

    /// Lets admission change or refuse what is created as a subresource, and has a kind of its own.
    async fn admit_part(
        &self,
        call: &Call<'_>,
        api_version: &str,
        kind: &str,
        object: &Value,
    ) -> Result<Value, Status> {
        let mut object = object.clone();
        if !object.is_object() {
            return Err(Status::bad_request("the object provided is unrecognized: it is not a JSON object"));
        }
        object["apiVersion"] = api_version.into();
        object["kind"] = kind.into();
        self.mutate(call, Operation::Create, &mut object, None).await?;
        self.admit(call, Operation::Create, &object, None).await?;
        Ok(object)
    }

    async fn review(&self, call: &Call<'_>, request: &admission::Request<'_>, object: &Value) -> Result<(), Status> {
        let warnings = self.inner.admission.validate(request, object).await?;
        call.warnings.extend(warnings);
        Ok(())
    }

    /// Stores an object and returns it encoded, with its new resource version. `None` when the key
    /// was not as expected. Managed fields that stand beside the object are put into it.
    async fn put(
        &self,
        call: &Call<'_>,
        key: Arc<str>,
        object: Decoded,
        managed: Value,
        expect: Expect,
        durability: Durability,
    ) -> Result<Option<Bytes>, Status> {
        let shared = kinds::shared_storage(call.kind);
        let as_stored =
            shared.is_none() && call.kind.strategy.custom().is_none_or(|custom| custom.conversion.is_none());
        let selectable = as_stored.then(|| Selectable::of(&object, &*call.kind.strategy));
        let mut object = object.into_value();
        ownership::put(&mut object, managed);
        if call.dry_run {
            return Ok(Some(encode::encode(&object)));
        }
        meta::set(&mut object, "resourceVersion", Value::Null);
        let shown = encode::encode(&object);
        let value = match shared {
            Some(shared) => encode::encode(&(shared.to_stored)(object)?),
            None => self.stored(call, object, &shown).await?,
        };
        if value.len() > OBJECT_LIMIT_BYTES {
            return Err(payload::too_large(OBJECT_LIMIT_BYTES));
        }
        let _staged = selectable.map(|selectable| self.inner.caches.stage(&value, selectable));
        let change = Change { key, value: Some(value.clone()), expect, durability };
        let committed = self.commit(change).await?;
        Ok(committed.map(|revision| object::with_revision(&shown, revision)))
    }

    /// Removes a key. `None` when it was not as expected.
    async fn remove(&self, call: &Call<'_>, key: Arc<str>, revision: Revision) -> Result<Option<Revision>, Status> {
        if call.dry_run {
            return Ok(Some(revision));
        }
        let expect = Expect::Revision(revision);
        self.commit(Change { key, value: None, expect, durability: durability::of(call.kind) }).await
    }

    async fn commit(&self, change: Change) -> Result<Option<Revision>, Status> {
        let started = std::time::Instant::now();
        let outcome = self.inner.store.commit(change).await;
        self.inner.metrics.committed(started.elapsed());
        match outcome {
            Ok(event) => Ok(Some(event.revision)),
            Err(store::Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(store_status(&error)),
        }
    }
}

impl<'a> Call<'a> {
    /// The namespace of the object; empty for cluster-wide kinds, also where the URL has one (a
    /// Namespace is in itself for authorization alone).
    pub fn namespace(&self) -> &'a str {
        match self.kind.scope {
            Scope::Namespaced => &self.attributes.namespace,
            Scope::Cluster => "",
        }
    }

    fn not_found(&self) -> Status {
        Status::not_found(&self.kind.group, &self.kind.plural, &self.attributes.name)
    }

    /// 422. Upstream names the group that the object is stored in.
    fn invalid(&self, causes: Vec<Cause>) -> Status {
        let stored = kinds::shared_storage(self.kind).map(|shared| shared.stored.group);
        let group = stored.unwrap_or(&self.kind.group);
        Status::invalid(group, &self.kind.kind, &self.attributes.name, causes)
    }

    fn conflict(&self, why: &str) -> Status {
        Status::conflict(&self.kind.group, &self.kind.plural, &self.attributes.name, why)
    }

    fn admission<'r>(&'r self, operation: Operation, old: Option<&'r Value>) -> admission::Request<'r> {
        let options =
            admission::Options { manager: self.manager, field_validation: self.field_validation, delete: None };
        let Call { attributes, kind, dry_run, .. } = *self;
        admission::Request { attributes, operation, kind, old, dry_run, options }
    }
}

/// Only the server can do something about a store that fails: 500, and a line in the log.
fn store_status(error: &store::Error) -> Status {
    let message = log::chain(error);
    tracing::error!(error = message, "the store refused a write");
    Status::internal(message)
}

/// Decodes an object out of the cache.
fn parse(object: &object::Object) -> Result<Value, Status> {
    serde_json::from_slice(&object.json()).map_err(Status::internal)
}
