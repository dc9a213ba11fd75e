//! What validating and mutating webhooks have in common.

use jiff::Timestamp;
use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchCondition, MutatingWebhook, RuleWithOperations, ValidatingWebhook, WebhookClientConfig,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use serde_json::{Value, json};

use super::{expressions::Compiler, matching};
use crate::api::{
    field::{self, Path},
    kind::Column,
    kinds::cells,
    status::Cause,
    validation::{name, webhook},
};

const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const DEFAULT_TIMEOUT_SECONDS: i32 = 10;
const LONGEST_TIMEOUT_SECONDS: i32 = 30;

/// A webhook of either kind.
pub struct Hook<'a> {
    /// Its name, which is fully qualified.
    pub name: &'a str,
    /// Where it is called.
    pub client: &'a WebhookClientConfig,
    /// What it is called for.
    pub rules: &'a [RuleWithOperations],
    /// What happens when it cannot be called.
    pub failure_policy: Option<&'a str>,
    /// How closely requests have to fit the rules.
    pub match_policy: Option<&'a str>,
    /// Namespaces whose objects it is called for.
    pub namespaces: Option<&'a LabelSelector>,
    /// Objects it is called for.
    pub objects: Option<&'a LabelSelector>,
    /// What else it does when called.
    pub side_effects: &'a str,
    /// How long it is waited for.
    pub timeout_seconds: Option<i32>,
    /// Review versions that it understands.
    pub review_versions: &'a [String],
    /// Conditions under which it is called.
    pub conditions: &'a [MatchCondition],
}

/// The fields of a webhook that have defaults.
pub struct Open<'a> {
    /// Where it is called.
    pub client: &'a mut WebhookClientConfig,
    /// What it is called for.
    pub rules: &'a mut Option<Vec<RuleWithOperations>>,
    /// What happens when it cannot be called.
    pub failure_policy: &'a mut Option<String>,
    /// How closely requests have to fit the rules.
    pub match_policy: &'a mut Option<String>,
    /// Namespaces whose objects it is called for.
    pub namespaces: &'a mut Option<LabelSelector>,
    /// Objects it is called for.
    pub objects: &'a mut Option<LabelSelector>,
    /// How long it is waited for.
    pub timeout_seconds: &'a mut Option<i32>,
}

/// A webhook of one kind of configuration.
pub trait Webhook {
    /// What both kinds have.
    fn hook(&self) -> Hook<'_>;
    /// What both kinds have defaults for.
    fn open(&mut self) -> Open<'_>;
}

/// The two types of webhooks have these fields under the same names.
macro_rules! webhook_of {
    ($hook:ty) => {
        impl Webhook for $hook {
            fn hook(&self) -> Hook<'_> {
                Hook {
                    name: &self.name,
                    client: &self.client_config,
                    rules: self.rules.as_deref().unwrap_or_default(),
                    failure_policy: self.failure_policy.as_deref(),
                    match_policy: self.match_policy.as_deref(),
                    namespaces: self.namespace_selector.as_ref(),
                    objects: self.object_selector.as_ref(),
                    side_effects: &self.side_effects,
                    timeout_seconds: self.timeout_seconds,
                    review_versions: &self.admission_review_versions,
                    conditions: self.match_conditions.as_deref().unwrap_or_default(),
                }
            }

            fn open(&mut self) -> Open<'_> {
                Open {
                    client: &mut self.client_config,
                    rules: &mut self.rules,
                    failure_policy: &mut self.failure_policy,
                    match_policy: &mut self.match_policy,
                    namespaces: &mut self.namespace_selector,
                    objects: &mut self.object_selector,
                    timeout_seconds: &mut self.timeout_seconds,
                }
            }
        }
    };
}

webhook_of!(MutatingWebhook);
webhook_of!(ValidatingWebhook);

/// Columns of both kinds of configurations.
pub const COLUMNS: &[Column] =
    &[cells::NAME, cells::column("Webhooks", "integer", "How many webhooks are called."), cells::AGE];

/// Cells of [`COLUMNS`].
pub fn cells<W>(metadata: &ObjectMeta, hooks: Option<&[W]>, now: Timestamp) -> Vec<Value> {
    vec![cells::name(metadata), json!(hooks.map_or(0, <[W]>::len)), cells::age(metadata, now)]
}

/// Fills in defaults.
pub fn default(hook: &mut impl Webhook) {
    let open = hook.open();
    open.failure_policy.get_or_insert_with(|| "Fail".to_owned());
    open.match_policy.get_or_insert_with(|| "Equivalent".to_owned());
    open.namespaces.get_or_insert_default();
    open.objects.get_or_insert_default();
    open.timeout_seconds.get_or_insert(DEFAULT_TIMEOUT_SECONDS);
    open.rules.iter_mut().flatten().for_each(|rule| matching::default_scope(&mut rule.scope));
    if let Some(service) = open.client.service.as_mut() {
        service.port.get_or_insert(webhook::DEFAULT_PORT);
    }
}

/// Problems of a configuration's webhooks.
pub fn validate<W: Webhook>(hooks: &[W]) -> Vec<Cause> {
    let hooks: Vec<Hook<'_>> = hooks.iter().map(W::hook).collect();
    let mut causes = Vec::new();
    for (index, hook) in hooks.iter().enumerate() {
        let path = Path::new("webhooks").index(index);
        causes.extend(one(hook, &path));
        if !hook.name.is_empty() && hooks[..index].iter().any(|other| other.name == hook.name) {
            causes.push(field::duplicate(&path.child("name"), hook.name));
        }
        let missing = "must specify one of v1, v1beta1";
        let path = path.child("admissionReviewVersions");
        causes.extend(webhook::review_versions(hook.review_versions, missing, &path));
    }
    causes
}

fn one(hook: &Hook<'_>, path: &Path) -> Vec<Cause> {
    let mut causes = qualified(hook.name, &path.child("name"));
    for (index, rule) in hook.rules.iter().enumerate() {
        causes.extend(matching::rule(rule.into(), &path.child("rules").index(index)));
    }
    if let Some(policy) = hook.failure_policy.filter(|policy| !matching::FAILURE_POLICIES.contains(policy)) {
        causes.push(field::unsupported(&path.child("failurePolicy"), policy, matching::FAILURE_POLICIES));
    }
    causes.extend(matching::policy(hook.match_policy, path));
    let side_effects = path.child("sideEffects");
    match hook.side_effects {
        "" => causes.push(field::required(&side_effects, "must specify one of None, NoneOnDryRun")),
        effects => causes.extend(field::one_of(&side_effects, effects, SIDE_EFFECTS)),
    }
    if let Some(seconds) = hook.timeout_seconds.filter(|seconds| !(1..=LONGEST_TIMEOUT_SECONDS).contains(seconds)) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        causes.push(field::invalid(&path.child("timeoutSeconds"), seconds, detail));
    }
    causes.extend(matching::selectors(hook.namespaces, hook.objects, path));
    causes.extend(webhook::client(hook.client, &path.child("clientConfig")));
    if !hook.conditions.is_empty() {
        causes.extend(matching::conditions(hook.conditions, &Compiler::new(false), &path.child("matchConditions")));
    }
    causes
}

fn qualified(text: &str, path: &Path) -> Vec<Cause> {
    if text.is_empty() {
        return vec![field::required(path, "")];
    }
    let problems = name::dns1123_subdomain(text);
    if !problems.is_empty() {
        return vec![field::invalid(path, text, &problems.join(","))];
    }
    if text.split('.').count() >= 3 {
        return Vec::new();
    }
    vec![field::invalid(path, text, "should be a domain with at least three segments separated by dots")]
}
