//! `v1.Event`: the shape that is stored and that kubectl shows.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};

use crate::api::{
    kind::{Column, Kind, NameRule, Names},
    kinds::{cells, event::validation, names},
    status::Cause,
    update_check::{self, UpdateCheck},
};

/// Columns of events in either shape.
pub const COLUMNS: &[Column] = &[
    cells::column("Last Seen", "string", "Time since it happened last."),
    cells::column("Type", "string", "Normal or Warning."),
    cells::column("Reason", "string", "Why, in one word."),
    cells::column("Object", "string", "The object that it happened to."),
    cells::wide("Subobject", "string", "The part of the object."),
    cells::wide("Source", "string", "Who reports it."),
    cells::column("Message", "string", "What happened."),
    cells::wide("First Seen", "string", "Time since it happened first."),
    cells::wide("Count", "string", "How often it happened."),
    Column { priority: 1, ..cells::NAME },
];

/// `v1.Event`
pub struct EventKind;

impl Kind for EventKind {
    type Object = Event;
    const NAMES: Names = Names { short_names: &["ev"], ..names::namespaced(names::CORE, "Event", "events", "event") };
    const NAME_RULE: NameRule = NameRule::PathSegment;
    const FIELDS: &'static [&'static str] = &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ];
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::OBJECT;
    const COLUMNS: &'static [Column] = COLUMNS;

    fn validate(event: &Event) -> Vec<Cause> {
        validation::validate(event, "reportingComponent")
    }

    fn field_values(event: &Event) -> Vec<String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let object = &event.involved_object;
        let component = event.source.as_ref().and_then(|source| source.component.clone()).unwrap_or_default();
        let reporting = text(&event.reporting_component);
        vec![
            text(&object.kind),
            text(&object.namespace),
            text(&object.name),
            text(&object.uid),
            text(&object.api_version),
            text(&object.resource_version),
            text(&object.field_path),
            text(&event.reason),
            reporting.clone(),
            if component.is_empty() { reporting } else { component },
            text(&event.type_),
        ]
    }

    fn cells(event: &Event, now: Timestamp) -> Vec<Value> {
        cells(event, now)
    }
}

/// The row of an event.
pub fn cells(event: &Event, now: Timestamp) -> Vec<Value> {
    let happened = event.event_time.as_ref().map(|time| Time(time.0));
    let first = event.first_timestamp.clone().or(happened);
    let (last, count) = match &event.series {
        Some(series) => (series.last_observed_time.as_ref().map(|time| Time(time.0)), series.count.unwrap_or_default()),
        None => (event.last_timestamp.clone().or_else(|| first.clone()), event.count.unwrap_or(1).max(1)),
    };
    let kind = event.involved_object.kind.as_deref().unwrap_or_default().to_lowercase();
    let object = match event.involved_object.name.as_deref().unwrap_or_default() {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        json!(cells::since(last.as_ref(), now)),
        json!(event.type_.as_deref().unwrap_or_default()),
        json!(event.reason.as_deref().unwrap_or_default()),
        json!(object),
        json!(event.involved_object.field_path.as_deref().unwrap_or_default()),
        json!(source(event)),
        json!(event.message.as_deref().unwrap_or_default().trim()),
        json!(cells::since(first.as_ref(), now)),
        json!(count.to_string()),
        cells::name(&event.metadata),
    ]
}

/// `component, host`
fn source(event: &Event) -> String {
    let EventSource { component, host } = event.source.clone().unwrap_or_default();
    let filled = |value: Option<String>| value.filter(|value| !value.is_empty());
    let component = filled(component).or_else(|| filled(event.reporting_component.clone()));
    let host = filled(host).or_else(|| filled(event.reporting_instance.clone()));
    [component, host].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn an_event_shows_when_it_was_seen_last() {
        let event = json!({"metadata": {"name": "p.1", "namespace": "default"}, "type": "Warning", "reason": "BackOff",
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default", "fieldPath": "spec.containers{a}"},
            "message": "Back-off restarting\n", "count": 3, "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:04:00Z"});
        let (strategy, event) = (descriptor::<EventKind>().strategy, event.into());
        assert_eq!(strategy.validate(&event), []);
        let row = strategy.cells(&event, "2026-01-01T00:05:00Z".parse().unwrap());
        let expected = [
            "60s",
            "Warning",
            "BackOff",
            "pod/p",
            "spec.containers{a}",
            "kubelet, n",
            "Back-off restarting",
            "5m",
            "3",
            "p.1",
        ];
        assert_eq!(row, expected.map(Value::from));
    }

    #[test]
    fn an_event_lives_beside_its_object() {
        let event = json!({"metadata": {"name": "a", "namespace": "b"}, "involvedObject": {"namespace": "c"}});
        let causes = descriptor::<EventKind>().strategy.validate(&event.into());
        assert_eq!(causes[0].message, "Invalid value: \"c\": does not match event.namespace");
    }
}
