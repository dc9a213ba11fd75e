//! Validating webhook configurations.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use serde_json::Value;

use super::{CATEGORIES, GROUP_VERSION, webhook};
use crate::api::{
    kind::{Column, Generation, Kind, Names},
    kinds::names,
    status::Cause,
    update_check::{self, UpdateCheck},
};

/// `admissionregistration.k8s.io/v1.ValidatingWebhookConfiguration`
pub struct ValidatingWebhookConfigurationKind;

impl Kind for ValidatingWebhookConfigurationKind {
    type Object = ValidatingWebhookConfiguration;
    const NAMES: Names = Names {
        categories: CATEGORIES,
        ..names::cluster(
            GROUP_VERSION,
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
            "validatingwebhookconfiguration",
        )
    };
    const GENERATION: Generation = Generation::Spec;
    const UPDATES_UNCONDITIONALLY: bool = false;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::WHOLE;
    const COLUMNS: &'static [Column] = webhook::COLUMNS;

    fn default(configuration: &mut ValidatingWebhookConfiguration) {
        for hook in configuration.webhooks.iter_mut().flatten() {
            webhook::default(hook);
        }
    }

    fn validate(configuration: &ValidatingWebhookConfiguration) -> Vec<Cause> {
        webhook::validate(configuration.webhooks.as_deref().unwrap_or_default())
    }

    fn cells(configuration: &ValidatingWebhookConfiguration, now: Timestamp) -> Vec<Value> {
        webhook::cells(&configuration.metadata, configuration.webhooks.as_deref(), now)
    }
}
