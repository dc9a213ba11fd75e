//! Mutating webhooks, one after another: each sees what those before it have left.

use serde_json::{Value, json};

use super::{Asked, Hook, Shown, Webhooks, call::Failure, review::Verdict};
use crate::{
    api::{Status, patch::json as json_patch},
    apiserver::{
        admission::{Request, Rounds, Warnings, matching, versions},
        audit,
        registry::ownership,
    },
};

const MUTATION: &str = "mutation.webhook.admission.k8s.io/";
const FAILED_OPEN: &str = "failed-open.mutation.webhook.admission.k8s.io/";

impl Webhooks {
    /// Lets all webhooks change a new object, or refuse the request. Without an object they may only
    /// refuse.
    pub async fn mutate(
        &self,
        request: &Request<'_>,
        object: &mut Option<Value>,
        rounds: &mut Rounds,
        asked: &mut Asked,
    ) -> Result<Warnings, Status> {
        let mut warnings = Warnings::new();
        let hooks = self.mutating.hooks();
        if hooks.is_empty() || matching::is_exempt(request.kind) {
            return Ok(warnings);
        }
        if rounds.is_second() {
            asked.begin_second(object.as_ref());
        }
        for (index, hook) in hooks.iter().enumerate() {
            let Some(shown) = self.shown(hook, request, object.as_ref()).await? else { continue };
            if rounds.is_second() && !asked.is_due(&hook.id) {
                continue;
            }
            let key = format!("round_{}_index_{index}", u8::from(rounds.is_second()));
            let changed = match self.verdict(request, hook, &shown, &key).await? {
                Some(verdict) => {
                    let changed = self.apply(request, hook, shown, &verdict, object).await?;
                    warnings.extend(verdict.warnings);
                    changed
                }
                None => false,
            };
            note(hook, changed, &key);
            if changed {
                asked.changed();
                rounds.object_changed();
            }
            if hook.reinvoked {
                asked.remember(&hook.id);
            }
        }
        asked.end(object.as_ref());
        Ok(warnings)
    }

    /// What a webhook says; `None` if it cannot be asked and that does not matter.
    async fn verdict(
        &self,
        request: &Request<'_>,
        hook: &Hook,
        shown: &Shown,
        key: &str,
    ) -> Result<Option<Verdict>, Status> {
        match hook.ask(&self.outbound, request, shown, true).await {
            Ok(mut verdict) => match verdict.refusal.take() {
                Some(refusal) => Err(refusal.status(&hook.name)),
                None => Ok(Some(verdict)),
            },
            Err(Failure::Refused(status)) => Err(status),
            Err(Failure::Call(why)) if hook.fails_open => {
                tracing::warn!(webhook = hook.name, why, "a webhook could not be asked, and the request went on");
                audit::annotate(&format!("{FAILED_OPEN}{key}"), || hook.name.clone());
                Ok(None)
            }
            Err(Failure::Call(why)) => Err(hook.failed(&why)),
        }
    }

    /// Patches the object, and gives what came of it its defaults; whether anything has changed.
    async fn apply(
        &self,
        request: &Request<'_>,
        hook: &Hook,
        shown: Shown,
        verdict: &Verdict,
        object: &mut Option<Value>,
    ) -> Result<bool, Status> {
        if verdict.patch.is_empty() {
            return Ok(false);
        }
        let (Some(before), Some(current)) = (shown.object, object.as_mut()) else {
            return Err(Status::internal(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                hook.name
            )));
        };
        let mut patched = json_patch::apply(before, &verdict.patch).map_err(Status::internal)?;
        // Who owns which fields was found out before admission, and is not a webhook's to say.
        ownership::take(&mut patched);
        let decoded = versions::restored(&self.converter, request, &shown.matched, patched, current).await?;
        let changed = decoded != *current;
        *current = decoded;
        Ok(changed)
    }
}

fn note(hook: &Hook, changed: bool, key: &str) {
    audit::annotate(&format!("{MUTATION}{key}"), || {
        json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": changed}).to_string()
    });
}
