//! Between the two shapes of an event. Nothing is lost either way.

use k8s_openapi::{
    api::{core::v1 as core, events::v1 as events},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::api::{Status, protobuf};

/// [`to_core`] for untyped objects. Errors with 400 when the object is no event.
pub fn value_to_core(event: Value) -> Result<Value, Status> {
    convert(event, to_core, "v1")
}

/// [`from_core`] for untyped objects. Errors with 400 when the object is no event.
pub fn value_from_core(event: Value) -> Result<Value, Status> {
    convert(event, from_core, "events.k8s.io/v1")
}

/// The stored shape of an `events.k8s.io/v1` event.
pub fn to_core(event: events::Event) -> core::Event {
    core::Event {
        metadata: event.metadata,
        involved_object: event.regarding.unwrap_or_default(),
        related: event.related,
        reason: event.reason,
        message: event.note,
        source: event.deprecated_source,
        first_timestamp: event.deprecated_first_timestamp,
        last_timestamp: event.deprecated_last_timestamp,
        count: event.deprecated_count,
        type_: event.type_,
        event_time: event.event_time,
        series: event.series.map(|series| core::EventSeries {
            count: Some(series.count),
            last_observed_time: Some(series.last_observed_time),
        }),
        action: event.action,
        reporting_component: event.reporting_controller,
        reporting_instance: event.reporting_instance,
    }
}

/// The `events.k8s.io/v1` shape of a stored event.
pub fn from_core(event: core::Event) -> events::Event {
    let epoch = MicroTime(jiff::Timestamp::UNIX_EPOCH);
    events::Event {
        metadata: event.metadata,
        regarding: Some(event.involved_object),
        related: event.related,
        reason: event.reason,
        note: event.message,
        deprecated_source: event.source,
        deprecated_first_timestamp: event.first_timestamp,
        deprecated_last_timestamp: event.last_timestamp,
        deprecated_count: event.count,
        type_: event.type_,
        event_time: event.event_time,
        series: event.series.map(|series| events::EventSeries {
            count: series.count.unwrap_or_default(),
            last_observed_time: series.last_observed_time.unwrap_or(epoch),
        }),
        action: event.action,
        reporting_controller: event.reporting_component,
        reporting_instance: event.reporting_instance,
    }
}

/// The event in the other shape, with what is always there in that one.
fn convert<A, B>(event: Value, conversion: fn(A) -> B, api_version: &str) -> Result<Value, Status>
where
    A: DeserializeOwned,
    B: Serialize,
{
    let event: A = serde_json::from_value(event).map_err(|error| Status::bad_request(error.to_string()))?;
    let mut event = serde_json::to_value(conversion(event)).map_err(Status::internal)?;
    protobuf::settle(api_version, "Event", &mut event);
    Ok(event)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_survives_both_ways() {
        let event: core::Event = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "a", "namespace": "b"},
            "involvedObject": {"kind": "Pod", "name": "p"}, "reason": "Started", "message": "m", "type": "Normal",
            "source": {"component": "kubelet"}, "count": 2, "firstTimestamp": "2026-01-01T00:00:00Z",
            "eventTime": "2026-01-01T00:00:00.000001Z", "action": "Starting", "reportingComponent": "c",
            "series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000002Z"},
        }))
        .unwrap();
        let newer = from_core(event.clone());
        assert_eq!(newer.note.as_deref(), Some("m"));
        assert_eq!(newer.regarding.as_ref().unwrap().name.as_deref(), Some("p"));
        assert_eq!(to_core(newer), event);
    }
}
