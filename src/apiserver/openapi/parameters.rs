//! Parameters of operations.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{Dialect, definitions};
use crate::apiserver::discovery::digest;

/// A parameter in a path or query.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Parameter {
    name: &'static str,
    kind: &'static str,
    in_query: bool,
    description: Cow<'static, str>,
}

type Query = (&'static str, &'static str, &'static str);

/// Of every path but those that connect.
pub(super) const PRETTY: &[Query] = &[(
    "pretty",
    "string",
    "If 'true', the output is indented. The default is 'false', and 'true' for browsers, curl and wget.",
)];

const DRY_RUN: Query = ("dryRun", "string", "");
const FIELD_MANAGER: Query =
    ("fieldManager", "string", "Name of who makes the change: at most 128 printable characters.");
const FIELD_VALIDATION: Query = (
    "fieldValidation",
    "string",
    "What to do with unknown and duplicate fields: Ignore drops them, Warn (the default) drops them and sends \
     warnings, Strict fails the request.",
);

/// Of creates and replacements.
pub(super) const WRITE: &[Query] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];

/// Of patches.
pub(super) const PATCH: &[Query] = &[
    DRY_RUN,
    ("fieldManager", "string", "Name of who makes the change; an apply must have it."),
    FIELD_VALIDATION,
    ("force", "boolean", "Whether an apply takes over fields that others own. Not for other patches."),
];

/// Of deletions.
pub(super) const DELETE: &[Query] = &[
    DRY_RUN,
    ("gracePeriodSeconds", "integer", ""),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean", ""),
    ("orphanDependents", "boolean", ""),
    ("propagationPolicy", "string", ""),
];

const RESOURCE_VERSION: Query =
    ("resourceVersion", "string", "The version that the answer must show, or that a watch begins after.");

/// Of reading a custom resource.
pub(super) const READ_CUSTOM: &[Query] = &[RESOURCE_VERSION];

/// Of lists and deletions of collections.
pub(super) const SELECT: &[Query] = &[
    ("continue", "string", "Where the page before ended."),
    ("fieldSelector", "string", "Selects objects by their fields."),
    ("labelSelector", "string", "Selects objects by their labels."),
    ("limit", "integer", "Most objects of one page."),
    RESOURCE_VERSION,
    ("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    ("sendInitialEvents", "boolean", "Whether a watch begins with the objects that are there."),
    ("shardSelector", "string", "Selects objects by a hash of their identity; an alpha feature."),
    ("timeoutSeconds", "integer", "Seconds after which a list or watch ends."),
];

/// Of lists and watches, beside [`SELECT`].
pub(super) const WATCH: &[Query] = &[
    ("allowWatchBookmarks", "boolean", "Whether a watch may send bookmarks."),
    ("watch", "boolean", "Whether to stream changes."),
];

/// Of logs.
const LOG: &[Query] = &[
    ("container", "string", "The container; may be left out when there is one."),
    ("follow", "boolean", "Whether to stream what is added."),
    ("insecureSkipTLSVerifyBackend", "boolean", "Whether the node's certificate may be anybody's."),
    ("limitBytes", "integer", "Bytes after which the output ends."),
    ("previous", "boolean", "Whether the log of the instance before is meant."),
    ("sinceSeconds", "integer", "Age in seconds of the oldest line."),
    ("stream", "string", "All, Stdout or Stderr."),
    ("tailLines", "integer", "Lines from the end."),
    ("timestamps", "boolean", "Whether each line begins with its time."),
];

const ATTACH: &[Query] = &[
    ("container", "string", "The container; may be left out when there is one."),
    ("stderr", "boolean", "Whether standard error is wanted."),
    ("stdin", "boolean", "Whether standard input is sent."),
    ("stdout", "boolean", "Whether standard output is wanted."),
    ("tty", "boolean", "Whether a terminal is allocated."),
];

const COMMAND: Query = ("command", "string", "The command and its arguments, one parameter each.");
const EXEC: &[Query] = &[COMMAND, ATTACH[0], ATTACH[1], ATTACH[2], ATTACH[3], ATTACH[4]];
const PORT_FORWARD: &[Query] = &[("ports", "integer", "Ports to forward; needed over WebSockets.")];
const PROXY: &[Query] = &[("path", "string", "The path to ask the target for.")];

/// Those of a subresource that has its own, by its name.
pub(super) fn of_subresource(name: &str) -> &'static [Query] {
    match name {
        "log" => LOG,
        "exec" => EXEC,
        "attach" => ATTACH,
        "portforward" => PORT_FORWARD,
        "proxy" => PROXY,
        _ => &[],
    }
}

/// Parameters in the query. Those without a description of their own are options of a deletion.
pub(super) fn query(parameters: &[Query]) -> impl Iterator<Item = Parameter> {
    parameters.iter().map(|(name, kind, description)| {
        let own = if description.is_empty() { definitions::option_description(name) } else { description };
        Parameter { name, kind, in_query: true, description: own.into() }
    })
}

/// A parameter in the path.
pub(super) fn path(name: &'static str, description: impl Into<Cow<'static, str>>) -> Parameter {
    Parameter { name, kind: "string", in_query: false, description: description.into() }
}

impl Parameter {
    /// The parameter as the dialect writes it.
    pub(super) fn value(&self, dialect: Dialect) -> Value {
        let place = if self.in_query { "query" } else { "path" };
        let mut value = json!({"name": self.name, "in": place, "description": self.description});
        if !self.in_query {
            value["required"] = true.into();
        }
        match dialect {
            Dialect::V2 => {
                value["type"] = self.kind.into();
                value["uniqueItems"] = true.into();
            }
            Dialect::V3 => value["schema"] = json!({"type": self.kind, "uniqueItems": true}),
        }
        value
    }
}

/// Replaces parameters of a document of version 2 by references to the ones that are returned, but for
/// those whose presence old clients of upstream look for, or that are about one kind alone.
pub(super) fn share(paths: &mut Map<String, Value>) -> Map<String, Value> {
    let mut shared = Map::new();
    for item in paths.values_mut().filter_map(Value::as_object_mut) {
        for (key, value) in item {
            let list = if key == "parameters" { Some(value) } else { value.get_mut("parameters") };
            for parameter in list.and_then(Value::as_array_mut).into_iter().flatten().filter(|one| is_shared(one)) {
                let name = format!("{}-{}", text(parameter, "name"), &digest(parameter.to_string().as_bytes())[..8]);
                let reference = json!({"$ref": format!("#/parameters/{name}")});
                let value = std::mem::replace(parameter, reference);
                shared.insert(name, value);
            }
        }
    }
    shared
}

fn is_shared(parameter: &Value) -> bool {
    let of_kind = |schema: &Value| !text(schema, "$ref").starts_with("#/definitions/io.k8s.apimachinery");
    match (text(parameter, "name"), text(parameter, "in")) {
        ("name", _) | ("dryRun" | "fieldValidation", "query") => false,
        ("body", "body") => !of_kind(&parameter["schema"]),
        _ => true,
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deletions_take_is_described_as_in_their_options() {
        for parameter in query(DELETE) {
            assert!(!parameter.description.is_empty(), "{}", parameter.name);
        }
    }

    #[test]
    fn equal_parameters_are_said_once() {
        let parameters: Vec<Value> =
            query(WRITE).chain([path("name", "name of the Pod")]).map(|one| one.value(Dialect::V2)).collect();
        let item = json!({"parameters": parameters, "get": {"parameters": parameters}});
        let mut paths = Map::from_iter([("/a".to_owned(), item)]);
        let shared = share(&mut paths);
        assert_eq!(shared.keys().filter(|name| name.starts_with("fieldManager-")).count(), 1);
        assert_eq!(shared.len(), 1, "{shared:?}");
        assert!(paths["/a"]["get"]["parameters"][1]["$ref"].is_string());
    }
}
