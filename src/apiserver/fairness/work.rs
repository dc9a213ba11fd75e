//! How much work a request will be: lists by the size of what they show, writes by how many must be
//! told of them (KEP-1040, "Width and Duration").

use std::time::Duration;

use super::{queues::Work, watches::Watches};
use crate::{
    api::kind::GroupResource,
    apiserver::{attributes::Attributes, cache::Caches, query::Query},
};

/// Bytes of a list that take one seat.
const BYTES_PER_SEAT: f64 = 100_000.0;
/// Memory that a list out of the cache takes at once, in bytes: it is sent piece by piece.
const CACHED_LIST_BYTES: f64 = 1_000_000.0;
/// Most seats of a list.
const LIST_SEATS: u32 = 100;
/// Most seats of a write.
const WRITE_SEATS: u32 = 10;
/// Watches that are told of a change by what one seat can do.
const WATCHES_PER_SEAT: u32 = 10;
/// How long that takes.
const EVENT: Duration = Duration::from_millis(5);

/// The work of a request to a level that gives one request at most `most_seats` (0: no limit of
/// its own).
pub fn estimate(request: &Attributes, query: &Query, most_seats: u32, caches: &Caches, watches: &Watches) -> Work {
    let capped = |most: u32| if most_seats == 0 { most } else { most.min(most_seats) };
    match request.verb.as_str() {
        "list" => list(request, query, capped(LIST_SEATS), caches),
        "watch" if begins_with_a_list(query) => list(request, query, capped(LIST_SEATS), caches),
        "create" | "update" | "patch" | "delete" => write(request, capped(WRITE_SEATS), watches),
        _ => Work::ONE,
    }
}

fn begins_with_a_list(query: &Query) -> bool {
    query.flag("sendInitialEvents") || matches!(query.get("resourceVersion"), None | Some("0"))
}

fn list(request: &Attributes, query: &Query, most_seats: u32, caches: &Caches) -> Work {
    let resource = GroupResource { group: &request.group, resource: &request.resource };
    // What is not kept here costs little here.
    let Some(cache) = caches.of(resource) else { return Work::ONE };
    let (count, bytes) = cache.weight();
    if count == 0 || !request.name.is_empty() {
        return Work::ONE;
    }
    let limit = query.number("limit").ok().flatten().filter(|limit| *limit > 0);
    let shown = limit.unwrap_or(count).min(count);
    let (loaded, at_once) = if request.verb == "watch" || is_current(query) {
        (shown, CACHED_LIST_BYTES)
    } else if query.get("labelSelector").or(query.get("fieldSelector")).is_some() {
        (shown.max(count / 2), f64::INFINITY)
    } else {
        (shown, f64::INFINITY)
    };
    let bytes = (bytes as f64 / count as f64 * loaded as f64).min(at_once);
    let seats = (bytes / BYTES_PER_SEAT).ceil() as u32;
    Work { seats: seats.clamp(1, most_seats), ..Work::ONE }
}

/// Whether a list shows what is there now, and not what there was.
fn is_current(query: &Query) -> bool {
    match query.get("resourceVersionMatch") {
        Some(wanted) => wanted == "NotOlderThan",
        None => {
            let limited = !matches!(query.get("limit"), None | Some("0"));
            let old = limited && !matches!(query.get("resourceVersion"), None | Some("0"));
            query.get("continue").is_none() && !old
        }
    }
}

fn write(request: &Attributes, most_seats: u32, watches: &Watches) -> Work {
    // A token is not stored, though accounts may be watched by many.
    if request.resource == "serviceaccounts" && request.subresource == "token" {
        return Work::ONE;
    }
    let watching = watches.interested(request, WATCHES_PER_SEAT);
    if watching < WATCHES_PER_SEAT {
        return Work::ONE;
    }
    let wanted = watching.div_ceil(WATCHES_PER_SEAT);
    let final_seats = wanted.min(most_seats);
    // The same work, on fewer seats for longer.
    let linger = EVENT.mul_f64(f64::from(wanted) / f64::from(final_seats));
    Work { final_seats, linger, ..Work::ONE }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_write_that_many_watch_holds_seats_afterwards() {
        let watches = Arc::new(Watches::default());
        let caches = Caches::default();
        let query = Query::default();
        let pod = Attributes { verb: "update".into(), resource: "pods".into(), ..Attributes::default() };
        let write = |most: u32| estimate(&pod, &query, most, &caches, &watches);
        let mut open: Vec<_> = (0..9).map(|_| watches.follow(&pod, &query)).collect();
        assert_eq!(write(0), Work::ONE);
        open.extend((0..16).map(|_| watches.follow(&pod, &query)));
        assert_eq!(write(0), Work { seats: 1, final_seats: 3, linger: EVENT });
        assert_eq!(write(1), Work { seats: 1, final_seats: 1, linger: EVENT * 3 });
    }

    #[test]
    fn lists_of_the_past_are_told_from_those_of_the_present() {
        for (query, current) in [
            ("", true),
            ("limit=5", true),
            ("limit=5&resourceVersion=0", true),
            ("resourceVersion=7", true),
            ("limit=5&resourceVersion=7", false),
            ("resourceVersion=7&resourceVersionMatch=NotOlderThan&limit=5", true),
            ("resourceVersion=7&resourceVersionMatch=Exact", false),
            ("continue=x", false),
        ] {
            assert_eq!(is_current(&Query::parse(query)), current, "{query}");
        }
    }
}
