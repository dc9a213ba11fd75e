//! Mutating webhook configurations.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use serde_json::{Value, json};

use super::{CATEGORIES, GROUP_VERSION, matching, webhook};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names},
    kinds::{cells, names},
    status::Cause,
};

/// `admissionregistration.k8s.io/v1.MutatingWebhookConfiguration`
pub struct MutatingWebhookConfigurationKind;

impl Kind for MutatingWebhookConfigurationKind {
    type Object = MutatingWebhookConfiguration;
    const NAMES: Names = Names {
        categories: CATEGORIES,
        ..names::cluster(
            GROUP_VERSION,
            "MutatingWebhookConfiguration",
            "mutatingwebhookconfigurations",
            "mutatingwebhookconfiguration",
        )
    };
    const GENERATION: Generation = Generation::Spec;
    const COLUMNS: &'static [Column] =
        &[cells::NAME, cells::column("Webhooks", "integer", "How many webhooks are called."), cells::AGE];

    fn default(configuration: &mut MutatingWebhookConfiguration) {
        for hook in configuration.webhooks.iter_mut().flatten() {
            hook.reinvocation_policy.get_or_insert_with(|| "Never".to_owned());
            webhook::default(webhook::Open {
                client: &mut hook.client_config,
                rules: &mut hook.rules,
                failure_policy: &mut hook.failure_policy,
                match_policy: &mut hook.match_policy,
                namespaces: &mut hook.namespace_selector,
                objects: &mut hook.object_selector,
                timeout_seconds: &mut hook.timeout_seconds,
            });
        }
    }

    fn validate(configuration: &MutatingWebhookConfiguration) -> Vec<Cause> {
        let hooks: Vec<webhook::Hook<'_>> = configuration.webhooks.iter().flatten().map(view).collect();
        let mut causes = webhook::validate(&hooks);
        for (index, hook) in configuration.webhooks.iter().flatten().enumerate() {
            let policies = matching::REINVOCATION_POLICIES;
            if let Some(policy) = hook.reinvocation_policy.as_deref().filter(|policy| !policies.contains(policy)) {
                let path = Path::new("webhooks").index(index).child("reinvocationPolicy");
                causes.push(field::unsupported(&path, policy, policies));
            }
        }
        causes
    }

    fn cells(configuration: &MutatingWebhookConfiguration, now: Timestamp) -> Vec<Value> {
        let hooks = configuration.webhooks.as_ref().map_or(0, Vec::len);
        vec![cells::name(&configuration.metadata), json!(hooks), cells::age(&configuration.metadata, now)]
    }
}

/// What it has in common with those of the other kind.
pub fn view(hook: &MutatingWebhook) -> webhook::Hook<'_> {
    webhook::Hook {
        name: &hook.name,
        client: &hook.client_config,
        rules: hook.rules.as_deref().unwrap_or_default(),
        failure_policy: hook.failure_policy.as_deref(),
        match_policy: hook.match_policy.as_deref(),
        namespaces: hook.namespace_selector.as_ref(),
        objects: hook.object_selector.as_ref(),
        side_effects: &hook.side_effects,
        timeout_seconds: hook.timeout_seconds,
        review_versions: &hook.admission_review_versions,
        conditions: hook.match_conditions.as_deref().unwrap_or_default(),
    }
}
