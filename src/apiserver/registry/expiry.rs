//! Events are forgotten an hour after they last happened (`--event-ttl`).

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    api::{kind::GroupResource, meta, time},
    apiserver::{
        attributes::Attributes,
        cache::{ResourceCache, object::Object, resource::Slice, selectable::Selector},
        registry::{Call, Registry, Warnings},
    },
};

/// How long an event is kept.
const EVENT_TTL: SignedDuration = SignedDuration::from_hours(1);
/// Events are not removed one by one as they expire, but with all that expire about then.
const SHORTEST_PAUSE: Duration = Duration::from_secs(300);
const EVENTS: GroupResource<'_> = GroupResource { group: "", resource: "events" };

impl Registry {
    /// Removes events as they expire, for ever. Sleeps while there are none.
    pub async fn expire_events(self) {
        let Some(cache) = self.caches().of(EVENTS) else { return };
        loop {
            // Subscribed before looking, so that no event is missed in between.
            let mut changes = cache.changes();
            let now = Timestamp::now();
            match self.remove_expired(&cache, now).await {
                Some(next) => {
                    let left = Duration::try_from(next.duration_since(now)).unwrap_or_default();
                    tokio::time::sleep(left.max(SHORTEST_PAUSE)).await;
                }
                None if changes.changed().await.is_err() => return,
                None => {}
            }
        }
    }

    /// Removes events that have expired at `now`, and says when the next one does.
    async fn remove_expired(&self, cache: &ResourceCache, now: Timestamp) -> Option<Timestamp> {
        let everything = Selector::everything();
        let slice = Slice { namespace: None, after: None, limit: 0, selector: &everything };
        let mut next = None;
        for object in cache.list(&slice, 0).objects {
            let expiry = expiry(&object).unwrap_or(now);
            if expiry > now {
                next = Some(next.map_or(expiry, |earlier: Timestamp| earlier.min(expiry)));
            } else if !self.remove_event(cache, &object).await {
                next = Some(now);
            }
        }
        next
    }

    /// Whether the event is gone, or somebody has changed it meanwhile.
    async fn remove_event(&self, cache: &ResourceCache, object: &Arc<Object>) -> bool {
        let (attributes, warnings) = (Attributes::default(), Warnings::default());
        let field_validation = crate::api::schema::FieldValidation::Ignore;
        let kind = cache.kind();
        let call = Call {
            attributes: &attributes,
            kind: &kind,
            dry_run: false,
            field_validation,
            warnings: &warnings,
            manager: "",
        };
        self.remove(&call, object.key.clone(), object.revision).await.is_ok()
    }
}

/// When an event expires: its age counts from the last time it happened.
fn expiry(object: &Object) -> Option<Timestamp> {
    let event: Value = serde_json::from_slice(&object.json()).ok()?;
    let at = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).and_then(time::parse);
    let created = time::parse(meta::creation_timestamp(&event));
    let times = [created, at("/lastTimestamp"), at("/eventTime"), at("/series/lastObservedTime")];
    times.into_iter().flatten().max()?.checked_add(EVENT_TTL).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::store;

    fn event(fields: Value) -> Object {
        let mut event = json!({"metadata": {"name": "e", "creationTimestamp": "2026-01-01T00:00:00Z"}});
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        Object::stored(&store::Event {
            revision: 1,
            key: "/registry/core/events/default/e".into(),
            value: Some(Bytes::from(event.to_string())),
            create_revision: 1,
            previous_revision: 0,
        })
        .unwrap()
    }

    #[test]
    fn an_event_lives_for_an_hour_after_it_last_happened() {
        let at = |text: &str| Some(text.parse().unwrap());
        assert_eq!(expiry(&event(json!({}))), at("2026-01-01T01:00:00Z"));
        assert_eq!(expiry(&event(json!({"lastTimestamp": "2026-01-01T05:00:00Z"}))), at("2026-01-01T06:00:00Z"));
        let series = json!({"series": {"lastObservedTime": "2026-01-01T07:00:00.000000Z"}});
        assert_eq!(expiry(&event(series)), at("2026-01-01T08:00:00Z"));
    }
}
