//! Who owns which fields of an object: every write leaves it behind in `metadata.managedFields`.
//!
//! On the way through a write, managed fields stand beside the object: no strategy looks at them,
//! and taking them apart with every typed form would cost more than keeping track of them.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    api::{
        Status,
        kind::{Descriptor, Subresource},
        kinds::equivalent,
        meta,
        patch::apply::{Applied, Elsewhere, Set, Tracker, Update},
        schema::{self, FieldValidation, Schema, Type, Wording},
    },
    apiserver::registry::{Call, Registry, owners, update::Endpoint},
};

const MANAGED_FIELDS: &str = "managedFields";
/// Fields that a write of the status leaves as they are.
const NOT_STATUS: [&str; 3] = ["metadata.ownerReferences", "metadata.deletionTimestamp", "spec"];

/// What a request makes of an object.
pub enum Proposal {
    /// A new state, of which the writer owns what differs.
    Written(Value),
    /// The result of an apply, which has found out about ownership itself.
    Applied(Value),
}

/// A configuration to apply.
pub struct Configuration {
    /// The fields that the applier has an opinion about.
    pub object: Value,
    /// Whether to take over what others own.
    pub force: bool,
}

impl From<Value> for Proposal {
    fn from(object: Value) -> Self {
        Self::Written(object)
    }
}

impl Proposal {
    /// The proposed object.
    pub fn object_mut(&mut self) -> &mut Value {
        match self {
            Self::Written(object) | Self::Applied(object) => object,
        }
    }
}

impl Registry {
    /// The proposed object with its defaults, and its managed fields apart from it. `old` is the
    /// object before, if there was one, and its managed fields.
    pub(super) fn own(
        &self,
        call: &Call<'_>,
        endpoint: Endpoint,
        proposal: Proposal,
        old: Option<(&Value, &Value)>,
    ) -> Result<(Value, Value), Status> {
        let (mut object, applied) = match proposal {
            Proposal::Written(object) => (object, false),
            Proposal::Applied(object) => (object, true),
        };
        let sent = take(&mut object);
        // Defaults are the writer's as well, but not what admission and the server add. A status has
        // none, and is written often.
        if endpoint == Endpoint::Status {
            call.kind.strategy.settle(&mut object);
        } else {
            object = call.kind.strategy.decode(object)?.into_value();
        }
        if applied {
            return Ok((object, sent));
        }
        call.warnings.extend(owners::dedup(&mut object).into_iter().collect());
        let schema = self.decoder().schema(call.kind);
        let stored = old.map_or(&Value::Null, |(_, stored)| stored);
        let update = Update { old: old.map(|(old, _)| old), stored, new: &object, sent: &sent, manager: call.manager };
        let elsewhere = |object: &_, version: &_| self.elsewhere(call.kind, object, version);
        let managed = tracker(call, endpoint, &schema, &elsewhere).update(&update);
        Ok((object, managed))
    }

    /// What applying a configuration makes of the current object; `None` if there is none.
    pub(super) fn applied(
        &self,
        call: &Call<'_>,
        endpoint: Endpoint,
        configuration: &Configuration,
        current: Option<&Value>,
    ) -> Result<Proposal, Status> {
        let schema = self.decoder().schema(call.kind);
        let Configuration { object, force } = configuration;
        let applied = Applied { manager: call.manager, config: object.clone(), force: *force };
        let elsewhere = |object: &_, version: &_| self.elsewhere(call.kind, object, version);
        let object = tracker(call, endpoint, &schema, &elsewhere).apply(current, applied)?;
        let checked = schema::check(object, &schema, FieldValidation::Ignore, Wording::Decoder);
        let (object, _) = checked.map_err(|problem| schema::unfit(&schema, &problem))?;
        Ok(Proposal::Applied(object))
    }
}

impl Registry {
    /// An object in another API version of its kind, and the schema of that. Custom resources have the same
    /// fields in all their versions, as far as anybody but a webhook knows.
    fn elsewhere(&self, kind: &Descriptor, object: &Value, api_version: &str) -> Option<(Value, Arc<Schema>)> {
        let other = equivalent::of(kind).find(|other| other.api_version() == api_version)?;
        let shown = equivalent::convert(object.clone(), kind, other).ok()?;
        Some((shown, self.decoder().schema(other)))
    }
}

/// Takes the managed fields out of an object; null if it has none.
pub fn take(object: &mut Value) -> Value {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    metadata.and_then(|metadata| metadata.remove(MANAGED_FIELDS)).unwrap_or_default()
}

/// Puts managed fields back, if there are any.
pub fn put(object: &mut Value, managed: Value) {
    if !managed.is_null() {
        meta::set(object, MANAGED_FIELDS, managed);
    }
}

fn tracker<'a>(call: &Call<'a>, endpoint: Endpoint, schema: &'a Schema, elsewhere: &'a Elsewhere<'a>) -> Tracker<'a> {
    let subresource = call.attributes.subresource.as_str();
    Tracker { schema, subresource, reset: reset_fields(call.kind, endpoint, schema), elsewhere, now: Timestamp::now() }
}

/// The fields that an endpoint leaves as they are whatever is written.
fn reset_fields(kind: &Descriptor, endpoint: Endpoint, schema: &Schema) -> Set {
    let part = match endpoint {
        Endpoint::Main => "",
        Endpoint::Status => "status",
        Endpoint::Part(part) => part,
    };
    if let Some(fields) = kind.strategy.reset_fields(part) {
        return Set::of_fields(fields);
    }
    match endpoint {
        Endpoint::Main | Endpoint::Part(_) if kind.subresources.contains(&Subresource::Status) => {
            Set::of_fields(&["status"])
        }
        Endpoint::Main | Endpoint::Part(_) => Set::default(),
        Endpoint::Status => {
            let declared = match &schema.root {
                Type::Struct(structure) => structure.fields(),
                _ => &[],
            };
            let names = declared.iter().map(|field| &*field.name);
            let others = names.filter(|name| !matches!(*name, "apiVersion" | "kind" | "metadata" | "status"));
            Set::of_fields(&others.chain(NOT_STATUS).collect::<Vec<_>>())
        }
    }
}
