//! Admission webhooks: others over HTTPS who may change or refuse a write (the plugins
//! `MutatingAdmissionWebhook` and `ValidatingAdmissionWebhook`). Mutating ones are asked one after
//! another, each about what those before it have left; validating ones all at once.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::{Status, cel, kinds::admission_registration::expressions as names},
    apiserver::{
        admission::{Request, expressions::Facts, matching::Matched, versions},
        attributes::Attributes,
        authz::Authorizer,
        conversion::Converter,
        outbound::Outbound,
        reader::Reader,
    },
};

mod asked;
mod call;
mod hook;
mod mutating;
mod review;
mod source;
mod validating;

pub use asked::Asked;

use hook::Hook;
use source::Source;

const NOTHING: &Value = &Value::Null;

/// All webhooks of the cluster.
pub struct Webhooks {
    reader: Arc<dyn Reader>,
    outbound: Outbound,
    converter: Arc<Converter>,
    authorizer: Arc<Authorizer>,
    mutating: Source,
    validating: Source,
}

/// A request as one webhook is asked about it.
struct Shown {
    matched: Matched,
    /// The new object in the version that was matched; `None` if there is none.
    object: Option<Value>,
    /// The old one.
    old: Option<Value>,
}

impl Webhooks {
    /// Finds configurations and namespaces in `reader`, and calls webhooks through `outbound`. Their
    /// conditions may ask `authorizer`.
    pub fn new(
        reader: Arc<dyn Reader>,
        authorizer: Arc<Authorizer>,
        outbound: Outbound,
        converter: Arc<Converter>,
    ) -> Self {
        let mutating = Source::mutating(reader.clone());
        let validating = Source::validating(reader.clone());
        Self { reader, outbound, converter, authorizer, mutating, validating }
    }

    /// As what `hook` is to be asked about a request; `None` if it is not concerned.
    async fn shown(&self, hook: &Hook, request: &Request<'_>, object: Option<&Value>) -> Result<Option<Shown>, Status> {
        let criteria = hook.criteria.as_ref().map_err(Status::internal)?;
        let Some(matched) = criteria.matches(&*self.reader, request, object)? else { return Ok(None) };
        let object = self.in_version(request, &matched, object).await?;
        let old = self.in_version(request, &matched, request.old).await?;
        let shown = Shown { matched, object, old };
        Ok(self.meets_conditions(hook, request, &shown)?.then_some(shown))
    }

    /// Whether a webhook's conditions hold. One that cannot tell refuses the request, unless the webhook
    /// is of no consequence.
    fn meets_conditions(&self, hook: &Hook, request: &Request<'_>, shown: &Shown) -> Result<bool, Status> {
        let Some(conditions) = &hook.conditions else { return Ok(true) };
        let (object, old) = (shown.object.as_ref().unwrap_or(NOTHING), shown.old.as_ref().unwrap_or(NOTHING));
        let facts = Facts::new(request, &shown.matched, &self.authorizer, [object, old, NOTHING]);
        let mut activation = facts.activation();
        activation.bind(names::NAMESPACE, cel::Value::null());
        conditions.hold(&activation).map_err(|problem| {
            let Attributes { group, resource, name, .. } = request.attributes;
            Status::forbidden(group, resource, name, &problem)
        })
    }

    async fn in_version(
        &self,
        request: &Request<'_>,
        matched: &Matched,
        object: Option<&Value>,
    ) -> Result<Option<Value>, Status> {
        match object {
            Some(object) => versions::shown(&self.converter, request, matched, object.clone()).await.map(Some),
            None => Ok(None),
        }
    }
}
