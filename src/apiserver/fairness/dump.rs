//! `/debug/api_priority_and_fairness/…`: levels, their queues and requests as tables, for people.

use std::fmt::Write;

use super::Fairness;

/// Where the levels are.
pub const LEVELS_PATH: &str = "/debug/api_priority_and_fairness/dump_priority_levels";
/// Where their queues are.
pub const QUEUES_PATH: &str = "/debug/api_priority_and_fairness/dump_queues";

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
