//! `events.k8s.io/v1.Event`: the newer shape (KEP-383).

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use serde_json::Value;

use super::{convert, core, validation};
use crate::api::{
    kind::{Column, Kind, Names},
    kinds::names,
    status::Cause,
    update_check::{self, UpdateCheck},
};

/// What this version calls who reports an event.
const CONTROLLER: &str = "reportingController";

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
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = core::COLUMNS;

    fn validate(event: &Event) -> Vec<Cause> {
        let event = convert::to_core(event.clone());
        [validation::validate(&event, CONTROLLER), validation::validate_new_style(&event)].concat()
    }

    fn validate_again(new: &Event, _old: &Event) -> Vec<Cause> {
        validation::validate(&convert::to_core(new.clone()), CONTROLLER)
    }

    fn validate_update(new: &Event, old: &Event) -> Vec<Cause> {
        validation::validate_change(&convert::to_core(new.clone()), &convert::to_core(old.clone()))
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
