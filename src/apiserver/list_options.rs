//! Options of lists and watches, and which of them go together (`ListOptions` of meta/v1; API
//! concepts, "Resource versions").

use std::time::Duration;

use crate::{
    api::{
        Status,
        field::{self, Path},
        kind::Descriptor,
        status::Cause,
    },
    apiserver::{cache::selectable::Selector, query::Query},
    store::Revision,
};

const EXACT: &str = "Exact";
const NOT_OLDER_THAN: &str = "NotOlderThan";

/// How a list relates to the resource version it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionMatch {
    /// Of that version or a later one.
    NotOlderThan(Revision),
    /// Of exactly that version.
    Exact(Revision),
}

/// Options of a list or watch.
#[derive(Debug, Clone)]
pub struct ListOptions {
    /// Which objects.
    pub selector: Selector,
    /// Objects per page; 0 for all.
    pub limit: usize,
    /// Where the page before ended.
    pub continue_token: String,
    /// `resourceVersion`; `None` if it was not given.
    pub revision: Option<Revision>,
    /// What it means for a list.
    pub version_match: Option<VersionMatch>,
    /// Whether a watcher wants to be told of progress.
    pub bookmarks: bool,
    /// Whether a watch begins with what is there.
    pub send_initial_events: Option<bool>,
    /// When a watch ends; `None` if the client leaves it to the server.
    pub timeout: Option<Duration>,
}

impl ListOptions {
    /// Reads them from the query of a list or watch of `kind`.
    pub fn read(query: &Query, kind: &Descriptor) -> Result<Self, Status> {
        let limit: i64 = query.number("limit")?.unwrap_or(0);
        let timeout: i64 = query.number("timeoutSeconds")?.unwrap_or(0);
        let mut send_initial_events = query.has("sendInitialEvents").then(|| query.flag("sendInitialEvents"));
        let version = query.get("resourceVersion").unwrap_or_default();
        let wanted = query.get("resourceVersionMatch");
        let watch = query.flag("watch");
        if watch && send_initial_events.is_none() && wanted.is_none() && matches!(version, "" | "0") {
            send_initial_events = Some(true);
        } else {
            let causes = if watch { watch_causes(query, wanted) } else { list_causes(query, wanted, version) };
            if !causes.is_empty() {
                return Err(Status::invalid("meta.k8s.io", "ListOptions", "", causes));
            }
        }
        let continue_token = query.get("continue").unwrap_or_default().to_owned();
        if !continue_token.is_empty() && !matches!(version, "" | "0") {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        let revision = revision(version)?;
        Ok(Self {
            selector: query.selector(kind)?,
            limit: usize::try_from(limit).unwrap_or(0),
            continue_token,
            revision,
            version_match: revision.map(|revision| version_match(wanted, revision, limit)),
            bookmarks: query.flag("allowWatchBookmarks"),
            send_initial_events,
            timeout: (timeout != 0).then(|| Duration::from_secs(u64::try_from(timeout).unwrap_or(0))),
        })
    }
}

/// A page of a version that was named is of that version, even if nobody says so.
fn version_match(wanted: Option<&str>, revision: Revision, limit: i64) -> VersionMatch {
    match wanted {
        Some(EXACT) => VersionMatch::Exact(revision),
        None if limit > 0 && revision > 0 => VersionMatch::Exact(revision),
        _ => VersionMatch::NotOlderThan(revision),
    }
}

fn list_causes(query: &Query, wanted: Option<&str>, version: &str) -> Vec<Cause> {
    let path = Path::new("resourceVersionMatch");
    let mut causes = Vec::new();
    if let Some(wanted) = wanted {
        if version.is_empty() {
            let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            causes.push(field::forbidden(&path, detail));
        }
        causes.extend(continued(query, &path));
        if wanted != EXACT && wanted != NOT_OLDER_THAN {
            causes.push(field::unsupported(&path, wanted, &[EXACT, NOT_OLDER_THAN, ""]));
        }
        if wanted == EXACT && version == "0" {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            causes.push(field::forbidden(&path, detail));
        }
    }
    if query.has("sendInitialEvents") {
        let path = Path::new("sendInitialEvents");
        causes.push(field::forbidden(&path, "sendInitialEvents is forbidden for list"));
    }
    causes
}

fn watch_causes(query: &Query, wanted: Option<&str>) -> Vec<Cause> {
    let path = Path::new("resourceVersionMatch");
    let initial = query.has("sendInitialEvents");
    let mut causes = Vec::new();
    if initial && wanted != Some(NOT_OLDER_THAN) {
        let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        causes.push(field::forbidden(&path, detail));
    }
    let Some(wanted) = wanted else { return causes };
    if !initial {
        let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        causes.push(field::forbidden(&path, detail));
    }
    if wanted != NOT_OLDER_THAN {
        causes.push(field::unsupported(&path, wanted, &[NOT_OLDER_THAN]));
    }
    causes.extend(continued(query, &path));
    causes
}

fn continued(query: &Query, path: &Path) -> Option<Cause> {
    query.get("continue")?;
    Some(field::forbidden(path, "resourceVersionMatch is forbidden when continue is provided"))
}

/// A resource version: empty for none.
fn revision(text: &str) -> Result<Option<Revision>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = |_| {
        let why = format!("strconv.ParseUint: parsing \"{text}\": invalid syntax");
        let cause = field::invalid(&Path::new("resourceVersion"), text, &why);
        Status::bad_request(format!("invalid resource version: {}: {}", cause.field, cause.message))
    };
    text.parse().map(Some).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kinds;

    fn read(query: &str) -> Result<ListOptions, Status> {
        let pods = kinds::all().into_iter().find(|kind| kind.kind == "Pod").unwrap();
        ListOptions::read(&Query::parse(query), &pods)
    }

    #[test]
    fn versions_and_what_they_mean_for_a_list() {
        let matched = |query: &str| read(query).unwrap().version_match;
        assert_eq!(matched(""), None);
        assert_eq!(matched("limit=5"), None);
        assert_eq!(matched("resourceVersion=0"), Some(VersionMatch::NotOlderThan(0)));
        assert_eq!(matched("resourceVersion=0&limit=5"), Some(VersionMatch::NotOlderThan(0)));
        assert_eq!(matched("resourceVersion=7"), Some(VersionMatch::NotOlderThan(7)));
        assert_eq!(matched("resourceVersion=7&limit=5"), Some(VersionMatch::Exact(7)));
        let newer = "resourceVersion=7&limit=5&resourceVersionMatch=NotOlderThan";
        assert_eq!(matched(newer), Some(VersionMatch::NotOlderThan(7)));
        assert_eq!(matched("resourceVersion=7&resourceVersionMatch=Exact"), Some(VersionMatch::Exact(7)));
    }

    #[test]
    fn what_does_not_go_together_is_told_in_upstreams_words() {
        let problems = |query: &str| {
            let status = read(query).unwrap_err();
            let prefix = "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: ";
            status.message.strip_prefix(prefix).map(|rest| (status.code(), rest.to_owned())).unwrap()
        };
        let expected = |what: &str| (422, what.to_owned());
        for (query, what) in [
            (
                "resourceVersionMatch=Exact",
                "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            ),
            (
                "resourceVersion=1&resourceVersionMatch=Exact&continue=x",
                "Forbidden: resourceVersionMatch is forbidden when continue is provided",
            ),
            (
                "resourceVersion=0&resourceVersionMatch=Exact",
                "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ),
            (
                "resourceVersion=1&resourceVersionMatch=Newer",
                "Unsupported value: \"Newer\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
            ),
            (
                "watch=1&sendInitialEvents=true",
                "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ),
            (
                "watch=1&resourceVersionMatch=NotOlderThan",
                "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ),
        ] {
            assert_eq!(problems(query), expected(what), "{query}");
        }
        let status = read("sendInitialEvents=true").unwrap_err();
        assert!(status.message.ends_with("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"));
        let both = read("watch=1&sendInitialEvents=true&resourceVersionMatch=Exact").unwrap_err();
        assert_eq!(both.details.unwrap().causes.len(), 2);
    }

    #[test]
    fn what_is_no_number_is_told() {
        assert_eq!(read("limit=x").unwrap_err().message, "strconv.ParseInt: parsing \"x\": invalid syntax");
        assert_eq!(
            read("resourceVersion=x").unwrap_err().message,
            "invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid \
             syntax"
        );
        assert_eq!(read("continue=x&resourceVersion=5").unwrap_err().code(), 400);
        assert_eq!(read("limit=-1").unwrap().limit, 0);
    }

    #[test]
    fn a_watch_from_now_begins_with_what_is_there() {
        assert_eq!(read("watch=1").unwrap().send_initial_events, Some(true));
        assert_eq!(read("watch=1&resourceVersion=0").unwrap().send_initial_events, Some(true));
        assert_eq!(read("watch=1&resourceVersion=5").unwrap().send_initial_events, None);
        let without = "watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
        assert_eq!(read(without).unwrap().send_initial_events, Some(false));
        assert_eq!(read("watch=1&timeoutSeconds=0").unwrap().timeout, None);
    }
}
