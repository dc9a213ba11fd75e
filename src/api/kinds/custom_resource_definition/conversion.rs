//! Rules of how objects come from one version to another.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceConversion, WebhookConversion};

use crate::api::{
    field::{self, Path},
    kinds::pod_template::chosen,
    status::Cause,
    validation::webhook,
};

const STRATEGIES: &[&str] = &["None", "Webhook"];

/// Problems of a conversion.
pub fn validate(conversion: Option<&CustomResourceConversion>, path: &Path) -> Vec<Cause> {
    let Some(conversion) = conversion else { return Vec::new() };
    let mut causes = chosen(Some(&conversion.strategy), STRATEGIES, &path.child("strategy"));
    let called = conversion.webhook.as_ref();
    if conversion.strategy == "Webhook" {
        causes.extend(by_webhook(called, path));
        return causes;
    }
    let detail = "should not be set when strategy is not set to Webhook";
    if called.is_some_and(|webhook| webhook.client_config.is_some()) {
        causes.push(field::forbidden(&path.child("webhookClientConfig"), detail));
    }
    if called.is_some_and(|webhook| !webhook.conversion_review_versions.is_empty()) {
        causes.push(field::forbidden(&path.child("conversionReviewVersions"), detail));
    }
    causes
}

fn by_webhook(called: Option<&WebhookConversion>, path: &Path) -> Vec<Cause> {
    let client_path = path.child("webhookClientConfig");
    let mut causes = match called.and_then(|webhook| webhook.client_config.as_ref()) {
        None => vec![field::required(&client_path, "required when strategy is set to Webhook")],
        Some(config) => webhook::client(config, &client_path),
    };
    let versions = called.map(|webhook| webhook.conversion_review_versions.as_slice()).unwrap_or_default();
    causes.extend(webhook::review_versions(versions, "", &path.child("conversionReviewVersions")));
    causes
}
