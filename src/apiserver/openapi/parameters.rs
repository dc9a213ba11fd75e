//! Parameters of operations.

use serde_json::{Value, json};

use super::Dialect;

/// A parameter in a path or query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    name: &'static str,
    kind: &'static str,
    in_path: bool,
    description: &'static str,
}

const fn query(name: &'static str, kind: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind, in_path: false, description }
}

const fn path(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind: "string", in_path: true, description }
}

/// Of every path.
pub(super) const PRETTY: Parameter = query("pretty", "string", "If \"true\", the output is indented.");
/// Of paths within a namespace.
pub(super) const NAMESPACE: Parameter = path("namespace", "Name of the namespace.");
/// Of paths of one object.
pub(super) const NAME: Parameter = path("name", "Name of the object.");
/// Of proxied paths.
pub(super) const PROXY_PATH: Parameter = path("path", "The path to ask the target for.");

const DRY_RUN: Parameter = query("dryRun", "string", "\"All\" runs every stage but does not store the result.");
const FIELD_MANAGER: Parameter = query("fieldManager", "string", "Name of who makes the change.");
const FIELD_VALIDATION: Parameter = query(
    "fieldValidation",
    "string",
    "What to do with unknown and duplicate fields: Ignore drops them, Warn (the default) drops them and sends \
     warnings, Strict fails the request.",
);

/// Of creates and replacements.
pub(super) const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];

/// Of patches.
pub(super) const PATCH: &[Parameter] = &[
    DRY_RUN,
    FIELD_MANAGER,
    FIELD_VALIDATION,
    query("force", "boolean", "Whether an apply takes over fields that others own."),
];

/// Of deletions.
pub(super) const DELETE: &[Parameter] = &[
    DRY_RUN,
    query("gracePeriodSeconds", "integer", "Seconds until the object is deleted; zero deletes it at once."),
    query("orphanDependents", "boolean", "Whether dependents are kept. Deprecated: use propagationPolicy."),
    query("propagationPolicy", "string", "What happens to dependents: Orphan, Background or Foreground."),
];

/// Of lists and watches.
pub(super) const LIST: &[Parameter] = &[
    query("allowWatchBookmarks", "boolean", "Whether a watch may send bookmarks."),
    query("continue", "string", "Where the page before ended."),
    query("fieldSelector", "string", "Selects objects by their fields."),
    query("labelSelector", "string", "Selects objects by their labels."),
    query("limit", "integer", "Most objects of one page."),
    query("resourceVersion", "string", "The version that the list must show, or that a watch begins after."),
    query("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    query("sendInitialEvents", "boolean", "Whether a watch begins with the objects that are there."),
    query("timeoutSeconds", "integer", "Seconds after which a list or watch ends."),
    query("watch", "boolean", "Whether to stream changes."),
];

/// Of logs.
pub(super) const LOG: &[Parameter] = &[
    query("container", "string", "The container; may be left out when there is one."),
    query("follow", "boolean", "Whether to stream what is added."),
    query("limitBytes", "integer", "Bytes after which the output ends."),
    query("previous", "boolean", "Whether the log of the instance before is meant."),
    query("sinceSeconds", "integer", "Age in seconds of the oldest line."),
    query("stream", "string", "All, Stdout or Stderr."),
    query("tailLines", "integer", "Lines from the end."),
    query("timestamps", "boolean", "Whether each line begins with its time."),
];

/// Of commands in containers, and attaching to them.
pub(super) const EXEC: &[Parameter] = &[
    query("command", "string", "The command and its arguments, one parameter each."),
    query("container", "string", "The container; may be left out when there is one."),
    query("stderr", "boolean", "Whether standard error is wanted."),
    query("stdin", "boolean", "Whether standard input is sent."),
    query("stdout", "boolean", "Whether standard output is wanted."),
    query("tty", "boolean", "Whether a terminal is allocated."),
];

/// A parameter as the dialect writes it.
pub(super) fn value(parameter: &Parameter, dialect: Dialect) -> Value {
    let place = if parameter.in_path { "path" } else { "query" };
    let mut value = json!({"name": parameter.name, "in": place, "description": parameter.description});
    if parameter.in_path {
        value["required"] = true.into();
    }
    match dialect {
        Dialect::V2 => {
            value["type"] = parameter.kind.into();
            value["uniqueItems"] = true.into();
        }
        Dialect::V3 => value["schema"] = json!({"type": parameter.kind, "uniqueItems": true}),
    }
    value
}
