//! Validating webhooks, all at once: one refusal is enough.

use futures_util::future;
use serde_json::Value;

use super::{Hook, Shown, Webhooks, call::Failure};
use crate::{
    api::Status,
    apiserver::{
        admission::{Request, Warnings, matching},
        audit,
    },
};

const FAILED_OPEN: &str = "failed-open.validating.webhook.admission.k8s.io/";

impl Webhooks {
    /// Lets all webhooks refuse a request. `object` is the new object, if there is one.
    pub async fn validate(&self, request: &Request<'_>, object: Option<&Value>) -> Result<Warnings, Status> {
        let hooks = self.validating.hooks();
        if hooks.is_empty() || matching::is_exempt(request.kind) {
            return Ok(Warnings::new());
        }
        let mut concerned: Vec<(&Hook, Shown)> = Vec::new();
        for hook in hooks.iter() {
            concerned.extend(self.shown(hook, request, object).await?.map(|shown| (hook, shown)));
        }
        let asked = concerned.iter().enumerate().map(|(index, (hook, shown))| self.review(request, hook, shown, index));
        let said = future::join_all(asked).await;
        let mut warnings = Warnings::new();
        for verdict in said {
            warnings.extend(verdict?);
        }
        Ok(warnings)
    }

    async fn review(
        &self,
        request: &Request<'_>,
        hook: &Hook,
        shown: &Shown,
        index: usize,
    ) -> Result<Warnings, Status> {
        match hook.ask(&self.outbound, request, shown, false).await {
            Ok(verdict) => match verdict.refusal {
                Some(refusal) => Err(refusal.status(&hook.name)),
                None => Ok(verdict.warnings),
            },
            Err(Failure::Refused(status)) => Err(status),
            Err(Failure::Call(why)) if hook.fails_open => {
                tracing::warn!(webhook = hook.name, why, "a webhook could not be asked, and the request went on");
                audit::annotate(&format!("{FAILED_OPEN}round_0_index_{index}"), || hook.name.clone());
                Ok(Warnings::new())
            }
            Err(Failure::Call(why)) => Err(hook.failed(&why)),
        }
    }
}
