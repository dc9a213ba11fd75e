//! Mutating webhook configurations.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use serde_json::Value;

use super::{CATEGORIES, GROUP_VERSION, matching, webhook};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names},
    kinds::names,
    status::Cause,
    update_check::{self, UpdateCheck},
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
    const UPDATES_UNCONDITIONALLY: bool = false;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::WHOLE;
    const COLUMNS: &'static [Column] = webhook::COLUMNS;

    fn default(configuration: &mut MutatingWebhookConfiguration) {
        for hook in configuration.webhooks.iter_mut().flatten() {
            hook.reinvocation_policy.get_or_insert_with(|| "Never".to_owned());
            webhook::default(hook);
        }
    }

    fn validate(configuration: &MutatingWebhookConfiguration) -> Vec<Cause> {
        let mut causes = webhook::validate(configuration.webhooks.as_deref().unwrap_or_default());
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
        webhook::cells(&configuration.metadata, configuration.webhooks.as_deref(), now)
    }
}
