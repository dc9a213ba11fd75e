//! The webhooks that there are, in the order of their configurations' names; compiled again when a
//! configuration has changed.

use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use parking_lot::Mutex;

use super::Hook;
use crate::{
    api::{kind::GroupResource, kinds::admission_registration::webhook::Webhook},
    apiserver::{admission::matching::GROUP, reader::Reader},
};

/// Webhooks of one kind of configuration.
pub struct Source {
    reader: Arc<dyn Reader>,
    resource: GroupResource<'static>,
    compile: fn(&Bytes) -> Vec<Hook>,
    compiled: Mutex<(u64, Arc<[Hook]>)>,
}

impl Source {
    /// Of `MutatingWebhookConfiguration`s.
    pub fn mutating(reader: Arc<dyn Reader>) -> Self {
        Self::new(reader, "mutatingwebhookconfigurations", mutating)
    }

    /// Of `ValidatingWebhookConfiguration`s.
    pub fn validating(reader: Arc<dyn Reader>) -> Self {
        Self::new(reader, "validatingwebhookconfigurations", validating)
    }

    fn new(reader: Arc<dyn Reader>, resource: &'static str, compile: fn(&Bytes) -> Vec<Hook>) -> Self {
        let resource = GroupResource { group: GROUP, resource };
        Self { reader, resource, compile, compiled: Mutex::new((0, Arc::default())) }
    }

    /// All webhooks as they are now.
    pub fn hooks(&self) -> Arc<[Hook]> {
        // Read before the configurations: what changes meanwhile is compiled next time.
        let generation = self.reader.generation(self.resource);
        let mut compiled = self.compiled.lock();
        if compiled.0 != generation {
            let configurations = self.reader.list(self.resource, None);
            *compiled = (generation, configurations.iter().flat_map(self.compile).collect());
        }
        compiled.1.clone()
    }
}

fn mutating(json: &Bytes) -> Vec<Hook> {
    let parsed: MutatingWebhookConfiguration = serde_json::from_slice(json).unwrap_or_default();
    let configuration = parsed.metadata.name.as_deref().unwrap_or_default();
    let hooks = parsed.webhooks.iter().flatten().enumerate();
    hooks
        .map(|(index, hook)| {
            let reinvoked = hook.reinvocation_policy.as_deref() == Some("IfNeeded");
            Hook::new(configuration, index, &hook.hook(), reinvoked)
        })
        .collect()
}

fn validating(json: &Bytes) -> Vec<Hook> {
    let parsed: ValidatingWebhookConfiguration = serde_json::from_slice(json).unwrap_or_default();
    let configuration = parsed.metadata.name.as_deref().unwrap_or_default();
    let hooks = parsed.webhooks.iter().flatten().enumerate();
    hooks.map(|(index, hook)| Hook::new(configuration, index, &hook.hook(), false)).collect()
}
