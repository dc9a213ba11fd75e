//! What is wrong with an event, in its stored shape (`events.go` of core's validation): old events have to be in the
//! namespace of their object, those that know when they happened have to be complete, and what comes through
//! `events.k8s.io` has to be new in all. Problems are those of the stored shape's fields, shown as upstream's internal
//! types, whose fields begin with capitals.

use k8s_openapi::api::core::v1::Event;
use serde::Serialize;

use crate::api::{
    field::{self, IMMUTABLE, Path},
    status::Cause,
    validation::name,
};

const TEXT_LIMIT_BYTES: usize = 128;
const MESSAGE_LIMIT_BYTES: usize = 1024;
/// What an object is referred to by, upstream.
const REFERENCE: &str = "core.v1.ObjectReference";
const TYPES: [&str; 2] = ["Normal", "Warning"];

/// Problems of any event. `controller` is what the version of the request calls who reports it.
pub fn validate(event: &Event, controller: &str) -> Vec<Cause> {
    let object = event.involved_object.namespace.as_deref().unwrap_or_default();
    let own = event.metadata.namespace.as_deref().unwrap_or_default();
    let is_old = event.event_time.is_none();
    let is_elsewhere = match object {
        "" if is_old => !matches!(own, "" | "default"),
        "" => !matches!(own, "default" | "kube-system"),
        _ => is_old && object != own,
    };
    let mut causes = Vec::new();
    if is_elsewhere {
        let path = Path::new("involvedObject.namespace");
        causes.push(field::invalid(&path, object, "does not match event.namespace"));
    }
    if !is_old {
        causes.extend(complete(event, controller));
    }
    causes
}

/// Problems of an event that is created through `events.k8s.io`.
pub fn validate_new_style(event: &Event) -> Vec<Cause> {
    let mut causes = series(event);
    if event.event_time.is_none() {
        causes.push(field::required(&Path::new("eventTime"), ""));
    }
    let kind = text(&event.type_);
    if !TYPES.contains(&kind) {
        causes.push(field::invalid(&Path::new("type"), "", &format!("has invalid value: {kind}")));
    }
    let source = event.source.clone().unwrap_or_default();
    let old = [
        ("firstTimestamp", event.first_timestamp.is_some()),
        ("lastTimestamp", event.last_timestamp.is_some()),
        ("count", event.count.unwrap_or_default() != 0),
        ("source", !text(&source.component).is_empty() || !text(&source.host).is_empty()),
    ];
    let set = old.iter().filter(|(_, is_set)| *is_set);
    causes.extend(set.map(|(name, _)| field::invalid(&Path::new(name), "", "needs to be unset")));
    causes
}

/// Problems of a change through `events.k8s.io`, where nothing but the series changes.
pub fn validate_change(new: &Event, old: &Event) -> Vec<Cause> {
    let mut causes = if new.series == old.series { Vec::new() } else { series(new) };
    let reason = || same("reason", text(&new.reason), text(&old.reason));
    let source = |event: &Event| event.source.clone().unwrap_or_default();
    let checks = [
        field::immutable_internal(&Path::new("involvedObject"), REFERENCE, &new.involved_object, &old.involved_object),
        reason(),
        same("message", text(&new.message), text(&old.message)),
        field::immutable_internal(&Path::new("source"), "core.v1.EventSource", &source(new), &source(old)),
        same("firstTimestamp", &new.first_timestamp, &old.first_timestamp),
        same("lastTimestamp", &new.last_timestamp, &old.last_timestamp),
        same("count", new.count.unwrap_or_default(), old.count.unwrap_or_default()),
        reason(),
        same("type", text(&new.type_), text(&old.type_)),
        same("eventTime", &new.event_time, &old.event_time),
        same("action", text(&new.action), text(&old.action)),
        related(new, old),
        same("reportingController", text(&new.reporting_component), text(&old.reporting_component)),
        same("reportingInstance", text(&new.reporting_instance), text(&old.reporting_instance)),
    ];
    causes.extend(checks.into_iter().flatten());
    causes
}

/// A reference that may not be there.
fn related(new: &Event, old: &Event) -> Vec<Cause> {
    let path = Path::new("related");
    match &new.related {
        related if *related == old.related => Vec::new(),
        None => vec![field::invalid(&path, (), IMMUTABLE)],
        Some(related) => vec![field::invalid_internal(&path, REFERENCE, related, IMMUTABLE)],
    }
}

fn complete(event: &Event, controller: &str) -> Vec<Cause> {
    let path = Path::new(controller);
    let reporter = text(&event.reporting_component);
    let mut causes = Vec::new();
    if reporter.is_empty() {
        causes.push(field::required(&path, ""));
    }
    causes.extend(field::invalid_each(&path, reporter, &name::qualified_name(reporter)));
    let texts =
        [("reportingInstance", &event.reporting_instance), ("action", &event.action), ("reason", &event.reason)];
    for (name, value) in texts {
        if text(value).is_empty() {
            causes.push(field::required(&Path::new(name), ""));
        }
        causes.extend(short(name, text(value), TEXT_LIMIT_BYTES));
    }
    causes.extend(short("message", text(&event.message), MESSAGE_LIMIT_BYTES));
    causes
}

fn short(name: &str, value: &str, limit_bytes: usize) -> Option<Cause> {
    let detail = || format!("can have at most {limit_bytes} characters");
    (value.len() > limit_bytes).then(|| field::invalid(&Path::new(name), "", &detail()))
}

fn series(event: &Event) -> Vec<Cause> {
    let mut causes = Vec::new();
    let Some(series) = &event.series else { return causes };
    if series.count.unwrap_or_default() < 2 {
        causes.push(field::invalid(&Path::new("series.count"), "", "should be at least 2"));
    }
    if series.last_observed_time.is_none() {
        causes.push(field::required(&Path::new("series.lastObservedTime"), ""));
    }
    causes
}

fn same<T: Serialize + PartialEq>(name: &str, new: T, old: T) -> Vec<Cause> {
    field::immutable(&Path::new(name), &new, &old)
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(more: &serde_json::Value) -> Event {
        let mut event = json!({"metadata": {"namespace": "b"}, "involvedObject": {"namespace": "b"}});
        for (name, value) in more.as_object().unwrap() {
            event[name] = value.clone();
        }
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn an_old_event_lives_beside_its_object_and_a_new_one_is_complete() {
        let problems = |more| validate(&event(&more), "reportingController").into_iter().map(|cause| cause.field);
        assert_eq!(problems(json!({"involvedObject": {"namespace": "c"}})).count(), 1);
        let new = json!({"eventTime": "2026-01-01T00:00:00.000001Z", "reportingComponent": "c", "reason": "r",
                         "involvedObject": {"namespace": "c"}});
        assert_eq!(problems(new).collect::<Vec<_>>(), ["reportingInstance", "action"]);
    }

    #[test]
    fn the_object_of_an_event_stays() {
        let new = event(&json!({"involvedObject": {"kind": "Pod"}}));
        let causes = validate_change(&new, &event(&json!({})));
        assert_eq!(
            causes[0].message,
            "Invalid value: {\"Kind\":\"Pod\",\"Namespace\":\"\",\"Name\":\"\",\"UID\":\"\",\"APIVersion\":\"\",\
             \"ResourceVersion\":\"\",\"FieldPath\":\"\"}: field is immutable"
        );
    }
}
