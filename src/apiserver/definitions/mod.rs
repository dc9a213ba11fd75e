//! Keeps what is served equal to the definitions of custom resources. It follows them in the watch
//! cache of its own server, so that a kind is served as soon as its definition is stored; writes
//! their status; and empties and lets go those that are deleted.

mod plan;

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    api::{
        Status,
        custom::{CLEANUP_FINALIZER, DEFINITIONS, GROUP},
        kind::{Descriptor, GroupResource},
        meta,
    },
    apiserver::{
        cache::{ResourceCache, object::Object, resource::Slice, selectable::Selector},
        kinds::Kinds,
        registry::{
            Registry, Warnings,
            delete::DeleteOptions,
            own::{attributes, call},
            update::Endpoint,
        },
    },
    store::Revision,
};

/// Objects with finalizers of their own are looked at again after this: their changes are not
/// followed.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The resource of definitions.
const RESOURCE: GroupResource<'static> = GroupResource { group: GROUP, resource: DEFINITIONS };

/// Serves what definitions define.
pub struct Definitions {
    registry: Registry,
    kinds: Arc<Kinds>,
    /// Kinds by the name of their definition, with its revision.
    built: parking_lot::Mutex<HashMap<String, (Revision, Vec<Descriptor>)>>,
    /// What was told last.
    published: parking_lot::Mutex<Vec<String>>,
}

impl Definitions {
    /// Follows the definitions in the caches of `registry`, and tells `kinds`.
    pub fn new(registry: Registry, kinds: Arc<Kinds>) -> Self {
        let (built, published) = Default::default();
        Self { registry, kinds, built, published }
    }

    /// Serves what is established already.
    pub fn serve(&self) {
        let Some(cache) = self.registry.caches().of(RESOURCE) else { return };
        let mut built = self.built.lock();
        let mut kept = HashMap::new();
        for object in definitions(&cache) {
            let kinds = match built.remove(object.name()) {
                Some((revision, kinds)) if revision == object.revision => kinds,
                _ => kinds_of(&object),
            };
            kept.insert(object.name().to_owned(), (object.revision, kinds));
        }
        *built = kept;
        self.publish(&built);
    }

    /// Serves a definition that is about to be established, before its status tells anybody.
    fn anticipate(&self, definition: &Value) {
        let kinds = crate::api::custom::kinds(&definition.to_string().into());
        let mut built = self.built.lock();
        // No object has this revision: they are built again from what is stored.
        built.insert(meta::name(definition).to_owned(), (0, kinds));
        self.publish(&built);
    }

    fn publish(&self, built: &HashMap<String, (Revision, Vec<Descriptor>)>) {
        let mut kinds: Vec<Descriptor> = built.values().flat_map(|(_, kinds)| kinds.iter().cloned()).collect();
        kinds.sort_by(crate::api::custom::preference);
        // A definition changes more often than what it defines, and all documents are made anew.
        let signatures: Vec<String> = kinds.iter().map(signature).collect();
        let mut published = self.published.lock();
        if *published == signatures {
            return;
        }
        *published = signatures;
        self.registry.caches().serve(&kinds);
        self.kinds.serve(&kinds);
    }

    /// Follows the definitions for as long as the server runs.
    pub async fn run(self) {
        let Some(cache) = self.registry.caches().of(RESOURCE) else { return };
        let mut changes = cache.changes();
        loop {
            changes.mark_unchanged();
            let waiting = self.reconcile(&cache).await;
            let changed = changes.changed();
            if waiting {
                _ = tokio::time::timeout(LOOK_AGAIN, changed).await;
            } else if changed.await.is_err() {
                return;
            }
        }
    }

    /// Brings status, served kinds and deletions up to date; whether something is being waited for.
    async fn reconcile(&self, cache: &ResourceCache) -> bool {
        let kind = cache.kind();
        let objects = definitions(cache);
        let mut all: Vec<Value> =
            objects.iter().filter_map(|object| serde_json::from_slice(&object.json()).ok()).collect();
        // Who was first has the names.
        all.sort_by(|a, b| {
            meta::creation_timestamp(a).cmp(meta::creation_timestamp(b)).then(meta::name(a).cmp(meta::name(b)))
        });
        let mut waiting = false;
        for at in 0..all.len() {
            let (name, group) =
                (meta::name(&all[at]).to_owned(), all[at]["spec"]["group"].as_str().unwrap_or_default());
            let taken = plan::Taken::by_others(all.iter(), group, &name);
            let Some(status) = plan::plan(&all[at], &taken, Timestamp::now()) else { continue };
            let was_established = plan::is_true(&all[at]["status"], "Established");
            all[at]["status"] = status.clone();
            if !was_established && plan::is_true(&status, "Established") {
                self.anticipate(&all[at]);
            }
            match self.write_status(&kind, &name, &status).await {
                Ok(()) => {}
                Err(status) if status.code() == 404 => {}
                Err(status) => {
                    tracing::debug!(name, error = status.message, "the status of a definition could not be written");
                    waiting = true;
                }
            }
        }
        self.serve();
        for definition in all.iter().filter(|definition| meta::deletion_timestamp(definition).is_some()) {
            waiting |= !self.clean_up(&kind, definition).await;
        }
        waiting
    }

    async fn write_status(&self, kind: &Descriptor, name: &str, status: &Value) -> Result<(), Status> {
        let attributes = attributes(kind, "", name);
        let warnings = Warnings::default();
        let write = |definition: &Value| {
            let mut definition = definition.clone();
            definition["status"]["conditions"] = status["conditions"].clone();
            // Names are stored once they are whole: a definition has none or all that it must have.
            let accepted = |field: &str| status["acceptedNames"][field].as_str().is_some_and(|name| !name.is_empty());
            if accepted("kind") && accepted("plural") {
                definition["status"]["acceptedNames"] = status["acceptedNames"].clone();
            }
            Ok(definition)
        };
        self.registry.modify(&call(&attributes, kind, &warnings), Endpoint::Status, write).await.map(|_| ())
    }

    /// Deletes all objects of a definition that is being deleted, and lets it go once there are none.
    /// Whether nothing is left to do.
    async fn clean_up(&self, kind: &Descriptor, definition: &Value) -> bool {
        if !meta::finalizers(definition).contains(&CLEANUP_FINALIZER) {
            return true;
        }
        let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let resource = GroupResource { group: text("/spec/group"), resource: text("/spec/names/plural") };
        if let Some(cache) = self.registry.caches().of(resource) {
            let kind = cache.kind();
            let selector = Selector::everything();
            let slice = Slice { namespace: None, after: None, limit: 0, selector: &selector };
            for object in cache.list(&slice, 0).objects {
                let attributes = attributes(&kind, object.namespace(), object.name());
                let warnings = Warnings::default();
                let call = call(&attributes, &kind, &warnings);
                if let Err(status) = self.registry.delete(&call, &DeleteOptions::default()).await {
                    tracing::debug!(name = object.name(), error = status.message, "an object could not be deleted");
                }
            }
            if !cache.is_empty() {
                return false;
            }
        }
        self.let_go(kind, meta::name(definition)).await.is_ok()
    }

    async fn let_go(&self, kind: &Descriptor, name: &str) -> Result<(), Status> {
        let attributes = attributes(kind, "", name);
        let warnings = Warnings::default();
        let write = |definition: &Value| {
            let mut definition = definition.clone();
            let kept: Vec<Value> = meta::finalizers(&definition)
                .into_iter()
                .filter(|finalizer| *finalizer != CLEANUP_FINALIZER)
                .map(Value::from)
                .collect();
            meta::set(&mut definition, "finalizers", if kept.is_empty() { Value::Null } else { kept.into() });
            Ok(definition)
        };
        self.registry.modify(&call(&attributes, kind, &warnings), Endpoint::Main, write).await.map(|_| ())
    }
}

/// Differs between kinds that are served differently.
fn signature(kind: &Descriptor) -> String {
    let Descriptor { group, version, kind: name, plural, singular, short_names, categories, .. } = kind;
    let tag = kind.strategy.custom().map_or("", |custom| &*custom.tag);
    format!("{group} {version} {name} {plural} {singular} {short_names:?} {categories:?} {:?} {tag}", kind.verbs)
}

fn definitions(cache: &ResourceCache) -> Vec<Arc<Object>> {
    let selector = Selector::everything();
    cache.list(&Slice { namespace: None, after: None, limit: 0, selector: &selector }, 0).objects
}

fn kinds_of(object: &Object) -> Vec<Descriptor> {
    let json = object.json();
    let definition: Value = serde_json::from_slice(&json).unwrap_or_default();
    if established(&definition) { crate::api::custom::kinds(&json) } else { Vec::new() }
}

/// Whether a definition is served.
pub fn established(definition: &Value) -> bool {
    plan::is_true(&definition["status"], "Established")
}
