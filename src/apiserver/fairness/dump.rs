//! `/debug/api_priority_and_fairness/…`: levels, their queues and requests as tables, for people.

use std::{fmt::Write, time::Duration};

use super::{Fairness, queues::Place, visitors::Visitor};
use crate::apiserver::query::Query;

/// Where the levels are.
pub const LEVELS_PATH: &str = "/debug/api_priority_and_fairness/dump_priority_levels";
/// Where their queues are.
pub const QUEUES_PATH: &str = "/debug/api_priority_and_fairness/dump_queues";
/// Where requests are.
pub const REQUESTS_PATH: &str = "/debug/api_priority_and_fairness/dump_requests";

const LEVEL_COLUMNS: [&str; 10] = [
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
    "CancelledRequests",
];

const QUEUE_COLUMNS: [&str; 9] = [
    "PriorityLevelName",
    "Index",
    "PendingRequests",
    "ExecutingRequests",
    "SeatsInUse",
    "NextDispatchR",
    "InitialSeatsSum",
    "MaxSeatsSum",
    "TotalWorkSum",
];

const REQUEST_COLUMNS: [&str; 10] = [
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
    "StartTime",
];

const DETAIL_COLUMNS: [&str; 8] =
    ["UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"];

/// What stands for no time, and for no place.
const NEVER: &str = "0001-01-01T00:00:00Z";
const NOWHERE: &str = "-1";

/// A row per level.
pub fn levels(fairness: &Fairness) -> String {
    let mut rows = vec![LEVEL_COLUMNS.map(str::to_owned)];
    for (name, configured) in &fairness.current.load().levels {
        let row = configured.level.row();
        rows.push([
            name.to_string(),
            row.active.to_string(),
            (row.waiting == 0 && row.executing == 0).to_string(),
            configured.leaving.to_string(),
            row.waiting.to_string(),
            row.executing.to_string(),
            row.totals.dispatched.to_string(),
            row.totals.rejected.to_string(),
            row.totals.timed_out.to_string(),
            row.totals.cancelled.to_string(),
        ]);
    }
    aligned(&rows)
}

/// A row per queue.
pub fn queues(fairness: &Fairness) -> String {
    let mut rows = vec![QUEUE_COLUMNS.map(str::to_owned)];
    for (name, configured) in &fairness.current.load().levels {
        let queues = configured.level.queues();
        rows.extend(queues.into_iter().map(|row| {
            [
                name.to_string(),
                row.index.to_string(),
                row.waiting.to_string(),
                row.executing.to_string(),
                row.seats.to_string(),
                seat_seconds(row.next),
                row.initial_seats.to_string(),
                row.most_seats.to_string(),
                seat_seconds(row.work),
            ]
        }));
    }
    aligned(&rows)
}

/// A row per request that waits or is served, with what it asks for if the query wants that told.
pub fn requests(fairness: &Fairness, query: &Query) -> String {
    let with_details = query.get("includeRequestDetails").is_some_and(|value| !value.is_empty());
    let mut rows: Vec<_> = fairness.visitors.all().iter().map(|visitor| (request(visitor), details(visitor))).collect();
    rows.sort();
    rows.insert(0, (REQUEST_COLUMNS.map(str::to_owned), DETAIL_COLUMNS.map(str::to_owned)));
    if !with_details {
        return aligned(&rows.into_iter().map(|(row, _)| row).collect::<Vec<_>>());
    }
    let joined = |(row, details): &([String; 10], [String; 8])| -> [String; 18] {
        std::array::from_fn(|column| row.get(column).unwrap_or_else(|| &details[column - row.len()]).clone())
    };
    aligned(&rows.iter().map(joined).collect::<Vec<_>>())
}

fn request(visitor: &Visitor) -> [String; 10] {
    let (schema, work) = (&visitor.schema, visitor.work);
    let served = visitor.served.get();
    let waits = visitor.place.get().filter(|_| served.is_none());
    let queue = served.map_or_else(|| waits.map(Place::queue), |(_, execution)| execution.queue());
    let position = waits.and_then(|place| schema.level.position(*place));
    let shown = |number: Option<String>| number.unwrap_or_else(|| NOWHERE.to_owned());
    [
        schema.level.name.to_string(),
        schema.name.to_string(),
        shown(queue.map(|queue| queue.to_string())),
        shown(position.map(|position| position.to_string())),
        schema.flow(&visitor.request).to_owned(),
        visitor.arrived.to_string(),
        work.seats.to_string(),
        work.final_seats.to_string(),
        milliseconds(work.linger),
        served.map_or_else(|| NEVER.to_owned(), |(since, _)| since.to_string()),
    ]
}

fn details(visitor: &Visitor) -> [String; 8] {
    let request = &visitor.request;
    let version = match request.group.as_str() {
        "" => request.version.clone(),
        group => format!("{group}/{}", request.version),
    };
    let [user, verb, path] = [&request.user.name, &request.verb, &request.path].map(Clone::clone);
    let [namespace, name] = [&request.namespace, &request.name].map(Clone::clone);
    [user, verb, path, namespace, name, version, request.resource.clone(), request.subresource.clone()]
}

/// As Go writes a duration of less than a second.
fn milliseconds(time: Duration) -> String {
    if time.is_zero() { "0s".to_owned() } else { format!("{}ms", time.as_secs_f64() * 1000.0) }
}

/// As upstream writes them, which counts in hundred-millionths.
fn seat_seconds(value: f64) -> String {
    format!("{:.8}ss", value.max(0.0))
}

fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len() + 1).max().unwrap_or_default();
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut out = String::new();
    for row in rows {
        let (last, others) = row.split_last().expect("there are columns");
        for (cell, width) in others.iter().zip(widths) {
            // Writing to a string does not fail.
            _ = write!(out, "{:<width$} ", format!("{cell},"));
        }
        out.push_str(last);
        out.push('\n');
    }
    out
}
