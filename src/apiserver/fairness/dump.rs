//! `/debug/api_priority_and_fairness/dump_priority_levels`: the levels as a table, for people.

use std::fmt::Write;

use super::Fairness;

/// Where it is served.
pub const PATH: &str = "/debug/api_priority_and_fairness/dump_priority_levels";

const COLUMNS: [&str; 10] = [
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

/// The table.
pub fn levels(fairness: &Fairness) -> String {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
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

fn aligned(rows: &[[String; COLUMNS.len()]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len() + 1).max().unwrap_or_default();
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(width);
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
