//! `events.k8s.io/v1.Event`: the newer shape (KEP-383).

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use serde_json::Value;

use super::{convert, core};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    kinds::names,
    status::Cause,
};

const REASON_LIMIT_BYTES: usize = 128;
const NOTE_LIMIT_BYTES: usize = 1024;
const TYPES: &[&str] = &["Normal", "Warning"];

/// `events.k8s.io/v1.Event`
pub struct EventKind;

impl Kind for EventKind {
    type Object = Event;
    const NAMES: Names = Names {
        short_names: &["ev"],
        ..names::namespaced(names::GroupVersion::v1("events.k8s.io"), "Event", "events", "event")
    };
    const FIELDS: &'static [&'static str] = &[
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reason",
        "reportingController",
        "type",
    ];
    const COLUMNS: &'static [Column] = core::COLUMNS;

    fn validate(event: &Event) -> Vec<Cause> {
        let mut causes = core::validate(&convert::to_core(event.clone()));
        if event.event_time.is_none() {
            return causes;
        }
        let texts = [
            ("reportingController", &event.reporting_controller),
            ("reportingInstance", &event.reporting_instance),
            ("action", &event.action),
            ("reason", &event.reason),
        ];
        for (name, text) in texts {
            let text = text.as_deref().unwrap_or_default();
            if text.is_empty() {
                causes.push(field::required(&Path::new(name), ""));
            } else if text.len() > REASON_LIMIT_BYTES {
                causes.push(field::invalid(&Path::new(name), "", "can have at most 128 characters"));
            }
        }
        let note = event.note.as_deref().unwrap_or_default();
        if note.len() > NOTE_LIMIT_BYTES {
            causes.push(field::invalid(&Path::new("message"), "", "can have at most 1024 characters"));
        }
        let kind = event.type_.as_deref().unwrap_or_default();
        if !TYPES.contains(&kind) {
            causes.push(field::invalid(&Path::new("type"), "", "has invalid value: "));
        }
        causes
    }

    fn field_values(event: &Event) -> Vec<String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let object = event.regarding.clone().unwrap_or_default();
        vec![
            text(&object.kind),
            text(&object.namespace),
            text(&object.name),
            text(&object.uid),
            text(&object.api_version),
            text(&object.resource_version),
            text(&object.field_path),
            text(&event.reason),
            text(&event.reporting_controller),
            text(&event.type_),
        ]
    }

    fn cells(event: &Event, now: Timestamp) -> Vec<Value> {
        core::cells(&convert::to_core(event.clone()), now)
    }
}
