//! A webhook as it is asked: what its configuration says, compiled once.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use crate::{
    api::{
        kinds::admission_registration::{expressions::Compiler, webhook as api},
        selector,
        validation::webhook::Client,
    },
    apiserver::{
        admission::{
            expressions::Conditions,
            matching::{Criteria, Wanted},
        },
        outbound::Peer,
    },
};

/// How long a webhook is waited for whose configuration has no default yet.
const DEFAULT_TIMEOUT_SECONDS: i32 = 10;

/// A webhook.
pub struct Hook {
    /// The webhook's name, which messages use.
    pub name: String,
    /// The name of its configuration.
    pub configuration: String,
    /// Tells it from all others.
    pub id: String,
    /// Which requests it is asked about.
    pub criteria: Result<Criteria, selector::Error>,
    /// Under which conditions, if there are any.
    pub conditions: Option<Conditions>,
    /// Whether a request goes on when it cannot be asked.
    pub fails_open: bool,
    /// Whether it wishes to be asked again after others have changed the object.
    pub reinvoked: bool,
    /// Whether it may be asked about what is not going to happen.
    pub knows_dry_run: bool,
    /// How long it is waited for.
    pub timeout: Duration,
    /// Review versions that it understands.
    pub review_versions: Vec<String>,
    /// Who is called, and at which path.
    pub called: Option<(Peer, String)>,
}

impl Hook {
    /// The webhook at `index` of a configuration.
    pub fn new(configuration: &str, index: usize, hook: &api::Hook<'_>, reinvoked: bool) -> Self {
        let fails_open = hook.failure_policy == Some("Ignore");
        let wanted = Wanted {
            rules: hook.rules,
            match_policy: hook.match_policy,
            namespaces: hook.namespaces,
            objects: hook.objects,
        };
        let seconds = hook.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
        Self {
            name: hook.name.to_owned(),
            configuration: configuration.to_owned(),
            id: format!("{configuration}/{}/{index}", hook.name),
            criteria: Criteria::of_webhook(wanted),
            conditions: conditions(hook.conditions, fails_open),
            fails_open,
            reinvoked,
            knows_dry_run: matches!(hook.side_effects, "None" | "NoneOnDryRun"),
            timeout: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
            review_versions: hook.review_versions.to_vec(),
            called: Peer::of_webhook(&Client::from(hook.client)),
        }
    }
}

fn conditions(conditions: &[MatchCondition], fails_open: bool) -> Option<Conditions> {
    (!conditions.is_empty()).then(|| Conditions::new(conditions, &Compiler::new(false), !fails_open))
}
